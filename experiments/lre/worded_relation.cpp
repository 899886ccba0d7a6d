#include "experiments/lre/worded_relation.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "base/random.hpp"

namespace factflow {
namespace {

// The text around the subject.
std::pair<std::string, std::string> words_of(const Prompt& prompt) {
  const auto begin = static_cast<std::size_t>(prompt.subject_begin);
  return {prompt.text.substr(0, begin), prompt.text.substr(begin + prompt.subject.size())};
}

// Counted and divided once: a sum of parts may come out above 1.
std::map<std::string, double> answer_shares(const std::vector<RelationFact>& facts) {
  std::map<std::string, double> shares;
  for (const RelationFact& fact : facts) shares[fact.answer] += 1;
  for (auto& [answer, share] : shares) share /= static_cast<double>(facts.size());
  return shares;
}

// The first `count` facts of an order, taken answer by answer in turn.
std::vector<std::uint32_t> covering(const std::vector<RelationFact>& facts,
                                    const std::vector<std::uint32_t>& order, std::size_t count) {
  std::vector<std::vector<std::uint32_t>> by_answer;
  std::map<std::string, std::size_t> places;
  for (const std::uint32_t fact : order) {
    const auto [place, is_new] = places.emplace(facts[fact].answer, by_answer.size());
    if (is_new) by_answer.emplace_back();
    by_answer[place->second].push_back(fact);
  }
  std::vector<std::uint32_t> taken;
  for (std::size_t round = 0; taken.size() < count; ++round)
    for (const std::vector<std::uint32_t>& of_answer : by_answer)
      if (round < of_answer.size() && taken.size() < count) taken.push_back(of_answer[round]);
  return taken;
}

}  // namespace

bool WordedRelation::trains_on(std::size_t trial, const std::string& subject) const {
  const std::vector<std::uint32_t>& set = training.at(trial);
  return std::any_of(set.begin(), set.end(),
                     [&](std::uint32_t fact) { return facts[fact].subject == subject; });
}

double WordedRelation::largest_share() const {
  double largest = 0;
  for (const auto& [answer, share] : answer_shares(facts)) largest = std::max(largest, share);
  return largest;
}

double WordedRelation::squared_shares() const {
  double sum = 0;
  for (const auto& [answer, share] : answer_shares(facts)) sum += share * share;
  return sum;
}

std::vector<std::uint32_t> drawn_order(const std::vector<RelationFact>& facts, std::uint64_t draw) {
  std::vector<std::pair<std::uint64_t, std::uint32_t>> order;
  for (std::uint32_t fact = 0; fact < facts.size(); ++fact)
    order.emplace_back(mixed_bits(draw ^ static_cast<std::uint64_t>(facts[fact].id)), fact);
  std::sort(order.begin(), order.end());
  std::vector<std::uint32_t> places;
  for (const auto& [drawn, fact] : order) places.push_back(fact);
  return places;
}

std::vector<WordedRelation> worded_relations(const std::vector<Prompt>& prompts,
                                             const TrainingDraw& draw) {
  std::vector<WordedRelation> relations;
  std::vector<std::set<std::string>> subjects;
  std::map<std::tuple<std::string, std::string, std::string>, std::size_t> places;
  for (const Prompt& prompt : prompts) {
    if (prompt.relation.empty()) continue;
    const auto [before, after] = words_of(prompt);
    const auto [place, is_new] =
        places.emplace(std::tuple(prompt.relation, before, after), relations.size());
    if (is_new) {
      relations.push_back({prompt.relation, before, after, {}, {}});
      subjects.emplace_back();
    }
    if (subjects[place->second].insert(prompt.subject).second)
      relations[place->second].facts.push_back({prompt.id, prompt.subject, prompt.answer});
  }
  const auto count = static_cast<std::size_t>(draw.count);
  for (WordedRelation& relation : relations) {
    if (relation.facts.size() < count + static_cast<std::size_t>(draw.fewest_tests)) continue;
    for (int trial = 0; trial < draw.trials; ++trial) {
      const std::uint64_t drawn =
          mixed_bits(draw.seed ^ mixed_bits(static_cast<std::uint64_t>(trial)));
      relation.training.push_back(
          covering(relation.facts, drawn_order(relation.facts, drawn), count));
    }
  }
  return relations;
}

const WordedRelation* relation_of(const Prompt& prompt,
                                  const std::vector<WordedRelation>& relations) {
  if (prompt.relation.empty()) return nullptr;
  const auto [before, after] = words_of(prompt);
  const auto found =
      std::find_if(relations.begin(), relations.end(), [&](const WordedRelation& relation) {
        return relation.relation == prompt.relation && relation.before == before &&
               relation.after == after;
      });
  return found == relations.end() ? nullptr : &*found;
}

Prompt behind_examples(const WordedRelation& relation, const RelationFact& fact,
                       const std::vector<std::uint32_t>& examples) {
  Prompt prompt;
  for (const std::uint32_t example : examples) {
    const RelationFact& one = relation.facts.at(example);
    prompt.text += relation.before + one.subject + relation.after + one.answer + "\n";
  }
  prompt.id = fact.id;
  prompt.subject_begin = static_cast<std::int64_t>(prompt.text.size() + relation.before.size());
  prompt.text += relation.before + fact.subject + relation.after;
  prompt.subject = fact.subject;
  prompt.answer = fact.answer;
  prompt.relation = relation.relation;
  return prompt;
}

}  // namespace factflow
