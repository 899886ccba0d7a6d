// Prompts whose fact is another one: the same words about another subject. Runs of a prompt and of
// its counterfactual differ in the subject's tokens alone, so that a value patched from one into
// the other tells what it carries (Sharma et al. 2024, section 3).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/prompt.hpp"

namespace factflow {

// `prompt` with the subjects of other prompts of its relation whose answers are others: at most
// `count`, each subject once, in an order that the seed and the ids draw. They keep the prompt's id
// and answer.
std::vector<Prompt> counterfactuals(const Prompt& prompt, const std::vector<Prompt>& prompts,
                                    std::size_t count, std::uint64_t seed);

}  // namespace factflow
