#include "analysis/tables.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <utility>

#include "analysis/csv.hpp"

namespace factflow {
namespace {

void put(CsvTable& table, const Interval& interval) {
  table.cell(interval.low).cell(interval.high);
}

void put(CsvTable& table, const Estimate& estimate) {
  table.cell(estimate.value);
  put(table, estimate.by_prompt);
  put(table, estimate.by_relation);
}

void add_columns(std::vector<std::string>& columns, const std::string& estimate) {
  for (const char* ending : {"", "_low", "_high", "_low_by_relation", "_high_by_relation"})
    columns.push_back(estimate + ending);
}

CsvTable models_table(const Study& study) {
  CsvTable table({"model", "family", "path", "layers", "hidden_size", "vocabulary", "parameters",
                  "prompts", "failed", "accuracy", "mean_probability", "selected_prompts",
                  "checkpoint_digest", "tokenizer_digest", "same_checkpoint_as"});
  for (const ModelData& model : study.run.models) {
    std::vector<double> hit, probability;
    for (std::size_t i = 0; i < model.evaluation.prompt.size(); ++i) {
      if (std::isnan(model.evaluation.probability[i])) continue;
      hit.push_back(model.evaluation.rank[i] == 1 ? 100 : 0);
      probability.push_back(static_cast<double>(model.evaluation.probability[i]));
    }
    const ModelInfo& info = model.info;
    table.cell(info.name)
        .cell(info.family)
        .cell(info.path)
        .cell(info.layers)
        .cell(info.hidden_size);
    table.cell(info.vocabulary).cell(info.parameters).cell(model.evaluation.prompt.size());
    table.cell(model.evaluation.prompt.size() - hit.size()).cell(mean(hit)).cell(mean(probability));
    table.cell(model.axes.prompts.size())
        .cell(info.checkpoint_digest)
        .cell(info.tokenizer_digest)
        .cell(model.repeats)
        .end_row();
  }
  return table;
}

CsvTable curves_table(const Study& study) {
  CsvTable table({"model",
                  "family",
                  "layers",
                  "edge",
                  "source",
                  "target",
                  "channels",
                  "prompts",
                  "window",
                  "placement",
                  "start",
                  "relative_depth",
                  "n",
                  "accuracy",
                  "accuracy_low",
                  "accuracy_high",
                  "change",
                  "change_low",
                  "change_high",
                  "change_low_by_prompt",
                  "change_high_by_prompt",
                  "change_low_by_relation",
                  "change_high_by_relation",
                  "median_change",
                  "log_probability_change",
                  "mean_rank",
                  "p_value",
                  "p_holm"});
  for (const Curve& curve : study.curves)
    for (const CurvePoint& point : curve.points) {
      table.cell(curve.model)
          .cell(curve.family)
          .cell(curve.layers)
          .cell(curve.edge.label)
          .cell(curve.edge.source);
      table.cell(curve.edge.target)
          .cell(curve.edge.channels)
          .cell(curve.prompts)
          .cell(curve.window)
          .cell(curve.placement);
      table.cell(point.start).cell(point.depth).cell(point.n).cell(point.accuracy);
      put(table, point.accuracy_interval);
      table.cell(point.change);
      put(table, point.change_interval);
      put(table, point.change_by_prompt);
      put(table, point.change_by_relation);
      table.cell(point.median_change)
          .cell(point.log_change)
          .cell(point.mean_rank)
          .cell(point.p_value);
      table.cell(point.p_holm).end_row();
    }
  return table;
}

CsvTable effects_table(const std::vector<EdgeEffect>& effects) {
  std::vector<std::string> columns = {"model",  "family",    "layers",   "edge",
                                      "source", "target",    "channels", "prompts",
                                      "window", "placement", "n",        "relations"};
  for (const char* estimate : {"drop", "start", "relative_depth", "area", "late_change"})
    add_columns(columns, estimate);
  columns.insert(columns.end(), {"middle_depth", "p_holm"});
  CsvTable table(columns);
  for (const EdgeEffect& effect : effects) {
    table.cell(effect.model)
        .cell(effect.family)
        .cell(effect.layers)
        .cell(effect.edge.label)
        .cell(effect.edge.source);
    table.cell(effect.edge.target)
        .cell(effect.edge.channels)
        .cell(effect.prompts)
        .cell(effect.window)
        .cell(effect.placement);
    table.cell(effect.n).cell(effect.relations);
    put(table, effect.drop);
    put(table, effect.start);
    put(table, effect.depth);
    put(table, effect.area);
    put(table, effect.late);
    table.cell(effect.depth_middle).cell(effect.p_holm).end_row();
  }
  return table;
}

CsvTable channels_table(const Study& study) {
  std::vector<std::string> columns = {
      "model",       "flow", "prompts", "window",           "numerator",
      "denominator", "n",    "start",   "numerator_change", "denominator_change"};
  for (const char* estimate : {"ratio", "area_ratio"}) add_columns(columns, estimate);
  CsvTable table(columns);
  for (const ChannelRatio& ratio : study.channels) {
    table.cell(ratio.model)
        .cell(ratio.flow)
        .cell(ratio.prompts)
        .cell(ratio.window)
        .cell(ratio.numerator)
        .cell(ratio.denominator);
    table.cell(ratio.n)
        .cell(ratio.start)
        .cell(ratio.numerator_change)
        .cell(ratio.denominator_change);
    put(table, ratio.at_start);
    put(table, ratio.area);
    table.end_row();
  }
  return table;
}

CsvTable groups_table(const char* group, const std::vector<GroupEffect>& effects) {
  CsvTable table({"model", "edge", "window", group, "n", "start", "change", "change_low",
                  "change_high", "own_start", "own_relative_depth", "own_change"});
  for (const GroupEffect& effect : effects) {
    table.cell(effect.model)
        .cell(effect.edge.label)
        .cell(effect.window)
        .cell(effect.group)
        .cell(effect.n);
    table.cell(effect.common_start).cell(effect.common_change);
    put(table, effect.common_interval);
    table.cell(effect.own_start).cell(effect.own_depth).cell(effect.own_change).end_row();
  }
  return table;
}

CsvTable paired_table(const Study& study) {
  CsvTable table({"first", "second", "edge", "window", "relative_depth", "n", "first_change",
                  "second_change", "difference", "difference_low", "difference_high", "p_value",
                  "p_holm"});
  for (const PairedDifference& pair : study.paired) {
    table.cell(pair.first)
        .cell(pair.second)
        .cell(pair.edge)
        .cell(pair.window)
        .cell(pair.depth)
        .cell(pair.n);
    table.cell(pair.first_change).cell(pair.second_change).cell(pair.difference);
    put(table, pair.interval);
    table.cell(pair.p_value).cell(pair.p_holm).end_row();
  }
  return table;
}

CsvTable sensitivity_table(const Study& study) {
  CsvTable table({"family", "smaller", "larger", "window", "edges", "n", "smaller_sensitivity",
                  "larger_sensitivity", "difference", "difference_low", "difference_high",
                  "p_value"});
  for (const SensitivityPair& pair : study.sensitivity) {
    table.cell(pair.family)
        .cell(pair.smaller)
        .cell(pair.larger)
        .cell(pair.window)
        .cell(pair.edges)
        .cell(pair.n);
    table.cell(pair.smaller_value).cell(pair.larger_value).cell(pair.difference);
    put(table, pair.interval);
    table.cell(pair.p_value).end_row();
  }
  return table;
}

CsvTable claims_table(const Study& study) {
  CsvTable table({"claim", "verdict", "model", "model_verdict", "evidence", "rule"});
  for (const Claim& claim : study.claims) {
    for (const ModelVerdict& model : claim.models) {
      table.cell(claim.text)
          .cell(to_string(claim.verdict))
          .cell(model.model)
          .cell(to_string(model.verdict));
      table.cell(model.evidence).cell(claim.rule).end_row();
    }
    if (claim.models.empty())
      table.cell(claim.text)
          .cell(to_string(claim.verdict))
          .cell("")
          .cell("")
          .cell("")
          .cell(claim.rule)
          .end_row();
  }
  return table;
}

CsvTable failures_table(const Study& study) {
  CsvTable table({"model", "stage", "prompt", "reason"});
  for (const FailureRecord& failure : study.run.failures)
    table.cell(failure.model)
        .cell(failure.stage)
        .cell(failure.prompt)
        .cell(failure.reason)
        .end_row();
  return table;
}

}  // namespace

std::vector<TableFile> write_tables(const Study& study, const std::filesystem::path& folder) {
  std::vector<TableFile> files;
  const auto write = [&](const char* file, const char* about, const CsvTable& table) {
    table.publish(folder / file);
    files.push_back({file, about, table.rows()});
  };
  write("findings.csv", "largest drop of every model and edge, at the window of the findings",
        effects_table(study.main_effects));
  write("claims.csv", "claims of the paper and what this run says to them", claims_table(study));
  write("models.csv", "models, their accuracy and digests", models_table(study));
  write("curves.csv", "every model, edge, window and start: accuracy, changes, intervals",
        curves_table(study));
  write("effects.csv",
        "every model, edge and window: largest drop, depth, area, bootstrap intervals",
        effects_table(study.effects));
  write("channels.csv", "share of an edge's effect that a set of channels carries",
        channels_table(study));
  write("by_relation.csv", "effects by relation", groups_table("relation", study.by_relation));
  write("by_subject_length.csv", "effects by the number of subject tokens",
        groups_table("subject_tokens", study.by_subject_length));
  write("by_distance.csv", "effects by the number of tokens after the subject",
        groups_table("tokens_after_subject", study.by_distance));
  write("paired.csv", "differences between models on the same prompts", paired_table(study));
  write("sensitivity.csv", "smallest against largest model of each family",
        sensitivity_table(study));
  write("failures.csv", "prompts and units that gave no numbers", failures_table(study));
  return files;
}

}  // namespace factflow
