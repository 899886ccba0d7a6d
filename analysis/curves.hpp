// Curves over window starts: what each figure draws and curves.csv lists.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "analysis/effects.hpp"
#include "analysis/run_data.hpp"
#include "analysis/statistics.hpp"

namespace factflow {

// One window start. Means are over the n prompts whose relative change is defined there
// (WindowData::valid).
struct CurvePoint {
  std::int64_t start = 0;
  double depth = 0;   // start / layers
  MixerCount mixers;  // of the window's layers
  std::size_t n = 0;
  std::size_t facts = 0;       // of those prompts
  double accuracy = 0;         // percent of the n with rank 1
  Interval accuracy_interval;  // Wilson's score interval, percent
  double change = 0;           // mean relative change in percent
  Interval change_interval;    // t interval, clustered by fact
  // Bootstrap intervals of the mean relative change over the prompts that are valid at every start.
  Interval change_by_fact, change_by_relation;
  double median_change = 0;  // percent
  double log_change = 0;     // mean of WindowData::log_change
  Interval log_interval;     // t interval, clustered by fact
  // How few prompts hold half of the sum of |relative change|.
  std::size_t half_carried_by = 0;
  double mean_rank = 0;
  // Of the n: mean of the edges that the window's layers lost, and how many lost none there; NaN
  // and 0 where the results do not say.
  double blocked_edges = 0;
  std::size_t without_edges = 0;
  // Of the n of a mixture of experts: mean of the layers in which some token goes to other experts,
  // and in how many prompts any does; NaN and 0 for other models.
  double rerouted_layers = 0;
  std::size_t rerouted = 0;
  double p_value = 0;  // t test of "mean relative change = 0", clustered by fact
  double p_holm = 0;   // the same, Holm-corrected over all starts of the curves of its family
};

struct Curve {
  std::string model;
  std::string family;
  std::int64_t layers = 0;
  EdgeName edge;
  std::int64_t window = 0;
  std::string placement;
  std::string prompts;  // set of prompts
  bool main_set = true;
  std::vector<CurvePoint> points;  // one for each start, n may be 0
};

// One curve for each of window.edges; `effects` are of the same window. `level` = confidence level
// of the intervals.
std::vector<Curve> make_curves(const WindowData& window, const std::vector<EdgeEffect>& effects,
                               double level);

// Holm's correction over every point of every curve of the family.
void correct_together(const std::vector<Curve*>& family);

}  // namespace factflow
