#include "experiments/trace/trace.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <stdexcept>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "experiments/bytes.hpp"
#include "experiments/counterfactual_draw.hpp"
#include "experiments/forms.hpp"
#include "experiments/trace/token_patches.hpp"
#include "model/locate_interventions.hpp"

namespace factflow {

namespace {

constexpr double kBytesPerCell = 12;   // a probability, a rank, a log change
constexpr std::size_t kTokenText = 6;  // bytes, for estimates
constexpr int kMostWindow = 10000;
constexpr double kUsualDeviation = 0.1;  // that of the code of Meng et al.

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
  CounterfactualDraw draw;           // of nothing where there is noise
  NoisePlan noise;
  PatchedTokens patched;  // for estimates
  int layers = 0;         // of the model; for estimates
  Corruption corruption() const { return noise.any() ? Corruption::kNoise : Corruption::kSubject; }
};
template <class Archive>
void serialize(Archive& archive, TracePlan& p) {
  archive(p.patches, p.series, p.draw, p.noise, p.patched, p.layers);
}

// What is found about one fact.
struct PromptTrace {
  TracedFacts::Found fact;
  std::vector<std::string> tokens;  // texts
  std::vector<std::int32_t> token_ids;
  // [asked patch][token * centres + centre]
  std::vector<std::vector<float>> probability, log_change;
  std::vector<std::vector<std::int32_t>> rank;  // of noise: nothing, a mean has no rank
  double deviation = 0;                         // of noise
};
template <class Archive>
void serialize(Archive& archive, PromptTrace& p) {
  archive(p.fact, p.tokens, p.token_ids, p.probability, p.log_change, p.rank, p.deviation);
}

// ---- results

class TraceArrays final : public ArrayMaker {
 public:
  TraceArrays(const TracePlan& plan, const Subjects& subjects)
      : plan_(plan), subjects_(subjects), maps_(plan.patches.size()) {
    std::vector<std::int64_t> ids;
    for (const std::uint32_t prompt : subjects.asked) {
      places_[prompt] = ids.size();
      ids.push_back(subjects.prompts[prompt].id);
    }
    facts_ = no_facts(std::move(ids));
    facts_.corruption = plan.corruption();
    facts_.noise_copies = plan.noise.config.copies;
  }

