#include "experiments/lre/relation_unit.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <tuple>

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include "base/error.hpp"
#include "base/random.hpp"
#include "base/text.hpp"
#include "experiments/lre/lre_arrays.hpp"
#include "model/reference/reference_ops.hpp"

namespace factflow {
namespace {

constexpr std::size_t kEditedTogether = 32;  // prompts whose vectors exist at a time

std::vector<double> numbers_of(const at::Tensor& vector) {
  const at::Tensor plain = vector.to(at::kCPU, at::kDouble).contiguous();
  const auto* data = plain.data_ptr<double>();
  return {data, data + plain.numel()};
}

std::vector<std::int32_t> integers_of(const at::Tensor& vector) {
  const at::Tensor plain = vector.to(at::kCPU, at::kInt).contiguous();
  const auto* data = plain.data_ptr<std::int32_t>();
  return {data, data + plain.numel()};
}

// Logits [rows, vocabulary] of streams [rows, d] behind the last layer.
at::Tensor read_out_rows(const Network& network, const at::Tensor& streams) {
  return network.reference_logits(reference::normalised(streams, network.final_norm()));
}

}  // namespace

std::vector<ReadAt> state_reads(const LrePlan& plan, const TokenizedPrompt& tokens) {
  std::vector<ReadAt> reads;
  for (const int layer : plan.layers)
    reads.push_back({{Site::kH, layer}, tokens.subject.back(), std::nullopt});
  reads.push_back(
      {{Site::kH, plan.model_layers}, static_cast<int>(tokens.ids.size()) - 1, std::nullopt});
  return reads;
}

Series shift_at(int layer, int token, std::vector<double> shift) {
  Write write{Site::kH, {layer}, {token}, std::nullopt, Vector{std::move(shift)}};
  write.add = true;
  return Series({std::move(write)}, std::nullopt);
}

RelationUnit::RelationUnit(const LrePlan& plan, LoadedModel& model,
                           std::span<const TokenizedPrompt> prompts)
    : plan_(plan),
      model_(model),
      prompts_(prompts),
      failures_(prompts.size()),
      values_(prompts.size()) {}

std::vector<Finding> RelationUnit::findings() {
  const at::NoGradGuard no_graph;
  find_relations();
  std::map<std::uint32_t, std::vector<std::size_t>> of_relation;
  for (std::size_t i = 0; i < prompts_.size(); ++i)
    if (failures_[i].empty()) of_relation[values_[i].relation].push_back(i);
  for (const auto& [relation, prompts] : of_relation)
    for (int trial = 0; trial < plan_.draw.trials; ++trial)
      run({plan_.relations[relation], static_cast<std::size_t>(trial)}, prompts);
  std::vector<Finding> findings;
  for (std::size_t i = 0; i < prompts_.size(); ++i)
    findings.push_back(failures_[i].empty() ? Finding{"", to_bytes(values_[i])}
                                            : Finding{failures_[i], ""});
  return findings;
}

void RelationUnit::find_relations() {
  for (std::size_t i = 0; i < prompts_.size(); ++i) {
    const WordedRelation* relation = relation_of(prompts_[i].prompt, plan_.relations);
    if (relation == nullptr) {
      failures_[i] = "the dataset names no relation of the prompt";
    } else if (relation->training.empty()) {
      failures_[i] = fmt::format(
          "the dataset has {} of its relation {} in these words, {} are needed: {} to fit on, {} "
          "to "
          "test",
          counted(relation->facts.size(), "subject"), relation->relation,
          plan_.draw.count + plan_.draw.fewest_tests, plan_.draw.count, plan_.draw.fewest_tests);
    } else {
      values_[i].relation = static_cast<std::uint32_t>(relation - plan_.relations.data());
      values_[i].trials.resize(static_cast<std::size_t>(plan_.draw.trials));
    }
  }
}

void RelationUnit::run(const Trial& trial, const std::vector<std::size_t>& prompts) {
  std::vector<std::size_t> tested;
  for (const std::size_t prompt : prompts) {
    const bool trained = trial.relation.trains_on(trial.number, prompts_[prompt].prompt.subject);
    values_[prompt].trials[trial.number].role =
        static_cast<std::int32_t>(trained ? TrialRole::kTraining : TrialRole::kTested);
    if (!trained && failures_[prompt].empty()) tested.push_back(prompt);
  }
  const std::vector<RelationPrompt> training = training_prompts(trial, prompts);
  if (training.empty()) return;
  const std::vector<Case> cases = known_cases(trial, tested);
  if (cases.empty()) return;
  const std::vector<RelationFit> fits = fit_relation_at(model_.network(), training, plan_.layers);
  predict(trial, fits, cases);
  if (!plan_.ranks.empty()) edit(trial, fits, cases);
}

std::vector<RelationPrompt> RelationUnit::training_prompts(
    const Trial& trial, const std::vector<std::size_t>& prompts) {
  std::vector<RelationPrompt> training;
  for (const std::uint32_t fact : trial.relation.training[trial.number]) {
    const RelationFact& one = trial.relation.facts[fact];
    try {
      const TokenizedPrompt tokens = model_.tokenize_prompt(behind_examples(
          trial.relation, one, plan_.examples_of(trial.relation, trial.number, one.subject)));
      training.push_back({tokens.ids, tokens.subject.back()});
    } catch (const InputError& error) {
      for (const std::size_t prompt : prompts)
        failures_[prompt] =
            fmt::format("prompt {}, which its relation is fitted on: {}", one.id, error.problem());
      return {};
    }
  }
  return training;
}

ReplayRequest RelationUnit::states_request(const TokenizedPrompt& tokens) const {
  return {tokens.ids, tokens.answer, {}, state_reads(plan_, tokens)};
}

std::vector<RelationUnit::Case> RelationUnit::known_cases(const Trial& trial,
                                                          const std::vector<std::size_t>& prompts) {
  std::vector<Case> cases;
  std::vector<ReplayRequest> requests;
  for (const std::size_t prompt : prompts) {
    const Prompt& own = prompts_[prompt].prompt;
    try {
      cases.push_back({prompt,
                       model_.tokenize_prompt(behind_examples(
                           trial.relation, {own.id, own.subject, own.answer},
                           plan_.examples_of(trial.relation, trial.number, own.subject))),
                       {},
                       {}});
      requests.push_back(states_request(cases.back().tokens));
    } catch (const InputError& error) {
      failures_[prompt] = fmt::format("behind its examples: {}", error.problem());
    }
  }
  const std::vector<ReplayResult> results = model_.replay(requests);
  std::vector<Case> known;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    if (!is_finite(results[i])) {
      failures_[cases[i].prompt] = kNotFinite;
      continue;
    }
    TrialFinding& found = finding(trial, cases[i]);
    found.answer_rank = results[i].clean.rank;
    found.answer_probability = std::exp(results[i].clean.log_probability);
    if (found.answer_rank != 1) continue;
    const at::Device device = model_.network().device();
    for (const ReadValue& read : results[i].reads) cases[i].s.push_back(read.value().to(device));
    cases[i].z = cases[i].s.back();
    cases[i].s.pop_back();
    known.push_back(std::move(cases[i]));
  }
  return known;
}

