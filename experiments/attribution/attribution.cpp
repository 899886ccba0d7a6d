#include "experiments/attribution/attribution.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "experiments/counterfactual_draw.hpp"
#include "experiments/trace/token_patches.hpp"

namespace factflow {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr double kBytesPerCell = 4;
constexpr int kMostSteps = 1000;
// Columns of a forward that one backward pass costs, the forwards that it needs included: a pass
// goes up without a graph, and again layer by layer with one, and back at twice a forward's cost.
constexpr double kBackward = 4;

struct AttributionPlan {
  std::vector<Site> sites;           // items of what is asked; they have no window series
  std::vector<WindowSeries> series;  // [site], of single layers
  std::vector<EstimateMethod> methods;
  int steps = 0;   // of integrated gradients; 0 without
  int layers = 0;  // of the model; h has one more
  CounterfactualDraw draw;
  PatchedTokens patched;  // for estimates of cost
  bool asks(EstimateMethod method) const {
    return std::find(methods.begin(), methods.end(), method) != methods.end();
  }
};
template <class Archive>
void serialize(Archive& archive, AttributionPlan& p) {
  archive(p.sites, p.series, p.methods, p.steps, p.layers, p.draw, p.patched);
}

// What is found about one fact: [asked site][token * layers of the site + layer].
struct PromptAttribution {
  TracedFacts::Found fact;
  std::vector<std::vector<float>> exact, gradient, integrated;
};
template <class Archive>
void serialize(Archive& archive, PromptAttribution& p) {
  archive(p.fact, p.exact, p.gradient, p.integrated);
}

// ---- results

class AttributionArrays final : public ArrayMaker {
 public:
  AttributionArrays(const AttributionPlan& plan, const Subjects& subjects) : plan_(plan) {
    for (const std::uint32_t prompt : subjects.asked) {
      places_[prompt] = prompts_.size();
      prompts_.push_back(subjects.prompts[prompt].id);
    }
    facts_ = no_facts(prompts_);
  }

  void add(std::uint32_t prompt, const Asked& asked, const std::string& values) override {
    auto found = from_bytes<PromptAttribution>(values, "an attribution");
    facts_.set(places_.at(prompt), found.fact);
    found_.push_back({places_.at(prompt), asked, std::move(found)});
  }

  std::vector<ArrayGroup> groups() override {
    if (plan_.sites.empty()) return {};
    AttributedEffects effects;
    for (const Site site : plan_.sites) effects.sites.push_back(to_string(site));
    effects.prompts = prompts_;
    effects.layers = plan_.layers;
    effects.steps = plan_.steps;
    effects.tokens = 1;  // until the first prompt is there
    for (const Of& of : found_)
      effects.tokens = std::max<std::int64_t>(effects.tokens, of.found.fact.token_count);
    const std::size_t cells = effects.cell(effects.sites.size(), 0, 0);
    effects.exact.assign(cells, kNaN);
    for (const EstimateMethod method : plan_.methods) effects.of(method).assign(cells, kNaN);
    for (const Of& of : found_)
      for (std::size_t i = 0; i < of.asked.size(); ++i) put(of, i, effects);
    return arrays_of(facts_, effects);
  }

 private:
  struct Of {
    std::size_t place = 0;  // on the axis
    Asked asked;
    PromptAttribution found;
  };

  void put(const Of& of, std::size_t i, AttributedEffects& effects) const {
    const std::uint32_t site = of.asked[i].item;
    const std::size_t layers = plan_.series.at(site).windows.size();
    const auto tokens = static_cast<std::size_t>(of.found.fact.token_count);
    const auto copy = [&](const std::vector<std::vector<float>>& from, std::vector<float>& to) {
      for (std::size_t token = 0; token < tokens; ++token)
        std::copy_n(from.at(i).begin() + static_cast<std::ptrdiff_t>(token * layers), layers,
                    to.begin() + static_cast<std::ptrdiff_t>(effects.cell(site, of.place, token)));
    };
    copy(of.found.exact, effects.exact);
    if (effects.has(EstimateMethod::kGradient)) copy(of.found.gradient, effects.gradient);
    if (effects.has(EstimateMethod::kIntegrated)) copy(of.found.integrated, effects.integrated);
  }

