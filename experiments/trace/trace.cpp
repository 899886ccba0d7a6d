#include "experiments/trace/trace.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <stdexcept>

#include <cereal/types/map.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "experiments/bytes.hpp"
#include "experiments/counterfactual.hpp"
#include "experiments/forms.hpp"
#include "model/check_intervention.hpp"

namespace factflow {

template <class Archive>
void serialize(Archive& archive, CounterfactualPool::Fact& f) {
  archive(f.id, f.subject, f.answer);
}

namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr double kBytesPerCell = 12;   // a probability, a rank, a log change
constexpr std::size_t kTokenText = 6;  // bytes, for estimates
constexpr std::int64_t kMostPrompts = std::numeric_limits<std::int64_t>::max();
constexpr int kMostWindow = 10000, kMostCandidates = 64;

// What is patched where: an item of what is asked. Its only window series is that of the same
// place.
struct Patch {
  TraceDirection direction = TraceDirection::kRestore;
  Site site = Site::kH;
  bool operator==(const Patch&) const = default;
};
template <class Archive>
void serialize(Archive& archive, Patch& p) {
  archive(p.direction, p.site);
}

struct TracePlan {
  std::vector<Patch> patches;
  std::vector<WindowSeries> series;  // [patch], centred
  CounterfactualPool pool;
  int candidates = 0;
  std::uint64_t seed = 0;
  // The same words about other subjects.
  std::vector<Prompt> counterfactuals(const TokenizedPrompt& of) const {
    return pool.counterfactuals(of.prompt, static_cast<std::size_t>(candidates), seed);
  }
};
template <class Archive>
void serialize(Archive& archive, TracePlan& p) {
  archive(p.patches, p.series, p.pool.relations, p.candidates, p.seed);
}

// What is found about one fact.
struct PromptTrace {
  std::string counterfactual;
  double high = 0, low = 0;  // probabilities
  std::int32_t subject_begin = 0, subject_end = 0;
  std::vector<std::string> tokens;  // texts
  std::vector<std::int32_t> token_ids;
  // [asked patch][token * centres + centre]
  std::vector<std::vector<float>> probability, log_change;
  std::vector<std::vector<std::int32_t>> rank;
};
template <class Archive>
void serialize(Archive& archive, PromptTrace& p) {
  archive(p.counterfactual, p.high, p.low, p.subject_begin, p.subject_end, p.tokens, p.token_ids,
          p.probability, p.log_change, p.rank);
}

// Centres of a site's windows: the residual stream has one layer more, the last of which is read by
// the final norm alone.
WindowSeries centred_series(Site site, int size, int layers) {
  return window_series(size, Placement::kCentred, site == Site::kH ? layers + 1 : layers);
}

// ---- results

class TraceArrays final : public ArrayMaker {
 public:
  TraceArrays(const TracePlan& plan, const Subjects& subjects)
      : plan_(plan), subjects_(subjects), maps_(plan.patches.size()) {
    for (const std::uint32_t prompt : subjects.asked) {
      places_[prompt] = facts_.prompts.size();
      facts_.prompts.push_back(subjects.prompts[prompt].id);
    }
    const std::size_t count = facts_.prompts.size();
    facts_.counterfactual.assign(count, "");
    facts_.high.assign(count, kNaN);
    facts_.low = facts_.high;
    facts_.subject_begin.assign(count, -1);
    facts_.subject_end = facts_.subject_begin;
    facts_.token_count.assign(count, 0);
  }

