// Which task a free worker gets. Pure bookkeeping: no messages, no files, no clock.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "pipeline/coordination/task.hpp"

namespace factflow {

// A task and the attempts at it so far.
struct Attempt {
  Task task;
  int failures = 0;
  int not_on = -1;  // the worker that it failed on; it is not handed to that one again
};

// A worker keeps its model while there is work for it. A worker without work takes the model with
// the most remaining cost per worker (itself included); within a model the longest task goes first.
// Ties: the smaller model and unit number. Costs must be finite and not negative.
class TaskQueue {
 public:
  explicit TaskQueue(int workers) : model_of_(static_cast<std::size_t>(workers)) {}

  void push(Attempt attempt);
  std::optional<Attempt> pop(int worker);

  // Whether a worker with these tasks (at least one) should get another before it needs it: not if
  // the others could be out of work before it begins that one.
  bool may_fetch_ahead(const std::deque<Attempt>& in_hand) const;

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  double cost() const;

 private:
  struct LongestFirst {
    bool operator()(const Attempt& a, const Attempt& b) const;
  };
  struct Model {
    std::set<Attempt, LongestFirst> tasks;
    double cost = 0;  // of `tasks`
    int workers = 0;
  };
  using Place = std::set<Attempt, LongestFirst>::iterator;

  Place first_for(Model& model, int worker) const;
  std::optional<std::uint32_t> best_model_for(int worker);
  void assign(int worker, std::uint32_t model);

  std::map<std::uint32_t, Model> models_;
  std::vector<std::optional<std::uint32_t>> model_of_;  // by worker
  std::size_t size_ = 0;
};

}  // namespace factflow
