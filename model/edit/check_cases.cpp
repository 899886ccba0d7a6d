#include "model/edit/check_cases.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include <fmt/format.h>

#include "base/error.hpp"
#include "model/edit/attribution.hpp"
#include "model/edit/lre.hpp"
#include "model/edit/memit.hpp"
#include "model/edit/rome.hpp"

namespace factflow {
namespace {

constexpr double kFewSteps = 1e-6, kManySteps = 1e-5;
constexpr int kFew = 5;  // Adam steps

at::Tensor tensor_of(const std::vector<double>& values, const at::Tensor& like) {
  return at::tensor(values, at::kDouble).to(like.device());
}

void compare_step(LocateCheck& check, const std::string& name, const EditStep& found,
                  const EditStep& expected) {
  check.number(name + ".loss", found.loss, expected.loss);
  check.number(name + ".nll", found.nll, expected.nll);
  check.number(name + ".kl", found.kl, expected.kl);
  check.number(name + ".decay", found.decay, expected.decay);
  check.log_probability(name + ".mean_prob", std::log(found.mean_prob), expected.mean_prob);
  check.size(name + ".delta_norm", found.delta_norm, expected.delta_norm);
}

void compare_outcomes(LocateCheck& check, const std::string& name,
                      const std::vector<PromptOutcome>& found,
                      const std::vector<LocateCases::Outcome>& expected) {
  check.same(name, found.size() == expected.size());
  for (size_t i = 0; i < std::min(found.size(), expected.size()); ++i) {
    const std::string at = fmt::format("{}[{}]", name, i);
    check.log_probability(at + ".target", found[i].log_target, expected[i].target);
    check.log_probability(at + ".answer", found[i].log_answer, expected[i].answer);
    check.number(at + ".target_nll", found[i].target_nll, expected[i].target_nll);
  }
}

// By how many Adam steps went before what is compared.
struct EditChecks {
  LocateCheck before{"edits, before the first step", kFewSteps},
      few{"edits, up to 5 Adam steps", kFewSteps}, many{"edits, more Adam steps", kManySteps};
  LocateCheck& after(int steps) { return steps == 0 ? before : steps <= kFew ? few : many; }
};

void check_edit(Network& network, const LocateCases& cases, size_t index, EditChecks& checks) {
  const LocateCases::Edit& e = cases.edits[index];
  const auto name = [&](const char* key) { return fmt::format("edits[{}].{}", index, key); };
  KeyStatistics statistics;
  if (e.shrinkage) statistics = {cases.runs, *e.shrinkage};
  const std::vector<PromptOutcome> before = outcomes(network, e.request);
  const RomeEdit edit = rome_edit(network, e.matrix, e.layer, e.request, statistics, e.settings);
  LocateCheck &start = checks.before, &end = checks.after(e.adam_steps);
  start.values(name("k0"), edit.k0, e.k0);
  start.values(name("k_bar"), edit.k_bar, e.k_bar);
  start.values(name("c0"), edit.c0, e.c0);
  start.values(name("v0"), edit.v0, e.v0);
  start.values(name("first_grad"), edit.first_gradient, e.first_gradient);
  start.values(name("u"), edit.u, e.u);
  compare_outcomes(start, name("before"), before, e.before);
  start.same(name("trace"), edit.trace.size() == e.trace.size());
  start.same(name("adam_steps"), static_cast<int>(edit.trace.size()) - 1 == e.adam_steps);
  for (size_t i = 0; i < std::min(edit.trace.size(), e.trace.size()); ++i)
    compare_step(checks.after(static_cast<int>(i)), fmt::format("{}[{}]", name("trace"), i),
                 edit.trace[i], e.trace[i]);
  std::vector<double> delta = e.v_star;  // which v0 would hide
  for (size_t i = 0; i < delta.size(); ++i) delta[i] -= e.v0[i];
  end.values(name("v_star"), edit.v_star - edit.v0, delta);
  end.values(name("r"), edit.r, e.r);
  end.size(name("delta_norm"), edit.delta().norm().item<double>(), e.delta_norm);
  const EditSlot slot(network, e.matrix, e.layer);
  const AppliedEdit applied(network, slot, edit.delta());
  compare_outcomes(end, name("after"), outcomes(network, e.request), e.after);
}

void compare_digest(LocateCheck& check, const std::string& name, const at::Tensor& matrix,
                    const LocateCases::MatrixDigest& expected) {
  check.same(name + ".shape", matrix.sizes() == at::IntArrayRef(std::vector<std::int64_t>(
                                                    expected.shape.begin(), expected.shape.end())));
  const std::int64_t width = matrix.size(1);
  check.values(name + ".corner", matrix.slice(0, 0, 8).slice(1, 0, 8), expected.corner);
  check.size(name + ".norm", matrix.norm().item<double>(), expected.norm);
  check.values(name + ".times_ramp", matrix.mv(at::arange(1, width + 1, matrix.options()) / width),
               expected.times_ramp);
}

struct TestPrompt {
  RelationPrompt prompt;
  RelationJacobian states;
};

// The answers of betas x test prompts, and the nearest second among them.
void compare_predictions(LocateCheck& check, const std::string& name, const Network& network,
                         const LinearRelation& relation, const std::vector<TestPrompt>& tests,
                         const LocateCases::Lre& expected) {
  double smallest_gap = std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < expected.betas.size(); ++i) {
    int right = 0;
    for (size_t k = 0; k < tests.size(); ++k) {
      const at::Tensor logits =
          read_out(network, relation.predicted(tests[k].states.s, expected.betas[i]));
      const auto [values, indices] = logits.topk(2);
      const int top = indices[0].item<int>();
      check.same(fmt::format("{}.predicted[{}][{}]", name, i, k), top == expected.predicted[i][k]);
      right += top == expected.test[k].answer ? 1 : 0;
      smallest_gap = std::min(smallest_gap, (values[0] - values[1]).item<double>());
    }
    check.number(fmt::format("{}.faithfulness[{}]", name, i),
                 right / static_cast<double>(tests.size()), expected.faithfulness[i]);
  }
  check.size(name + ".smallest_logit_gap", smallest_gap, expected.smallest_logit_gap);
}

void compare_causality(LocateCheck& check, const std::string& name, const Network& network,
                       const LinearRelation& relation, const std::vector<TestPrompt>& tests,
                       const LocateCases::Lre& expected) {
  for (size_t i = 0; i < expected.causality.size(); ++i) {
    const LocateCases::Lre::Causality& one = expected.causality[i];
    const std::string at = fmt::format("{}.causality[{}]", name, i);
    const at::Tensor shift = low_rank_inverse(relation.w, one.rank)
                                 .mv(tests[one.target].states.z - tests[one.source].states.z);
    const at::Tensor log =
        shifted_log_probabilities(network, tests[one.source].prompt, relation.layer, shift);
    const int top = log.argmax().item<int>(), answer = expected.test[one.target].answer;
    check.same(at + ".top", top == one.top);
    check.same(at + ".success", (top == answer) == one.success);
    check.log_probability(at + ".p_target", log[answer].item<double>(), one.p_target);
  }
}

void check_relation(LocateCheck& check, const Network& network, const LocateCases::Lre& expected,
                    const std::string& name) {
  std::vector<RelationPrompt> train;
  for (const LocateCases::Lre::Prompt& prompt : expected.train)
    train.push_back({prompt.ids, prompt.subject_last});
  const LinearRelation relation = fit_relation(network, train, expected.layer);
  for (size_t i = 0; i < train.size(); ++i) {
    const RelationJacobian& part = relation.parts[i];
    compare_digest(check, fmt::format("{}.J[{}]", name, i), part.j, expected.j[i]);
    check.values(fmt::format("{}.z[{}]", name, i), part.z, expected.z[i]);
    check.values(fmt::format("{}.s[{}]", name, i), part.s, expected.s[i]);
  }
  compare_digest(check, name + ".W", relation.w, expected.w);
  check.values(name + ".b", relation.b, expected.b);
  check.values(name + ".singular_values", singular_values(relation.w), expected.singular_values);
  std::vector<TestPrompt> tests;
  for (const LocateCases::Lre::Prompt& test : expected.test) {
    const RelationPrompt prompt{test.ids, test.subject_last};
    tests.push_back({prompt, relation_states(network, prompt, expected.layer)});
    check.same(name + ".test",
               read_out(network, tests.back().states.z).argmax().item<int>() == test.answer);
  }
  compare_predictions(check, name, network, relation, tests, expected);
  compare_causality(check, name, network, relation, tests, expected);
}

}  // namespace

