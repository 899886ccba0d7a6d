#include "experiments/lre/lre.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <stdexcept>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "experiments/lre/lre_arrays.hpp"
#include "experiments/lre/lre_plan.hpp"
#include "experiments/lre/relation_unit.hpp"

namespace factflow {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
// Prompts of a unit, which share the fits of their relations. Smaller ones would repeat them.
constexpr std::uint32_t kPromptsOfUnit = 256;
constexpr double kBackward = 2;  // columns of a forward that a backward pass costs

std::size_t size(int count) {
  return static_cast<std::size_t>(count);
}

// ---- results

class LreArrays final : public ArrayMaker {
 public:
  LreArrays(const LrePlan& plan, const Subjects& subjects) : plan_(plan), subjects_(subjects) {
    results_.trials = plan.draw.trials;
    results_.training_count = plan.draw.count;
    results_.layers.assign(plan.layers.begin(), plan.layers.end());
    results_.ranks.assign(plan.ranks.begin(), plan.ranks.end());
    results_.betas = plan.betas;
    for (const std::uint32_t prompt : subjects.asked) add_prompt(prompt);
    const std::size_t cells = results_.prompts.size() * size(plan.draw.trials),
                      layers = plan.layers.size();
    results_.role.assign(cells, 0);
    results_.answer_rank.assign(cells, 0);
    results_.answer_probability.assign(cells, kNaN);
    results_.target.assign(cells, -1);
    results_.predicted.assign(cells * layers * plan.betas.size(), -1);
    results_.predicted_rank.assign(cells * layers * plan.betas.size(), 0);
    results_.edited_rank.assign(cells * layers * plan.ranks.size(), 0);
    results_.edited_probability.assign(cells * layers * plan.ranks.size(), kNaN);
  }

  void add(std::uint32_t prompt, const Asked&, const std::string& values) override {
    const auto found = from_bytes<RelationFinding>(values, "a prompt's linear relations");
    const std::size_t place = places_.at(prompt);
    for (std::size_t trial = 0; trial < found.trials.size(); ++trial) {
      const TrialFinding& one = found.trials[trial];
      const std::size_t cell = place * size(plan_.draw.trials) + trial;
      results_.role.at(cell) = one.role;
      results_.answer_rank.at(cell) = one.answer_rank;
      if (one.answer_rank > 0)
        results_.answer_probability.at(cell) = static_cast<float>(one.answer_probability);
      results_.target.at(cell) = one.target;
      put(one.predicted, cell, results_.predicted);
      put(one.predicted_rank, cell, results_.predicted_rank);
      put(one.edited_rank, cell, results_.edited_rank);
      put(one.edited_probability, cell, results_.edited_probability);
    }
  }

  std::vector<ArrayGroup> groups() override {
    if (results_.prompts.empty()) return {};
    return {arrays_of(results_)};
  }

 private:
  // With its relation, if this is the first one of it.
  void add_prompt(std::uint32_t prompt) {
    places_[prompt] = results_.prompts.size();
    const Prompt& one = subjects_.prompts[prompt];
    results_.prompts.push_back(one.id);
    const WordedRelation* relation = relation_of(one, plan_.relations);
    if (relation == nullptr) {
      results_.relation_of.push_back(-1);
      return;
    }
    const auto [number, is_new] =
        numbers_.emplace(relation, static_cast<std::int32_t>(numbers_.size()));
    results_.relation_of.push_back(number->second);
    if (is_new) add_relation(*relation);
  }

  void add_relation(const WordedRelation& relation) {
    results_.relations.push_back(relation.relation);
    results_.words.push_back(relation.words());
    results_.facts.push_back(static_cast<std::int32_t>(relation.facts.size()));
    results_.largest_share.push_back(relation.largest_share());
    results_.squared_shares.push_back(relation.squared_shares());
    for (std::size_t trial = 0; trial < size(plan_.draw.trials); ++trial)
      for (std::size_t i = 0; i < size(plan_.draw.count); ++i)
        results_.training.push_back(
            relation.training.empty() ? -1 : relation.facts[relation.training[trial][i]].id);
  }

  // What a trial has of an array with as many numbers for each; nothing where the fact is not
  // known.
  template <class T>
  static void put(const std::vector<T>& values, std::size_t cell, std::vector<T>& all) {
    if (cell * values.size() + values.size() > all.size())
      throw RunError("a prompt's linear relations have more numbers than were asked for");
    std::copy(values.begin(), values.end(),
              all.begin() + static_cast<std::ptrdiff_t>(cell * values.size()));
  }

  const LrePlan& plan_;
  const Subjects& subjects_;
  std::map<std::uint32_t, std::size_t> places_;            // by prompt
  std::map<const WordedRelation*, std::int32_t> numbers_;  // in the results
  RelationResults results_;
};

// ---- work

class LreWork final : public Work {
 public:
  explicit LreWork(LrePlan plan) : plan_(std::move(plan)) {}
  std::string bytes() const override { return to_bytes(plan_); }

