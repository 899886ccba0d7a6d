// Causal traces of a model in the results file.
//
// Group MODEL/trace holds what the facts are: which subject stands in the other run, and the
// answer's probability in both runs. Maps of single facts are in groups
// MODEL/trace_DIRECTION_SITE/window_N (experiments/heatmap/heatmap_arrays.hpp): probability of the
// answer by token and window centre, the axis `start`; for the site h, whose layers are one more
// than the model's, the last centre is the model's number of layers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/heatmap/heatmap_arrays.hpp"

namespace factflow {

// The facts of one model that were traced.
struct TracedFacts {
  std::vector<std::int64_t> prompts;        // ids
  std::vector<std::string> counterfactual;  // subject of the other run; "" = failed
  // Probability of the answer in the prompt's clean run, and in that of the other subject; NaN =
  // failed or not computed.
  std::vector<float> high, low;
  std::vector<std::int32_t> subject_begin, subject_end;  // tokens [begin, end); -1 = failed
  std::vector<std::int32_t> token_count;
};
ArrayGroup arrays_of(const TracedFacts& facts);

enum class TraceDirection {
  kRestore,  // clean values into the run of the other subject
  kBreak     // values of the other subject's run into the clean one
};
std::string to_string(TraceDirection direction);  // "restore", "break"

// `site` is a site's name.
MapNames trace_map_names(TraceDirection direction, const std::string& site);

// What a model has in the file. Throw InputError for what the functions above did not make.
bool has_traces(const ResultsReader& reader, const std::string& model);
TracedFacts read_traced_facts(const ResultsReader& reader, const std::string& model);
struct TraceMaps {
  TraceDirection direction = TraceDirection::kRestore;
  std::string site;
  std::string group;  // for heatmap_windows(), heatmap_prompts() and read_heatmap()
};
std::vector<TraceMaps> trace_maps(const ResultsReader& reader, const std::string& model);

}  // namespace factflow
