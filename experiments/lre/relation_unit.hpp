// The prompts of a unit, put to the linear relations of their trials: one relation and trial after
// the other, so that one fit is in memory at a time.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "experiments/experiment.hpp"
#include "experiments/lre/lre_plan.hpp"
#include "experiments/lre/relation_fit.hpp"

namespace factflow {

class RelationUnit {
 public:
  // All three stay the caller's.
  RelationUnit(const LrePlan& plan, LoadedModel& model, std::span<const TokenizedPrompt> prompts);
  // In the order of the prompts; values are the bytes of a RelationFinding.
  std::vector<Finding> findings();

 private:
  // A prompt that is tested in the trial at hand.
  struct Case {
    std::size_t prompt = 0;     // of the unit
    TokenizedPrompt tokens;     // behind the examples
    std::vector<at::Tensor> s;  // [layer] [d]
    at::Tensor z;               // [d]
    int subject_last() const { return tokens.subject.back(); }
  };
  // What an edit may be after: another fact of the relation.
  struct Target {
    bool known = false;
    int answer = 0;  // token
    at::Tensor z;    // [d]
  };
  struct Trial {
    const WordedRelation& relation;
    std::size_t number;
  };

  void find_relations();
  void run(const Trial& trial, const std::vector<std::size_t>& prompts);
  // Fails the prompts if a prompt to fit on has no tokens.
  std::vector<RelationPrompt> training_prompts(const Trial& trial,
                                               const std::vector<std::size_t>& prompts);
  // The known ones among them, with their states.
  std::vector<Case> known_cases(const Trial& trial, const std::vector<std::size_t>& prompts);
  void predict(const Trial& trial, const std::vector<RelationFit>& fits,
               const std::vector<Case>& cases);
  void edit(const Trial& trial, const std::vector<RelationFit>& fits,
            const std::vector<Case>& cases);
  // [case] what its edit is after, of the facts in `targets`; -1 = there is none.
  std::vector<std::int64_t> draw_targets(const Trial& trial, const std::vector<Case>& cases,
                                         std::map<std::uint32_t, Target>& targets);
  void add_targets(const Trial& trial, const std::vector<std::uint32_t>& facts,
                   std::map<std::uint32_t, Target>& targets);
  ReplayRequest states_request(const TokenizedPrompt& tokens) const;
  TrialFinding& finding(const Trial& trial, const Case& one) {
    return values_[one.prompt].trials[trial.number];
  }

  const LrePlan& plan_;
  LoadedModel& model_;
  std::span<const TokenizedPrompt> prompts_;
  std::vector<std::string> failures_;    // [prompt]
  std::vector<RelationFinding> values_;  // [prompt]
};

// What is asked of the engine for the states of a prompt: h at the subject's last token before each
// layer, then behind the last one at the last token.
std::vector<ReadAt> state_reads(const LrePlan& plan, const TokenizedPrompt& tokens);
// An edit: the vector added to h at the subject's last token.
Series shift_at(int layer, int token, std::vector<double> shift);

}  // namespace factflow
