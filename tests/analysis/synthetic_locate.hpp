// Made-up gradient estimates and linear relations, for synthetic_results.cpp.
#pragma once

#include <cstdint>
#include <functional>

#include "experiments/attribution/attribution_arrays.hpp"
#include "experiments/lre/lre_arrays.hpp"
#include "results/results_file.hpp"

namespace factflow {

// Share of high - low that a patch restores at a site, relative depth and token.
using PatchedShare = std::function<double(const std::string& site, double depth, int token,
                                          int subject_end, int tokens)>;

// Estimates that are good for what blocks add and poor for the stream, integrated ones less so.
AttributedEffects synthetic_effects(const TracedFacts& facts, const std::vector<std::string>& sites,
                                    std::int64_t layers, const PatchedShare& share,
                                    std::uint64_t seed);

// The dataset's relations, of the first `count` prompts; relations of few prompts have no numbers.
// `hostile`: their names and words would run in a browser.
RelationResults synthetic_relations(const PromptTable& prompts, std::size_t count,
                                    std::int64_t layers, bool hostile, std::uint64_t seed);

}  // namespace factflow
