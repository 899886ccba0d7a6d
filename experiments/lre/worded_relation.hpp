// Relations in one wording: all prompts of a dataset with one relation id that say the same words
// around their subjects. What an LRE is fitted on and tested with (Hernandez et al. 2024, section
// 4).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "model/prompt.hpp"

namespace factflow {

struct RelationFact {
  std::int64_t id = 0;  // of the first prompt that says it
  std::string subject, answer;
};

struct WordedRelation {
  std::string relation;             // the dataset's id
  std::string before, after;        // the prompts' text around the subject
  std::vector<RelationFact> facts;  // each subject once, in the order of the dataset
  // [trial][place] in `facts`: what the trial is fitted on, each subject once. Empty: too few
  // facts.
  std::vector<std::vector<std::uint32_t>> training;

  std::string words() const { return before + "{}" + after; }
  // Whether a trial is fitted on this subject.
  bool trains_on(std::size_t trial, const std::string& subject) const;
  // What a constant answer gets right: the largest share of an answer among the facts, and what
  // answers drawn by their shares do: the sum of the squares of the shares. By the whole answer.
  double largest_share() const;
  double squared_shares() const;
};

struct TrainingDraw {
  int count = 0;   // facts that a trial is fitted on
  int trials = 0;  // training sets
  std::uint64_t seed = 0;
  // Facts beyond the training set without which nothing is drawn.
  int fewest_tests = 0;
};

// Those of all prompts that have a relation, in the order of the dataset. Training sets are drawn
// by the seed and the ids: facts in a random order, answer by answer in turn, so that many answers
// are covered.
std::vector<WordedRelation> worded_relations(const std::vector<Prompt>& prompts,
                                             const TrainingDraw& draw);

// An order of the facts that depends on the draw and their ids alone.
std::vector<std::uint32_t> drawn_order(const std::vector<RelationFact>& facts, std::uint64_t draw);

// The relation that a prompt belongs to; nullptr: it has none.
const WordedRelation* relation_of(const Prompt& prompt,
                                  const std::vector<WordedRelation>& relations);

// The prompt about this fact behind other facts of the relation with their answers, a line each.
Prompt behind_examples(const WordedRelation& relation, const RelationFact& fact,
                       const std::vector<std::uint32_t>& examples);

}  // namespace factflow
