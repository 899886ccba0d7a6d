#include "experiments/intervene/intervene.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <utility>

#include <cereal/types/variant.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "experiments/bytes.hpp"
#include "experiments/cell_collector.hpp"
#include "experiments/drawn_prompts.hpp"
#include "experiments/intervene/group_bytes.hpp"
#include "experiments/intervene/intervention_arrays.hpp"
#include "experiments/parts/parts_arrays.hpp"
#include "experiments/parts/ranking.hpp"
#include "experiments/planning.hpp"

namespace factflow {

template <class Archive>
void serialize(Archive& archive, ValueSpec& v) {
  archive(v.kind, v.deviation, v.numbers);
}
template <class Archive>
void serialize(Archive& archive, BlockSpec& b) {
  archive(b.from, b.to, b.through, b.channels, b.heads, b.channel_list, b.parts, b.path, b.erase,
          b.happened);
}
template <class Archive>
void serialize(Archive& archive, WriteSpec& w) {
  archive(w.site, w.tokens, w.channel_list, w.value, w.add, w.scale);
}
template <class Archive>
void serialize(Archive& archive, RowSpec& r) {
  archive(r.name, r.together, r.widths, r.seed);
}

namespace {

constexpr std::size_t kTokenText = 6;  // bytes, for estimates
constexpr std::int64_t kNoDonor = -1;

// What is asked of one model; what is asked of a prompt are items of `rows` and places in `series`.
struct IntervenePlan {
  std::vector<RowSpec> rows;
  std::vector<WindowSeries> series;
  std::vector<Prompt> references;
  int taps = 0;  // of the model's longest convolution
  // Prompts in whose tokens exp(A dt) is measured, and what it ranks; none where no row is by it.
  std::vector<Prompt> ranking;
  PartOf ranked = PartOf::kHeads;
  bool routes = false;  // whether the model has experts
};
template <class Archive>
void serialize(Archive& archive, IntervenePlan& p) {
  archive(p.rows, p.series, p.references, p.taps, p.ranking, p.ranked, p.routes);
}

StoredCells stored_by(const IntervenePlan& plan) {
  return {.log_changes = true, .rerouted = plan.routes};
}

// What is found about one prompt.
struct PromptFinding {
  // [asked row]; of a row that takes one token after the other [token, start] of each size.
  std::vector<CellValues> rows;
  std::int64_t donor = kNoDonor;    // id of the prompt that lends values
  std::vector<std::string> tokens;  // texts and ids, for maps alone
  std::vector<std::int32_t> token_ids;
  // What ranked the channels, of the first prompt of a unit where a row is by it; else without
  // numbers.
  DecayInPrompts decay;
};
template <class Archive>
void serialize(Archive& archive, PromptFinding& p) {
  archive(p.rows, p.donor, p.tokens, p.token_ids, p.decay.tokens, p.decay.mean);
}

// The tokens whose turn it is in the runs of a row.
int turns_of(const RowSpec& row, std::size_t tokens) {
  return row.one_by_one() ? static_cast<int>(tokens) : 1;
}

bool any_maps(const IntervenePlan& plan, const Asked& asked) {
  return std::any_of(asked.begin(), asked.end(),
                     [&](const AskedItem& one) { return plan.rows.at(one.item).one_by_one(); });
}

// ---- results

std::map<std::uint32_t, std::string> rows_with_cells(const std::vector<RowSpec>& rows) {
  std::map<std::uint32_t, std::string> names;
  for (std::uint32_t row = 0; row < rows.size(); ++row)
    if (!rows[row].one_by_one()) names.emplace(row, rows[row].name);
  return names;
}

class InterventionArrays final : public ArrayMaker {
 public:
  InterventionArrays(const IntervenePlan& plan, const Subjects& subjects)
      : plan_(plan),
        subjects_(subjects),
        cells_(rows_with_cells(plan.rows), plan.series, subjects, stored_by(plan)),
        donors_(subjects.asked.size(), kNoDonor) {
    for (std::uint32_t row = 0; row < plan.rows.size(); ++row)
      if (plan.rows[row].one_by_one()) maps_.emplace(row, std::vector<HeatmapResult>{});
  }

  void add(std::uint32_t prompt, const Asked& asked, const std::string& values) override {
    const auto found = from_bytes<PromptFinding>(values, "what interventions did");
    donors_[cells_.row_of(prompt)] = found.donor;
    if (decay_.tokens == 0) decay_ = found.decay;
    for (std::size_t i = 0; i < asked.size(); ++i) {
      if (plan_.rows.at(asked[i].item).one_by_one())
        add_maps(prompt, asked[i], i, found);
      else
        cells_.add(prompt, asked[i], found.rows.at(i));
    }
  }
  void add_failed(std::uint32_t prompt, const Asked& asked) override {
    cells_.add_failed(prompt, asked);
  }

