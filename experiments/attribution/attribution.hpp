// Gradient estimates of causal traces beside the exact effects: attribution patching (Nanda 2023;
// Syed et al. 2023) and integrated gradients (Sundararajan et al. 2017) against what the engine
// finds when each value is patched. Exact is what the kind `trace` restores, one layer at a time.
// docs/locate.md.
#pragma once

#include <string>
#include <vector>

#include "experiments/attribution/attribution_arrays.hpp"
#include "experiments/experiment.hpp"
#include "model/edit/attribution.hpp"
#include "model/intervention.hpp"

namespace factflow {

const ExperimentKind& attribution_kind();

struct AttributionConfig : Entry {
  std::vector<Site> sites = {};  // empty: those of sites_to_trace()
  std::vector<EstimateMethod> methods = {EstimateMethod::kGradient, EstimateMethod::kIntegrated};
  int steps = kUsualSteps;  // of integrated gradients
  int candidates = 8;       // other subjects that are tried for one of as many tokens
  std::uint64_t seed = 1;
  bool operator==(const AttributionConfig&) const = default;
};
Form<std::vector<AttributionConfig>> attribution_form();

}  // namespace factflow