  void add(std::uint32_t prompt, const Asked& asked, const std::string& values) override {
    const auto found = from_bytes<PromptTrace>(values, "a trace");
    const std::size_t place = places_.at(prompt);
    facts_.counterfactual[place] = found.counterfactual;
    facts_.high[place] = static_cast<float>(found.high);
    facts_.low[place] = static_cast<float>(found.low);
    facts_.subject_begin[place] = found.subject_begin;
    facts_.subject_end[place] = found.subject_end;
    facts_.token_count[place] = static_cast<std::int32_t>(found.token_ids.size());
    for (std::size_t i = 0; i < asked.size(); ++i) {
      const WindowSeries& series = plan_.series.at(asked[i].item);
      HeatmapResult& map = maps_.at(asked[i].item).emplace_back();
      map.window = series.size;
      map.placement = to_string(series.placement);
      map.prompt = subjects_.prompts.at(prompt).id;
      map.tokens = found.tokens;
      map.token_ids = found.token_ids;
      map.starts = series.starts;
      map.probability = found.probability.at(i);
      map.log_change = found.log_change.at(i);
      map.rank = found.rank.at(i);
    }
  }

  std::vector<ArrayGroup> groups() override {
    if (plan_.patches.empty()) return {};
    std::vector<ArrayGroup> groups = {arrays_of(facts_)};
    for (std::size_t i = 0; i < maps_.size(); ++i)
      for (ArrayGroup& group :
           arrays_of(maps_[i],
                     trace_map_names(plan_.patches[i].direction, to_string(plan_.patches[i].site))))
        groups.push_back(std::move(group));
    return groups;
  }

 private:
  const TracePlan& plan_;
  const Subjects& subjects_;
  std::map<std::uint32_t, std::size_t> places_;  // by prompt
  TracedFacts facts_;
  std::vector<std::vector<HeatmapResult>> maps_;  // [patch]
};

// ---- work

// The counterfactual that has the subject at the same tokens, so that tokens correspond one to one.
const TokenizedPrompt* counterpart(const TokenizedPrompt& prompt,
                                   std::span<const TokenizedPrompt> others) {
  const auto found = std::find_if(others.begin(), others.end(), [&](const TokenizedPrompt& other) {
    return other.prompt.id == prompt.prompt.id && other.ids.size() == prompt.ids.size() &&
           other.subject == prompt.subject;
  });
  return found == others.end() ? nullptr : &*found;
}

class TraceWork final : public Work {
 public:
  explicit TraceWork(TracePlan plan) : plan_(std::move(plan)) {}
  std::string bytes() const override { return to_bytes(plan_); }

  std::string describe(const Asked& asked) const override {
    std::vector<std::string> names;
    for (const AskedItem& one : asked)
      names.push_back(trace_map_names(plan_.patches.at(one.item).direction,
                                      to_string(plan_.patches.at(one.item).site))
                          .row);
    return fmt::format("traces, {}", fmt::join(names, ", "));
  }
  std::string summary() const override {
    return plan_.patches.empty() ? "" : counted(plan_.patches.size(), "trace map", "trace maps");
  }

  std::vector<Replays> replays(const Asked& asked, double tokens) const override {
    std::vector<Replays> replays;
    for (const AskedItem& one : asked)
      replays.push_back({tokens, plan_.series.at(one.item).windows});
    return replays;
  }
  PromptBytes bytes_of_prompt(const Asked& asked, double tokens) const override {
    PromptTrace sample;
    const auto count = static_cast<std::size_t>(std::llround(tokens));
    sample.tokens.assign(count, std::string(kTokenText, 'x'));
    sample.token_ids.resize(count);
    double all = 0;
    for (const AskedItem& one : asked) {
      const std::size_t cells = count * plan_.series.at(one.item).windows.size();
      sample.probability.emplace_back(cells);
      sample.log_change.emplace_back(cells);
      sample.rank.emplace_back(cells);
      all += static_cast<double>(cells);
    }
    return {all * kBytesPerCell, static_cast<double>(to_bytes(sample).size())};
  }

  std::vector<Prompt> references(std::span<const TokenizedPrompt> prompts) const override {
    std::vector<Prompt> all;
    for (const TokenizedPrompt& prompt : prompts)
      for (Prompt& other : plan_.counterfactuals(prompt)) all.push_back(std::move(other));
    return all;
  }

