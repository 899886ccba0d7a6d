// Causal tracing by activation patching: a value of one run at one token, in a window of layers,
// into the run of the same words about another subject (Sharma et al. 2024, section 3; Meng et al.
// 2022, section 2.1). Every token from the subject on, every window, every site. docs/locate.md.
#pragma once

#include <string>
#include <vector>

#include "experiments/experiment.hpp"
#include "experiments/trace/noise.hpp"
#include "experiments/trace/token_patches.hpp"
#include "experiments/trace/trace_arrays.hpp"
#include "model/intervention.hpp"

namespace factflow {

const ExperimentKind& trace_kind();

struct TraceConfig : Entry {
  std::vector<Site> sites = {};  // empty: those of sites_to_trace()
  int window = 0;                // layers around the centre, of every site but h; 0 = 10 of 64
  int h_window = 1;
  std::vector<TraceDirection> directions = {TraceDirection::kRestore};
  // What the clean values are written into. Of noise only kRestore is defined: its values are those
  // of many runs.
  Corruption corruption = Corruption::kSubject;
  NoiseConfig noise = {};
  int candidates = 8;  // other subjects that are tried for one of as many tokens
  std::uint64_t seed = 1;
  bool operator==(const TraceConfig&) const = default;
};
Form<std::vector<TraceConfig>> trace_form();

}  // namespace factflow
