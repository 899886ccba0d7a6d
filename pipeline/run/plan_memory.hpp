// What a run will take of memory and disk, from the formats and the engine's own plans.
#pragma once

#include <cstdint>

#include "pipeline/run/plan_size.hpp"

namespace factflow {

// Bytes of activations that a rank needs at most for units of this model, on the device that the
// configuration names (auto: as on this machine). The longest prompts of each kind of unit are
// planned as the engine will plan them, with the model's tokenizer if it can be read.
std::int64_t activations_of_model(const Config& config, const Dataset& dataset,
                                  const PlannedJob& planned, std::uint32_t model);

// Bytes in the journal of the results of `units` units, which have the part's prompts together, of
// `tokens` tokens each.
double journal_bytes(const AskedPart& part, double units, const Work& work,
                     const Architecture& architecture, double tokens);

// Asks the tokenizer of each model that can be read how many tokens its prompts have on average, by
// at most 200 of them: estimates are of these numbers then.
void measure_tokens(const Dataset& dataset, PlannedJob& planned);

// Whole forwards of one prompt that a rank makes before its first unit of a model, to hold the
// engine against them.
int self_check_forwards(const PlannedJob& planned, const Dataset& dataset, std::uint32_t model);

}  // namespace factflow
