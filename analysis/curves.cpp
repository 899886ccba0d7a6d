#include "analysis/curves.hpp"

#include "analysis/parallel.hpp"

namespace factflow {
namespace {

CurvePoint make_point(const WindowData& window, std::size_t edge, std::size_t start, double level) {
  std::vector<double> change, log_change, rank;
  std::vector<std::size_t> fact;
  std::size_t hits = 0;
  for (std::size_t prompt = 0; prompt < window.model->clean.size(); ++prompt) {
    if (!window.valid(edge, prompt, start)) continue;
    change.push_back(window.change(edge, prompt, start));
    log_change.push_back(window.log_change(edge, prompt, start));
    rank.push_back(window.cells.rank[window.cell(edge, prompt, start)]);
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
