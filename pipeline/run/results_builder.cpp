#include "pipeline/run/results_builder.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>

#include <fmt/format.h>

#include "base/text.hpp"
#include "results/answer_summary.hpp"
#include "results/run_results.hpp"

namespace factflow {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr std::int64_t kTop = 5;
constexpr const char* kVersion = "0.1.0";

}  // namespace

std::string set_in_words(const Config& config, const SelectConfig& set) {
  using Rule = SelectConfig::Rule;
  const std::string right =
      set.rank == 1 ? "right" : fmt::format("among the likeliest {}", set.rank);
  std::vector<std::string> names;
  for (const ModelConfig& model : config.models) names.push_back(model.name);
  switch (set.rule) {
    case Rule::kAllModels:
      return right + " for all of " + join(names);
    case Rule::kTheseModels:
      return right + " for all of " + join(set.models);
    case Rule::kSelf:
      return right + " for the model itself";
    case Rule::kNone:
      return "every prompt";
    case Rule::kIds:
      return "the ids of " + set.ids_file;
  }
  return "";
}

namespace {

// "right for all of a, b", or with several sets "common: the ids of F; own: right for the model
// itself".
std::string selection_in_words(const Config& config) {
  if (config.select.size() == 1) return set_in_words(config, config.select[0]);
  std::vector<std::string> sets;
  for (const SelectConfig& set : config.select)
    sets.push_back(set.name + ": " + set_in_words(config, set));
  return join(sets, "; ");
}

// Collects one model after the other and writes it.
class Builder {
 public:
  // Units in the order of their names: that of their release depends on which model was evaluated
  // first.
  explicit Builder(const ResultsSource& source) : s_(source), units_(source.plan.units()) {
    std::sort(units_.begin(), units_.end());
  }

  ResultsSummary build(const std::filesystem::path& path) {
    read_evaluations();
    ResultsWriter writer(path, info(), prompt_table());
    for (std::uint32_t m = 0; m < s_.config.models.size(); ++m)
      if (facts_[m]) write_model(writer, m);
    for (const BadRecord& bad : s_.dataset.bad)
      failures_.push_back({"", "dataset", "", fmt::format("{}: {}", bad.where, bad.reason)});
    summary_.failures = static_cast<std::int64_t>(failures_.size());
    writer.publish(failures_);
    return summary_;
  }

 private:
  // The journal's word on a unit: its result, or nothing (not done, failed, or split).
  std::optional<std::string> result_of(const UnitKey& unit, bool count) {
    s_.between();
    const RecordPlace* place = s_.journal.find(unit);
    if (place == nullptr) return std::nullopt;
    const JournalRecord record = s_.journal.read(unit);
    const UnitName name = unit_named(unit);
    if (record.type == RecordType::kFailed) {
      if (count) {
        ++summary_.units_failed;
        const std::string& model = s_.config.models[name.model].name;
        failures_.push_back({model, name_of(name.stage), "",
                             fmt::format("{}: {}", describe(name, model), record.payload)});
      }
      return std::nullopt;
    }
    if (!is_result(record.type)) return std::nullopt;
    if (count) ++summary_.units_done;
    return record.payload;
  }

  void prompt_failure(std::uint32_t model, Stage stage, std::uint32_t prompt,
                      const std::string& reason) {
    failures_.push_back({s_.config.models[model].name, name_of(stage),
                         std::to_string(s_.dataset.prompts[prompt].id), reason});
  }

