// Which parts of an edge carry it: heads, slices of the decay ranking, random slices, groups of
// channels; one after the other, and several together. Definitions: docs/beyond.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "analysis/fact_resamples.hpp"
#include "analysis/run_data.hpp"

namespace factflow {

// Changes are mean relative changes of the answer's probability, percent, made of the stored log
// change; intervals are bootstraps over facts.
struct PartsAtStart {
  std::int32_t start = 0;
  double depth = 0;               // start / layers
  Resampled whole;                // all of the edge
  double whole_log = 0;           // mean of ln(p / p_clean)
  std::vector<Resampled> parts;   // [part]
  std::vector<double> part_logs;  // likewise
  Resampled sum;                  // of all parts
  Resampled excess;               // sum - whole
  Resampled trend;  // Spearman's correlation of (k, change of part k); NaN of heads and groups
};

// How alike two relations are in what their parts carry, at the strongest start.
struct PartOverlap {
  std::string first, second;  // relations
  std::size_t top = 0;        // so many parts of the largest drop of each ...
  std::size_t shared = 0;     // ... have so many in common
  double expected = 0;        // by chance
  double correlation = 0;     // Spearman's, of all parts' changes
};

// One edge, one division, one window size.
struct DividedEdge {
  std::string edge;      // "subject->last"
  std::string division;  // "each quantile of 12", "each random of 12 seed 1", "each head"
  std::int64_t window = 0;
  std::string placement;
  std::size_t n = 0, facts = 0;    // prompts with a value of every part at every start
  std::vector<std::string> parts;  // "quantile 1/12"
  std::vector<PartsAtStart> starts;
  std::size_t strongest = 0;  // of `starts`: where the whole edge's mean is lowest
  // Of slices of the decay ranking, at the strongest start; else NaN.
  Resampled bend;        // share of the slices before the best split into two plateaus
  Resampled slow_share;  // of the sum: slices of the slowest third
  std::vector<PartOverlap> overlaps;
  bool by_decay() const { return division.starts_with("each quantile "); }
  const PartsAtStart& at_strongest() const { return starts[strongest]; }
};

// The slowest third of the slices against as many random ones, at the strongest start.
struct SlowAgainstRandom {
  std::string edge, slices, control;  // divisions
  std::int64_t window = 0;
  std::int32_t start = 0;
  std::size_t n = 0, facts = 0;
  Resampled slow, fast,
      random;            // mean change of a slice: of the slowest third, the fastest, of all
  Resampled difference;  // random - slow: above 0 where slow slices carry more
};

// Parts knocked out together, one more at a time.
struct CumulatedCurve {
  std::string edge, division;
  std::int64_t window = 0, start = 0, ordered_by = 0;
  std::size_t n = 0, facts = 0;
  struct Order {
    std::string name;                // "greedy", "random"
    std::vector<std::string> parts;  // [step]
    std::vector<Resampled> change;   // [step]
    Resampled needed;  // how many parts give kMostOfEffect of the whole edge's drop; NaN: no drop
  };
  Resampled whole;
  std::vector<Order> orders;
};
inline constexpr double kMostOfEffect = 0.9;

struct ModelParts {
  std::string model, family;
  Mixing mixing = Mixing::kAttention;
  std::int64_t layers = 0;
  bool repeated = false;  // a checkpoint that stands under another name as well
  std::size_t prompts = 0, failed = 0, outside = 0;  // asked; without a number; beyond the limits
  std::vector<DividedEdge> edges;
  std::vector<SlowAgainstRandom> contrasts;
  std::vector<CumulatedCurve> cumulated;
};

// Of every model with parts. Throws InputError for a damaged file.
std::vector<ModelParts> study_parts(const RunData& run, const CleanLimits& limits,
                                    const BootstrapOptions& bootstrap);

}  // namespace factflow
