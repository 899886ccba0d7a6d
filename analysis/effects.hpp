// One line of numbers for each edge of a window: where the curve is lowest and how much lies under
// it, with bootstrap intervals; and how much of an edge's effect a set of channels carries.
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

// A number with its bootstrap intervals: over prompts, and over relations with all their prompts
// (NaN for fewer than two relations). Percentile method; the search for the lowest start is part of
// each resample.
struct Estimate {
  double value = 0;
  Interval by_prompt;
  Interval by_relation;
};

// Bootstrap intervals of the mean relative change at one start, percent.
struct StartBootstrap {
  Interval by_prompt, by_relation;
};

// Of the prompts that are valid at every start. n = 0: all numbers are NaN.
struct EdgeEffect {
  std::string model, family;
  std::string prompts;  // set of prompts
  bool main_set = true;
  bool repeated = false;  // of a checkpoint that stands under another name as well
  std::int64_t layers = 0;
  EdgeName edge;
  std::int64_t window = 0;
  std::string placement;
  std::size_t n = 0;
  std::size_t relations = 0;
  Estimate drop;   // lowest mean relative change over the starts, percent
  Estimate start;  // the start where that is
  Estimate depth;  // start / layers
  // Of the middle of the window there, as a share of the layers: 0 = bottom, 1 = top.
  double depth_middle = 0;
  Estimate area;  // under the mean relative change over relative depth: percent x depth
  // Mean relative change over the last tenth of the starts (at least one), percent.
  Estimate late;
  double p_holm = 0;  // t test of the mean at `start` against 0, Holm-corrected over the starts
  std::vector<StartBootstrap> starts;  // of the mean relative change, one for each start
};

// The share of an edge's effect: numerator / denominator of the same flow with different channels,
// same prompts.
struct ChannelRatio {
  std::string model;
  std::string prompts;  // set of prompts
  std::string flow;
  std::int64_t window = 0;
  std::string numerator, denominator;  // channel sets: "slow", "all"
  std::size_t n = 0;
  std::int64_t start = 0;                               // where the denominator is lowest
  double numerator_change = 0, denominator_change = 0;  // there, percent
  Estimate at_start;                                    // numerator_change / denominator_change
  Estimate area;                                        // area / area
};

struct WindowEffects {
  std::vector<EdgeEffect> edges;       // one for each of window.edges
  std::vector<ChannelRatio> channels;  // each set against "all", and "slow" against "fast"
};

WindowEffects measure_effects(const WindowData& window, const PromptTable& prompts,
                              const BootstrapOptions& options);

}  // namespace factflow
