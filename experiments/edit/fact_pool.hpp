// What a dataset's other prompts lend to the edit of a fact: other words for it, facts that must
// stay, and facts of which one wants to know whether they stay. Drawn by a seed and the prompts'
// ids alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "experiments/edit/edit_arrays.hpp"
#include "model/prompt.hpp"

namespace factflow {

struct FactPool {
  // Of the dataset, without what edits of them would be asked.
  std::vector<Prompt> prompts;
  std::uint64_t seed = 0;
  // Subject and relation of facts that are edited beside the one that is asked for: they are
  // neither neighbours nor others, which should stay.
  std::set<std::pair<std::string, std::string>> written = {};

  // The dataset's own, the first `count`; where it has none, other texts of the same subject,
  // relation and answer, drawn.
  std::vector<std::string> paraphrases(const Prompt& of, std::size_t count) const;
  // Likewise: texts of the same relation and answer about other subjects, each subject once.
  std::vector<std::string> neighbours(const Prompt& of, std::size_t count) const;
  // Facts that the edit is not about, each subject and relation once. kSameRelation: of other
  // subjects with other answers, so that none is a neighbour.
  std::vector<const Prompt*> others(const Prompt& of, OtherFact kind, std::size_t count) const;

  bool is_written(const Prompt& one) const { return written.contains({one.subject, one.relation}); }
};
FactPool fact_pool(const std::vector<Prompt>& prompts, std::uint64_t seed);

}  // namespace factflow