  const AttributionPlan& plan_;
  std::map<std::uint32_t, std::size_t> places_;  // by prompt
  std::vector<std::int64_t> prompts_;
  TracedFacts facts_;
  std::vector<Of> found_;
};

// ---- work

std::vector<float> row_major(const at::Tensor& map) {
  const at::Tensor values = map.to(at::kFloat).contiguous();
  return {values.data_ptr<float>(), values.data_ptr<float>() + values.numel()};
}

class AttributionWork final : public Work {
 public:
  explicit AttributionWork(AttributionPlan plan) : plan_(std::move(plan)) {}
  std::string bytes() const override { return to_bytes(plan_); }

  std::string describe(const Asked& asked) const override {
    std::vector<std::string> names;
    for (const AskedItem& one : asked) names.push_back(to_string(plan_.sites.at(one.item)));
    return fmt::format("attributions, {} of {}", methods_in_words(), fmt::join(names, ", "));
  }
  std::string summary() const override {
    return plan_.sites.empty() ? ""
                               : counted(plan_.sites.size(), "site with gradient estimates",
                                         "sites with gradient estimates");
  }

  std::vector<Replays> replays(const Asked& asked, double tokens) const override {
    const Window whole{0, plan_.layers};
    // The clean run, by itself and as where values come from.
    std::vector<Replays> replays = {{1, {whole}, 2 * tokens}};
    // One pass for all sites, and the clean run once more.
    if (plan_.asks(EstimateMethod::kGradient))
      replays.push_back({1, {whole}, (kBackward + 1) * tokens});
    for (const AskedItem& one : asked) {
      const std::vector<Window>& windows = plan_.series.at(one.item).windows;
      replays.push_back(plan_.patched.replays(tokens, windows));
      if (!plan_.asks(EstimateMethod::kIntegrated)) continue;
      std::vector<Window> upwards;  // the stream that enters the layer is there
      for (const Window& window : windows) upwards.push_back({window.begin, plan_.layers});
      replays.push_back(
          {plan_.steps * std::max(1.0, plan_.patched.share * tokens), upwards, kBackward * tokens});
    }
    return replays;
  }
  PromptBytes bytes_of_prompt(const Asked& asked, double tokens) const override {
    PromptAttribution sample;
    const auto count = static_cast<std::size_t>(std::llround(tokens));
    const double kept = 1 + static_cast<double>(plan_.methods.size());
    double cells = 0;
    for (const AskedItem& one : asked) {
      sample.exact.emplace_back(count * plan_.series.at(one.item).windows.size());
      if (plan_.asks(EstimateMethod::kGradient)) sample.gradient.push_back(sample.exact.back());
      if (plan_.asks(EstimateMethod::kIntegrated)) sample.integrated.push_back(sample.exact.back());
      cells += static_cast<double>(count) * (plan_.layers + 1);
    }
    return {cells * kept * kBytesPerCell, static_cast<double>(to_bytes(sample).size())};
  }

  std::vector<Prompt> references(std::span<const TokenizedPrompt> prompts) const override {
    std::vector<Prompt> all;
    for (const TokenizedPrompt& prompt : prompts)
      for (Prompt& other : plan_.draw.of(prompt)) all.push_back(std::move(other));
    return all;
  }

  // Without a counterpart the prompt is its own, which changes nothing.
  ReplayRequest request(const Asked& asked, const TokenizedPrompt& prompt,
                        std::span<const TokenizedPrompt> references) const override {
    const TokenizedPrompt* other = counterpart_in(references, prompt);
    return restoring(asked, prompt, other == nullptr ? prompt : *other);
  }
  Finding record(const LoadedModel&, const Asked&, const TokenizedPrompt&,
                 std::span<const TokenizedPrompt>, const ReplayResult&) const override {
    throw std::logic_error("an attribution is made of several results");
  }

  std::vector<Finding> compute(LoadedModel& model, const Asked& asked,
                               std::span<const TokenizedPrompt> prompts) const override {
    std::vector<std::optional<Counterpart>> others;
    std::vector<ReplayRequest> requests;
    std::vector<PromptPair> pairs;
    for (const TokenizedPrompt& prompt : prompts)
      if (const auto& other = others.emplace_back(plan_.draw.counterpart(model, prompt))) {
        requests.push_back({prompt.ids, prompt.answer});
        requests.push_back(restoring(asked, prompt, other->tokens));
        pairs.push_back({prompt.ids, other->tokens.ids, prompt.answer});
      }
    const std::vector<ReplayResult> results = model.replay(requests);
    const Estimates estimates = estimates_of(model, asked, pairs);
    std::vector<Finding> findings;
    for (std::size_t i = 0, pair = 0; i < prompts.size(); ++i) {
      if (!others[i])
        findings.push_back({plan_.draw.no_counterpart(prompts[i]), ""});
      else {
        findings.push_back(
            found(asked, prompts[i], *others[i], {results.data() + 2 * pair, 2}, estimates, pair));
        ++pair;
      }
    }
    return findings;
  }