  // Of one direction; without a counterpart the prompt is its own, which changes nothing.
  ReplayRequest request(const Asked& asked, const TokenizedPrompt& prompt,
                        std::span<const TokenizedPrompt> references) const override {
    const TokenizedPrompt* other = counterpart(prompt, references);
    const TraceDirection direction =
        asked.empty() ? TraceDirection::kRestore : plan_.patches.at(asked[0].item).direction;
    return request(asked, direction, prompt, other == nullptr ? prompt : *other);
  }

  Finding record(const LoadedModel&, const Asked&, const TokenizedPrompt&,
                 std::span<const TokenizedPrompt>, const ReplayResult&) const override {
    throw std::logic_error("a trace is made of two results");
  }

  std::vector<Finding> compute(LoadedModel& model, const Asked& asked,
                               std::span<const TokenizedPrompt> prompts) const override {
    std::vector<std::optional<Counterpart>> others;
    std::vector<ReplayRequest> requests;
    for (const TokenizedPrompt& prompt : prompts)
      if (const auto& other = others.emplace_back(counterpart_of(model, prompt)))
        for (const TraceDirection direction : kDirections)
          requests.push_back(request(asked, direction, prompt, other->tokens));
    const std::vector<ReplayResult> results = model.replay(requests);
    std::vector<Finding> findings;
    std::size_t next = 0;
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      if (!others[i]) {
        findings.push_back({no_counterpart(prompts[i]), ""});
        continue;
      }
      findings.push_back(found(model, asked, prompts[i], *others[i], {results.data() + next, 2}));
      next += 2;
    }
    return findings;
  }

  std::unique_ptr<ArrayMaker> arrays(const Subjects& subjects) const override {
    return std::make_unique<TraceArrays>(plan_, subjects);
  }

 private:
  static constexpr TraceDirection kDirections[] = {TraceDirection::kRestore,
                                                   TraceDirection::kBreak};

  struct Counterpart {
    TokenizedPrompt tokens;
    std::string subject;
  };

  // Nothing if no candidate has the subject at the same tokens.
  std::optional<Counterpart> counterpart_of(const LoadedModel& model,
                                            const TokenizedPrompt& prompt) const {
    for (const Prompt& candidate : plan_.counterfactuals(prompt)) {
      const std::vector<TokenizedPrompt> tokens = model.tokenize_usable({candidate});
      if (const TokenizedPrompt* fits = counterpart(prompt, tokens))
        return Counterpart{*fits, candidate.subject};
    }
    return std::nullopt;
  }

  std::string no_counterpart(const TokenizedPrompt& prompt) const {
    const std::size_t tried = plan_.counterfactuals(prompt).size();
    return tried == 0
               ? "no other subject of its relation has another answer"
               : fmt::format("none of {} other subjects of its relation has as many tokens", tried);
  }

  // Before the subject both runs are the same, so nothing is patched there. A series for each asked
  // patch of the direction and each token from the subject on.
  ReplayRequest request(const Asked& asked, TraceDirection direction, const TokenizedPrompt& prompt,
                        const TokenizedPrompt& other) const {
    const bool restore = direction == TraceDirection::kRestore;
    const TokenizedPrompt &run = restore ? other : prompt, &source = restore ? prompt : other;
    ReplayRequest request{run.ids, prompt.answer, {}};
    for (const AskedItem& one : asked) {
      const Patch& patch = plan_.patches.at(one.item);
      if (patch.direction != direction) continue;
      for (int token = prompt.subject.front(); token < static_cast<int>(run.ids.size()); ++token)
        request.series.push_back(
            Series({Write{patch.site, {}, {token}, std::nullopt, OtherRun{source.ids, {token}}}},
                   plan_.series.at(one.item).windows));
    }
    return request;
  }

