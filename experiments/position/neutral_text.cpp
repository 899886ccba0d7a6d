#include "experiments/position/neutral_text.hpp"

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "base/random.hpp"

namespace factflow {
namespace {

// How many of the tokenizer's own tokens begin the prompt.
std::size_t added_tokens(const TokenizedPrompt& prompt) {
  std::size_t count = 0;
  while (count < prompt.offsets.size() &&
         prompt.offsets[count] == std::pair<std::int64_t, std::int64_t>(0, 0))
    ++count;
  return count;
}

}  // namespace

std::string to_string(NeutralPlace place) {
  return place == NeutralPlace::kBefore ? "before" : "between";
}

std::vector<int> neutral_tokens(const std::vector<std::vector<int>>& texts,
                                const TokenizedPrompt& prompt, std::uint64_t seed,
                                std::size_t length) {
  std::uint64_t drawn = mixed_bits(seed);
  for (const int id : prompt.ids) drawn = mixed_bits(drawn ^ static_cast<std::uint64_t>(id));
  // From the end, one text before the other, each round in an order of its own.
  std::vector<std::size_t> order(texts.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::vector<int> reversed;
  while (reversed.size() < length) {
    const std::size_t before = reversed.size();
    for (std::size_t left = order.size(); left > 0; --left) {
      drawn = mixed_bits(drawn + left);
      std::swap(order[left - 1], order[drawn % left]);
      const std::vector<int>& text = texts[order[left - 1]];
      reversed.insert(reversed.end(), text.rbegin(), text.rend());
    }
    if (reversed.size() == before) throw std::invalid_argument("a neutral text without tokens");
  }
  reversed.resize(length);
  std::reverse(reversed.begin(), reversed.end());
  return reversed;
}

TokenizedPrompt with_neutral(const TokenizedPrompt& prompt, NeutralPlace place,
                             const std::vector<int>& tokens) {
  TokenizedPrompt longer = prompt;
  const std::size_t at = place == NeutralPlace::kBefore
                             ? added_tokens(prompt)
                             : static_cast<std::size_t>(prompt.subject.back()) + 1;
  const auto offset = static_cast<std::ptrdiff_t>(at);
  longer.ids.insert(longer.ids.begin() + offset, tokens.begin(), tokens.end());
  longer.offsets.insert(longer.offsets.begin() + offset, tokens.size(), {0, 0});
  for (int& position : longer.subject)
    if (static_cast<std::size_t>(position) >= at) position += static_cast<int>(tokens.size());
  return longer;
}

}  // namespace factflow
