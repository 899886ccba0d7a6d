// How far gradient estimates of causal traces agree with the exact effects: rank correlation, share
// of equal signs, and the largest difference, by site and layer and over all cells. Effects are
// shares of high - low, as those of traces are, and facts are left out as they are there.
// Sources of the estimates: Nanda (2023), Syed et al. (arXiv 2310.10348), Sundararajan et al.
// (arXiv 1703.01365).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "analysis/effects.hpp"
#include "analysis/run_data.hpp"
#include "analysis/statistics.hpp"
#include "analysis/traces.hpp"
#include "experiments/attribution/attribution_arrays.hpp"

namespace factflow {

// A cell whose exact effect is less than this share of high - low has no part in the share of equal
// signs: what is next to nothing has none.
inline constexpr double kLeastEffect = 0.01;
// An estimate is trusted where the lower ends of both intervals reach these. The bounds are ours.
inline constexpr double kTrustedCorrelation = 0.8, kTrustedSign = 0.9;

// A number of many cells, with its percentile bootstrap interval over facts; NaN for fewer than
// kFewestClusters of them.
struct CellNumber {
  double value = 0;
  Interval interval;
};

// Where the estimate is farthest from the exact effect.
struct WorstCell {
  double exact = 0, estimate = 0;
  std::int64_t prompt = 0;  // id
  std::int64_t token = 0;
  std::int32_t layer = 0;
};

// Of all cells (prompt, token, layer) of one layer, or of all layers. Cells that are exactly 0 both
// ways are not counted: nothing reads them, as the other tokens behind the last layer.
struct Agreement {
  std::size_t cells = 0, prompts = 0, facts = 0;
  CellNumber correlation;        // Spearman's
  std::size_t signed_cells = 0;  // with an exact effect of at least kLeastEffect
  CellNumber same_sign;          // share of these; NaN if there are none
  CellNumber difference;         // mean of |estimate - exact|
  std::optional<WorstCell> worst;

  bool trusted() const {
    return correlation.interval.low >= kTrustedCorrelation &&
           same_sign.interval.low >= kTrustedSign;
  }
};

struct SiteAgreement {
  std::string site;
  EstimateMethod method = EstimateMethod::kGradient;
  std::vector<Agreement> layers;  // of h one more than the model has
  Agreement all;
  // Bootstrap replicates of all.correlation, of the same resamples for all sites and methods.
  std::vector<double> replicates;

  std::vector<std::int32_t> trusted_layers() const;
};

struct ModelAttributions {
  std::string model, family;
  std::int64_t layers = 0;
  bool repeated = false;   // the same checkpoint under a second name
  std::int64_t steps = 0;  // of integrated gradients; 0 = there are none
  std::vector<TracedFact> facts;
  std::vector<SiteAgreement> sites;  // by method, then site

  const SiteAgreement* of(EstimateMethod method, const std::string& site) const;
};

// Of every model with gradient estimates. Throws InputError for a damaged file.
std::vector<ModelAttributions> study_attributions(const RunData& run, const CleanLimits& limits,
                                                  const BootstrapOptions& bootstrap);

}  // namespace factflow
