#include "analysis/part_tables.hpp"

namespace factflow {
namespace {

CsvTable& put(CsvTable& table, const Resampled& of) {
  return table.cell(of.value).cell(of.interval.low).cell(of.interval.high);
}

void put_model(CsvTable& table, const ModelParts& model) {
  table.cell(model.model).cell(model.family).cell(model.layers);
}

}  // namespace

CsvTable parts_table(const Study& study) {
  CsvTable table({"model", "family", "layers", "edge", "division", "part", "window", "placement",
                  "start", "relative_depth", "n", "facts", "change", "change_low", "change_high",
                  "log_probability_change"});
  for (const ModelParts& model : study.parts)
    for (const DividedEdge& edge : model.edges)
      for (std::size_t part = 0; part < edge.parts.size(); ++part)
        for (const PartsAtStart& at : edge.starts) {
          put_model(table, model);
          table.cell(edge.edge).cell(edge.division).cell(edge.parts[part]).cell(edge.window);
          table.cell(edge.placement).cell(std::int64_t{at.start}).cell(at.depth);
          table.cell(edge.n).cell(edge.facts);
          put(table, at.parts[part]).cell(at.part_logs[part]).end_row();
        }
  return table;
}

CsvTable part_sums_table(const Study& study) {
  CsvTable table({"model",
                  "family",
                  "layers",
                  "edge",
                  "division",
                  "parts",
                  "window",
                  "start",
                  "relative_depth",
                  "strongest",
                  "n",
                  "facts",
                  "whole",
                  "whole_low",
                  "whole_high",
                  "whole_log_probability_change",
                  "sum",
                  "sum_low",
                  "sum_high",
                  "excess",
                  "excess_low",
                  "excess_high",
                  "trend",
                  "trend_low",
                  "trend_high",
                  "bend",
                  "bend_low",
                  "bend_high",
                  "slow_share",
                  "slow_share_low",
                  "slow_share_high"});
  for (const ModelParts& model : study.parts)
    for (const DividedEdge& edge : model.edges)
      for (std::size_t start = 0; start < edge.starts.size(); ++start) {
        const PartsAtStart& at = edge.starts[start];
        const bool strongest = start == edge.strongest;
        put_model(table, model);
        table.cell(edge.edge).cell(edge.division).cell(edge.parts.size()).cell(edge.window);
        table.cell(std::int64_t{at.start}).cell(at.depth).cell(std::int64_t{strongest ? 1 : 0});
        table.cell(edge.n).cell(edge.facts);
        put(table, at.whole).cell(at.whole_log);
        put(table, at.sum);
        put(table, at.excess);
        put(table, at.trend);
        put(table, strongest ? edge.bend : Resampled{});
        put(table, strongest ? edge.slow_share : Resampled{}).end_row();
      }
  return table;
}

CsvTable part_contrasts_table(const Study& study) {
  CsvTable table({"model",
                  "family",
                  "layers",
                  "edge",
                  "slices",
                  "control",
                  "window",
                  "start",
                  "n",
                  "facts",
                  "slow",
                  "slow_low",
                  "slow_high",
                  "fast",
                  "fast_low",
                  "fast_high",
                  "random",
                  "random_low",
                  "random_high",
                  "random_minus_slow",
                  "random_minus_slow_low",
                  "random_minus_slow_high"});
  for (const ModelParts& model : study.parts)
    for (const SlowAgainstRandom& of : model.contrasts) {
      put_model(table, model);
      table.cell(of.edge).cell(of.slices).cell(of.control).cell(of.window);
      table.cell(std::int64_t{of.start}).cell(of.n).cell(of.facts);
      put(table, of.slow);
      put(table, of.fast);
      put(table, of.random);
      put(table, of.difference).end_row();
    }
  return table;
}

CsvTable part_steps_table(const Study& study) {
  CsvTable table({"model", "family", "layers", "edge", "division", "window", "start", "ordered_by",
                  "order", "step", "part", "n", "facts", "change", "change_low", "change_high",
                  "needed", "needed_low", "needed_high"});
  for (const ModelParts& model : study.parts)
    for (const CumulatedCurve& curve : model.cumulated)
      for (const CumulatedCurve::Order& order : curve.orders)
        for (std::size_t step = 0; step < order.parts.size(); ++step) {
          put_model(table, model);
          table.cell(curve.edge).cell(curve.division).cell(curve.window).cell(curve.start);
          table.cell(curve.ordered_by).cell(order.name).cell(step + 1).cell(order.parts[step]);
          table.cell(curve.n).cell(curve.facts);
          put(table, order.change[step]);
          put(table, order.needed).end_row();
        }
  return table;
}

CsvTable part_overlaps_table(const Study& study) {
  CsvTable table({"model", "family", "layers", "edge", "division", "window", "start", "relation",
                  "other_relation", "top", "shared", "expected", "correlation"});
  for (const ModelParts& model : study.parts)
    for (const DividedEdge& edge : model.edges)
      for (const PartOverlap& of : edge.overlaps) {
        put_model(table, model);
        table.cell(edge.edge).cell(edge.division).cell(edge.window);
        table.cell(std::int64_t{edge.at_strongest().start}).cell(of.first).cell(of.second);
        table.cell(of.top).cell(of.shared).cell(of.expected).cell(of.correlation).end_row();
      }
  return table;
}

CsvTable paths_table(const Study& study) {
  CsvTable table({"model", "family", "layers", "prompts", "window", "tokens", "target", "path",
                  "value", "n", "facts", "start", "relative_depth", "lowest", "lowest_low",
                  "lowest_high", "log_probability_change"});
  for (const ModelPaths& model : study.paths)
    for (const PathEffect& of : model.paths) {
      table.cell(model.model).cell(model.family).cell(model.layers).cell(model.prompts);
      table.cell(model.window).cell(of.name.tokens).cell(of.name.target).cell(of.name.path);
      table.cell(of.name.value).cell(of.n).cell(of.facts).cell(std::int64_t{of.start});
      table.cell(of.depth);
      put(table, of.lowest).cell(of.log_change).end_row();
    }
  return table;
}

CsvTable missed_paths_table(const Study& study) {
  CsvTable table({"model",
                  "family",
                  "layers",
                  "prompts",
                  "window",
                  "tokens",
                  "target",
                  "start",
                  "relative_depth",
                  "n",
                  "facts",
                  "state",
                  "state_low",
                  "state_high",
                  "mixer",
                  "mixer_low",
                  "mixer_high",
                  "missed",
                  "missed_low",
                  "missed_high",
                  "missed_by_log_changes",
                  "in_reach",
                  "convolution",
                  "convolution_low",
                  "convolution_high",
                  "interaction",
                  "interaction_low",
                  "interaction_high"});
  for (const ModelPaths& model : study.paths)
    for (const MissedPath& of : model.missed) {
      table.cell(model.model).cell(model.family).cell(model.layers).cell(model.prompts);
      table.cell(model.window).cell(of.tokens).cell(of.target).cell(std::int64_t{of.start});
      table.cell(of.depth).cell(of.n).cell(of.facts);
      put(table, of.state);
      put(table, of.mixer);
      put(table, of.missed).cell(of.missed_by_log).cell(of.in_reach);
      put(table, of.convolution);
      put(table, of.interaction).end_row();
    }
  return table;
}

}  // namespace factflow
