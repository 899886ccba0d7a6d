#include "experiments/drawn_prompts.hpp"

#include <algorithm>
#include <utility>

#include "base/random.hpp"

namespace factflow {

std::vector<Prompt> drawn_prompts(const std::vector<Prompt>& prompts, std::size_t count,
                                  std::uint64_t seed) {
  std::vector<std::pair<std::uint64_t, const Prompt*>> order;
  for (const Prompt& prompt : prompts)
    order.emplace_back(mixed_bits(mixed_bits(seed) ^ static_cast<std::uint64_t>(prompt.id)),
                       &prompt);
  std::sort(order.begin(), order.end());
  std::vector<Prompt> chosen;
  for (std::size_t i = 0; i < count; ++i) chosen.push_back(*order.at(i).second);
  return chosen;
}

}  // namespace factflow