std::vector<LocateCheck> check_edits(Network& network, const LocateCases& cases) {
  EditChecks checks;
  for (size_t i = 0; i < cases.edits.size(); ++i) check_edit(network, cases, i, checks);
  return {checks.before, checks.few, checks.many};
}

LocateCheck check_memit(Network& network, const LocateCases& cases) {
  const LocateCases::Memit& expected = cases.memit;
  LocateCheck check("MEMIT", kManySteps);
  const auto compare_all = [&](const char* when,
                               const std::vector<std::vector<LocateCases::Outcome>>& answers) {
    for (size_t i = 0; i < answers.size(); ++i)
      compare_outcomes(check, fmt::format("memit.{}[{}]", when, i),
                       outcomes(network, expected.facts[i]), answers[i]);
  };
  compare_all("before", expected.before);
  const MemitEdit edit = memit_edit(
      network, {expected.matrix, expected.layers, cases.runs, expected.shrinkage, expected.weight},
      expected.facts, expected.settings);
  for (size_t i = 0; i < expected.facts.size(); ++i) {
    const at::Tensor start = edit.start[i];
    const at::Tensor delta = (tensor_of(expected.z[i], start) - start).cpu().contiguous();
    const auto* data = delta.data_ptr<double>();
    check.values(fmt::format("memit.z[{}]", i), edit.z[i] - start,
                 std::vector<double>(data, data + delta.numel()));
    const std::vector<EditStep>&trace = edit.traces[i], &answers = expected.traces[i];
    check.same(fmt::format("memit.traces[{}]", i), trace.size() == answers.size());
    for (size_t k = 0; k < std::min(trace.size(), answers.size()); ++k)
      compare_step(check, fmt::format("memit.traces[{}][{}]", i, k), trace[k], answers[k]);
  }
  std::vector<std::unique_ptr<AppliedEdit>> applied;
  for (size_t i = 0; i < edit.steps.size(); ++i) {
    const MemitStep& step = edit.steps[i];
    const std::string name = fmt::format("memit.steps[{}]", i);
    check.values(name + ".keys", step.keys, expected.steps[i].keys);
    check.values(name + ".adj_k", step.adj_k, expected.steps[i].adj_k);
    check.values(name + ".resid", step.resid, expected.steps[i].resid);
    check.size(name + ".delta_norm", step.delta().norm().item<double>(),
               expected.steps[i].delta_norm);
    applied.push_back(std::make_unique<AppliedEdit>(
        network, EditSlot(network, expected.matrix, step.layer), step.delta()));
  }
  compare_all("after", expected.after);
  return check;
}

