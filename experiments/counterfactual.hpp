// Prompts whose fact is another one: the same words about another subject. Runs of a prompt and of
// its counterfactual differ in the subject's tokens alone, so that a value patched from one into
// the other tells what it carries (Sharma et al. 2024, section 3).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "model/prompt.hpp"

namespace factflow {

// What a dataset says, by relation: the subjects that a prompt might be about instead.
struct CounterfactualPool {
  struct Fact {
    std::int64_t id = 0;  // the first prompt that says it
    std::string subject, answer;
  };
  std::map<std::string, std::vector<Fact>> relations;  // prompts without a relation are in none

  // `prompt` with the subjects of other facts of its relation whose answers are others: at most
  // `count`, each subject once, in an order that the seed and the ids draw. They keep the prompt's
  // id and answer.
  std::vector<Prompt> counterfactuals(const Prompt& prompt, std::size_t count,
                                      std::uint64_t seed) const;
};
CounterfactualPool counterfactual_pool(const std::vector<Prompt>& prompts);

}  // namespace factflow
