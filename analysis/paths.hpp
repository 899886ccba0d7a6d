// Which path carries a role's tokens to the last one: rows of interventions that block the edges
// through the state (or the scores), the convolution or both, and rows that write a site at these
// tokens. Definitions: docs/beyond.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "analysis/fact_resamples.hpp"
#include "analysis/run_data.hpp"

namespace factflow {

// A row of interventions, as far as it is about one path.
struct PathName {
  std::string tokens;  // sources of the edges, or where a site is written: "subject"
  std::string target;  // of edges: "last"; else ""
  std::string path;    // "state", "convolution", "mixer"; a site: "g", "skip", "mlp", "s", "o"
  std::string value;   // of a site: "zero", "mean", "resample"; else ""
  bool edges() const { return !target.empty(); }
};
// Nothing of a row of another form, or on some channels or heads alone.
std::optional<PathName> path_of_row(const std::string& label);

// Mean relative change of the answer's probability, percent, at the start where it is lowest.
struct PathEffect {
  PathName name;
  std::size_t n = 0, facts = 0;  // prompts with a value at every start
  std::int32_t start = 0;
  double depth = 0;       // start / layers
  Resampled lowest;       // the search for the start is repeated in every resample
  double log_change = 0;  // mean of ln(p / p_clean) at that start
};

// What a knockout of the state alone misses, at the start where blocking state and convolution
// together lowers the mean most; over the prompts that have both.
struct MissedPath {
  std::string tokens, target;
  std::size_t n = 0, facts = 0;
  std::int32_t start = 0;
  double depth = 0;
  Resampled state, mixer;    // mean changes, percent
  Resampled missed;          // (mixer - state) / mixer, percent
  double missed_by_log = 0;  // the same of the mean log changes
  // Of those of the prompts with a source within the convolution's reach: how many these are (0:
  // not computed), its mean change, and state + convolution - mixer.
  std::size_t in_reach = 0;
  Resampled convolution, interaction;
};

// Of one model, set of prompts and window size.
struct ModelPaths {
  std::string model, family;
  Mixing mixing = Mixing::kState;
  std::string prompts;  // set of prompts
  bool main_set = true, repeated = false;
  std::int64_t layers = 0, window = 0;
  std::vector<PathEffect> paths;   // in the order of the rows
  std::vector<MissedPath> missed;  // none of Transformers: they have no convolution
};

// Of every model whose rows of interventions are about paths: at least two of one group of tokens.
std::vector<ModelPaths> study_paths(const RunData& run, const BootstrapOptions& bootstrap);

}  // namespace factflow