  void read_evaluations() {
    facts_.resize(s_.config.models.size());
    evaluations_.assign(s_.config.models.size(), {});
    for (const UnitKey& unit : units_) {
      const RecordPlace* place = s_.journal.find(unit);
      const bool split = place != nullptr && place->type == RecordType::kSplit;
      if (!split) ++summary_.units_planned;
      const UnitName name = unit_named(unit);
      if (name.stage != Stage::kEvaluate) {
        // Counted here, read when its model is written.
        if (place != nullptr && is_result(place->type)) ++summary_.units_done;
        if (place != nullptr && place->type == RecordType::kFailed) result_of(unit, true);
        continue;
      }
      const std::optional<std::string> bytes = result_of(unit, true);
      if (!bytes) continue;
      EvaluationUnit evaluation = decode_evaluation(*bytes);
      facts_[name.model] = evaluation.facts;
      auto& all = evaluations_[name.model];
      all.resize(s_.dataset.prompts.size());
      for (std::uint32_t i = 0; i < name.count; ++i)
        all[name.begin + i] = std::move(evaluation.prompts[i]);
    }
    bool released = true;
    for (std::uint32_t m = 0; m < s_.config.models.size(); ++m)
      released = released && s_.plan.released(m);
    summary_.complete =
        released && summary_.units_done + summary_.units_failed == summary_.units_planned;
  }

  RunInfo info() const {
    RunInfo info;
    info.name = s_.config.name;
    info.created = s_.created;
    info.factflow_version = kVersion;
    info.config = resolved_yaml(s_.config);
    info.selection = selection_in_words(s_.config);
    for (const ModelConfig& model : s_.config.models) info.models.push_back(model.name);
    info.answer = to_string(s_.config.select[0].answer);
    info.dataset_path = s_.config.dataset.path;
    info.dataset_digest = s_.dataset.digest;
    info.dataset_format = s_.dataset.format;
    for (const auto& facts : facts_) {
      if (!facts) continue;
      info.libtorch = facts->libraries;
      info.host = facts->host;
      info.device = facts->device;
    }
    info.precision = s_.config.run.precision;
    info.elapsed_seconds = s_.plan.compute_seconds();
    info.complete = summary_.complete;
    info.units_done = summary_.units_done;
    info.units_planned = summary_.units_planned;
    return info;
  }

  PromptTable prompt_table() const {
    PromptTable table;
    for (const Prompt& prompt : s_.dataset.prompts) {
      table.id.push_back(prompt.id);
      table.text.push_back(prompt.text);
      table.subject.push_back(prompt.subject);
      table.answer.push_back(prompt.answer);
      table.relation.push_back(prompt.relation);
    }
    table.reference_id = s_.dataset.reference_ids;
    return table;
  }

  void write_model(ResultsWriter& writer, std::uint32_t m) {
    const ModelFacts& facts = *facts_[m];
    writer.begin_model({s_.config.models[m].name, facts.family, s_.config.models[m].path,
                        facts.layers, facts.hidden_size, facts.vocabulary, facts.parameters,
                        facts.checkpoint_digest, facts.tokenizer_digest});
    write_evaluation(writer, m);
    if (s_.plan.released(m)) {
      if (!s_.planned.job.models[m].edges.empty()) write_sweep(writer, m);
      write_heatmaps(writer, m);
    }
    evaluations_[m] = {};
  }

  void write_evaluation(ResultsWriter& writer, std::uint32_t m) {
    EvaluationResult out;
    AnswerSummary answers;
    out.top = kTop;
    for (std::uint32_t p = 0; p < s_.dataset.prompts.size(); ++p) {
      const PromptEvaluation& one = evaluations_[m][p];
      const bool good = one.failure.empty() && one.rank > 0;
      if (!one.failure.empty()) prompt_failure(m, Stage::kEvaluate, p, one.failure);
      if (good)
        answers.add(s_.dataset.prompts[p].answer, one.answer_token, one.answer_text, one.changes);
      out.prompt.push_back(s_.dataset.prompts[p].id);
      out.probability.push_back(good ? one.probability : kNaN);
      out.rank.push_back(good ? one.rank : 0);
      out.tied.push_back(good ? one.tied : 0);
      out.answer_token.push_back(good ? one.answer_token : -1);
      out.answer_text.push_back(good ? one.answer_text : "");
      out.changes.push_back(good && one.changes ? 1 : 0);
      out.token_count.push_back(good ? one.token_count : 0);
      out.subject_begin.push_back(good ? one.subject_begin : 0);
      out.subject_end.push_back(good ? one.subject_end : 0);
      for (size_t k = 0; k < kTop; ++k) {
        const bool there = k < one.top_token.size();
        out.top_token.push_back(there ? one.top_token[k] : -1);
        out.top_probability.push_back(there ? one.top_probability[k] : kNaN);
        out.top_text.push_back(there ? one.top_text[k] : "");
      }
    }
    writer.write_evaluation(out);
    for (const std::string& warning : answers.warnings())
      summary_.warnings.push_back(s_.config.models[m].name + ": " + warning);
  }

