// The heat maps of a model in the results file: groups MODEL/heatmap/window_N.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "results/results_file.hpp"

namespace factflow {

// Knockouts "one token -> last" of one prompt.
struct HeatmapResult {
  std::int64_t window = 0;
  std::string placement = "fit";  // as in KnockoutWindow
  std::int64_t prompt = 0;
  std::vector<std::string> tokens;   // texts
  std::vector<std::int32_t> starts;  // the same for all prompts of one window
  std::vector<float> probability;    // [token, start]
  // Vocabulary ids of the tokens, of which part of a character has no text; empty: not stored.
  std::vector<std::int32_t> token_ids = {};
};

// Of all maps of one model, a group per window size. Throws std::logic_error if maps of one size
// differ in their starts.
std::vector<ArrayGroup> arrays_of(const std::vector<HeatmapResult>& heatmaps);

// `model` is a name out of the reader's models. Throw InputError for what arrays_of() did not make.
std::vector<std::int64_t> heatmap_windows(const ResultsReader& reader,
                                          const std::string& model);  // ascending
std::vector<std::int64_t> heatmap_prompts(const ResultsReader& reader, const std::string& model,
                                          std::int64_t window);
HeatmapResult read_heatmap(const ResultsReader& reader, const std::string& model,
                           std::int64_t window, std::int64_t prompt);

}  // namespace factflow