  // `results`: of both directions.
  Finding found(const LoadedModel& model, const Asked& asked, const TokenizedPrompt& prompt,
                const Counterpart& other, std::span<const ReplayResult> results) const {
    for (const ReplayResult& result : results)
      if (!is_finite(result)) return {kNotFinite, ""};
    PromptTrace trace;
    trace.counterfactual = other.subject;
    trace.low = std::exp(results[0].clean.log_probability);
    trace.high = std::exp(results[1].clean.log_probability);
    trace.subject_begin = prompt.subject.front();
    trace.subject_end = prompt.subject.back() + 1;
    for (const int id : prompt.ids) {
      trace.tokens.push_back(model.tokenizer().token_text(id));
      trace.token_ids.push_back(id);
    }
    std::size_t next[2] = {0, 0};
    for (const AskedItem& one : asked) {
      const auto direction = static_cast<std::size_t>(plan_.patches.at(one.item).direction);
      add_map(one, prompt, results[direction], next[direction], trace);
    }
    return {"", to_bytes(trace)};
  }

  void add_map(const AskedItem& one, const TokenizedPrompt& prompt, const ReplayResult& result,
               std::size_t& series, PromptTrace& trace) const {
    std::vector<float>&probability = trace.probability.emplace_back(),
    &log_change = trace.log_change.emplace_back();
    std::vector<std::int32_t>& rank = trace.rank.emplace_back();
    const std::size_t centres = plan_.series.at(one.item).windows.size();
    for (int token = 0; token < static_cast<int>(prompt.ids.size()); ++token) {
      const bool patched = token >= prompt.subject.front();
      for (std::size_t i = 0; i < centres; ++i) {
        // Rank 0: nothing was to be done.
        const Answer& patch = patched ? result.knockouts.at(series).at(i) : result.clean;
        const Answer& answer = patch.rank == 0 ? result.clean : patch;
        probability.push_back(static_cast<float>(std::exp(answer.log_probability)));
        log_change.push_back(
            static_cast<float>(answer.log_probability - result.clean.log_probability));
        rank.push_back(answer.rank);
      }
      series += patched ? 1 : 0;
    }
  }

  TracePlan plan_;
};

// ---- the section

Fields<TraceConfig> trace_fields() {
  using T = TraceConfig;
  Fields<T> fields = {
      field("sites", &T::sites, word_or("all", std::vector<Site>{}, list_of(site_form())),
            "what is patched; all: h, a, s, g, y, o and mlp, as far as a model has them"),
      field("window", &T::window, word_or("10 of 64", 0, whole_number<int>(1, kMostWindow)),
            "layers around the centre that are patched together, of every site but h; by default "
            "as large a part of the model as 10 of 64"),
      field("h_window", &T::h_window, whole_number<int>(1, kMostWindow), "the same of h"),
      field("directions", &T::directions,
            list_of(one_of<TraceDirection>("direction", {{"restore", TraceDirection::kRestore},
                                                         {"break", TraceDirection::kBreak}})),
            "restore: the clean run's values into the run of another subject; break: its values "
            "into the clean run"),
      field("candidates", &T::candidates, whole_number<int>(1, kMostCandidates),
            "how many other subjects of the relation are tried for one of as many tokens"),
      field<T, std::uint64_t>("seed", &T::seed,
                              whole_number<std::uint64_t>(0, std::numeric_limits<int>::max()),
                              "draws the other subjects"),
      field<T, std::int64_t>(
          "prompts", &T::prompts,
          word_or("all", std::int64_t{0}, whole_number<std::int64_t>(1, kMostPrompts)),
          "only the first N prompts of the set"),
  };
  for (Field<T>& more : whom_fields<T>()) fields.push_back(std::move(more));
  return fields;
}

// ---- the kind

class TraceKind final : public ExperimentKind {
 public:
  std::string name() const override { return "trace"; }
  std::uint32_t number() const override { return 5; }

  std::string section() const override { return "trace"; }
  Form<Entries> form() const override { return section_form(trace_form()); }