  void add(std::uint32_t prompt, const Asked& asked, const std::string& values) override {
    const auto found = from_bytes<PromptTrace>(values, "a trace");
    facts_.set(places_.at(prompt), found.fact);
    facts_.noise_deviation = found.deviation;
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
      for (ArrayGroup& group : arrays_of(
               maps_[i], trace_map_names(plan_.patches[i].direction,
                                         to_string(plan_.patches[i].site), plan_.corruption())))
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

class TraceWork final : public Work {
 public:
  explicit TraceWork(TracePlan plan) : plan_(std::move(plan)) {}
  std::string bytes() const override { return to_bytes(plan_); }

  std::string describe(const Asked& asked) const override {
    std::vector<std::string> names;
    for (const AskedItem& one : asked)
      names.push_back(trace_map_names(plan_.patches.at(one.item).direction,
                                      to_string(plan_.patches.at(one.item).site),
                                      plan_.corruption())
                          .row);
    return fmt::format("traces, {}", fmt::join(names, ", "));
  }
  std::string summary() const override {
    return plan_.patches.empty() ? "" : counted(plan_.patches.size(), "trace map", "trace maps");
  }

  std::vector<Replays> replays(const Asked& asked, double tokens) const override {
    // The clean run, by itself and as where values come from.
    std::vector<Replays> replays = {{1, {{0, plan_.layers}}, 2 * tokens}};
    for (const AskedItem& one : asked) {
      Replays& of_item =
          replays.emplace_back(plan_.patched.replays(tokens, plan_.series.at(one.item).windows));
      if (!plan_.noise.any()) continue;
      of_item.times *= plan_.noise.config.copies;
      of_item.columns = std::max(1.0, plan_.patched.share * tokens);
      for (Window& window : of_item.windows) window.begin = 0;  // the noise is there already
    }
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
      for (Prompt& other : plan_.draw.of(prompt)) all.push_back(std::move(other));
    return all;
  }

  // Of one direction; without a counterpart the prompt is its own, which changes nothing. Of noise
  // one copy at two tokens, of the usual size where the model would have to say it.
  ReplayRequest request(const Asked& asked, const TokenizedPrompt& prompt,
                        std::span<const TokenizedPrompt> references) const override {
    if (plan_.noise.any()) {
      const double sigma = plan_.noise.config.sigma;
      const std::vector<Intervention> noise =
          noise_of(plan_.noise, sigma > 0 ? sigma : kUsualDeviation, prompt, 0);
      ReplayRequest request{prompt.ids, prompt.answer};
      for (const AskedItem& one : asked)
        for (const int token : {prompt.subject.back(), static_cast<int>(prompt.ids.size()) - 1})
          add_restored(noise, one, prompt, token, request);
      return request;
    }
    const TokenizedPrompt* other = counterpart_in(references, prompt);
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
    if (plan_.noise.any()) return compute_from_noise(model, asked, prompts);
    std::vector<std::optional<Counterpart>> others;
    std::vector<ReplayRequest> requests;
    for (const TokenizedPrompt& prompt : prompts)
      if (const auto& other = others.emplace_back(plan_.draw.counterpart(model, prompt)))
        for (const TraceDirection direction : kDirections)
          requests.push_back(request(asked, direction, prompt, other->tokens));
    const std::vector<ReplayResult> results = model.replay(requests);
    std::vector<Finding> findings;
    std::size_t next = 0;
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      if (!others[i]) {
        findings.push_back({plan_.draw.no_counterpart(prompts[i]), ""});
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

  // ---- from noise

  // The clean values of an item at one token, in each of its windows; not as windows of a series,
  // since the noise stays in layer 0.
  void add_restored(const std::vector<Intervention>& noise, const AskedItem& one,
                    const TokenizedPrompt& prompt, int token, ReplayRequest& request) const {
    for (const Window& window : plan_.series.at(one.item).windows) {
      std::vector<int> layers;
      for (int layer = window.begin; layer < window.end; ++layer) layers.push_back(layer);
      std::vector<Intervention> together = noise;
      together.emplace_back(patched(plan_.patches.at(one.item).site, layers, {token}, prompt.ids));
      request.series.emplace_back(std::move(together), std::nullopt);
    }
  }

  // Sums over copies.
  struct NoisedPrompt {
    bool finite = true;
    double high = 0, low = 0;  // the latter's sum
    std::vector<std::vector<double>>
        cells;  // [asked][token from the subject on * centres + centre]
  };

  // One copy and one item after the other: the requests hold the noise of every run.
  std::vector<Finding> compute_from_noise(LoadedModel& model, const Asked& asked,
                                          std::span<const TokenizedPrompt> prompts) const {
    const double deviation = deviation_of(plan_.noise, model);
    std::vector<NoisedPrompt> sums(prompts.size());
    for (NoisedPrompt& one : sums) one.cells.resize(asked.size());
    for (std::size_t copy = 0; copy < plan_.noise.copies(); ++copy) {
      std::vector<std::vector<Intervention>> noise;
      for (const TokenizedPrompt& prompt : prompts)
        noise.push_back(noise_of(plan_.noise, deviation, prompt, copy));
      add_lows(model, prompts, noise, sums);
      for (std::size_t item = 0; item < asked.size(); ++item)
        add_copy(model, asked[item], prompts, noise, item, sums);
    }
    std::vector<Finding> findings;
    for (std::size_t i = 0; i < prompts.size(); ++i)
      findings.push_back(sums[i].finite
                             ? found_from_noise(model, asked, prompts[i], sums[i], deviation)
                             : Finding{kNotFinite, ""});
    return findings;
  }

  static void add_lows(LoadedModel& model, std::span<const TokenizedPrompt> prompts,
                       const std::vector<std::vector<Intervention>>& noise,
                       std::vector<NoisedPrompt>& sums) {
    std::vector<ReplayRequest> requests;
    for (std::size_t i = 0; i < prompts.size(); ++i)
      requests.push_back({prompts[i].ids, prompts[i].answer, {Series(noise[i], std::nullopt)}});
    const std::vector<ReplayResult> results = model.replay(requests);
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      sums[i].finite = sums[i].finite && is_finite(results[i]);
      sums[i].high = std::exp(results[i].clean.log_probability);
      sums[i].low += std::exp(results[i].knockouts.at(0).at(0).log_probability);
    }
  }

  void add_copy(LoadedModel& model, const AskedItem& one, std::span<const TokenizedPrompt> prompts,
                const std::vector<std::vector<Intervention>>& noise, std::size_t item,
                std::vector<NoisedPrompt>& sums) const {
    std::vector<ReplayRequest> requests;
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      const TokenizedPrompt& prompt = prompts[i];
      ReplayRequest& request = requests.emplace_back(ReplayRequest{prompt.ids, prompt.answer});
      for (int token = prompt.subject.front(); token < static_cast<int>(prompt.ids.size()); ++token)
        add_restored(noise[i], one, prompt, token, request);
    }
    const std::vector<ReplayResult> results = model.replay(requests);
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      sums[i].finite = sums[i].finite && is_finite(results[i]);
      std::vector<double>& cells = sums[i].cells[item];
      cells.resize(results[i].knockouts.size());
      for (std::size_t cell = 0; cell < cells.size(); ++cell)
        cells[cell] += std::exp(results[i].knockouts[cell].at(0).log_probability);
    }
  }

  // Before the subject there is no noise: nothing is restored there.
  Finding found_from_noise(const LoadedModel& model, const Asked& asked,
                           const TokenizedPrompt& prompt, const NoisedPrompt& sums,
                           double deviation) const {
    const auto copies = static_cast<double>(plan_.noise.copies());
    PromptTrace trace;
    trace.fact = {"",
                  sums.high,
                  sums.low / copies,
                  prompt.subject.front(),
                  prompt.subject.back() + 1,
                  static_cast<std::int32_t>(prompt.ids.size())};
    trace.deviation = deviation;
    add_tokens(model, prompt, trace);
    trace.rank.resize(asked.size());
    for (std::size_t item = 0; item < asked.size(); ++item) {
      const std::size_t before = static_cast<std::size_t>(prompt.subject.front()) *
                                 plan_.series.at(asked[item].item).windows.size();
      std::vector<double> cells(before, sums.low);
      cells.insert(cells.end(), sums.cells[item].begin(), sums.cells[item].end());
      trace.probability.emplace_back();
      trace.log_change.emplace_back();
      for (const double sum : cells) {
        trace.probability.back().push_back(static_cast<float>(sum / copies));
        trace.log_change.back().push_back(static_cast<float>(std::log(sum / sums.low)));
      }
    }
    return {"", to_bytes(trace)};
  }

  static void add_tokens(const LoadedModel& model, const TokenizedPrompt& prompt,
                         PromptTrace& trace) {
    for (const int id : prompt.ids) {
      trace.tokens.push_back(model.tokenizer().token_text(id));
      trace.token_ids.push_back(id);
    }
  }

  // ---- from another subject

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
      add_token_patches(patch.site, plan_.series.at(one.item).windows, prompt.subject.front(),
                        source.ids, request);
    }
    return request;
  }

