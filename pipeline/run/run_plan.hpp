// Which units a run consists of: those of the kind by whose ranks prompts are selected, then those
// of all other kinds of experiments. The plan alone decides, never the ranks.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/coordination/task.hpp"
#include "pipeline/input/config.hpp"
#include "pipeline/input/dataset.hpp"
#include "pipeline/run/asked_prompts.hpp"
#include "pipeline/run/job_builder.hpp"
#include "workers/unit.hpp"

namespace factflow {

// A unit names a slice of a list of prompts: those that a kind is asked about.
struct UnitName {
  std::uint32_t kind = 0;  // ExperimentKind::number()
  std::uint32_t model = 0;
  std::uint32_t begin = 0;
  std::uint32_t count = 0;
  // A digest of the list, 0 where it is every prompt. Failures that are repeated change what is
  // selected: units of another list then have other keys, and their results on record are left
  // alone.
  std::uint64_t selection = 0;
};
// Kind, model, begin and count in 4, 14, 32 and 14 bits; the selection is beside them in the key.
// Throws std::logic_error for a name that does not fit.
std::uint64_t id_of(const UnitName& unit);
UnitKey key_of(const UnitName& unit);
UnitName unit_named(const UnitKey& key);
// "sweep of mamba, prompts 9 to 16"
std::string describe(const UnitName& unit, const std::string& model);

// How many prompts the units of each part hold ([part][unit]), and what one prompt of a part costs:
// pure functions of the configuration. `parts`: all that one kind is asked about a model.
std::vector<std::vector<std::uint32_t>> unit_sizes(const std::vector<AskedPart>& parts,
                                                   const Work& work);
struct PromptCost {
  double rows = 0;   // answers read, the clean run's left out
  double flops = 0;  // of the matrix products, for a prompt of `tokens` tokens whose knockouts
                     // replay one token
  double flops_of_several = 0;  // of these, of rows of several tokens
};
PromptCost estimated_cost(const Asked& asked, const Work& work, const PlannedModel& model,
                          double tokens);

class RunPlan final : public TaskSource {
 public:
  // The arguments must outlive the plan. Throws InputError for more models or prompts than fit a
  // unit's name.
  RunPlan(const Config& config, const Dataset& dataset, const PlannedJob& planned);

  std::vector<Task> initial() override;
  std::vector<Task> completed(std::uint64_t unit, std::string result) override;
  std::vector<Task> failed(std::uint64_t unit, const std::string& reason) override;
  std::vector<Task> split(std::uint64_t unit) override;
  bool has_failures(const std::string& result) const override {
    return report_of(result).failed > 0;
  }
  std::string name_of(std::uint64_t unit) const override;
  // As if every prompt that is not evaluated yet were right: at most this much.
  std::vector<ExpectedWork> expected() const override;

  bool is_evaluated(std::uint32_t model) const { return evaluations_left_[model] == 0; }
  bool released(std::uint32_t model) const { return released_[model]; }
  // What a kind is asked of a model's prompts: of a released model, or of the kind that offers
  // ranks.
  const AskedPrompts& asked(size_t kind, std::uint32_t model) const { return asked_[kind][model]; }
  // The prompts of config.select[set] for a released model, in dataset order.
  std::vector<std::uint32_t> selected(size_t set, std::uint32_t model) const {
    return select_prompts(config_, set, dataset_, model, ranks_);
  }
  // The digest in the names of the units of what is asked: see UnitName.
  std::uint64_t selection(size_t kind, std::uint32_t model) const;
  const CleanRanks& ranks() const { return ranks_; }
  double compute_seconds() const {
    return compute_seconds_;
  }  // of all finished units, over all ranks
  const std::vector<UnitKey>& units() const {
    return units_;
  }  // released so far, parts of split ones included

 private:
  void add_units(size_t kind, std::uint32_t model, std::vector<Task>& tasks);
  bool may_release(std::uint32_t model) const;
  Task task(const UnitName& unit);
  std::vector<Task> evaluated(const UnitName& unit);
  std::vector<Task> release(std::uint32_t model);
  // A model is the same one in every unit: what it is loaded from is read again and again.
  void check_digest(std::uint32_t model, const std::string& digest);

  const Config& config_;
  const Dataset& dataset_;
  const PlannedJob& planned_;
  double tokens_;  // estimated tokens of a prompt
  CleanRanks ranks_;
  std::vector<std::uint32_t> evaluations_left_;  // [model] prompts
  std::vector<std::string> digests_;             // [model] checkpoint and tokenizer, once known
  std::vector<bool> released_;
  std::vector<std::vector<AskedPrompts>> asked_;  // [kind][model]
  std::vector<UnitKey> units_;
  CleanRanks hopes_;  // as ranks_, but 1 for what is not evaluated yet
  mutable std::optional<std::vector<ExpectedWork>> expected_;  // until an evaluation changes it
  double compute_seconds_ = 0;
};

}  // namespace factflow
