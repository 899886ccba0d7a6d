// The ranking of channels or heads by the decay that happens in prompts, exp(A dt): of which
// prompts, and what its slices are. docs/beyond.md.
#pragma once

#include <string_view>
#include <vector>

#include "experiments/parts/parts.hpp"
#include "model/reference/decay_in_prompts.hpp"

namespace factflow {

// Behind the name of a slice of it.
inline constexpr std::string_view kByHappened = " by exp(A dt)";

Form<RankingConfig> ranking_form();
// Those of a dataset.
std::vector<Prompt> ranking_prompts(const RankingConfig& config,
                                    const std::vector<Prompt>& dataset);

// The decay in these prompts: the same on every rank, as it is the same prompts in the same order.
// Throws RunError if none of them has two tokens.
const DecayInPrompts& decay_of(LoadedModel& model, const std::vector<Prompt>& ranking);

// The channels or heads in a slice, ascending; `decay` of one layer.
std::vector<int> slice_by_decay(const ChannelSet& slice, const std::vector<float>& decay);

}  // namespace factflow
