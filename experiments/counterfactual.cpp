#include "experiments/counterfactual.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "base/random.hpp"
#include "experiments/loaded_model.hpp"

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

const TokenizedPrompt* counterpart_in(std::span<const TokenizedPrompt> others,
                                      const TokenizedPrompt& prompt) {
  const auto found = std::find_if(others.begin(), others.end(), [&](const TokenizedPrompt& other) {
    return other.prompt.id == prompt.prompt.id && other.ids.size() == prompt.ids.size() &&
           other.subject == prompt.subject;
  });
  return found == others.end() ? nullptr : &*found;
}

std::vector<Prompt> CounterfactualDraw::of(const TokenizedPrompt& prompt) const {
  return pool.counterfactuals(prompt.prompt, static_cast<std::size_t>(candidates), seed);
}

std::optional<Counterpart> CounterfactualDraw::counterpart(const LoadedModel& model,
                                                           const TokenizedPrompt& prompt) const {
  for (const Prompt& candidate : of(prompt)) {
    const std::vector<TokenizedPrompt> tokens = model.tokenize_usable({candidate});
    if (const TokenizedPrompt* fits = counterpart_in(tokens, prompt))
      return Counterpart{*fits, candidate.subject};
  }
  return std::nullopt;
}

std::string CounterfactualDraw::no_counterpart(const TokenizedPrompt& prompt) const {
  const std::size_t tried = of(prompt).size();
  return tried == 0
             ? "no other subject of its relation has another answer"
             : fmt::format("none of {} other subjects of its relation has as many tokens", tried);
}

}  // namespace factflow
