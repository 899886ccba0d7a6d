#include "experiments/edit/fact_pool.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include "base/random.hpp"

namespace factflow {
namespace {

// Those that fit, in an order that the seed and the ids draw, without any that repeats what `told`
// says of an earlier one.
template <class Fits, class Told>
std::vector<const Prompt*> drawn(const FactPool& pool, const Prompt& of, std::size_t count,
                                 Fits fits, Told told) {
  const auto bits = [](std::int64_t id) { return static_cast<std::uint64_t>(id); };
  const std::uint64_t draw = mixed_bits(pool.seed ^ mixed_bits(bits(of.id)));
  std::vector<std::pair<std::uint64_t, const Prompt*>> order;
  for (const Prompt& one : pool.prompts)
    if (one.id != of.id && fits(one)) order.emplace_back(mixed_bits(draw ^ bits(one.id)), &one);
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return std::pair(a.first, a.second->id) < std::pair(b.first, b.second->id);
  });
  std::vector<const Prompt*> found;
  std::set<decltype(told(of))> seen = {told(of)};
  for (const auto& [number, one] : order) {
    if (found.size() == count) break;
    if (seen.insert(told(*one)).second) found.push_back(one);
  }
  return found;
}

std::vector<std::string> first_of(std::vector<std::string> texts, std::size_t count) {
  texts.resize(std::min(texts.size(), count));
  return texts;
}

std::vector<std::string> texts_of(const std::vector<const Prompt*>& prompts) {
  std::vector<std::string> texts;
  for (const Prompt* prompt : prompts) texts.push_back(prompt->text);
  return texts;
}

}  // namespace

FactPool fact_pool(const std::vector<Prompt>& prompts, std::uint64_t seed) {
  FactPool pool{prompts, seed};
  for (Prompt& prompt : pool.prompts) {
    prompt.new_answer.clear();
    prompt.paraphrases.clear();
    prompt.neighbours.clear();
  }
  return pool;
}

std::vector<std::string> FactPool::paraphrases(const Prompt& of, std::size_t count) const {
  if (!of.paraphrases.empty()) return first_of(of.paraphrases, count);
  if (of.relation.empty()) return {};
  return texts_of(drawn(
      *this, of, count,
      [&](const Prompt& one) {
        return one.relation == of.relation && one.subject == of.subject && one.answer == of.answer;
      },
      [](const Prompt& one) { return one.text; }));
}

std::vector<std::string> FactPool::neighbours(const Prompt& of, std::size_t count) const {
  if (!of.neighbours.empty()) return first_of(of.neighbours, count);
  if (of.relation.empty()) return {};
  return texts_of(drawn(
      *this, of, count,
      [&](const Prompt& one) {
        return one.relation == of.relation && one.subject != of.subject &&
               one.answer == of.answer && !is_written(one);
      },
      [](const Prompt& one) { return one.subject; }));
}

std::vector<const Prompt*> FactPool::others(const Prompt& of, OtherFact kind,
                                            std::size_t count) const {
  return drawn(
      *this, of, count,
      [&](const Prompt& one) {
        if (is_written(one)) return false;
        const bool known = !of.relation.empty(), relation = known && one.relation == of.relation,
                   subject = one.subject == of.subject;
        switch (kind) {
          case OtherFact::kSameRelation:
            return relation && !subject && one.answer != of.answer;
          case OtherFact::kSameSubject:
            return known && subject && !relation;
          case OtherFact::kUnrelated:
            break;
        }
        return !relation && !subject;
      },
      [](const Prompt& one) { return std::pair(one.subject, one.relation); });
}

}  // namespace factflow