  PlannedWork plan(const Entries& entries, const ModelToPlan& model) const override {
    TracePlan plan;
    PlannedWork planned;
    std::optional<std::pair<int, std::uint64_t>> drawn;
    for (std::size_t i = 0; i < entries.size(); ++i) {
      Asked& asked = planned.asked.emplace_back();
      const auto& entry = static_cast<const TraceConfig&>(*entries[i]);
      if (!is_for(entry, model.name)) continue;
      const auto key = [&](const char* name) {
        return key_in_entry(section(), i, entries.size(), name);
      };
      if (entry.window > 0) check_sizes(model, key("window"), {entry.window});
      check_sizes(model, key("h_window"), {entry.h_window});
      const std::pair draw(entry.candidates, entry.seed);
      if (drawn.value_or(draw) != draw)
        throw InputError(model.file.string(),
                         fmt::format("key {}: model {} has other candidates in an earlier entry",
                                     key("seed"), model.name),
                         "give both entries the same seed and number of candidates");
      drawn = draw;
      asked = asked_by(entry, key("sites"), model, plan);
    }
    if (drawn) {
      plan.pool = counterfactual_pool(model.prompts);
      plan.candidates = drawn->first;
      plan.seed = drawn->second;
    }
    planned.work = std::make_shared<TraceWork>(std::move(plan));
    return planned;
  }
  std::shared_ptr<const Work> work_from(const std::string& bytes) const override {
    return std::make_shared<TraceWork>(from_bytes<TracePlan>(bytes, "the plan of traces"));
  }

  std::string progress(const PromptCount& count, std::uint32_t asked) const override {
    return asked == 0 ? "no prompt to trace" : in_words(count, asked, "selected prompt", "traced");
  }

 private:
  // Sharma et al. patch 10 of 64 layers.
  static int window_of(const TraceConfig& entry, int layers) {
    return entry.window > 0 ? entry.window
                            : std::max(1, static_cast<int>(std::lround(10.0 * layers / 64)));
  }

  static Asked asked_by(const TraceConfig& entry, const std::string& key, const ModelToPlan& model,
                        TracePlan& plan) {
    std::vector<Site> sites = entry.sites;
    if (sites.empty()) sites = sites_to_trace(model.architecture);
    Asked asked;
    for (const TraceDirection direction : entry.directions)
      for (const Site site : sites) {
        const int size =
            site == Site::kH ? entry.h_window : window_of(entry, model.architecture.layers);
        const WindowSeries series = centred_series(site, size, model.architecture.layers);
        check(site, series.windows, key, model);
        const Patch patch{direction, site};
        std::size_t place = 0;
        while (place < plan.patches.size() &&
               !(plan.patches[place] == patch && plan.series[place].size == size))
          ++place;
        if (place == plan.patches.size()) {
          plan.patches.push_back(patch);
          plan.series.push_back(series);
        }
        asked.push_back({static_cast<std::uint32_t>(place), {}});
      }
    std::sort(asked.begin(), asked.end());
    return asked;
  }

  static void check(Site site, const std::vector<Window>& windows, const std::string& key,
                    const ModelToPlan& model) {
    try {
      InterventionCheck(model.architecture)
          .series(Series({Write{site, {}, {0}, std::nullopt, Zero{}}}, windows));
    } catch (const std::invalid_argument& error) {
      throw InputError(model.file.string(),
                       fmt::format("key {}: model {}: {}", key, model.name, error.what()),
                       "leave the site to models that have it by an entry with models: [...]");
    }
  }
};

}  // namespace

std::vector<Site> sites_to_trace(const Architecture& architecture) {
  const std::vector<Site> there = architecture.sites();
  std::vector<Site> sites;
  for (const Site site : {Site::kH, Site::kA, Site::kS, Site::kG, Site::kY, Site::kO, Site::kMlp})
    if (std::find(there.begin(), there.end(), site) != there.end()) sites.push_back(site);
  return sites;
}

Form<std::vector<TraceConfig>> trace_form() {
  return one_or_several(section(trace_fields()));
}

const ExperimentKind& trace_kind() {
  static const TraceKind kind;
  return kind;
}

}  // namespace factflow