  // A row per prompt that some sweep asks about, in dataset order.
  KnockoutAxes sweep_axes(std::uint32_t m) const {
    KnockoutAxes axes;
    for (const EdgeSpec& edge : s_.planned.job.models[m].edges)
      axes.edges.push_back(label_of(edge));
    std::vector<std::uint32_t> prompts = s_.plan.asked(Stage::kSweep, m).prompts;
    std::sort(prompts.begin(), prompts.end());
    for (const std::uint32_t p : prompts) axes.prompts.push_back(s_.dataset.prompts[p].id);
    axes.blocked.assign(axes.edges.size() * prompts.size(), kNotKnown);
    for (const size_t set : sets_swept(s_.config)) {
      axes.sets.push_back(s_.config.select[set].name);
      const std::vector<std::uint32_t> members = s_.plan.selected(set, m);
      for (const std::uint32_t p : prompts)
        axes.members.push_back(std::binary_search(members.begin(), members.end(), p) ? 1 : 0);
    }
    return axes;
  }

  // [set, edge] what sweeps ask of a window series: sets share prompts, so the cells do not say it.
  std::vector<std::int32_t> asked_for(std::uint32_t m, std::uint32_t series) const {
    const std::vector<size_t> sets = sets_swept(s_.config);
    const size_t edges = s_.planned.job.models[m].edges.size();
    std::vector<std::int32_t> asked(sets.size() * edges, 0);
    for (size_t i = 0; i < s_.config.sweep.size(); ++i) {
      const size_t set = prompt_set(s_.config, s_.config.sweep[i].select);
      const auto row = std::find(sets.begin(), sets.end(), set) - sets.begin();
      for (const AskedEdge& edge : s_.planned.models[m].sweeps[i])
        if (std::find(edge.series.begin(), edge.series.end(), series) != edge.series.end())
          asked[static_cast<size_t>(row) * edges + edge.edge] = 1;
    }
    return asked;
  }

  void write_sweep(ResultsWriter& writer, std::uint32_t m) {
    const ModelJob& job = s_.planned.job.models[m];
    KnockoutAxes axes = sweep_axes(m);
    std::vector<KnockoutWindow> windows;
    for (const WindowSeries& series : job.sweep) {
      KnockoutWindow& window = windows.emplace_back();
      window.window = series.size;
      window.placement = placement();
      window.starts.assign(series.starts.begin(), series.starts.end());
      window.probability.assign(axes.blocked.size() * series.starts.size(), kNaN);
      window.rank.assign(axes.blocked.size() * series.starts.size(), 0);
      window.tied = window.rank;
      window.asked = asked_for(m, static_cast<std::uint32_t>(windows.size() - 1));
    }
    std::map<std::int64_t, size_t> rows;
    for (size_t row = 0; row < axes.prompts.size(); ++row) rows[axes.prompts[row]] = row;
    const AskedPrompts& asked = s_.plan.asked(Stage::kSweep, m);
    for (const UnitKey& unit : units_) {
      const UnitName name = unit_named(unit);
      if (name.stage != Stage::kSweep || name.model != m) continue;
      const PromptPart& part = asked.part_of(name.begin);
      const std::optional<std::string> bytes = result_of(unit, false);
      const RecordPlace* record = s_.journal.find(unit);
      const bool failed = record != nullptr && record->type == RecordType::kFailed;
      if (!bytes && !failed) continue;
      const SweepUnit result = bytes ? decode_sweep(*bytes) : SweepUnit{};
      for (std::uint32_t i = 0; i < name.count; ++i) {
        const std::uint32_t prompt = asked.prompts[name.begin + i];
        const size_t row = rows.at(s_.dataset.prompts[prompt].id);
        if (failed)
          mark_failed(row, part, axes);
        else
          place(result.prompts[i], {m, prompt, row}, part, axes, windows);
      }
    }
    writer.write_axes(axes);
    for (const KnockoutWindow& window : windows) writer.write_window(window);
  }

