// The edges of the section `sweep`: which of them a model can have, how many a prompt has in each
// layer, and what is refused because nothing would be blocked.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "experiments/sweep/sweep.hpp"

namespace factflow {

// Every combination of a line. `key`: of the section's `knockouts`. Throws InputError for a part
// that is beyond what the model has.
std::vector<EdgeSpec> edges_of(const KnockoutConfig& knockout, const ModelToPlan& model,
                               const std::string& key);

// Whether the model has such channels, and mixers on such a path.
bool can_have(const EdgeSpec& edge, const Architecture& architecture);

// [layer] how many (target, source) edges a window loses there, of all mixers on the edge's path.
std::vector<std::int32_t> edges_lost(const EdgeSpec& edge, const TokenizedPrompt& prompt,
                                     const Architecture& architecture);

// Throws InputError naming the key of a knockout that no model of its entry can have, or that
// blocks no edge in any prompt of any of them. Of models without a tokenizer the latter is not
// known.
void refuse_what_blocks_nothing(const Entries& sweeps, std::span<const ModelOfRun> models);

}  // namespace factflow
