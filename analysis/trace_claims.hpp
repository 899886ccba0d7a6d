// What Sharma, Atkinson and Bau (arXiv 2404.03646), section 3, claim of causal traces, put to the
// test of this run. Each is about clean values that are restored, at the last token of the subject
// and at the last one of the prompt.
#pragma once

#include <vector>

#include "analysis/effects.hpp"
#include "analysis/traces.hpp"
#include "analysis/verdicts.hpp"

namespace factflow {

// Where the effect of h at the prompt's last token overtakes that at the subject's: the last
// crossing of the two mean curves, linear between layers.
struct TransferDepth {
  double layer = 0;   // as the papers count, -1 = embeddings; NaN if the curves do not cross
  Interval interval;  // percentile bootstrap over facts
  std::size_t prompts = 0, facts = 0;
};
// `average`: a map of h. Prompts that end with their subject have no part.
TransferDepth transfer_depth(const TraceAverage& average, const BootstrapOptions& bootstrap);

// The claims, in this order: h moves from the subject's last token to the prompt's; at the prompt's
// last token the mixing of tokens carries the effect; where the move happens. Empty without traces.
std::vector<Claim> judge_trace_claims(const std::vector<ModelTraces>& traces,
                                      const BootstrapOptions& bootstrap);

}  // namespace factflow
