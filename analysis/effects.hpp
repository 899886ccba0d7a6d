// One line of numbers for each edge of a window, or row of interventions: where the curve is lowest
// and how much lies under it, with bootstrap intervals; and how much of an edge's effect a set of
// channels carries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "analysis/run_data.hpp"
#include "analysis/statistics.hpp"

namespace factflow {

struct BootstrapOptions {
  std::size_t resamples = 1000;
  std::uint64_t seed = 1;
  double level = 0.95;
};

// A number with its bootstrap intervals: over facts with all their prompts, and over relations with
// all theirs (NaN for fewer than kFewestClusters). Percentile method; the search for the lowest
// start is part of each resample.
struct Estimate {
  double value = 0;
  Interval by_fact;
  Interval by_relation;
};

// Bootstrap intervals of the mean relative change at one start, percent.
struct StartBootstrap {
  Interval by_fact, by_relation;
};

// Three ways to say how the answer's probability changes: a mean of ratios is moved by few prompts
// of tiny p_clean, the other two are not.
struct Change {
  double mean = 0, median = 0;  // relative change, percent
  double log = 0;               // mean of ln(p / p_clean)
  Interval log_interval;        // t interval, clustered by fact
};

// Of the prompts that are valid at every start. n = 0: all numbers are NaN.
struct EdgeEffect {
  std::string model, family;
  Mixing mixing = Mixing::kAttention;
  std::string prompts;  // set of prompts
  bool main_set = true;
  bool repeated = false;  // of a checkpoint that stands under another name as well
  std::int64_t layers = 0;
  EdgeName edge;
  std::int64_t window = 0;
  std::string placement;
  std::size_t n = 0;
  std::size_t facts = 0, relations = 0;  // of those prompts
  std::string missing;                   // why n is 0; else ""
  // Of all prompts of the set: how many (target, source) pairs and tokens it touches in a layer,
  // the fewest and the most where there are any (else 0), and how many prompts have none.
  std::int64_t fewest_touched = 0, most_touched = 0;
  std::size_t untouched = 0;
  Estimate lowest;               // lowest mean relative change over the starts, percent
  std::size_t lowest_place = 0;  // of that start among the starts
  Estimate start;                // the start where that is
  Estimate depth;                // start / layers
  // Of the middle of the window there, as a share of the layers: 0 = bottom, 1 = top.
  double depth_middle = 0;
  Change at_lowest;  // at that start
  Estimate area;     // under the mean relative change over relative depth: percent x depth
  // Mean relative change over the last tenth of the starts (at least one), percent; median and log
  // change of the prompts' own means over them.
  Estimate late;
  Change late_change;
  // Over the starts with a mean |relative change| of 10 % and more: how few prompts hold half of
  // it. 0 = no such start.
  std::size_t half_carried_by = 0;
  double p_value = 0;     // t test, clustered by fact, of the mean at `start` against 0
  double p_holm = 0;      // the same, Holm-corrected over the tests of its family
  std::size_t tests = 0;  // in that family
  // Of each start; for curves and for the correction.
  std::vector<StartBootstrap> starts;
  std::vector<double> p_values;
};

inline constexpr double kSignificance = 0.05;  // of tests
inline constexpr double kSmallEffect = 10;     // percent: a smaller change is called no dependence

// Whether the lowest mean is a drop: below zero at the 5 % level after Holm's correction, with
// facts enough to tell.
bool is_drop(const EdgeEffect& effect);
// Whether few prompts (at most one in twenty, or one) hold half of the change at some start.
bool carried_by_few(const EdgeEffect& effect);

// Holm's correction over every start of every effect of the family, which is what a reader sees at
// a time.
void correct_together(const std::vector<EdgeEffect*>& family);

// The share of an edge's effect: numerator / denominator of the same flow with different channels,
// same prompts.
struct ChannelRatio {
  std::string model;
  std::string prompts;  // set of prompts
  std::string flow;
  std::int64_t window = 0;
  std::string numerator, denominator;  // channel sets: "slow", "all"
  std::size_t n = 0, facts = 0;
  std::int64_t start = 0;      // where the denominator's mean is lowest
  Change above, below;         // of numerator and denominator there
  Estimate at_start;           // above.mean / below.mean
  double median = 0, log = 0;  // above / below likewise
  Estimate area;               // area / area
};

struct WindowEffects {
  std::vector<EdgeEffect> edges;       // one for each of window.edges
  std::vector<ChannelRatio> channels;  // each set against "all", and "slow" against "fast"
};

WindowEffects measure_effects(const WindowData& window, const PromptTable& prompts,
                              const BootstrapOptions& options);

}  // namespace factflow
