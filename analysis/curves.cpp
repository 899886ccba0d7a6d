#include "analysis/curves.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "analysis/parallel.hpp"

namespace factflow {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

CurvePoint make_point(const WindowData& window, std::size_t edge, std::size_t start, double level) {
  std::vector<double> change, log_change, rank;
  std::size_t hits = 0;
  for (std::size_t prompt = 0; prompt < window.model->clean.size(); ++prompt) {
    if (!window.valid(edge, prompt, start)) continue;
    const std::size_t cell = window.cell(edge, prompt, start);
    const auto p = std::max(window.cells.probability[cell], std::numeric_limits<float>::min());
    change.push_back(window.change(edge, prompt, start));
    hits += window.cells.rank[cell] == 1 ? 1 : 0;
    log_change.push_back(std::log(static_cast<double>(p) / window.model->clean[prompt]));
    rank.push_back(window.cells.rank[cell]);
  }
  CurvePoint point;
  point.start = window.cells.starts[start];
  point.depth = window.depth(start);
  point.n = change.size();
  const Interval hit_share = wilson_interval(hits, point.n, level);
  point.accuracy =
      point.n == 0 ? kNan : 100 * static_cast<double>(hits) / static_cast<double>(point.n);
  point.accuracy_interval = {100 * hit_share.low, 100 * hit_share.high};
  point.change = mean(change);
  point.change_interval = t_interval(change, level);
  point.log_change = mean(log_change);
  point.mean_rank = mean(rank);
  point.p_value = t_test(change);
  point.median_change = median(std::move(change));
  return point;
}

}  // namespace

std::vector<Curve> make_curves(const WindowData& window, const std::vector<EdgeEffect>& effects,
                               double level) {
  std::vector<Curve> curves(window.edges.size());
  parallel_for(curves.size(), [&](std::size_t i) {
    const std::size_t edge = window.edges[i];
    Curve& curve = curves[i];
    const ModelInfo& info = window.model->info;
    curve = {info.name,
             info.family,
             info.layers,
             window.model->edges[edge],
             window.cells.window,
             window.cells.placement,
             window.model->prompt_set,
             window.model->main_set,
             {}};
    std::vector<double> p_values;
    for (std::size_t start = 0; start < window.starts(); ++start) {
      curve.points.push_back(make_point(window, edge, start, level));
      curve.points.back().change_by_prompt = effects[i].starts[start].by_prompt;
      curve.points.back().change_by_relation = effects[i].starts[start].by_relation;
      p_values.push_back(curve.points.back().p_value);
    }
    const std::vector<double> adjusted = holm(p_values);
    for (std::size_t start = 0; start < adjusted.size(); ++start)
      curve.points[start].p_holm = adjusted[start];
  });
  return curves;
}

}  // namespace factflow
