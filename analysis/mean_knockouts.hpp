// Knockouts by means: how much of the answer's probability goes when tokens are taken out in a
// window of layers. Means over prompts, by centre. Source: Sharma, Atkinson and Bau
// (arXiv 2404.03646), section 3.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "analysis/run_data.hpp"
#include "analysis/statistics.hpp"

namespace factflow {

struct MeanKnockoutPoint {
  std::size_t n = 0, facts = 0;  // prompts of the mean, and facts of these
  double change = 0;             // mean of (p' - p) / p; NaN for n = 0
  double error = 0;              // its standard error, clustered by fact
  Interval interval;             // t interval, likewise
};

struct MeanKnockoutCurve {
  std::string mode, set;  // "mean-a", "edges"; "subject", "non-subject"
  std::int64_t window = 0;
  std::vector<std::int32_t> centres;
  std::vector<MeanKnockoutPoint> points;  // [centre]
};

struct ModelMeanKnockouts {
  std::string model, family;
  std::int64_t layers = 0;
  // Of the means; 0 without them. Documents: of a text, in place of prompts.
  std::int64_t reference_prompts = 0, reference_tokens = 0, reference_documents = 0;
  std::size_t prompts = 0, failed = 0, outside = 0;  // asked; without a number; beyond the limits
  std::vector<MeanKnockoutCurve> curves;  // of all prompts, whatever their set; those with a number
};

// Of every model with such knockouts. Throws InputError for a damaged file.
std::vector<ModelMeanKnockouts> study_mean_knockouts(const RunData& run, const CleanLimits& limits,
                                                     double level);

}  // namespace factflow
