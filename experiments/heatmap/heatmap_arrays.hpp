// Token-by-layer maps of single prompts in the results file: groups MODEL/heatmap/window_N. Other
// kinds store theirs likewise, in groups of their own.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "results/results_file.hpp"

namespace factflow {

// What one token after the other does to one prompt's answer: knockouts "one token -> last", say.
struct HeatmapResult {
  std::int64_t window = 0;
  std::string placement = "fit";  // as in CellWindow
  std::int64_t prompt = 0;
  std::vector<std::string> tokens;   // texts
  std::vector<std::int32_t> starts;  // the same for all prompts of one window
  std::vector<float> probability;    // [token, start]
  // Vocabulary ids of the tokens, of which part of a character has no text; empty: not stored.
  std::vector<std::int32_t> token_ids = {};
  // [token, start], as in CellWindow; empty: not stored.
  std::vector<std::int32_t> rank = {};
  std::vector<float> log_change = {};
  std::vector<std::int32_t> blocked_edges = {}, rerouted = {};
};

// How a kind of experiment calls its maps.
struct MapNames {
  std::string group = "heatmap";
  std::string token_means = "text of the token that the last token could not read";
  std::string done = "without the flow token -> last";  // for descriptions
  std::string row = "";  // what is done, as an attribute of the windows; "" = nothing more to say
};

// Of all maps of one model, a group per window size. Throws std::logic_error if maps of one size
// differ in their starts.
std::vector<ArrayGroup> arrays_of(const std::vector<HeatmapResult>& heatmaps,
                                  const MapNames& names = {});

// `model` is a name out of the reader's models. Throw InputError for what arrays_of() did not make.
std::vector<std::int64_t> heatmap_windows(const ResultsReader& reader, const std::string& model,
                                          const std::string& group = "heatmap");  // ascending
std::vector<std::int64_t> heatmap_prompts(const ResultsReader& reader, const std::string& model,
                                          std::int64_t window,
                                          const std::string& group = "heatmap");
HeatmapResult read_heatmap(const ResultsReader& reader, const std::string& model,
                           std::int64_t window, std::int64_t prompt,
                           const std::string& group = "heatmap");

}  // namespace factflow