void RelationUnit::predict(const Trial& trial, const std::vector<RelationFit>& fits,
                           const std::vector<Case>& cases) {
  for (const Case& one : cases) {
    TrialFinding& found = finding(trial, one);
    for (std::size_t k = 0; k < fits.size(); ++k) {
      const at::Tensor betas = at::tensor(plan_.betas, fits[k].w.options());
      const at::Tensor logits =
          read_out_rows(model_.network(), at::outer(betas, fits[k].w.mv(one.s[k])) + fits[k].b);
      if (!logits.isfinite().all().item<bool>()) failures_[one.prompt] = kNotFinite;
      const at::Tensor answer = logits.select(1, one.tokens.answer).unsqueeze(1);
      for (const std::int32_t token : integers_of(logits.argmax(1)))
        found.predicted.push_back(token);
      for (const std::int32_t rank : integers_of((logits >= answer).sum(1)))
        found.predicted_rank.push_back(rank);
    }
  }
}

void RelationUnit::add_targets(const Trial& trial, const std::vector<std::uint32_t>& facts,
                               std::map<std::uint32_t, Target>& targets) {
  std::vector<std::uint32_t> usable;
  std::vector<ReplayRequest> requests;
  for (const std::uint32_t fact : facts) {
    targets[fact] = {};
    const RelationFact& one = trial.relation.facts[fact];
    const std::vector<TokenizedPrompt> tokens = model_.tokenize_usable({behind_examples(
        trial.relation, one, plan_.examples_of(trial.relation, trial.number, one.subject))});
    if (tokens.empty()) continue;  // an edit is not after it
    usable.push_back(fact);
    requests.push_back(states_request(tokens[0]));
  }
  const std::vector<ReplayResult> results = model_.replay(requests);
  for (std::size_t i = 0; i < results.size(); ++i)
    if (is_finite(results[i]) && results[i].clean.rank == 1)
      targets[usable[i]] = {true, requests[i].answer,
                            results[i].reads.back().value().to(model_.network().device())};
}

