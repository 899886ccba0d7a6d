// Path-specific effects: what a patch of h at one token still does when some sites at that token
// are severed in all layers above. Means over facts, by layer. Source: Sharma, Atkinson and Bau
// (arXiv 2404.03646), section 3.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "analysis/run_data.hpp"
#include "analysis/statistics.hpp"
#include "analysis/traces.hpp"

namespace factflow {

struct SeveredPoint {
  std::size_t n = 0, facts = 0;  // prompts of the mean, and facts of these
  double effect = 0;             // mean of (p - low) / (high - low); NaN for n = 0
  double error = 0;              // its standard error, clustered by fact
  Interval interval;             // t interval, likewise
};

struct SeveredCurve {
  std::string at, severed;           // "subject-last"; "none", "s", "o+mlp"
  std::vector<SeveredPoint> points;  // [layer]
};

struct ModelSevering {
  std::string model, family;
  std::int64_t layers = 0;            // of the model
  std::vector<TracedFact> facts;      // counted as those of traces are
  std::vector<std::int32_t> patched;  // layers that the patched h enters
  std::vector<SeveredCurve> curves;   // those that were asked for

  const SeveredCurve* curve(const std::string& at, const std::string& severed) const;
};

// Of every model with severed paths. Throws InputError for a damaged file.
std::vector<ModelSevering> study_severings(const RunData& run, const CleanLimits& limits,
                                           double level);

}  // namespace factflow