  std::unique_ptr<ArrayMaker> arrays(const Subjects& subjects) const override {
    return std::make_unique<AttributionArrays>(plan_, subjects);
  }

 private:
  struct Estimates {
    EstimateMaps gradient, integrated;  // empty where nobody asks for them
  };

  std::string methods_in_words() const {
    std::vector<std::string> words;
    for (const EstimateMethod method : plan_.methods)
      words.push_back(method == EstimateMethod::kGradient
                          ? to_string(method)
                          : fmt::format("{} in {}", to_string(method),
                                        counted(static_cast<std::uint64_t>(plan_.steps), "step")));
    return join(words, " and ");
  }

  ReplayRequest restoring(const Asked& asked, const TokenizedPrompt& prompt,
                          const TokenizedPrompt& other) const {
    ReplayRequest request{other.ids, prompt.answer};
    for (const AskedItem& one : asked)
      add_token_patches(plan_.sites.at(one.item), plan_.series.at(one.item).windows,
                        prompt.subject.front(), prompt.ids, request);
    return request;
  }

  Estimates estimates_of(const LoadedModel& model, const Asked& asked,
                         const std::vector<PromptPair>& pairs) const {
    if (pairs.empty()) return {};
    std::vector<Site> sites;
    for (const AskedItem& one : asked) sites.push_back(plan_.sites.at(one.item));
    Estimates estimates;
    if (plan_.asks(EstimateMethod::kGradient))
      estimates.gradient = gradient_maps(model.network(), pairs, sites);
    if (plan_.asks(EstimateMethod::kIntegrated))
      estimates.integrated = integrated_maps(model.network(), pairs, sites, plan_.steps);
    return estimates;
  }

  // `results`: of the clean run and of the corrupted one.
  Finding found(const Asked& asked, const TokenizedPrompt& prompt, const Counterpart& other,
                std::span<const ReplayResult> results, const Estimates& estimates,
                std::size_t pair) const {
    if (!is_finite(results[0]) || !is_finite(results[1])) return {kNotFinite, ""};
    PromptAttribution attribution;
    attribution.fact = found_fact(prompt, other, results[0].clean, results[1].clean);
    attribution.exact = exact_effects(asked, prompt, results[1]);
    for (const auto& [maps, to] : {std::pair(&estimates.gradient, &attribution.gradient),
                                   std::pair(&estimates.integrated, &attribution.integrated)})
      for (const std::vector<at::Tensor>& of_site : *maps) {
        if (!at::isfinite(of_site[pair]).all().item<bool>())
          return {"a gradient of the answer's probability is not a finite number", ""};
        to->push_back(row_major(of_site[pair]));
      }
    return {"", to_bytes(attribution)};
  }

  std::vector<std::vector<float>> exact_effects(const Asked& asked, const TokenizedPrompt& prompt,
                                                const ReplayResult& corrupted) const {
    const auto tokens = static_cast<int>(prompt.ids.size());
    const double low = std::exp(corrupted.clean.log_probability);
    TokenPatches patches(corrupted, prompt.subject.front());
    std::vector<std::vector<float>> exact;
    for (const AskedItem& one : asked) {
      std::vector<float>& of_site = exact.emplace_back();
      for (int token = 0; token < tokens; ++token)
        for (std::size_t layer = 0; layer < plan_.series.at(one.item).windows.size(); ++layer)
          of_site.push_back(
              static_cast<float>(std::exp(patches.at(token, layer).log_probability) - low));
      patches.next_item(tokens);
    }
    return exact;
  }

  AttributionPlan plan_;
};

// ---- the section

Fields<AttributionConfig> attribution_fields() {
  using T = AttributionConfig;
  Fields<T> fields = {
      field("sites", &T::sites, word_or("all", std::vector<Site>{}, list_of(site_form())),
            "what is patched, one layer at a time; all: h, a, s, g, y, o and mlp, as far as every "
            "layer has them"),
      field("methods", &T::methods,
            list_of(one_of<EstimateMethod>(
                "method", {{to_string(EstimateMethod::kGradient), EstimateMethod::kGradient},
                           {to_string(EstimateMethod::kIntegrated), EstimateMethod::kIntegrated}})),
            "gradient: by one backward pass for everything; integrated: by `steps` passes for "
            "each value, between the two runs"),
      field("steps", &T::steps, whole_number<int>(1, kMostSteps), "of method integrated"),
  };
  for (Field<T>& more : draw_fields<T>()) fields.push_back(std::move(more));
  for (Field<T>& more : whom_fields<T>()) fields.push_back(std::move(more));
  return fields;
}

// ---- the kind

class AttributionKind final : public ExperimentKind {
 public:
  std::string name() const override { return "attribution"; }
  std::uint32_t number() const override { return 10; }

