#include "experiments/edit/edit_unit.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "base/error.hpp"
#include "model/edit/edit_slot.hpp"

namespace factflow {
namespace {

// What was scaled down to the limit is a rounding away from it.
constexpr double kClampRounding = 1e-5;

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

}  // namespace

EditUnit::EditUnit(const EditPlan& plan, const EditBackground& background, LoadedModel& model,
                   const Asked& asked, std::span<const TokenizedPrompt> prompts)
    : plan_(plan),
      background_(background),
      model_(model),
      asked_(asked),
      prompts_(prompts),
      findings_(prompts.size()) {}

std::vector<Finding> EditUnit::findings() {
  find_facts();
  for (Task& task : tasks_) describe(task);
  for (const AskedItem& one : asked_) edit(one.item);
  for (const Task& task : tasks_) findings_[task.prompt].values = to_bytes(task.found);
  return std::move(findings_);
}

bool EditUnit::together() const {
  return std::any_of(asked_.begin(), asked_.end(),
                     [&](const AskedItem& one) { return plan_.places.at(one.item).together(); });
}

FactPool EditUnit::pool() const {
  FactPool pool = plan_.pool;
  if (together())
    for (const TokenizedPrompt& one : prompts_)
      pool.written.emplace(one.prompt.subject, one.prompt.relation);
  return pool;
}

void EditUnit::find_facts() {
  const FactPool lenders = pool();
  for (std::size_t i = 0; i < prompts_.size(); ++i) try {
      tasks_.push_back({i, edit_fact(model_, plan_.config, lenders, background_, prompts_[i])});
    } catch (const InputError& error) {
      findings_[i].failure = error.problem();
    }
  for (Task& task : tasks_) {
    task.before = verdict(model_.network(), task.fact);
    if (!is_finite(task.before)) findings_[task.prompt].failure = kNotFinite;
  }
  std::erase_if(tasks_, [&](const Task& task) { return !findings_[task.prompt].failure.empty(); });
}

void EditUnit::describe(Task& task) const {
  PromptEdits& found = task.found;
  const EditFact& fact = task.fact;
  if (together()) found.group = prompts_[tasks_.front().prompt].prompt.id;
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
  for (const std::vector<int>& ids : background_.contexts) {
    found.contexts.push_back(as_int32(ids));
    std::string& text = found.context_texts.emplace_back();
    for (const int id : ids) text += model_.tokenizer().token_text(id);
  }
  found.context_start = background_.context_start;
  found.covariance_tokens = background_.covariance_tokens;
  found.covariance_digest = background_.covariance_digest;
}

void EditUnit::edit(std::uint32_t item) {
  if (tasks_.empty()) return;
  const EditPlace& place = plan_.places.at(item);
  try {
    place.together() ? edit_together(place) : edit_each(place);
  } catch (const InputError& error) {  // no inverse
    throw InputError(fmt::format("key edit.covariance: {}", plan_.name(item)), error.problem(),
                     error.remedy());
  }
}

std::vector<EditRequest> EditUnit::requests() const {
  std::vector<EditRequest> all;
  for (const Task& task : tasks_) all.push_back(task.fact.request);
  return all;
}

at::Tensor EditUnit::covariance(const EditPlace& place, std::int32_t layer) const {
  const auto found = background_.covariances.find({place.matrix, layer});
  return found == background_.covariances.end() ? at::Tensor()
                                                : found->second.to(model_.network().device());
}

void EditUnit::edit_each(const EditPlace& place) {
  Network& network = model_.network();
  const std::int32_t layer = place.layers.front();
  const std::vector<RomeEdit> edits =
      rome_edits(network, place.matrix, layer, requests(), covariance(place, layer),
                 plan_.config.search.settings(place.method));
  const EditSlot slot(network, place.matrix, layer);
  for (std::size_t i = 0; i < tasks_.size(); ++i) {
    EditFound& found = tasks_[i].found.edits.emplace_back();
    if (!all_finite(edits[i].r) || !all_finite(edits[i].u)) continue;
    const AppliedEdit applied(network, slot, edits[i].delta());
    const EditVerdict after = verdict(network, tasks_[i].fact);
    if (is_finite(after)) found = found_edit(edits[i], tasks_[i], after);
  }
}

// One edit of all facts, and each judged while it is there.
void EditUnit::edit_together(const EditPlace& place) {
  Network& network = model_.network();
  std::vector<at::Tensor> covariances;
  for (const std::int32_t layer : place.layers) covariances.push_back(covariance(place, layer));
  const MemitEdit edit =
      memit_edit(network, place.matrix, place.layers, covariances, plan_.config.memit.weight,
                 requests(), plan_.config.search.settings(place.method));
  std::vector<std::unique_ptr<AppliedEdit>> applied;
  bool finite = true;
  double squares = 0;
  for (const MemitStep& step : edit.steps) {
    finite = finite && all_finite(step.resid) && all_finite(step.adj_k);
    const at::Tensor delta = step.delta();
    squares += delta.square().sum().item<double>();
    applied.push_back(
        std::make_unique<AppliedEdit>(network, EditSlot(network, place.matrix, step.layer), delta));
  }
  for (std::size_t i = 0; i < tasks_.size(); ++i) {
    EditFound& found = tasks_[i].found.edits.emplace_back();
    if (!finite) continue;
    const EditVerdict after = verdict(network, tasks_[i].fact);
    if (!is_finite(after)) continue;
    found = found_edit(edit, i, after);
    found.update_norm = static_cast<float>(std::sqrt(squares));
  }
}

EditFound EditUnit::found_edit(const RomeEdit& edit, const Task& task,
                               const EditVerdict& after) const {
  EditFound found = found_edit(edit.trace, edit.v0, task, after);
  found.key_product = edit.u.dot(edit.k0).item<float>();
  found.update_norm = edit.r.norm().item<float>();
  if (!plan_.config.save) return found;
  found.u = floats(edit.u);
  found.r = floats(edit.r);
  return found;
}

EditFound EditUnit::found_edit(const MemitEdit& edit, std::size_t row,
                               const EditVerdict& after) const {
  const auto fact = static_cast<std::int64_t>(row);
  EditFound found = found_edit(edit.traces[row], edit.start[fact], tasks_[row], after);
  found.key_product = std::numeric_limits<float>::quiet_NaN();
  if (!plan_.config.save) return found;
  for (const MemitStep& step : edit.steps) {
    const std::vector<float> u = floats(step.adj_k[fact]), r = floats(step.resid[fact]);
    found.u.insert(found.u.end(), u.begin(), u.end());
    found.r.insert(found.r.end(), r.begin(), r.end());
  }
  return found;
}

EditFound EditUnit::found_edit(const std::vector<EditStep>& trace, const at::Tensor& start,
                               const Task& task, const EditVerdict& after) const {
  EditFound found;
  const EditStep& end = trace.back();
  const auto number = [](const at::Tensor& scalar) { return scalar.item<float>(); };
  found.finite = true;
  found.steps = static_cast<std::int32_t>(trace.size()) - 1;
  found.loss = static_cast<float>(end.loss);
  found.nll = static_cast<float>(end.nll);
  found.kl = static_cast<float>(end.kl);
  found.mean_prob = static_cast<float>(end.mean_prob);
  found.delta_norm = static_cast<float>(end.delta_norm);
  found.value_norm = number(start.norm());
  const double limit = plan_.config.search.clamp_factor * start.norm().item<double>();
  found.clamped = end.delta_norm >= limit * (1 - kClampRounding) ? 1 : 0;
  found.after = judged(after);
  for (std::size_t i = 0; i < task.fact.others.size(); ++i) {
    const at::Tensor &was = task.before.others[i], &is = after.others[i];
    const int answer = task.fact.others[i].prompt.answer;
    found.other_log_change.push_back(number(is[answer] - was[answer]));
    found.other_kl.push_back(static_cast<float>(divergence(was, is)));
    const bool same = was.argmax().item<std::int64_t>() == is.argmax().item<std::int64_t>();
    found.other_top_changed.push_back(same ? 0 : 1);
  }
  return found;
}

}  // namespace factflow
