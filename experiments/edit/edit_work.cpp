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
#include "experiments/edit/edit_fact.hpp"
#include "experiments/edit/edit_results.hpp"
#include "model/edit/edit_slot.hpp"
#include "model/edit/rome.hpp"

namespace factflow {
namespace {

constexpr std::size_t kText = 40;  // bytes of a question, for estimates
constexpr double kAnswerTokens = 2;
// Forwards of a step: the loss, and on the way back each layer once more.
constexpr double kSearched = 4;

std::vector<float> floats(const at::Tensor& vector) {
  const at::Tensor host = vector.to(at::kCPU, at::kFloat).contiguous();
  return {host.data_ptr<float>(), host.data_ptr<float>() + host.numel()};
}

bool all_finite(const at::Tensor& tensor) {
  return tensor.isfinite().all().item<bool>();
}

JudgedAnswers judged(const EditVerdict& verdict) {
  JudgedAnswers all;
  const auto add = [](const std::vector<ContinuationOutcome>& outcomes, std::vector<float>& nll,
                      std::vector<std::int32_t>& greedy) {
    for (const ContinuationOutcome& one : outcomes) {
      nll.push_back(static_cast<float>(one.target_nll));
      greedy.push_back(one.target_is_argmax ? 1 : 0);
    }
  };
  add(verdict.new_answer, all.new_nll, all.new_greedy);
  add(verdict.true_answer, all.true_nll, all.true_greedy);
  return all;
}

bool is_finite(const EditVerdict& verdict) {
  const auto good = [](const ContinuationOutcome& one) { return std::isfinite(one.target_nll); };
  return std::all_of(verdict.new_answer.begin(), verdict.new_answer.end(), good) &&
         std::all_of(verdict.true_answer.begin(), verdict.true_answer.end(), good) &&
         std::all_of(verdict.others.begin(), verdict.others.end(),
                     [](const at::Tensor& log_p) { return !log_p.isnan().any().item<bool>(); });
}

// KL(before || after) of two distributions as logarithms. What was impossible adds nothing.
double divergence(const at::Tensor& before, const at::Tensor& after) {
  const at::Tensor terms = before.exp() * (before - after);
  return terms.masked_fill(before.isneginf(), 0).sum().item<double>();
}

std::vector<std::int32_t> as_int32(const std::vector<int>& ids) {
  return {ids.begin(), ids.end()};
}

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