  std::vector<ArrayGroup> groups() override {
    std::vector<ArrayGroup> groups;
    if (!cells_.empty()) {
      groups.push_back(arrays_of(intervention_names(), cells_.axes()));
      add_references(groups.back());
      cells_.add_windows(intervention_names(), groups);
    }
    if (decay_.tokens > 0) {
      groups.push_back(arrays_of_ranking(decay_.mean, decay_.tokens,
                                         static_cast<std::int64_t>(plan_.ranking.size())));
      groups.back().path = fmt::format("{}/ranking", intervention_names().group);
    }
    std::int64_t index = 0;
    for (auto& [row, maps] : maps_)
      for (ArrayGroup& group :
           arrays_of(maps, intervention_map_names(index++, plan_.rows[row].name)))
        groups.push_back(std::move(group));
    return groups;
  }

 private:
  void add_references(ArrayGroup& group) const {
    if (plan_.references.empty()) return;
    std::vector<std::int64_t> ids;
    for (const Prompt& prompt : plan_.references) ids.push_back(prompt.id);
    group.axes.push_back(
        {"reference", ids, {"1", "id of a prompt that lends values to mean and resample"}});
    group.arrays.push_back({"donor",
                            {"prompt"},
                            donors_,
                            {"1",
                             "id of the reference whose values the prompt takes up where a "
                             "row resamples; -1 = none"}});
  }

  void add_maps(std::uint32_t prompt, const AskedItem& row, std::size_t i,
                const PromptFinding& found) {
    std::ptrdiff_t from = 0;
    for (const std::uint32_t series : row.series) {
      const WindowSeries& of_size = plan_.series.at(series);
      HeatmapResult& map = maps_.at(row.item).emplace_back();
      map.window = of_size.size;
      map.placement = to_string(of_size.placement);
      map.prompt = subjects_.prompts.at(prompt).id;
      map.tokens = found.tokens;
      map.token_ids = found.token_ids;
      map.starts = of_size.starts;
      const auto cells = static_cast<std::ptrdiff_t>(map.tokens.size() * map.starts.size());
      const CellValues& of_row = found.rows.at(i);
      const auto copy = [&](const auto& values, auto& to) {
        to.assign(values.begin() + from, values.begin() + from + cells);
      };
      copy(of_row.probability, map.probability);
      copy(of_row.log_change, map.log_change);
      copy(of_row.rank, map.rank);
      copy(of_row.blocked_edges, map.blocked_edges);
      if (plan_.routes) copy(of_row.rerouted, map.rerouted);
      from += cells;
    }
  }

  const IntervenePlan& plan_;
  const Subjects& subjects_;
  CellCollector cells_;
  DecayInPrompts decay_;                                      // the same in all units
  std::vector<std::int64_t> donors_;                          // [prompt]
  std::map<std::uint32_t, std::vector<HeatmapResult>> maps_;  // by row with maps
};

// ---- work

class InterveneWork final : public Work {
 public:
  explicit InterveneWork(IntervenePlan plan) : plan_(std::move(plan)) {}
  std::string bytes() const override { return to_bytes(plan_); }

  std::string describe(const Asked& asked) const override {
    return fmt::format("interventions, {}, windows {}", counted(asked.size(), "row"),
                       fmt::join(asked_sizes(plan_.series, asked), " "));
  }
  std::string summary() const override {
    return plan_.rows.empty()
               ? ""
               : counted(plan_.rows.size(), "row of interventions", "rows of interventions");
  }

  std::vector<Replays> replays(const Asked& asked, double tokens) const override {
    std::vector<Replays> replays;
    for (const AskedItem& row : asked)
      replays.push_back({plan_.rows.at(row.item).one_by_one() ? tokens : 1,
                         windows_of(plan_.series, row.series)});
    return replays;
  }
  PromptBytes bytes_of_prompt(const Asked& asked, double tokens) const override {
    PromptFinding sample;
    const auto count = static_cast<std::size_t>(std::llround(tokens));
    double rows = 0;
    for (const AskedItem& row : asked) {
      const std::size_t cells = windows_of(plan_.series, row.series).size() *
                                static_cast<std::size_t>(turns_of(plan_.rows.at(row.item), count));
      sample.rows.push_back(no_answers(cells, stored_by(plan_)));
      rows += static_cast<double>(cells);
    }
    if (any_maps(plan_, asked)) {
      sample.tokens.assign(count, std::string(kTokenText, 'x'));
      sample.token_ids.resize(count);
    }
    return {rows * stored_by(plan_).bytes(), static_cast<double>(to_bytes(sample).size())};
  }

