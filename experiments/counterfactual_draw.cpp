#include "experiments/counterfactual_draw.hpp"

#include <cmath>

#include <fmt/format.h>

#include "base/error.hpp"

namespace factflow {

TracedFacts::Found found_fact(const TokenizedPrompt& prompt, const Counterpart& other,
                              const Answer& clean, const Answer& corrupted) {
  return {other.subject,
          std::exp(clean.log_probability),
          std::exp(corrupted.log_probability),
          prompt.subject.front(),
          prompt.subject.back() + 1,
          static_cast<std::int32_t>(prompt.ids.size())};
}

void DrawOfEntries::add(std::size_t entry, int candidates, std::uint64_t seed) {
  const std::pair draw(candidates, seed);
  if (drawn_.value_or(draw) != draw)
    throw InputError(model_.file.string(),
                     fmt::format("key {}: model {} has other candidates in an earlier entry",
                                 key_in_entry(section_, entry, entries_, "seed"), model_.name),
                     "give both entries the same seed and number of candidates");
  drawn_ = draw;
}

CounterfactualDraw DrawOfEntries::take() const {
  if (!drawn_) return {};
  return {counterfactual_pool(model_.prompts), drawn_->first, drawn_->second};
}

}  // namespace factflow
