#include "analysis/tables.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "analysis/attribution_tables.hpp"
#include "analysis/carrier_report.hpp"
#include "analysis/csv.hpp"
#include "analysis/edit_tables.hpp"
#include "analysis/part_tables.hpp"
#include "analysis/question_tables.hpp"

namespace factflow {
namespace {

constexpr double kLevel = 0.95;  // of accuracies' intervals

void put(CsvTable& table, const Interval& interval) {
  table.cell(interval.low).cell(interval.high);
}

void put(CsvTable& table, const Estimate& estimate) {
  table.cell(estimate.value);
  put(table, estimate.by_fact);
  put(table, estimate.by_relation);
}

void add_columns(std::vector<std::string>& columns, const std::string& estimate) {
  for (const char* ending : {"", "_low", "_high", "_low_by_relation", "_high_by_relation"})
    columns.push_back(estimate + ending);
}

CsvTable models_table(const Study& study) {
  CsvTable table({"model",
                  "family",
                  "path",
                  "layers",
                  "mixers",
                  "hidden_size",
                  "vocabulary",
                  "parameters",
                  "prompts",
                  "failed",
                  "facts",
                  "accuracy",
                  "accuracy_low",
                  "accuracy_high",
                  "tied",
                  "mean_probability",
                  "selected_prompts",
                  "checkpoint_digest",
                  "tokenizer_digest",
                  "same_checkpoint_as"});
  std::map<std::int64_t, std::pair<std::string, std::string>> facts_by_id;
  const PromptTable& prompts = study.run.prompts;
  for (std::size_t i = 0; i < prompts.id.size(); ++i)
    facts_by_id.emplace(prompts.id[i], std::pair(prompts.subject[i], prompts.relation[i]));
  for (const ModelData& model : study.run.models) {
    std::vector<double> hit, probability;
    std::set<std::pair<std::string, std::string>> facts;
    for (std::size_t i = 0; i < model.evaluation.prompt.size(); ++i) {
      if (std::isnan(model.evaluation.probability[i])) continue;
      hit.push_back(model.evaluation.rank[i] == 1 ? 1 : 0);
      probability.push_back(static_cast<double>(model.evaluation.probability[i]));
      facts.insert(facts_by_id.at(model.evaluation.prompt[i]));
    }
    const Interval accuracy = wilson_interval(mean(hit), static_cast<double>(facts.size()), kLevel);
    const ModelInfo& info = model.info;
    table.cell(info.name)
        .cell(info.family)
        .cell(info.path)
        .cell(info.layers)
        .cell(mixers_in_letters(info))
        .cell(info.hidden_size);
    table.cell(info.vocabulary).cell(info.parameters).cell(model.evaluation.prompt.size());
    table.cell(model.evaluation.prompt.size() - hit.size()).cell(facts.size());
    table.cell(100 * mean(hit)).cell(100 * accuracy.low).cell(100 * accuracy.high);
    table.cell(count_tied(model.evaluation)).cell(mean(probability));
    table.cell(model.axes.prompts.size())
        .cell(info.checkpoint_digest)
        .cell(info.tokenizer_digest)
        .cell(model.repeats)
        .end_row();
  }
  return table;
}

// What a row of a table is about: an edge in its parts, or a row of interventions, whose name has
// none.
enum class Item { kEdge, kRow };

std::vector<std::string> columns_of(Item item) {
  std::vector<std::string> columns = {"model", "family", "layers"};
  if (item == Item::kEdge)
    columns.insert(columns.end(), {"edge", "source", "target", "channels", "path"});
  else
    columns.emplace_back("row");
  columns.insert(columns.end(), {"prompts", "window", "placement"});
  return columns;
}

// `of`: a Curve or an EdgeEffect.
template <typename T>
void put_item(CsvTable& table, const T& of, Item item) {
  table.cell(of.model).cell(of.family).cell(of.layers).cell(of.edge.label);
  if (item == Item::kEdge)
    table.cell(of.edge.source).cell(of.edge.target).cell(of.edge.channels).cell(of.edge.path);
  table.cell(of.prompts).cell(of.window).cell(of.placement);
}

CsvTable curves_table(const std::vector<Curve>& curves, Item item) {
  std::vector<std::string> columns = columns_of(item);
  columns.insert(columns.end(),
                 {"start", "relative_depth", "attention_layers", "recurrent_layers", "n", "facts"});
  if (item == Item::kEdge)
    columns.insert(columns.end(),
                   {"blocked_edges", "without_edges", "rerouted_layers", "rerouted"});
  columns.insert(
      columns.end(),
      {"accuracy", "accuracy_low", "accuracy_high", "change", "change_low", "change_high",
       "change_low_by_fact", "change_high_by_fact", "change_low_by_relation",
       "change_high_by_relation", "median_change", "log_probability_change",
       "log_probability_change_low", "log_probability_change_high", "half_carried_by", "mean_rank",
       "p_value", "p_holm"});
  CsvTable table(columns);
  for (const Curve& curve : curves)
    for (const CurvePoint& point : curve.points) {
      put_item(table, curve, item);
      table.cell(point.start)
          .cell(point.depth)
          .cell(point.mixers.attention)
          .cell(point.mixers.recurrent)
          .cell(point.n)
          .cell(point.facts);
      if (item == Item::kEdge)
        table.cell(point.blocked_edges)
            .cell(point.without_edges)
            .cell(point.rerouted_layers)
            .cell(point.rerouted);
      table.cell(point.accuracy);
      put(table, point.accuracy_interval);
      table.cell(point.change);
      put(table, point.change_interval);
      put(table, point.change_by_fact);
      put(table, point.change_by_relation);
      table.cell(point.median_change)
          .cell(point.log_change)
          .cell(point.log_interval.low)
          .cell(point.log_interval.high)
          .cell(point.half_carried_by)
          .cell(point.mean_rank)
          .cell(point.p_value);
      table.cell(point.p_holm).end_row();
    }
  return table;
}

CsvTable effects_table(const std::vector<EdgeEffect>& effects, Item item) {
  std::vector<std::string> columns = columns_of(item);
  if (item == Item::kRow)
    columns.insert(columns.end(), {"fewest_touched", "most_touched", "untouched"});
  columns.insert(columns.end(), {"n", "facts", "relations"});
  for (const char* estimate : {"lowest_change", "start", "relative_depth", "area", "late_change"})
    add_columns(columns, estimate);
  for (const std::string change : {"", "late_"})
    for (const char* column : {"median_change", "log_change", "log_change_low", "log_change_high"})
      columns.push_back(change + column);
  columns.insert(columns.end(), {"half_carried_by", "middle_depth", "p_value", "p_holm", "tests"});
  CsvTable table(columns);
  for (const EdgeEffect& effect : effects) {
    put_item(table, effect, item);
    if (item == Item::kRow)
      table.cell(effect.fewest_touched).cell(effect.most_touched).cell(effect.untouched);
    table.cell(effect.n).cell(effect.facts).cell(effect.relations);
    put(table, effect.lowest);
    put(table, effect.start);
    put(table, effect.depth);
    put(table, effect.area);
    put(table, effect.late);
    for (const Change* change : {&effect.at_lowest, &effect.late_change}) {
      table.cell(change->median).cell(change->log);
      put(table, change->log_interval);
    }
    table.cell(effect.half_carried_by).cell(effect.depth_middle).cell(effect.p_value);
    table.cell(effect.p_holm).cell(effect.tests).end_row();
  }
  return table;
}

CsvTable channels_table(const Study& study) {
  std::vector<std::string> columns = {
      "model",    "flow",  "prompts", "window",           "numerator",          "denominator",
      "n",        "facts", "start",   "numerator_change", "denominator_change", "median_ratio",
      "log_ratio"};
  for (const char* estimate : {"ratio", "area_ratio"}) add_columns(columns, estimate);
  CsvTable table(columns);
  for (const ChannelRatio& ratio : study.channels) {
    table.cell(ratio.model)
        .cell(ratio.flow)
        .cell(ratio.prompts)
        .cell(ratio.window)
        .cell(ratio.numerator)
        .cell(ratio.denominator);
    table.cell(ratio.n).cell(ratio.facts).cell(ratio.start);
    table.cell(ratio.above.mean).cell(ratio.below.mean).cell(ratio.median).cell(ratio.log);
    put(table, ratio.at_start);
    put(table, ratio.area);
    table.end_row();
  }
  return table;
}

CsvTable groups_table(const char* group, const std::vector<GroupEffect>& effects) {
  CsvTable table({"model", "edge", "window", group, "n", "facts", "start", "change", "change_low",
                  "change_high", "median_change", "log_change", "own_start", "own_relative_depth",
                  "own_change"});
  for (const GroupEffect& effect : effects) {
    table.cell(effect.model)
        .cell(effect.edge.label)
        .cell(effect.window)
        .cell(effect.group)
        .cell(effect.n)
        .cell(effect.facts);
    table.cell(effect.common_start).cell(effect.common_change);
    put(table, effect.common_interval);
    table.cell(effect.common_median).cell(effect.common_log);
    table.cell(effect.own_start).cell(effect.own_depth).cell(effect.own_change).end_row();
  }
  return table;
}

CsvTable paired_table(const Study& study) {
  CsvTable table({"first", "second", "edge", "window", "relative_depth", "n", "facts",
                  "first_change", "second_change", "difference", "difference_low",
                  "difference_high", "median_difference", "log_difference", "p_value", "p_holm"});
  for (const PairedDifference& pair : study.paired) {
    table.cell(pair.first)
        .cell(pair.second)
        .cell(pair.edge)
        .cell(pair.window)
        .cell(pair.depth)
        .cell(pair.n)
        .cell(pair.facts);
    table.cell(pair.first_change).cell(pair.second_change).cell(pair.difference);
    put(table, pair.interval);
    table.cell(pair.median).cell(pair.log).cell(pair.p_value).cell(pair.p_holm).end_row();
  }
  return table;
}

CsvTable sensitivity_table(const Study& study) {
  CsvTable table({"family", "smaller", "larger", "parameters_ratio", "window", "edges", "n",
                  "facts", "smaller_sensitivity", "larger_sensitivity", "difference",
                  "difference_low", "difference_high", "median_difference", "log_difference",
                  "p_value", "p_holm"});
  for (const SensitivityPair& pair : study.sensitivity) {
    table.cell(pair.family)
        .cell(pair.smaller)
        .cell(pair.larger)
        .cell(pair.size_ratio)
        .cell(pair.window)
        .cell(pair.edges)
        .cell(pair.n)
        .cell(pair.facts);
    table.cell(pair.smaller_value).cell(pair.larger_value).cell(pair.difference);
    put(table, pair.interval);
    table.cell(pair.median).cell(pair.log).cell(pair.p_value).cell(pair.p_holm).end_row();
  }
  return table;
}

CsvTable claims_table(const Study& study) {
  CsvTable table({"claim", "verdict", "reason", "model", "model_verdict", "model_reason",
                  "evidence", "rule", "source"});
  for (const Claim& claim : study.claims) {
    const auto row = [&](const ModelVerdict& model, const std::string& verdict) {
      table.cell(claim.text).cell(to_string(claim.verdict)).cell(claim.reason);
      table.cell(model.model).cell(verdict).cell(model.reason).cell(model.evidence);
      table.cell(claim.rule).cell(claim.source).end_row();
    };
    for (const ModelVerdict& model : claim.models) row(model, to_string(model.verdict));
    if (claim.models.empty()) row({}, "");
  }
  return table;
}

CsvTable traces_table(const Study& study) {
  CsvTable table({"model", "family", "layers", "corruption", "direction", "site", "window",
                  "placement", "grouping", "group", "centre", "published_layer", "n", "prompts",
                  "facts", "effect", "effect_low", "effect_high", "published_variant"});
  for (const ModelTraces& traces : study.traces)
    for (const TraceAverage& average : traces.averages)
      for (const TraceGrouping grouping : {TraceGrouping::kSharma, TraceGrouping::kRome})
        for (std::size_t group = 0; group < kTokenGroups; ++group)
          for (std::size_t i = 0; i < average.centres.size(); ++i) {
            const TracePoint& point = average.of(grouping, group)[i];
            const std::int64_t centre = average.centres[i];
            table.cell(average.model).cell(average.family).cell(average.layers);
            table.cell(to_string(traces.corruption));
            table.cell(to_string(average.direction)).cell(average.site).cell(average.window);
            table.cell(average.placement).cell(to_string(grouping));
            table.cell(name_of_group(grouping, group)).cell(centre);
            table.cell(std::int64_t{published_layer(average.site, average.centres[i])});
            table.cell(point.n).cell(point.prompts).cell(point.facts).cell(point.effect);
            put(table, point.interval);
            table.cell(point.published).end_row();
          }
  return table;
}

const std::vector<std::string> kFactColumns = {
    "model",          "prompt", "subject",    "relation",      "counterfactual",
    "high",           "low",    "difference", "subject_begin", "subject_end",
    "subject_tokens", "tokens", "used",       "left_out"};

void put_facts(const std::string& model, const std::vector<TracedFact>& facts,
               const PromptTable& prompts, CsvTable& table) {
  for (const TracedFact& fact : facts) {
    table.cell(model).cell(fact.prompt).cell(prompts.subject[fact.prompt_row]);
    table.cell(prompts.relation[fact.prompt_row]).cell(fact.counterfactual);
    table.cell(fact.high).cell(fact.low).cell(fact.high - fact.low);
    table.cell(std::int64_t{fact.subject_begin}).cell(std::int64_t{fact.subject_end});
    table.cell(std::int64_t{fact.subject_end - fact.subject_begin});
    table.cell(std::int64_t{fact.tokens});
    table.cell(std::int64_t{fact.use == FactUse::kUsed ? 1 : 0}).cell(to_string(fact.use));
    table.end_row();
  }
}

CsvTable trace_facts_table(const Study& study) {
  CsvTable table(kFactColumns);
  for (const ModelTraces& traces : study.traces)
    put_facts(traces.model, traces.facts, study.run.prompts, table);
  return table;
}

CsvTable severing_facts_table(const Study& study) {
  CsvTable table(kFactColumns);
  for (const ModelSevering& severing : study.severings)
    put_facts(severing.model, severing.facts, study.run.prompts, table);
  return table;
}

CsvTable attribution_facts_table(const Study& study) {
  CsvTable table(kFactColumns);
  for (const ModelAttributions& attributions : study.attributions)
    put_facts(attributions.model, attributions.facts, study.run.prompts, table);
  return table;
}

CsvTable severings_table(const Study& study) {
  CsvTable table({"model", "family", "layers", "at", "severed", "layer", "published_layer", "n",
                  "facts", "effect", "standard_error", "effect_low", "effect_high"});
  for (const ModelSevering& severing : study.severings)
    for (const SeveredCurve& curve : severing.curves)
      for (std::size_t i = 0; i < curve.points.size(); ++i) {
        const SeveredPoint& point = curve.points[i];
        table.cell(severing.model).cell(severing.family).cell(severing.layers);
        table.cell(curve.at).cell(curve.severed).cell(std::int64_t{severing.patched[i]});
        table.cell(std::int64_t{published_layer("h", severing.patched[i])});
        table.cell(point.n).cell(point.facts).cell(point.effect).cell(point.error);
        put(table, point.interval);
        table.end_row();
      }
  return table;
}

CsvTable mean_knockouts_table(const Study& study) {
  CsvTable table({"model", "family", "layers", "mode", "set", "window", "centre", "n", "facts",
                  "change", "standard_error", "change_low", "change_high", "reference_prompts",
                  "reference_tokens", "reference_documents"});
  for (const ModelMeanKnockouts& knockouts : study.mean_knockouts)
    for (const MeanKnockoutCurve& curve : knockouts.curves)
      for (std::size_t i = 0; i < curve.points.size(); ++i) {
        const MeanKnockoutPoint& point = curve.points[i];
        table.cell(knockouts.model).cell(knockouts.family).cell(knockouts.layers);
        table.cell(curve.mode).cell(curve.set).cell(curve.window);
        table.cell(std::int64_t{curve.centres[i]}).cell(point.n).cell(point.facts);
        table.cell(point.change).cell(point.error);
        put(table, point.interval);
        table.cell(knockouts.reference_prompts).cell(knockouts.reference_tokens);
        table.cell(knockouts.reference_documents).end_row();
      }
  return table;
}

CsvTable linear_relations_table(const Study& study) {
  CsvTable table(
      {"model",          "family",        "layers",    "relation",        "words",
       "subjects",       "prompts",       "trials",    "known",           "faithfulness",
       "standard_error", "among_2",       "among_3",   "layer",           "beta",
       "squared_shares", "largest_share", "causality", "causality_error", "causality_layer",
       "rank",           "left_out"});
  for (const ModelRelations& model : study.relations)
    for (const RelationScore& score : model.relations) {
      static const RelationLayer kNone;
      const bool scored = score.left_out.empty();
      const RelationLayer& best = scored ? score.best_layer() : kNone;
      const RelationLayer& edited = scored ? score.most_causal() : kNone;
      table.cell(model.model).cell(model.family).cell(model.layers);
      table.cell(score.relation).cell(score.words).cell(score.facts).cell(score.prompts);
      table.cell(score.trials).cell(score.known);
      table.cell(best.recall[0].value).cell(best.recall[0].error);
      table.cell(best.recall[1].value).cell(best.recall[2].value);
      table.cell(std::int64_t{best.layer}).cell(best.beta);
      table.cell(score.squared_shares).cell(score.largest_share);
      table.cell(edited.causality.value).cell(edited.causality.error);
      table.cell(std::int64_t{edited.rank < 0 ? -1 : edited.layer});
      table.cell(std::int64_t{edited.rank}).cell(score.left_out).end_row();
    }
  return table;
}

CsvTable linear_relation_layers_table(const Study& study) {
  CsvTable table({"model", "relation", "words", "layer", "faithfulness", "standard_error",
                  "among_2", "among_3", "beta", "causality", "causality_error", "rank"});
  for (const ModelRelations& model : study.relations)
    for (const RelationScore& score : model.relations)
      for (const RelationLayer& layer : score.layers) {
        table.cell(model.model).cell(score.relation).cell(score.words);
        table.cell(std::int64_t{layer.layer});
        table.cell(layer.recall[0].value).cell(layer.recall[0].error);
        table.cell(layer.recall[1].value).cell(layer.recall[2].value).cell(layer.beta);
        table.cell(layer.causality.value).cell(layer.causality.error);
        table.cell(std::int64_t{layer.rank}).end_row();
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

std::vector<TableFile> write_tables(const Study& study, Staging& staging) {
  std::vector<TableFile> files;
  const auto write = [&](const char* file, const char* about, const CsvTable& table) {
    staging.write(std::string("tables/") + file, table.text());
    files.push_back({file, about, table.rows()});
  };
  write("findings.csv", "lowest mean change of every model and edge, at the window of the findings",
        effects_table(study.main_effects, Item::kEdge));
  write("claims.csv", "claims of the papers and what this run says to them", claims_table(study));
  write("models.csv", "models, their accuracy and digests", models_table(study));
  write("curves.csv", "every model, edge, window and start: accuracy, changes, intervals",
        curves_table(study.curves, Item::kEdge));
  write("effects.csv",
        "every model, edge and window: lowest mean change, depth, area, bootstrap intervals",
        effects_table(study.effects, Item::kEdge));
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
  write("interventions.csv",
        "every model, row of interventions, window and start: accuracy, changes, intervals",
        curves_table(study.intervention_curves, Item::kRow));
  write("intervention_effects.csv",
        "every model, row of interventions and window: what it touches, lowest mean change, depth, "
        "area, bootstrap intervals",
        effects_table(study.intervention_effects, Item::kRow));
  write("traces.csv",
        "causal traces: mean indirect effect of every model, direction, site, window, group of "
        "tokens and centre",
        traces_table(study));
  write("trace_facts.csv",
        "every traced prompt: the other subject, both probabilities, why it has no part in means",
        trace_facts_table(study));
  write("attributions.csv",
        "gradient estimates of causal traces against the exact effects: rank correlation, equal "
        "signs and differences of every model, site, method and layer",
        attributions_table(study));
  write("attribution_facts.csv",
        "every prompt with gradient estimates: the other subject, both probabilities, why it has "
        "no part",
        attribution_facts_table(study));
  write(
      "edits.csv",
      "every edit of every prompt: how likely the answers are before and after, how the search for "
      "the value ended",
      edits_table(study));
  write(
      "edit_scores.csv",
      "every model, set of prompts and edit: success rates, score, magnitudes, accuracies, before "
      "and after",
      edit_scores_table(study));
  write("edit_moved.csv", "what every edit does to prompts of other facts",
        edit_moved_table(study));
  write("severings.csv",
        "severed paths: mean effect of every model, token, severing and layer, with standard error",
        severings_table(study));
  write("severing_facts.csv",
        "every prompt with severed paths: the other subject, both probabilities, why it has no "
        "part in means",
        severing_facts_table(study));
  write("mean_knockouts.csv",
        "knockouts by means: mean change of every model, mode, set of tokens, window and centre, "
        "with standard error",
        mean_knockouts_table(study));
  write("linear_relations.csv",
        "every linear relation of every model: faithfulness and causality at the best layer, and "
        "what constant answers get right",
        linear_relations_table(study));
  write("linear_relation_layers.csv", "the same of every layer",
        linear_relation_layers_table(study));
  write("paths.csv",
        "every model, group of tokens and path (rows of interventions): lowest mean change",
        paths_table(study));
  write("missed_paths.csv",
        "what a knockout of the state alone misses of state and convolution together",
        missed_paths_table(study));
  write("carriers.csv",
        "edges cut on attention, on the recurrent mixers and on both: shares, interaction, verdict",
        carriers_table(study));
  write("parts.csv", "every part of an edge, window and start: change with the part cut alone",
        parts_table(study));
  write("part_sums.csv",
        "every divided edge, window and start: the whole, the sum of the parts, their trend",
        part_sums_table(study));
  write("part_contrasts.csv", "slices of slow channels against random ones",
        part_contrasts_table(study));
  write("part_steps.csv", "parts knocked out together, one more at a time",
        part_steps_table(study));
  write("part_overlaps.csv", "how alike relations are in the parts that carry them",
        part_overlaps_table(study));
  for (const QuestionTable& question : question_tables(study))
    write(question.file, question.about, question.table);
  write("failures.csv", "prompts and units that gave no numbers", failures_table(study));
  return files;
}

}  // namespace factflow