  std::vector<Prompt> references(std::span<const TokenizedPrompt>) const override {
    return plan_.references;
  }

  // Without the rows by the decay that happens in the model.
  ReplayRequest request(const Asked& asked, const TokenizedPrompt& prompt,
                        std::span<const TokenizedPrompt> references) const override {
    return request_of(asked, prompt, references, nullptr);
  }

  std::vector<Finding> compute(LoadedModel& model, const Asked& asked,
                               std::span<const TokenizedPrompt> prompts) const override {
    const bool by_decay = std::any_of(asked.begin(), asked.end(), [&](const AskedItem& one) {
      return plan_.rows.at(one.item).by_decay_that_happens();
    });
    if (!by_decay) return Work::compute(model, asked, prompts);
    const DecayInPrompts& decay = decay_of(model, plan_.ranking);
    const std::vector<TokenizedPrompt> others = model.tokenize_usable(references(prompts));
    std::vector<ReplayRequest> requests;
    for (const TokenizedPrompt& prompt : prompts)
      requests.push_back(request_of(asked, prompt, others, &decay));
    std::vector<ReplayResult> results = model.replay(requests);
    std::vector<Finding> findings;
    bool first = true;
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      if (!is_finite(results[i])) {
        findings.push_back({kNotFinite, ""});
        continue;
      }
      join_windows(asked, prompts[i], results[i]);
      PromptFinding finding = finding_of(model, asked, prompts[i], others, results[i]);
      if (std::exchange(first, false)) finding.decay = decay;
      findings.push_back({"", to_bytes(finding)});
    }
    return findings;
  }

  Finding record(const LoadedModel& model, const Asked& asked, const TokenizedPrompt& prompt,
                 std::span<const TokenizedPrompt> references,
                 const ReplayResult& result) const override {
    return {"", to_bytes(finding_of(model, asked, prompt, references, result))};
  }

  std::unique_ptr<ArrayMaker> arrays(const Subjects& subjects) const override {
    return std::make_unique<InterventionArrays>(plan_, subjects);
  }

 private:
  // Without `decay` not of the rows by it.
  ReplayRequest request_of(const Asked& asked, const TokenizedPrompt& prompt,
                           std::span<const TokenizedPrompt> references,
                           const DecayInPrompts* decay) const {
    // Means and draws are over all of them.
    if (references.size() != plan_.references.size())
      throw InputError("intervene.references",
                       fmt::format("the model has tokens for {} of the {} reference prompts",
                                   references.size(), plan_.references.size()),
                       "leave out prompts without a subject in their text, or take another seed");
    ReplayRequest request{prompt.ids, prompt.answer, {}};
    for (const AskedItem& one : asked) {
      const RowSpec& row = plan_.rows.at(one.item);
      const std::vector<Window> windows = windows_of(plan_.series, one.series);
      const bool by_decay = row.by_decay_that_happens();
      if (by_decay && decay == nullptr) continue;
      for (int each = 0; each < turns_of(row, prompt.ids.size()); ++each) {
        RowInPrompt found = in_prompt(row, prompt, references, each, plan_.taps);
        if (by_decay) {
          for (const Window& window : windows)
            request.series.push_back(
                found.touched > 0
                    ? Series(in_layers(found, plan_.ranked, window, decay->mean), std::nullopt)
                    : Series({}, {}, {}, {window}));
          continue;
        }
        // Nothing to touch is an edge of no tokens, which the engine answers with "none".
        request.series.push_back(found.touched > 0 ? Series(std::move(found.interventions), windows)
                                                   : Series({}, {}, {}, windows));
      }
    }
    return request;
  }

  // Rows by the decay that happens have a series for each window: one for all of them, as others.
  void join_windows(const Asked& asked, const TokenizedPrompt& prompt, ReplayResult& result) const {
    std::vector<std::vector<Answer>> joined;
    auto next = result.knockouts.begin();
    for (const AskedItem& one : asked) {
      const RowSpec& row = plan_.rows.at(one.item);
      const std::size_t series =
          row.by_decay_that_happens() ? windows_of(plan_.series, one.series).size() : 1;
      for (int each = 0; each < turns_of(row, prompt.ids.size()); ++each) {
        std::vector<Answer>& answers = joined.emplace_back();
        for (std::size_t i = 0; i < series; ++i, ++next)
          answers.insert(answers.end(), next->begin(), next->end());
      }
    }
    result.knockouts = std::move(joined);
  }

