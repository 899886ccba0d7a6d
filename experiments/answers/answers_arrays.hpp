// Knockouts judged by the whole answer and by its first token, in the results file. Groups
// MODEL/answers and MODEL/answers/window_N hold cells as experiments/cell_arrays.hpp says; items
// are called "EDGE | first token" and "EDGE | whole answer". The rank of a whole answer is the
// largest of its tokens' ranks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "experiments/cell_arrays.hpp"

namespace factflow {

const CellNames& answers_names();

struct AnswersItem {
  std::string edge;    // "subject->last"
  bool whole = false;  // the whole answer, else its first token
};
std::string to_string(const AnswersItem& item);
std::optional<AnswersItem> parse_answers_item(const std::string& name);

// [prompt], as the cells' axes.
struct AnswersOfPrompts {
  std::vector<std::int32_t> tokens;  // of the answer; 0 = not computed or failed
  // Natural logarithms of the clean probabilities; NaN likewise.
  std::vector<double> clean_first, clean_whole;
};
ArrayGroup arrays_of(const CellAxes& axes, const AnswersOfPrompts& answers);

bool has_answers(const ResultsReader& reader, const std::string& model);
// Of all prompts. Throws InputError for what the function above did not make.
AnswersOfPrompts read_answers_of_prompts(const ResultsReader& reader, const std::string& model,
                                         const CellAxes& axes);

}  // namespace factflow