  // The search evaluates every context with its gradient, from the edited layer on; then every
  // question is asked.
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
      all.push_back({rows + judging, whole});
      all.push_back({searched, {{plan_.places.at(one.item).layer, plan_.layers}}});
    }
    return all;
  }
  // Edits of one matrix are searched side by side; a unit is not longer than it takes for that.
  UnitLimits limits(const Asked& asked) const override {
    const auto share = [&](std::size_t all) {
      const std::size_t edits = std::max<std::size_t>(asked.size(), 1);
      return static_cast<std::uint32_t>(std::max<std::size_t>(all / edits, 1));
    };
    return {share(kLargestUnit), share(kSmallestUnit)};
  }
  // The second moments of keys: matrices of a layer that read the same value share them.
  double bytes_kept() const override {
    std::set<std::pair<int, std::int64_t>> keys;
    for (std::size_t i = 0; i < plan_.places.size(); ++i)
      keys.insert({plan_.places[i].layer, plan_.sizes[i].in});
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
    for (const AskedItem& one : asked) sample.edits.push_back(empty_edit(plan_.sizes.at(one.item)));
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
    const EditBackground& background = background_of(model);
    std::vector<Finding> findings(prompts.size());
    std::vector<Task> tasks;
    for (std::size_t i = 0; i < prompts.size(); ++i) try {
        tasks.push_back({i, edit_fact(model, plan_.config, plan_.pool, background, prompts[i])});
      } catch (const InputError& error) {
        findings[i].failure = error.problem();
      }
    for (Task& task : tasks) {
      task.before = verdict(model.network(), task.fact);
      if (!is_finite(task.before)) findings[task.prompt].failure = kNotFinite;
    }
    std::erase_if(tasks, [&](const Task& task) { return !findings[task.prompt].failure.empty(); });
    for (Task& task : tasks) describe(model, background, task);
    for (const AskedItem& one : asked) edit(model.network(), background, one.item, tasks);
    for (const Task& task : tasks) findings[task.prompt].values = to_bytes(task.found);
    return findings;
  }

  std::unique_ptr<ArrayMaker> arrays(const Subjects& subjects) const override {
    return edit_array_maker(plan_, subjects);
  }

 private:
  static constexpr std::size_t kLargestUnit = 32, kSmallestUnit = 8;  // edits

  // A fact under way.
  struct Task {
    std::size_t prompt = 0;  // of the unit
    EditFact fact;
    EditVerdict before = {};
    PromptEdits found = {};
  };

  const EditBackground& background_of(LoadedModel& model) const {
    EditPlan key = plan_;  // prompts follow from the dataset, of which a worker knows one
    key.pool.prompts.clear();
    return model.derived<EditBackground>("edit " + to_bytes(key), [&] {
      std::vector<std::string> texts;
      for (const Prompt& prompt : plan_.pool.prompts) texts.push_back(prompt.text);
      return edit_background(model, plan_.config, plan_.places, texts);
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
  EditFound empty_edit(const EditPlan::Size& size) const {
    EditFound found;
    found.after = empty_judgement();
    found.other_log_change.resize(plan_.others());
    found.other_kl.resize(plan_.others());
    found.other_top_changed.resize(plan_.others());
    if (!plan_.config.save) return found;
    found.u.resize(static_cast<std::size_t>(size.in));
    found.r.resize(static_cast<std::size_t>(size.out));
    return found;
  }

  static void describe(const LoadedModel& model, const EditBackground& background, Task& task) {
    PromptEdits& found = task.found;
    const EditFact& fact = task.fact;
    found.essence = fact.essence;
    found.subject_last = fact.request.subject_last;
    found.tokens = as_int32(fact.request.prompt);
    found.new_tokens = as_int32(fact.new_ids);
    found.true_tokens = as_int32(fact.true_ids);
    for (const EditFact::Question& question : fact.questions) {
      found.questions.emplace_back(question.kind, question.number);
      found.texts.push_back(question.text);
    }
    found.before = judged(task.before);
    for (std::size_t i = 0; i < fact.others.size(); ++i) {
      const EditFact::Other& other = fact.others[i];
      found.others.emplace_back(other.kind, other.number);
      found.other_ids.push_back(other.prompt.prompt.id);
      found.other_log_before.push_back(task.before.others[i][other.prompt.answer].item<float>());
    }
    for (const std::vector<int>& ids : background.contexts) {
      found.contexts.push_back(as_int32(ids));
      std::string& text = found.context_texts.emplace_back();
      for (const int id : ids) text += model.tokenizer().token_text(id);
    }
    found.context_start = background.context_start;
    found.covariance_tokens = background.covariance_tokens;
    found.covariance_digest = background.covariance_digest;
  }

  // One matrix, for each fact by itself.
  void edit(Network& network, const EditBackground& background, std::uint32_t item,
            std::vector<Task>& tasks) const {
    const MatrixAt& place = plan_.places.at(item);
    const auto covariance = background.covariances.find(place);
    std::vector<EditRequest> requests;
    for (const Task& task : tasks) requests.push_back(task.fact.request);
    std::vector<RomeEdit> edits;
    try {
      edits = rome_edits(network, place.matrix, place.layer, requests,
                         covariance == background.covariances.end()
                             ? at::Tensor()
                             : covariance->second.to(network.device()),
                         plan_.config.search.settings());
    } catch (const InputError& error) {  // no inverse
      throw InputError(fmt::format("key edit.covariance: {}", plan_.name(item)), error.problem(),
                       error.remedy());
    }
    const EditSlot slot(network, place.matrix, place.layer);
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      EditFound& found = tasks[i].found.edits.emplace_back();
      if (!all_finite(edits[i].r) || !all_finite(edits[i].u)) continue;
      const AppliedEdit applied(network, slot, edits[i].delta());
      const EditVerdict after = verdict(network, tasks[i].fact);
      if (!is_finite(after)) continue;
      found = found_edit(edits[i], tasks[i], after);
    }
  }

  EditFound found_edit(const RomeEdit& edit, const Task& task, const EditVerdict& after) const {
    EditFound found;
    const EditStep& end = edit.trace.back();
    const auto number = [](const at::Tensor& scalar) { return scalar.item<float>(); };
    found.finite = true;
    found.steps = static_cast<std::int32_t>(edit.trace.size()) - 1;
    found.loss = static_cast<float>(end.loss);
    found.nll = static_cast<float>(end.nll);
    found.kl = static_cast<float>(end.kl);
    found.mean_prob = static_cast<float>(end.mean_prob);
    found.delta_norm = static_cast<float>(end.delta_norm);
    found.value_norm = number(edit.v0.norm());
    // What was scaled down to the limit is a rounding away from it.
    const double limit = plan_.config.search.clamp_factor * edit.v0.norm().item<double>();
    found.clamped = end.delta_norm >= limit * (1 - kClampRounding) ? 1 : 0;
    found.key_product = number(edit.u.dot(edit.k0));
    found.update_norm = number(edit.r.norm());
    found.after = judged(after);
    for (std::size_t i = 0; i < task.fact.others.size(); ++i) {
      const at::Tensor &was = task.before.others[i], &is = after.others[i];
      const int answer = task.fact.others[i].prompt.answer;
      found.other_log_change.push_back(number(is[answer] - was[answer]));
      found.other_kl.push_back(static_cast<float>(divergence(was, is)));
      const bool same = was.argmax().item<std::int64_t>() == is.argmax().item<std::int64_t>();
      found.other_top_changed.push_back(same ? 0 : 1);
    }
    if (!plan_.config.save) return found;
    found.u = floats(edit.u);
    found.r = floats(edit.r);
    return found;
  }

  static constexpr double kClampRounding = 1e-5;

  EditPlan plan_;
};

}  // namespace

std::shared_ptr<const Work> edit_work(EditPlan plan) {
  return std::make_shared<EditWork>(std::move(plan));
}

}  // namespace factflow