  PromptFinding finding_of(const LoadedModel& model, const Asked& asked,
                           const TokenizedPrompt& prompt,
                           std::span<const TokenizedPrompt> references,
                           const ReplayResult& result) const {
    PromptFinding found;
    std::size_t series = 0;
    for (const AskedItem& one : asked) {
      const RowSpec& row = plan_.rows.at(one.item);
      CellValues& values = found.rows.emplace_back();
      values.touched = in_prompt(row, prompt, references, 0, plan_.taps).touched;
      const std::vector<Window> windows = windows_of(plan_.series, one.series);
      std::vector<std::vector<Answer>> turns;
      for (int each = 0; each < turns_of(row, prompt.ids.size()); ++each, ++series) {
        turns.push_back(result.knockouts.at(series));
        if (!reaches(row, prompt, each, model.network().architecture(), windows))
          turns.back().assign(turns.back().size(), Answer{});
      }
      add_answers(turns, result.clean, one, values);
      if (row.needs(ValueSpec::Kind::kResample))
        if (const auto donor = donor_of(row, prompt, references))
          found.donor = plan_.references.at(*donor).id;
    }
    if (any_maps(plan_, asked))
      for (const int id : prompt.ids) {
        found.tokens.push_back(model.tokenizer().token_text(id));
        found.token_ids.push_back(id);
      }
    return found;
  }

  // Of a row's turns, each with the windows of all asked sizes: sorted by size, then by turn.
  void add_answers(const std::vector<std::vector<Answer>>& turns, const Answer& clean,
                   const AskedItem& row, CellValues& values) const {
    std::size_t first = 0;
    for (const std::uint32_t series : row.series) {
      const std::size_t starts = plan_.series.at(series).windows.size();
      for (const std::vector<Answer>& answers : turns)
        for (std::size_t i = first; i < first + starts; ++i) {
          const Answer& answer = answers.at(i);
          if (answer.rank == 0) values.touched = 0;  // an empty set of channels, say
          values.add(answer, clean.log_probability, stored_by(plan_));
        }
      first += starts;
    }
  }

  IntervenePlan plan_;
};

// ---- the kind

std::vector<Prompt> references_of(const ReferencesConfig& config, const std::string& key,
                                  const ModelToPlan& model) {
  const std::size_t there = model.prompts.size();
  if (static_cast<std::size_t>(config.prompts) > there)
    throw InputError(
        model.file.string(),
        fmt::format("key {}.prompts: the dataset has only {}", key, counted(there, "prompt")),
        "ask for fewer");
  const std::size_t count = config.prompts > 0 ? static_cast<std::size_t>(config.prompts)
                                               : std::min<std::size_t>(kUsualReferences, there);
  return drawn_prompts(model.prompts, count, config.seed);
}

class IntervenePlanner {
 public:
  explicit IntervenePlanner(const ModelToPlan& model) : model_(model) {
    plan_.taps = model.architecture.taps();
    plan_.routes = model.architecture.routes();
  }

  Asked add(const InterveneConfig& entry, const std::string& section_key) {
    const std::vector<std::uint32_t> series = add_series(
        plan_.series, entry.windows.sizes, entry.windows.placement, model_.architecture.layers);
    Asked asked;
    bool by_decay = false;
    for (std::size_t i = 0; i < entry.rows.size(); ++i)
      for (RowSpec& row : rows_of(entry.rows[i], entry.references)) {
        const std::string key = fmt::format("{}rows[{}]", section_key, i);
        fit(row, windows_of(plan_.series, series), key);
        by_decay = by_decay || row.by_decay_that_happens();
        if (row.needs(ValueSpec::Kind::kMean) || row.needs(ValueSpec::Kind::kResample))
          take_references(entry.references, section_key + "references");
        asked.push_back({place_of(std::move(row), key), series});
      }
    if (by_decay)
      take_ranking(entry.ranking, section_key + "ranking");
    else if (entry.ranking != RankingConfig{})
      throw InputError(
          model_.file.string(),
          fmt::format("key {}ranking: no row of the entry is by exp(A dt)", section_key),
          "leave it out, or write for instance channels: quantile 1/3 by exp(A dt)");
    std::sort(asked.begin(), asked.end());
    return asked;
  }