LocateCheck check_lre(const Network& network, const LocateCases& cases) {
  LocateCheck check("linear relations", kFewSteps);
  for (size_t i = 0; i < cases.lre.size(); ++i)
    check_relation(check, network, cases.lre[i], fmt::format("lre[{}]", i));
  return check;
}

LocateCheck check_attributions(const Network& network, const LocateCases& cases) {
  LocateCheck check("gradient estimates", kFewSteps);
  for (size_t i = 0; i < cases.attributions.size(); ++i) {
    const LocateCases::Attribution& one = cases.attributions[i];
    const LocateCases::Fact& fact = cases.facts[one.fact];
    const std::vector<PromptPair> pairs = {{fact.clean, fact.corrupted, fact.answer}};
    const at::Tensor layers = at::tensor(one.layers, at::kLong);
    check.values(fmt::format("attributions[{}].gradient", i),
                 gradient_maps(network, pairs, {one.site})[0][0].index_select(1, layers),
                 one.gradient);
    if (one.integrated)
      check.values(fmt::format("attributions[{}].integrated", i),
                   integrated_maps(network, pairs, {one.site})[0][0].index_select(1, layers),
                   *one.integrated);
  }
  return check;
}

std::vector<LocateCheck> check_locate_cases(Network& network, const LocateCases& cases) {
  if (network.precision() != Precision::kFp64)
    throw InputError("precision", fmt::format("edits are compared in fp64, and the model is in {}",
                                              to_string(network.precision())));
  std::vector<LocateCheck> checks = check_edits(network, cases);
  checks.push_back(check_memit(network, cases));
  checks.push_back(check_lre(network, cases));
  checks.push_back(check_attributions(network, cases));
  return checks;
}

}  // namespace factflow