  std::string describe(const Asked&) const override {
    return fmt::format("linear relations, {}, {}{}", counted(plan_.layers.size(), "layer"),
                       counted(static_cast<std::uint64_t>(plan_.draw.trials), "trial"),
                       plan_.ranks.empty() ? ""
                                           : fmt::format(", {} of the inverse",
                                                         counted(plan_.ranks.size(), "rank")));
  }
  std::string summary() const override {
    const auto fitted = std::count_if(plan_.relations.begin(), plan_.relations.end(),
                                      [](const WordedRelation& r) { return !r.training.empty(); });
    return plan_.layers.empty() ? ""
                                : counted(static_cast<std::uint64_t>(fitted), "linear relation");
  }

  // Of each trial the prompt behind its examples and its edits; and of the fits, which prompts of a
  // relation share, a prompt's part: a forward for each training prompt, and as many backward
  // passes as the stream is wide.
  std::vector<Replays> replays(const Asked&, double tokens) const override {
    const double behind = tokens * (plan_.examples ? plan_.draw.count + 1 : 1);
    const Window whole{0, plan_.model_layers};
    std::vector<Replays> replays = {{plan_.draw.trials * behind, {whole}},
                                    {plan_.draw.trials * fits_per_prompt() * plan_.draw.count *
                                         plan_.width * kBackward * behind,
                                     {whole}}};
    std::vector<Window> shifted;
    for (const int layer : plan_.layers)
      shifted.push_back({std::min(layer, plan_.model_layers - 1), plan_.model_layers});
    replays.push_back(
        {plan_.draw.trials * static_cast<double>(plan_.ranks.size()) * tokens, shifted});
    return replays;
  }
  UnitLimits limits(const Asked&) const override { return {kPromptsOfUnit, kPromptsOfUnit}; }

  PromptBytes bytes_of_prompt(const Asked&, double) const override {
    RelationFinding sample;
    TrialFinding trial;
    trial.predicted.resize(plan_.layers.size() * plan_.betas.size());
    trial.predicted_rank = trial.predicted;
    trial.edited_rank.resize(plan_.layers.size() * plan_.ranks.size());
    trial.edited_probability.resize(trial.edited_rank.size());
    sample.trials.assign(size(plan_.draw.trials), trial);
    const auto bytes = static_cast<double>(to_bytes(sample).size());
    return {bytes, bytes};
  }

  // The prompts behind the first trial's examples: as long as what is asked.
  std::vector<Prompt> references(std::span<const TokenizedPrompt> prompts) const override {
    std::vector<Prompt> all;
    for (const TokenizedPrompt& one : prompts) {
      const WordedRelation* relation = relation_of(one.prompt, plan_.relations);
      if (relation == nullptr || relation->training.empty()) continue;
      all.push_back(behind_examples(*relation,
                                    {one.prompt.id, one.prompt.subject, one.prompt.answer},
                                    plan_.examples_of(*relation, 0, one.prompt.subject)));
    }
    return all;
  }

  // As large as a trial's edits; what they add is known once the relation is fitted, so the same
  // small number in every channel stands for it.
  ReplayRequest request(const Asked&, const TokenizedPrompt& prompt,
                        std::span<const TokenizedPrompt> references) const override {
    const auto found = std::find_if(
        references.begin(), references.end(),
        [&](const TokenizedPrompt& other) { return other.prompt.id == prompt.prompt.id; });
    const TokenizedPrompt& behind = found == references.end() ? prompt : *found;
    ReplayRequest request{behind.ids, prompt.answer, {}, state_reads(plan_, behind)};
    const std::vector<double> small(size(plan_.width), 1.0 / plan_.width);
    for (const int layer : plan_.layers)
      for (std::size_t i = 0; i < plan_.ranks.size(); ++i)
        request.series.push_back(shift_at(layer, behind.subject.back(), small));
    return request;
  }

  Finding record(const LoadedModel&, const Asked&, const TokenizedPrompt&,
                 std::span<const TokenizedPrompt>, const ReplayResult&) const override {
    throw std::logic_error("a linear relation is made of several prompts");
  }

  std::vector<Finding> compute(LoadedModel& model, const Asked&,
                               std::span<const TokenizedPrompt> prompts) const override {
    return RelationUnit(plan_, model, prompts).findings();
  }

  std::unique_ptr<ArrayMaker> arrays(const Subjects& subjects) const override {
    return std::make_unique<LreArrays>(plan_, subjects);
  }

 private:
  double fits_per_prompt() const {
    double fitted = 0, facts = 0;
    for (const WordedRelation& relation : plan_.relations)
      if (!relation.training.empty()) {
        fitted += 1;
        facts += static_cast<double>(relation.facts.size());
      }
    return facts > 0 ? fitted / facts : 0;
  }

  LrePlan plan_;
};

// ---- the kind

class LreKind final : public ExperimentKind {
 public:
  std::string name() const override { return "lre"; }
  std::uint32_t number() const override { return 8; }

  std::string section() const override { return "lre"; }
  Form<Entries> form() const override { return section_form(lre_form()); }

