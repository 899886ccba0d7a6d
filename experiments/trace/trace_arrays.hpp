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

// What stands in place of the run in which the answer is known.
enum class Corruption {
  kSubject,  // the same words about another subject
  kNoise     // the clean run with noise on the subject's embeddings, averaged over copies
};
std::string to_string(Corruption corruption);  // "subject", "noise"

// The facts of one model that were traced, or whose paths were severed.
struct TracedFacts {
  std::vector<std::int64_t> prompts;        // ids
  std::vector<std::string> counterfactual;  // subject of the other run; "" = failed, or noise
  // Probability of the answer in the prompt's clean run, and in the corrupted one (of noise, the
  // mean over copies); NaN = failed or not computed.
  std::vector<float> high, low;
  std::vector<std::int32_t> subject_begin, subject_end;  // tokens [begin, end); -1 = failed
  std::vector<std::int32_t> token_count;
  Corruption corruption = Corruption::kSubject;  // of all of them
  std::int64_t noise_copies = 0;                 // 0 without noise
  double noise_deviation = 0;                    // standard deviation; 0 = not known yet

  // Of one prompt.
  struct Found {
    std::string counterfactual;
    double high = 0, low = 0;
    std::int32_t subject_begin = 0, subject_end = 0, token_count = 0;
  };
  void set(std::size_t place, const Found& found);
};
TracedFacts no_facts(std::vector<std::int64_t> prompts);  // all failed
ArrayGroup arrays_of(const TracedFacts& facts, const std::string& group = "trace");

enum class TraceDirection {
  kRestore,  // clean values into the corrupted run
  kBreak     // values of the other subject's run into the clean one
};
std::string to_string(TraceDirection direction);  // "restore", "break"

// `site` is a site's name.
MapNames trace_map_names(TraceDirection direction, const std::string& site,
                         Corruption corruption = Corruption::kSubject);

// What a model has in the file. Throw InputError for what the functions above did not make.
bool has_traces(const ResultsReader& reader, const std::string& model);
TracedFacts read_traced_facts(const ResultsReader& reader, const std::string& model,
                              const std::string& group = "trace");
struct TraceMaps {
  TraceDirection direction = TraceDirection::kRestore;
  std::string site;
  std::string group;  // for heatmap_windows(), heatmap_prompts() and read_heatmap()
};
std::vector<TraceMaps> trace_maps(const ResultsReader& reader, const std::string& model);

}  // namespace factflow
