// Parts of edges of a model in the results file: groups MODEL/parts and MODEL/parts/window_N hold
// the knockouts of single parts (experiments/cell_arrays.hpp). Items are called "subject->last" for
// the whole edge and "subject->last/head 3" for a part of it. Groups MODEL/parts/cumulated_K hold
// the knockouts of several parts together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "experiments/cell_arrays.hpp"

namespace factflow {

const CellNames& part_names();

inline constexpr const char* kGreedyOrder = "greedy";  // by single effects, the largest first
inline constexpr const char* kRandomOrder = "random";  // the control

// The parts of one edge and division in one window, knocked out together one more at a time.
struct CumulatedParts {
  std::string edge;      // item of the whole edge
  std::string division;  // "each head"
  std::int64_t window = 0;
  std::int64_t start = 0;             // where the whole edge does most in the ordering prompts
  std::int64_t ordered_by = 0;        // how many prompts the greedy order is of
  std::vector<std::string> orders;    // kGreedyOrder, kRandomOrder
  std::vector<std::int32_t> steps;    // 1 .. the parts
  std::vector<std::int64_t> prompts;  // ids
  std::vector<std::string> part;      // [order, step] which one is added there: an item
  // [order, step, prompt] ln(p / p_clean) without these parts; NaN = not computed, failed, no edge
  std::vector<float> log_change;

  std::size_t cell(std::size_t order, std::size_t step, std::size_t prompt) const {
    return (order * steps.size() + step) * prompts.size() + prompt;
  }
};
ArrayGroup arrays_of(const CumulatedParts& cumulated, std::size_t index);

// What channels were ranked by, of slices by exp(A dt): MODEL/parts/ranking, with the mean of each
// layer and channel or head (model/reference/decay_in_prompts.hpp).
ArrayGroup arrays_of_ranking(const std::vector<std::vector<float>>& decay, std::int64_t tokens,
                             std::int64_t prompts);

bool has_parts(const ResultsReader& reader, const std::string& model);
// Throws InputError for what the function above did not make.
std::vector<CumulatedParts> read_cumulated_parts(const ResultsReader& reader,
                                                 const std::string& model);

}  // namespace factflow