  PlannedWork plan(const Entries& entries, const ModelToPlan& model) const override {
    PlannedWork planned;
    std::optional<LreConfig> asked;
    for (std::size_t i = 0; i < entries.size(); ++i) {
      planned.asked.emplace_back();
      const auto& entry = static_cast<const LreConfig&>(*entries[i]);
      if (!is_for(entry, model.name)) continue;
      const auto key = [&](const char* name) {
        return key_in_entry(section(), i, entries.size(), name);
      };
      const LreConfig settings = without_prompts(entry);
      if (asked.value_or(settings) != settings)
        throw InputError(model.file.string(),
                         fmt::format("key {}: model {} has other settings in an earlier entry",
                                     fmt::format("{}[{}]", section(), i), model.name),
                         "entries of one model may differ in their prompts alone");
      asked = settings;
      check(entry.layers, model.architecture.layers, key("layers"), "layer", model);
      check(entry.ranks, model.architecture.hidden, key("ranks"), "rank", model);
      planned.asked.back() = {{0, {}}};
    }
    planned.work = std::make_shared<LreWork>(asked ? plan_of(*asked, model) : LrePlan{});
    return planned;
  }
  std::shared_ptr<const Work> work_from(const std::string& bytes) const override {
    return std::make_shared<LreWork>(from_bytes<LrePlan>(bytes, "the plan of linear relations"));
  }

  std::string progress(const PromptCount& count, std::uint32_t asked) const override {
    return asked == 0 ? "no prompt to test linear relations with"
                      : in_words(count, asked, "selected prompt", "tested with linear relations");
  }

 private:
  static LreConfig without_prompts(LreConfig entry) {
    static_cast<Entry&>(entry) = {};
    return entry;
  }

  static void check(const std::vector<int>& numbers, int most, const std::string& key,
                    const std::string& what, const ModelToPlan& model) {
    for (const int number : numbers)
      if (number > most)
        throw InputError(model.file.string(),
                         fmt::format("key {}: {} {} of model {}, which goes up to {}", key, what,
                                     number, model.name, most),
                         "leave it out, or give the model an entry of its own with models: [...]");
  }

  LrePlan plan_of(const LreConfig& asked, const ModelToPlan& model) const {
    LrePlan plan;
    plan.width = model.architecture.hidden;
    plan.model_layers = model.architecture.layers;
    plan.layers = asked.layers.empty() ? coarse_layers(plan.model_layers) : asked.layers;
    if (plan.layers == std::vector{-1}) {
      plan.layers.clear();
      for (int layer = 0; layer <= plan.model_layers; ++layer) plan.layers.push_back(layer);
    }
    plan.betas = asked.betas.empty() ? usual_betas() : asked.betas;
    plan.ranks = asked.ranks.empty() ? coarse_ranks(plan.width) : asked.ranks;
    if (plan.ranks == std::vector{0}) plan.ranks.clear();
    std::sort(plan.layers.begin(), plan.layers.end());
    std::sort(plan.betas.begin(), plan.betas.end());
    std::sort(plan.ranks.begin(), plan.ranks.end());
    plan.draw = {asked.train, asked.trials, asked.seed, kFewestKnown};
    plan.examples = asked.examples;
    plan.relations = worded_relations(model.prompts, plan.draw);
    require_any(plan, model);
    return plan;
  }

  void require_any(const LrePlan& plan, const ModelToPlan& model) const {
    std::size_t most = 0;
    for (const WordedRelation& relation : plan.relations)
      most = std::max(most, relation.facts.size());
    const auto needed = size(plan.draw.count + plan.draw.fewest_tests);
    if (most >= needed) return;
    throw InputError(
        model.file.string(),
        most == 0
            ? fmt::format("key {}: no prompt of the dataset names its relation", section())
            : fmt::format("key {}: no relation of the dataset has {} subjects in one wording; "
                          "the largest has {}",
                          section(), needed, most),
        most == 0 ? "take a dataset with relations"
                  : "fit on fewer by train: N, or take more prompts");
  }
};

}  // namespace

std::vector<std::uint32_t> LrePlan::examples_of(const WordedRelation& relation, std::size_t trial,
                                                const std::string& subject) const {
  std::vector<std::uint32_t> others;
  if (!examples) return others;
  for (const std::uint32_t fact : relation.training.at(trial))
    if (relation.facts[fact].subject != subject) others.push_back(fact);
  return others;
}

std::vector<int> coarse_layers(int layers) {
  constexpr int kLayers = 12;
  const int step = std::max(1, (layers + kLayers - 1) / kLayers);
  std::vector<int> coarse;
  for (int layer = 0; layer < layers; layer += step) coarse.push_back(layer);
  return coarse;
}

std::vector<int> coarse_ranks(int width) {
  constexpr int kLeast = 8, kMost = 256;
  std::vector<int> ranks;
  for (int rank = kLeast; rank <= std::min(kMost, width); rank *= 2) ranks.push_back(rank);
  if (ranks.empty()) ranks.push_back(width);
  return ranks;
}

std::vector<double> usual_betas() {
  std::vector<double> betas;
  for (int i = 0; i <= 20; ++i) betas.push_back(0.25 * i);
  return betas;
}

const ExperimentKind& lre_kind() {
  static const LreKind kind;
  return kind;
}

}  // namespace factflow
