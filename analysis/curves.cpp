#include "analysis/curves.hpp"

#include <algorithm>

#include "analysis/parallel.hpp"

namespace factflow {
namespace {

// Mean over cells of counts that may not be stored: NaN then.
double mean_count(const std::vector<std::int32_t>& counts, const std::vector<std::size_t>& cells) {
  std::vector<double> values;
  if (!counts.empty())
    for (const std::size_t cell : cells) values.push_back(counts[cell]);
  return mean(values);
}

// How many of the cells have such a count; 0 where counts are not stored.
template <typename Predicate>
std::size_t count_where(const std::vector<std::int32_t>& counts,
                        const std::vector<std::size_t>& cells, Predicate holds) {
  if (counts.empty()) return 0;
  return static_cast<std::size_t>(std::count_if(
      cells.begin(), cells.end(), [&](std::size_t cell) { return holds(counts[cell]); }));
}

CurvePoint make_point(const WindowData& window, std::size_t edge, std::size_t start, double level) {
  std::vector<double> change, log_change, rank;
  std::vector<std::size_t> fact, cells;
  std::size_t hits = 0;
  for (std::size_t prompt = 0; prompt < window.model->clean.size(); ++prompt) {
    if (!window.valid(edge, prompt, start)) continue;
    change.push_back(window.change(edge, prompt, start));
    log_change.push_back(window.log_change(edge, prompt, start));
    cells.push_back(window.cell(edge, prompt, start));
    rank.push_back(window.cells.rank[cells.back()]);
    fact.push_back(window.model->fact[prompt]);
    hits += rank.back() == 1 ? 1 : 0;
  }
  CurvePoint point;
  point.start = window.cells.starts[start];
  point.depth = window.depth(start);
  point.n = change.size();
  point.facts = count_clusters(fact);
  const double share = static_cast<double>(hits) / static_cast<double>(point.n);  // 0 / 0 is NaN
  const Interval band = wilson_interval(share, static_cast<double>(point.facts), level);
  point.accuracy = 100 * share;
  point.accuracy_interval = {100 * band.low, 100 * band.high};
  point.change = mean(change);
  point.change_interval = t_interval(change, fact, level);
  point.log_change = mean(log_change);
  point.log_interval = t_interval(log_change, fact, level);
  point.mean_rank = mean(rank);
  point.p_value = t_test(change, fact);
  point.half_carried_by = half_carried_by(change);
  point.median_change = median(std::move(change));
  point.blocked_edges = mean_count(window.cells.blocked_edges, cells);
  point.without_edges =
      count_where(window.cells.blocked_edges, cells, [](int n) { return n == 0; });
  point.rerouted_layers = mean_count(window.cells.rerouted, cells);
  point.rerouted = count_where(window.cells.rerouted, cells, [](int n) { return n > 0; });
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
    const std::vector<LayerMixers> mixers = mixers_of(info);
    for (std::size_t start = 0; start < window.starts(); ++start) {
      curve.points.push_back(make_point(window, edge, start, level));
      curve.points.back().mixers = count_mixers(mixers, window.cells.placement, window.cells.window,
                                                window.cells.starts[start]);
      curve.points.back().change_by_fact = effects[i].starts[start].by_fact;
      curve.points.back().change_by_relation = effects[i].starts[start].by_relation;
    }
  });
  return curves;
}

void correct_together(const std::vector<Curve*>& family) {
  std::vector<double> p_values;
  for (const Curve* curve : family)
    for (const CurvePoint& point : curve->points) p_values.push_back(point.p_value);
  const std::vector<double> adjusted = holm(p_values);
  std::size_t next = 0;
  for (Curve* curve : family)
    for (CurvePoint& point : curve->points) point.p_holm = adjusted[next++];
}

}  // namespace factflow
