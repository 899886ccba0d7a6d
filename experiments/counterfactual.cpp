#include "experiments/counterfactual.hpp"

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "base/random.hpp"

namespace factflow {

std::vector<Prompt> counterfactuals(const Prompt& prompt, const std::vector<Prompt>& prompts,
                                    std::size_t count, std::uint64_t seed) {
  if (prompt.relation.empty()) return {};
  const auto bits = [](std::int64_t id) { return static_cast<std::uint64_t>(id); };
  std::vector<std::pair<std::uint64_t, const Prompt*>> order;
  for (const Prompt& other : prompts)
    if (other.relation == prompt.relation && other.subject != prompt.subject &&
        other.answer != prompt.answer)
      order.emplace_back(
          mixed_bits(mixed_bits(seed ^ mixed_bits(bits(prompt.id))) ^ bits(other.id)), &other);
  std::sort(order.begin(), order.end());
  std::vector<Prompt> found;
  std::set<std::string> subjects;
  for (const auto& [drawn, other] : order) {
    if (found.size() == count) break;
    if (!subjects.insert(other->subject).second) continue;
    Prompt& one = found.emplace_back(prompt);
    one.text.replace(static_cast<std::size_t>(prompt.subject_begin), prompt.subject.size(),
                     other->subject);
    one.subject = other->subject;
  }
  return found;
}

}  // namespace factflow
