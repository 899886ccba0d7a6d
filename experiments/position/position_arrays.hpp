// The same knockouts with neutral text in the prompt, in the results file. Groups MODEL/position
// and MODEL/position/window_N hold cells as experiments/cell_arrays.hpp says; items are called
// "EDGE | PLACE LENGTH": "subject->last | between 16". Beside them stand, for every item and
// prompt, what that prompt says without a knockout and where its subject is.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "experiments/cell_arrays.hpp"

namespace factflow {

const CellNames& position_names();

struct PositionItem {
  std::string edge;   // "subject->last"
  std::string place;  // "before", "between"
  std::int64_t length = 0;
};
std::string to_string(const PositionItem& item);
std::optional<PositionItem> parse_position_item(const std::string& name);

// [item, prompt], as the cells' axes; NaN and -1 where nothing was computed.
struct PositionPlaces {
  std::vector<double> clean_log_probability;  // of the answer, in the prompt with the text
  std::vector<std::int32_t> clean_rank;
  std::vector<std::int32_t> subject_at;  // its first token
  std::vector<std::int32_t> distance;    // from its last token to the prompt's last
  std::vector<std::int32_t> neutral;     // [prompt, token]: ids of the longest neutral text
  std::int64_t longest = 0;              // its tokens
};
ArrayGroup arrays_of(const CellAxes& axes, const PositionPlaces& places);

bool has_positions(const ResultsReader& reader, const std::string& model);
// Of all items and prompts. Throws InputError for what the function above did not make.
PositionPlaces read_position_places(const ResultsReader& reader, const std::string& model,
                                    const CellAxes& axes);

}  // namespace factflow