  // `results`: of both directions.
  Finding found(const LoadedModel& model, const Asked& asked, const TokenizedPrompt& prompt,
                const Counterpart& other, std::span<const ReplayResult> results) const {
    for (const ReplayResult& result : results)
      if (!is_finite(result)) return {kNotFinite, ""};
    PromptTrace trace;
    trace.fact = found_fact(prompt, other, results[1].clean, results[0].clean);
    add_tokens(model, prompt, trace);
    const int first = prompt.subject.front();
    TokenPatches patches[2] = {{results[0], first}, {results[1], first}};
    for (const AskedItem& one : asked) {
      const auto direction = static_cast<std::size_t>(plan_.patches.at(one.item).direction);
      add_map(one, prompt, results[direction].clean, patches[direction], trace);
    }
    return {"", to_bytes(trace)};
  }

  void add_map(const AskedItem& one, const TokenizedPrompt& prompt, const Answer& run,
               TokenPatches& patches, PromptTrace& trace) const {
    std::vector<float>&probability = trace.probability.emplace_back(),
    &log_change = trace.log_change.emplace_back();
    std::vector<std::int32_t>& rank = trace.rank.emplace_back();
    const std::size_t centres = plan_.series.at(one.item).windows.size();
    const auto tokens = static_cast<int>(prompt.ids.size());
    for (int token = 0; token < tokens; ++token)
      for (std::size_t i = 0; i < centres; ++i) {
        const Answer& answer = patches.at(token, i);
        probability.push_back(static_cast<float>(std::exp(answer.log_probability)));
        log_change.push_back(static_cast<float>(answer.log_probability - run.log_probability));
        rank.push_back(answer.rank);
      }
    patches.next_item(tokens);
  }