std::vector<std::int64_t> RelationUnit::draw_targets(const Trial& trial,
                                                     const std::vector<Case>& cases,
                                                     std::map<std::uint32_t, Target>& targets) {
  struct Search {
    std::vector<std::uint32_t> order;  // of facts with another answer
    std::size_t next = 0;
  };
  std::vector<Search> searches;
  for (const Case& one : cases) {
    const Prompt& own = one.tokens.prompt;
    // Not the draw of the training sets.
    const std::uint64_t draw = mixed_bits(~plan_.draw.seed ^ mixed_bits(trial.number)) ^
                               mixed_bits(static_cast<std::uint64_t>(own.id));
    Search& search = searches.emplace_back();
    for (const std::uint32_t fact : drawn_order(trial.relation.facts, draw)) {
      const RelationFact& other = trial.relation.facts[fact];
      if (other.subject != own.subject && other.answer != own.answer &&
          !trial.relation.trains_on(trial.number, other.subject))
        search.order.push_back(fact);
    }
  }
  std::vector<std::int64_t> drawn(cases.size(), -1);
  // The next of each that has none yet, together.
  while (true) {
    std::set<std::uint32_t> unseen;
    for (std::size_t i = 0; i < cases.size(); ++i) {
      Search& search = searches[i];
      while (drawn[i] < 0 && search.next < search.order.size()) {
        const std::uint32_t fact = search.order[search.next];
        const auto seen = targets.find(fact);
        if (seen == targets.end()) {
          unseen.insert(fact);
          break;
        }
        ++search.next;
        if (seen->second.known && seen->second.answer != cases[i].tokens.answer) drawn[i] = fact;
      }
    }
    if (unseen.empty()) return drawn;
    add_targets(trial, {unseen.begin(), unseen.end()}, targets);
  }
}

void RelationUnit::edit(const Trial& trial, const std::vector<RelationFit>& fits,
                        const std::vector<Case>& cases) {
  std::map<std::uint32_t, Target> targets;
  const std::vector<std::int64_t> drawn = draw_targets(trial, cases, targets);
  std::vector<LowRankInverses> inverses;
  for (const RelationFit& fit : fits) inverses.emplace_back(fit.w);
  std::vector<std::size_t> edited;
  for (std::size_t i = 0; i < cases.size(); ++i)
    if (drawn[i] >= 0) edited.push_back(i);
  for (std::size_t begin = 0; begin < edited.size(); begin += kEditedTogether) {
    const std::size_t end = std::min(begin + kEditedTogether, edited.size());
    std::vector<ReplayRequest> requests;
    for (std::size_t i = begin; i < end; ++i) {
      const Case& one = cases[edited[i]];
      const auto fact = static_cast<std::uint32_t>(drawn[edited[i]]);
      const Target& target = targets.at(fact);
      finding(trial, one).target = trial.relation.facts[fact].id;
      ReplayRequest& request = requests.emplace_back();
      request.ids = one.tokens.ids;
      request.answer = target.answer;
      const at::Tensor way = (target.z - one.z).unsqueeze(0);
      for (std::size_t k = 0; k < inverses.size(); ++k)
        for (const int rank : plan_.ranks)
          request.series.push_back(shift_at(plan_.layers[k], one.subject_last(),
                                            numbers_of(inverses[k].applied(way, rank)[0])));
    }
    const std::vector<ReplayResult> results = model_.replay(requests);
    for (std::size_t i = begin; i < end; ++i) {
      const Case& one = cases[edited[i]];
      if (!is_finite(results[i - begin])) failures_[one.prompt] = kNotFinite;
      for (const std::vector<Answer>& answers : results[i - begin].knockouts) {
        finding(trial, one).edited_rank.push_back(answers.at(0).rank);
        finding(trial, one)
            .edited_probability.push_back(
                static_cast<float>(std::exp(answers.at(0).log_probability)));
      }
    }
  }
}

}  // namespace factflow
