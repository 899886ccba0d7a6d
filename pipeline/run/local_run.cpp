#include "pipeline/run/local_run.hpp"

#include <algorithm>
#include <deque>
#include <iterator>
#include <map>
#include <stdexcept>
#include <utility>

#include "experiments/table.hpp"
#include "workers/unit_computation.hpp"

namespace factflow {
namespace {

class LocalRun {
 public:
  LocalRun(const Config& config, const Dataset& dataset, LoadedModel& model)
      : config_(config),
        dataset_(dataset),
        model_(model),
        planned_(planned_for(config, dataset, model)),
        plan_(config, dataset, planned_) {}

  LocalResults run(const std::function<void(const LocalProgress&)>& between) {
    add(plan_.initial());
    while (!tasks_.empty()) {
      between(progress());
      const Task task = std::move(tasks_.front());
      tasks_.pop_front();
      compute(task);
    }
    between(progress());
    return results();
  }

 private:
  static PlannedJob planned_for(const Config& config, const Dataset& dataset,
                                const LoadedModel& model) {
    if (config.models.size() != 1) throw std::logic_error("a local run has one model");
    PlannedJob planned;
    PlannedModel& one = planned.models.emplace_back();
    one.architecture = model.network().architecture();
    one.parameters = model.network().parameters();
    ModelJob& job = planned.job.models.emplace_back();
    job.name = config.models[0].name;
    plan_experiments(config, dataset.prompts, one, job);
    return planned;
  }

  void add(std::vector<Task> tasks) {
    for (const Task& task : tasks) cost_known_ += task.cost;
    units_known_ += static_cast<std::int64_t>(tasks.size());
    std::move(tasks.begin(), tasks.end(), std::back_inserter(tasks_));
  }

  LocalProgress progress() const {
    double cost = cost_known_;
    for (const ExpectedWork& work : plan_.expected()) cost += work.cost;
    return {units_done_, units_known_, cost > 0 ? cost_done_ / cost : 1};
  }

  void compute(const Task& task) {
    const ModelJob& job = planned_.job.models[0];
    const PreparedUnit prepared = prepare(model_, decode_unit(task.payload));
    if (!checked_ && config_.run.self_check && !prepared.prompts.empty()) {
      checked_ = true;
      model_.check_self(requests_to_check(model_, job, prepared.prompts.front()));
    }
    UnitResult result;
    try {
      result = factflow::compute(model_, job, prepared);
    } catch (const MemoryError&) {
      std::vector<Task> halves = plan_.split(task.id);
      if (halves.empty()) throw;
      cost_known_ -= task.cost;
      --units_known_;
      add(std::move(halves));
      return;
    }
    cost_done_ += task.cost;
    ++units_done_;
    add(plan_.completed(task.id, encode(result)));
    results_.emplace(task.key(), std::move(result));
  }

  LocalResults results() const {
    std::vector<UnitKey> units = plan_.units();
    std::sort(units.begin(), units.end());
    const auto state_of = [&](const UnitKey& unit) {
      const auto found = results_.find(unit);
      return found == results_.end() ? UnitState{}
                                     : UnitState{UnitState::Known::kResult, found->second};
    };
    LocalResults results;
    for (std::size_t kind = 0; kind < experiment_kinds().size(); ++kind) {
      ModelArrays made = model_arrays(config_, dataset_, planned_, plan_, kind, 0, units, state_of);
      std::move(made.groups.begin(), made.groups.end(), std::back_inserter(results.groups));
      std::move(made.failures.begin(), made.failures.end(), std::back_inserter(results.failures));
      std::move(made.warnings.begin(), made.warnings.end(), std::back_inserter(results.warnings));
    }
    return results;
  }

  const Config& config_;
  const Dataset& dataset_;
  LoadedModel& model_;
  PlannedJob planned_;
  RunPlan plan_;
  std::deque<Task> tasks_;
  std::map<UnitKey, UnitResult> results_;
  bool checked_ = false;
  double cost_known_ = 0, cost_done_ = 0;
  std::int64_t units_known_ = 0, units_done_ = 0;
};

}  // namespace

LocalResults run_locally(const Config& config, const Dataset& dataset, LoadedModel& model,
                         const std::function<void(const LocalProgress&)>& between) {
  return LocalRun(config, dataset, model).run(between);
}

}  // namespace factflow