  IntervenePlan take() { return std::move(plan_); }

 private:
  void fit(RowSpec& row, const std::vector<Window>& windows, const std::string& key) const {
    for (const TokenGroup& group : groups_of(row))
      require_in_text(group, model_.prompts, model_.file.string(), key);
    try {
      fit_to(model_.architecture, windows, row);
    } catch (const std::invalid_argument& error) {
      throw InputError(
          model_.file.string(),
          fmt::format("key {} ({}): model {}: {}", key, row.name, model_.name, error.what()),
          "leave the row to models that have it by an entry with models: [...]; `factflow check` "
          "lists sites and edges");
    }
  }

  // All entries of a model draw on the same references: their values are clean rows of every pass.
  void take_references(const ReferencesConfig& config, const std::string& key) {
    std::vector<Prompt> references = references_of(config, key, model_);
    const auto ids = [](const std::vector<Prompt>& prompts) {
      std::vector<std::int64_t> all;
      for (const Prompt& prompt : prompts) all.push_back(prompt.id);
      return all;
    };
    if (!plan_.references.empty() && ids(plan_.references) != ids(references))
      throw InputError(model_.file.string(),
                       fmt::format("key {}: model {} has other references in an earlier entry", key,
                                   model_.name),
                       "give both entries the same");
    plan_.references = std::move(references);
  }

  // All entries of a model rank by the same prompts.
  void take_ranking(const RankingConfig& config, const std::string& key) {
    if (static_cast<std::size_t>(config.prompts) > model_.prompts.size())
      throw InputError(model_.file.string(),
                       fmt::format("key {}.prompts: the dataset has only {}", key,
                                   counted(model_.prompts.size(), "prompt")),
                       "ask for fewer");
    if (ranking_ && *ranking_ != config)
      throw InputError(model_.file.string(),
                       fmt::format("key {}: model {} has other ranking prompts in an earlier entry",
                                   key, model_.name),
                       "give both entries the same");
    ranking_ = config;
    plan_.ranking = ranking_prompts(config, model_.prompts);
    plan_.ranked = divisible_of(model_.architecture).what;
  }

  // Its place among the rows, at whose end it is put if it is new.
  std::uint32_t place_of(RowSpec row, const std::string& key) {
    const auto found = std::find_if(plan_.rows.begin(), plan_.rows.end(),
                                    [&](const RowSpec& one) { return one.name == row.name; });
    const auto index = static_cast<std::uint32_t>(found - plan_.rows.begin());
    if (found == plan_.rows.end()) {
      plan_.rows.push_back(std::move(row));
    } else if (*found != row) {
      throw InputError(
          model_.file.string(),
          fmt::format("key {}: an earlier entry calls another row {}", key, in_quotes(row.name)),
          "give one of them another name");
    }
    return index;
  }

  const ModelToPlan& model_;
  std::optional<RankingConfig> ranking_;
  IntervenePlan plan_;
};

class InterveneKind final : public ExperimentKind {
 public:
  std::string name() const override { return "intervene"; }
  std::uint32_t number() const override { return 4; }

  std::string section() const override { return "intervene"; }
  Form<Entries> form() const override { return section_form(intervene_form()); }
  std::optional<Placement> placement(const Entry& entry) const override {
    return static_cast<const InterveneConfig&>(entry).windows.placement;
  }

  PlannedWork plan(const Entries& entries, const ModelToPlan& model) const override {
    IntervenePlanner planner(model);
    PlannedWork planned;
    for (std::size_t i = 0; i < entries.size(); ++i) {
      Asked& asked = planned.asked.emplace_back();
      const auto& entry = static_cast<const InterveneConfig&>(*entries[i]);
      if (!is_for(entry, model.name)) continue;
      check_sizes(model, key_in_entry(section(), i, entries.size(), "windows.sizes"),
                  entry.windows.sizes);
      asked = planner.add(entry, key_in_entry(section(), i, entries.size(), ""));
    }
    planned.work = std::make_shared<InterveneWork>(planner.take());
    return planned;
  }
  std::shared_ptr<const Work> work_from(const std::string& bytes) const override {
    return std::make_shared<InterveneWork>(
        from_bytes<IntervenePlan>(bytes, "the plan of interventions"));
  }

  std::string progress(const PromptCount& count, std::uint32_t asked) const override {
    return asked == 0 ? "" : "interventions in " + in_words(count, asked, "prompt", "computed");
  }
};

}  // namespace

const ExperimentKind& intervene_kind() {
  static const InterveneKind kind;
  return kind;
}

}  // namespace factflow