  TracePlan plan_;
};

// ---- the section

Fields<TraceConfig> trace_fields() {
  using T = TraceConfig;
  Fields<T> fields = {
      field("sites", &T::sites, word_or("all", std::vector<Site>{}, list_of(site_form())),
            "what is patched; all: h, a, s, g, y, o and mlp, as far as every layer has them"),
      field("window", &T::window, word_or("10 of 64", 0, whole_number<int>(1, kMostWindow)),
            "layers around the centre that are patched together, of every site but h; by default "
            "as large a part of the model as 10 of 64"),
      field("h_window", &T::h_window, whole_number<int>(1, kMostWindow), "the same of h"),
      field("directions", &T::directions,
            list_of(one_of<TraceDirection>("direction", {{"restore", TraceDirection::kRestore},
                                                         {"break", TraceDirection::kBreak}})),
            "restore: the clean run's values into the run of another subject; break: its values "
            "into the clean run"),
      field(
          "corruption", &T::corruption,
          one_of<Corruption>("corruption", {{to_string(Corruption::kSubject), Corruption::kSubject},
                                            {to_string(Corruption::kNoise), Corruption::kNoise}}),
          "subject: the run of another subject; noise: the clean run with noise on its subject's "
          "embeddings, which can only be restored"),
      field("noise", &T::noise, noise_form(), "of corruption: noise"),
  };
  for (Field<T>& more : draw_fields<T>()) fields.push_back(std::move(more));
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
    plan.patched = patched_tokens(model.prompts);
    plan.layers = model.architecture.layers;
    PlannedWork planned;
    DrawOfEntries draw(section(), entries.size(), model);
    bool any = false;  // earlier entry of this model
    for (std::size_t i = 0; i < entries.size(); ++i) {
      Asked& asked = planned.asked.emplace_back();
      const auto& entry = static_cast<const TraceConfig&>(*entries[i]);
      if (!is_for(entry, model.name)) continue;
      const auto key = [&](const char* name) {
        return key_in_entry(section(), i, entries.size(), name);
      };
      if (entry.window > 0) check_sizes(model, key("window"), {entry.window});
      check_sizes(model, key("h_window"), {entry.h_window});
      draw.add(i, entry.candidates, entry.seed);
      take_corruption(entry, key, model, any, plan);
      any = true;
      asked = asked_by(entry, key("sites"), model, plan);
    }
    if (!plan.noise.any()) plan.draw = draw.take();
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
  // All entries of a model have one corruption: their facts are the same.
  template <class Key>
  static void take_corruption(const TraceConfig& entry, const Key& key, const ModelToPlan& model,
                              bool any, TracePlan& plan) {
    const auto refuse = [&](const char* name, const std::string& problem, const std::string& help) {
      throw InputError(model.file.string(), fmt::format("key {}: {}", key(name), problem), help);
    };
    const bool noise = entry.corruption == Corruption::kNoise;
    if (!noise && entry.noise != NoiseConfig{})
      refuse("noise", "there is no noise with another subject", "set corruption: noise");
    if (noise && entry.candidates != TraceConfig{}.candidates)
      refuse("candidates", "noise needs no other subject", "leave the key out");
    if (noise && entry.directions != std::vector{TraceDirection::kRestore})
      refuse("directions", "noise can only be restored: it is of many runs, which break nothing",
             "set directions: restore, or corruption: subject");
    if (any && (plan.noise.any() != noise || (noise && plan.noise.config != entry.noise)))
      refuse(
          "corruption",
          fmt::format("model {} has another corruption or noise in an earlier entry", model.name),
          "give both entries the same, or a run each");
    if (noise && !any) plan.noise = noise_plan(entry.noise, entry.seed, model);
  }

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
        check_patched_site(site, series.windows, key, model);
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
};

}  // namespace

Form<std::vector<TraceConfig>> trace_form() {
  return one_or_several(section(trace_fields()));
}

const ExperimentKind& trace_kind() {
  static const TraceKind kind;
  return kind;
}

}  // namespace factflow
