// What the coordinator hands out, and where it comes from.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pipeline/coordination/unit_key.hpp"

namespace factflow {

struct Task {
  // Names the unit, the same in every launch of this run; no two tasks of a plan have one name.
  std::uint64_t id = 0;
  // The model; a worker keeps its model as long as there is work for it.
  std::uint32_t affinity = 0;
  // In any unit, comparable between tasks; a negative or infinite one or NaN counts as 0.
  double cost = 1;
  std::string payload;  // what the worker gets
  // A digest of what else decides the content of the unit (unit_key.hpp).
  std::uint64_t selection = 0;
  // What its time is compared with: tasks of one kind take about the same for the same cost.
  std::uint32_t kind = 0;

  UnitKey key() const { return {id, selection}; }
};

// Work that the plan knows to come though its tasks are not released yet.
struct ExpectedWork {
  std::uint32_t kind = 0;  // as in Task
  std::uint64_t units = 0;
  double cost = 0;
};

// The plan as the coordinator sees it. All calls come from the coordinator's thread, and only about
// what is durable. In a continued run the past is told again through the same calls. Calls come in
// any order that the releases allow, so which tasks exist must not depend on the order, nor on the
// number of workers. An exception ends the run.
class TaskSource {
 public:
  virtual ~TaskSource() = default;
  // The tasks that depend on nothing.
  virtual std::vector<Task> initial() = 0;
  // The unit's result is on disk for good. Returns the tasks that it releases.
  virtual std::vector<Task> completed(std::uint64_t unit, std::string result) = 0;
  // The unit's failure is on record. Returns the tasks that may go on without it.
  virtual std::vector<Task> failed(std::uint64_t unit, const std::string& reason) = 0;
  // Whether some prompts of the unit failed: a launch that retries failures computes it again.
  virtual bool has_failures(const std::string& /*result*/) const { return false; }
  // What a message calls the unit.
  virtual std::string name_of(std::uint64_t unit) const { return "unit " + std::to_string(unit); }
  // The unit does not fit on a device: the smaller tasks that together replace it, or none if it
  // cannot be smaller. Must give the same answer each time.
  virtual std::vector<Task> split(std::uint64_t unit) = 0;
  // What will be released when more is done, as far as it is known by now, at most: for showing how
  // far a run is. Must never grow.
  virtual std::vector<ExpectedWork> expected() const { return {}; }
};

}  // namespace factflow