  std::string section() const override { return "attribution"; }
  Form<Entries> form() const override { return section_form(attribution_form()); }

  PlannedWork plan(const Entries& entries, const ModelToPlan& model) const override {
    AttributionPlan plan;
    plan.layers = model.architecture.layers;
    plan.patched = patched_tokens(model.prompts);
    PlannedWork planned;
    DrawOfEntries draw(section(), entries.size(), model);
    for (std::size_t i = 0; i < entries.size(); ++i) {
      Asked& asked = planned.asked.emplace_back();
      const auto& entry = static_cast<const AttributionConfig&>(*entries[i]);
      if (!is_for(entry, model.name)) continue;
      const auto key = [&](const char* name) {
        return key_in_entry(section(), i, entries.size(), name);
      };
      draw.add(i, entry.candidates, entry.seed);
      check_precision(model);
      take_methods(entry, key, model, plan);
      asked = asked_by(entry, key("sites"), model, plan);
    }
    plan.draw = draw.take();
    planned.work = std::make_shared<AttributionWork>(std::move(plan));
    return planned;
  }
  std::shared_ptr<const Work> work_from(const std::string& bytes) const override {
    return std::make_shared<AttributionWork>(
        from_bytes<AttributionPlan>(bytes, "the plan of attributions"));
  }

  std::string progress(const PromptCount& count, std::uint32_t asked) const override {
    return asked == 0 ? "no prompt to estimate effects of"
                      : in_words(count, asked, "selected prompt", "with gradient estimates");
  }

 private:
  // The reference forward multiplies in float32 or float64: it would estimate another model's
  // effects.
  static void check_precision(const ModelToPlan& model) {
    for (const Precision possible : {Precision::kFp64, Precision::kFp32, Precision::kTf32})
      if (model.precision == possible) return;
    throw InputError(model.file.string(),
                     fmt::format("key run.precision: gradients are computed in fp32, tf32 or "
                                 "fp64, not in {}",
                                 to_string(model.precision)),
                     "choose one of these, or leave attribution out");
  }

  template <class Key>
  static void take_methods(const AttributionConfig& entry, const Key& key, const ModelToPlan& model,
                           AttributionPlan& plan) {
    std::vector<EstimateMethod> methods = entry.methods;
    std::sort(methods.begin(), methods.end());
    const bool integrated =
        std::find(methods.begin(), methods.end(), EstimateMethod::kIntegrated) != methods.end();
    if (!integrated && entry.steps != kUsualSteps)
      throw InputError(model.file.string(),
                       fmt::format("key {}: only method integrated has steps", key("steps")),
                       "leave the key out, or add integrated to methods");
    const int steps = integrated ? entry.steps : 0;
    if (!plan.methods.empty() && (plan.methods != methods || plan.steps != steps))
      throw InputError(model.file.string(),
                       fmt::format("key {}: model {} has other methods or steps in an earlier "
                                   "entry",
                                   key("methods"), model.name),
                       "give both entries the same, or a run each");
    plan.methods = std::move(methods);
    plan.steps = steps;
  }

  static Asked asked_by(const AttributionConfig& entry, const std::string& key,
                        const ModelToPlan& model, AttributionPlan& plan) {
    Asked asked;
    for (const Site site : entry.sites.empty() ? sites_to_trace(model.architecture) : entry.sites) {
      WindowSeries series = centred_series(site, 1, model.architecture.layers);
      check_patched_site(site, series.windows, key, model);
      const auto found = std::find(plan.sites.begin(), plan.sites.end(), site);
      asked.push_back({static_cast<std::uint32_t>(found - plan.sites.begin()), {}});
      if (found != plan.sites.end()) continue;
      plan.sites.push_back(site);
      plan.series.push_back(std::move(series));
    }
    std::sort(asked.begin(), asked.end());
    return asked;
  }
};

}  // namespace

Form<std::vector<AttributionConfig>> attribution_form() {
  return one_or_several(section(attribution_fields()));
}

const ExperimentKind& attribution_kind() {
  static const AttributionKind kind;
  return kind;
}

}  // namespace factflow
