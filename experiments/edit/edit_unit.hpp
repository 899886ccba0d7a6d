// The facts of a unit, written into a model and judged: by ROME each by itself, by MEMIT all
// together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "experiments/edit/edit_background.hpp"
#include "experiments/edit/edit_fact.hpp"
#include "experiments/edit/edit_plan.hpp"
#include "experiments/experiment.hpp"
#include "model/edit/memit.hpp"
#include "model/edit/rome.hpp"

namespace factflow {

class EditUnit {
 public:
  // All stay the caller's; the model is what it was when findings() returns.
  EditUnit(const EditPlan& plan, const EditBackground& background, LoadedModel& model,
           const Asked& asked, std::span<const TokenizedPrompt> prompts);
  // In the order of the prompts; values are the bytes of a PromptEdits. Throws InputError for a
  // covariance without an inverse.
  std::vector<Finding> findings();

 private:
  // A fact under way.
  struct Task {
    std::size_t prompt = 0;  // of the unit
    EditFact fact;
    EditVerdict before = {};
    PromptEdits found = {};
  };

  bool together() const;
  // Whom questions and other facts are drawn from: not from what is written beside the fact.
  FactPool pool() const;
  void find_facts();
  void describe(Task& task) const;
  void edit(std::uint32_t item);
  std::vector<EditRequest> requests() const;
  at::Tensor covariance(const EditPlace& place, std::int32_t layer) const;

  void edit_each(const EditPlace& place);
  void edit_together(const EditPlace& place);
  EditFound found_edit(const RomeEdit& edit, const Task& task, const EditVerdict& after) const;
  EditFound found_edit(const MemitEdit& edit, std::size_t row, const EditVerdict& after) const;
  // How the search ended, and what the model says afterwards.
  EditFound found_edit(const std::vector<EditStep>& trace, const at::Tensor& start,
                       const Task& task, const EditVerdict& after) const;

  const EditPlan& plan_;
  const EditBackground& background_;
  LoadedModel& model_;
  const Asked& asked_;
  std::span<const TokenizedPrompt> prompts_;
  std::vector<Finding> findings_;
  std::vector<Task> tasks_;
};

}  // namespace factflow