  static void mark_failed(size_t row, const PromptPart& part, KnockoutAxes& axes) {
    for (const AskedEdge& edge : part.edges)
      axes.blocked[edge.edge * axes.prompts.size() + row] = kFailedPrompt;
  }

  struct SweptPrompt {
    std::uint32_t model, prompt;  // indices
    size_t row;                   // in the axes
  };
  void place(const PromptSweep& result, const SweptPrompt& prompt, const PromptPart& part,
             KnockoutAxes& axes, std::vector<KnockoutWindow>& windows) {
    if (!result.failure.empty()) {
      prompt_failure(prompt.model, Stage::kSweep, prompt.prompt, result.failure);
      mark_failed(prompt.row, part, axes);
      return;
    }
    for (size_t e = 0; e < part.edges.size(); ++e) {
      const size_t cell = part.edges[e].edge * axes.prompts.size() + prompt.row;
      axes.blocked[cell] = result.blocked[e];
      std::ptrdiff_t from = 0;
      for (const std::uint32_t w : part.edges[e].series) {
        const auto starts = static_cast<std::ptrdiff_t>(windows[w].starts.size());
        const auto to = static_cast<std::ptrdiff_t>(cell) * starts;
        const auto copy = [&](const auto& values, auto& cells) {
          std::copy_n(values[e].begin() + from, starts, cells.begin() + to);
        };
        copy(result.probability, windows[w].probability);
        copy(result.rank, windows[w].rank);
        copy(result.tied, windows[w].tied);
        from += starts;
      }
    }
  }

  void write_heatmaps(ResultsWriter& writer, std::uint32_t m) {
    const AskedPrompts& asked = s_.plan.asked(Stage::kHeatmap, m);
    for (const UnitKey& unit : units_) {
      const UnitName name = unit_named(unit);
      if (name.stage != Stage::kHeatmap || name.model != m) continue;
      const std::optional<std::string> bytes = result_of(unit, false);
      if (!bytes) continue;
      const HeatmapUnit result = decode_heatmap(*bytes);
      for (std::uint32_t i = 0; i < name.count; ++i) {
        const std::uint32_t prompt = asked.prompts[name.begin + i];
        if (!result.prompts[i].failure.empty()) {
          prompt_failure(m, Stage::kHeatmap, prompt, result.prompts[i].failure);
          continue;
        }
        const std::vector<std::uint32_t>& drawn = asked.part_of(name.begin).heatmaps;
        for (size_t w = 0; w < drawn.size(); ++w) {
          const WindowSeries& series = s_.planned.job.models[m].heatmaps[drawn[w]];
          writer.write_heatmap({series.size,
                                placement(),
                                s_.dataset.prompts[prompt].id,
                                result.prompts[i].tokens,
                                {series.starts.begin(), series.starts.end()},
                                result.prompts[i].probability[w],
                                result.prompts[i].token_ids});
        }
      }
    }
  }

  std::string placement() const {
    return !s_.config.sweep.empty() && s_.config.sweep[0].windows.placement == Placement::kCentred
               ? "centred"
               : "fit";
  }

  const ResultsSource& s_;
  std::vector<UnitKey> units_;
  ResultsSummary summary_;
  std::vector<std::optional<ModelFacts>> facts_;
  std::vector<std::vector<PromptEvaluation>> evaluations_;  // [model][prompt]
  std::vector<FailureRecord> failures_;
};

}  // namespace

ResultsSummary build_results(const ResultsSource& source, const std::filesystem::path& path) {
  return Builder(source).build(path);
}

}  // namespace factflow
