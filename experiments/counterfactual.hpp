// Prompts whose fact is another one: the same words about another subject. Runs of a prompt and of
// its counterfactual differ in the subject's tokens alone, so that a value patched from one into
// the other tells what it carries (Sharma et al. 2024, section 3).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "model/prompt.hpp"

namespace factflow {

class LoadedModel;

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

// The run that a prompt's is held against.
struct Counterpart {
  TokenizedPrompt tokens;
  std::string subject;
};

// Which counterfactuals a kind tries.
struct CounterfactualDraw {
  CounterfactualPool pool;
  int candidates = 0;
  std::uint64_t seed = 0;

  std::vector<Prompt> of(const TokenizedPrompt& prompt) const;
  // The first one that has the subject at the same tokens, so that tokens of both correspond one to
  // one; nothing if none has.
  std::optional<Counterpart> counterpart(const LoadedModel& model,
                                         const TokenizedPrompt& prompt) const;
  std::string no_counterpart(const TokenizedPrompt& prompt) const;  // why there is none
};

// The same among tokens that are there; nullptr if none is of this prompt and fits.
const TokenizedPrompt* counterpart_in(std::span<const TokenizedPrompt> others,
                                      const TokenizedPrompt& prompt);

}  // namespace factflow
