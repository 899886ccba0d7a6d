#include "experiments/counterfactual.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include "base/random.hpp"

namespace factflow {

CounterfactualPool counterfactual_pool(const std::vector<Prompt>& prompts) {
  CounterfactualPool pool;
  std::map<std::string, std::set<std::pair<std::string, std::string>>> seen;
  for (const Prompt& prompt : prompts)
    if (!prompt.relation.empty() &&
        seen[prompt.relation].emplace(prompt.subject, prompt.answer).second)
      pool.relations[prompt.relation].push_back({prompt.id, prompt.subject, prompt.answer});
  return pool;
}

std::vector<Prompt> CounterfactualPool::counterfactuals(const Prompt& prompt, std::size_t count,
                                                        std::uint64_t seed) const {
  const auto facts = relations.find(prompt.relation);
  if (facts == relations.end()) return {};
  const auto bits = [](std::int64_t id) { return static_cast<std::uint64_t>(id); };
  const std::uint64_t draw = mixed_bits(seed ^ mixed_bits(bits(prompt.id)));
  std::vector<std::pair<std::uint64_t, const Fact*>> order;
  for (const Fact& fact : facts->second)
    if (fact.subject != prompt.subject && fact.answer != prompt.answer)
      order.emplace_back(mixed_bits(draw ^ bits(fact.id)), &fact);
  std::sort(order.begin(), order.end());
  std::vector<Prompt> found;
  std::set<std::string> subjects;
  for (const auto& [drawn, fact] : order) {
    if (found.size() == count) break;
    if (!subjects.insert(fact->subject).second) continue;
    Prompt& one = found.emplace_back(prompt);
    one.text.replace(static_cast<std::size_t>(prompt.subject_begin), prompt.subject.size(),
                     fact->subject);
    one.subject = fact->subject;
  }
  return found;
}

}  // namespace factflow
