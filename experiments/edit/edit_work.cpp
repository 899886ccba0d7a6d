#include "experiments/edit/edit_work.hpp"

#include <algorithm>
#include <cmath>
#include <set>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "experiments/edit/edit_background.hpp"
#include "experiments/edit/edit_results.hpp"
#include "experiments/edit/edit_unit.hpp"

namespace factflow {
namespace {

constexpr std::size_t kText = 40;  // bytes of a question, for estimates
constexpr double kAnswerTokens = 2;
// Forwards of a step: the loss, and on the way back each layer once more.
constexpr double kSearched = 4;

class EditWork final : public Work {
 public:
  explicit EditWork(EditPlan plan) : plan_(std::move(plan)) {}
  std::string bytes() const override { return to_bytes(plan_); }

  std::string describe(const Asked& asked) const override {
    std::vector<std::string> names;
    for (const AskedItem& one : asked) names.push_back(plan_.name(one.item));
    return fmt::format("edits, {}", fmt::join(names, ", "));
  }
  std::string summary() const override {
    return plan_.places.empty() ? "" : counted(plan_.places.size(), "edit");
  }

  // The search evaluates every context with its gradient, from the edited layer on; keys are those
  // of every context in each layer; then every question is asked.
  std::vector<Replays> replays(const Asked& asked, double tokens) const override {
    const std::vector<Window> whole = {{0, plan_.layers}};
    const EditContexts& contexts = plan_.config.contexts;
    double length = 0;
    for (const int one : contexts.tokens)
      length += static_cast<double>(one) / static_cast<double>(contexts.tokens.size());
    const double row = tokens + kAnswerTokens,
                 rows = row + contexts.count * (row + length) + kAnswerTokens,
                 searched = rows * kSearched * plan_.config.search.iterations,
                 judging = row * static_cast<double>(2 * plan_.questions() + plan_.others());
    std::vector<Replays> all = {{judging, whole}};
    for (const AskedItem& one : asked) {
      const EditPlace& place = plan_.places.at(one.item);
      const int above = place.layers.back() + (place.together() ? 1 : 0);
      all.push_back({rows * static_cast<double>(place.layers.size()) + judging, whole});
      all.push_back({searched, {{std::min(above, plan_.layers - 1), plan_.layers}}});
    }
    return all;
  }
  // Facts that are written together are a unit, whatever else is asked of them. Other edits of one
  // matrix are searched side by side; a unit is not longer than it takes for that.
  UnitLimits limits(const Asked& asked) const override {
    const bool together = std::any_of(asked.begin(), asked.end(), [&](const AskedItem& one) {
      return plan_.places.at(one.item).together();
    });
    const auto facts = static_cast<std::uint32_t>(plan_.config.memit.facts);
    if (together) return {facts, facts, /*whole=*/true};
    const auto share = [&](std::size_t all) {
      const std::size_t edits = std::max<std::size_t>(asked.size(), 1);
      return static_cast<std::uint32_t>(std::max<std::size_t>(all / edits, 1));
    };
    return {share(kLargestUnit), share(kSmallestUnit)};
  }
  // The second moments of keys: matrices of a layer that read the same value share them.
  double bytes_kept() const override {
    std::set<std::pair<int, std::int64_t>> keys;
    for (const EditPlace& place : plan_.places)
      for (const std::int32_t layer : place.layers) keys.insert({layer, place.size.in});
    double bytes = 0;
    if (plan_.config.covariance.text.source != KeyText::Source::kNone)
      for (const auto& [layer, in] : keys)
        bytes += static_cast<double>(in) * static_cast<double>(in) * sizeof(double);
    return bytes;
  }
  PromptBytes bytes_of_prompt(const Asked& asked, double tokens) const override {
    PromptEdits sample;
    sample.tokens.resize(static_cast<std::size_t>(std::llround(tokens)));
    sample.questions.resize(plan_.questions());
    sample.texts.assign(plan_.questions(), std::string(kText, 'x'));
    sample.before = empty_judgement();
    sample.others.resize(plan_.others());
    sample.other_ids.resize(plan_.others());
    sample.other_log_before.resize(plan_.others());
    for (int i = 0; i < plan_.config.contexts.count; ++i) {
      const std::vector<int>& lengths = plan_.config.contexts.tokens;
      const auto length =
          static_cast<std::size_t>(lengths[static_cast<std::size_t>(i) % lengths.size()]);
      sample.contexts.emplace_back(length);
      sample.context_texts.emplace_back(4 * length, 'x');
    }
    const auto shared = static_cast<double>(to_bytes(sample).size());
    for (const AskedItem& one : asked)
      sample.edits.push_back(empty_edit(plan_.places.at(one.item)));
    const auto all = static_cast<double>(to_bytes(sample).size());
    return {all - (sample.contexts.empty() ? 0 : shared / 2), all};
  }

  // What the engine is checked with; edits themselves are computed without it.
  ReplayRequest request(const Asked&, const TokenizedPrompt& prompt,
                        std::span<const TokenizedPrompt>) const override {
    return {prompt.ids, prompt.answer};
  }
  Finding record(const LoadedModel&, const Asked&, const TokenizedPrompt&,
                 std::span<const TokenizedPrompt>, const ReplayResult&) const override {
    throw std::logic_error("edits are not made of replays");
  }

  std::vector<Finding> compute(LoadedModel& model, const Asked& asked,
                               std::span<const TokenizedPrompt> prompts) const override {
    return EditUnit(plan_, background_of(model), model, asked, prompts).findings();
  }

  std::unique_ptr<ArrayMaker> arrays(const Subjects& subjects) const override {
    return edit_array_maker(plan_, subjects);
  }

 private:
  static constexpr std::size_t kLargestUnit = 32, kSmallestUnit = 8;  // edits

  const EditBackground& background_of(LoadedModel& model) const {
    EditPlan key = plan_;  // prompts follow from the dataset, of which a worker knows one
    key.pool.prompts.clear();
    return model.derived<EditBackground>("edit " + to_bytes(key), [&] {
      std::vector<std::string> texts;
      for (const Prompt& prompt : plan_.pool.prompts) texts.push_back(prompt.text);
      std::set<MatrixAt> matrices;
      for (const EditPlace& place : plan_.places)
        for (const std::int32_t layer : place.layers) matrices.insert({place.matrix, layer});
      return edit_background(model, plan_.config, std::vector(matrices.begin(), matrices.end()),
                             texts);
    });
  }

  JudgedAnswers empty_judgement() const {
    JudgedAnswers judged;
    judged.new_nll.resize(plan_.questions());
    judged.true_nll.resize(plan_.questions());
    judged.new_greedy.resize(plan_.questions());
    judged.true_greedy.resize(plan_.questions());
    return judged;
  }
  EditFound empty_edit(const EditPlace& place) const {
    EditFound found;
    found.after = empty_judgement();
    found.other_log_change.resize(plan_.others());
    found.other_kl.resize(plan_.others());
    found.other_top_changed.resize(plan_.others());
    if (!plan_.config.save) return found;
    found.u.resize(static_cast<std::size_t>(place.in()));
    found.r.resize(static_cast<std::size_t>(place.out()));
    return found;
  }

  EditPlan plan_;
};

}  // namespace

std::shared_ptr<const Work> edit_work(EditPlan plan) {
  return std::make_shared<EditWork>(std::move(plan));
}

}  // namespace factflow
