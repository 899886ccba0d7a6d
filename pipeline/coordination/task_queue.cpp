#include "pipeline/coordination/task_queue.hpp"

#include <utility>

namespace factflow {

bool TaskQueue::LongestFirst::operator()(const Attempt& a, const Attempt& b) const {
  if (a.task.cost != b.task.cost) return a.task.cost > b.task.cost;
  return a.task.id < b.task.id;
}

void TaskQueue::push(Attempt attempt) {
  Model& model = models_[attempt.task.affinity];
  model.cost += attempt.task.cost;
  model.tasks.insert(std::move(attempt));
  ++size_;
}

std::optional<Attempt> TaskQueue::pop(int worker) {
  std::optional<std::uint32_t>& held = model_of_[static_cast<std::size_t>(worker)];
  if (!held || first_for(models_[*held], worker) == models_[*held].tasks.end()) {
    const std::optional<std::uint32_t> best = best_model_for(worker);
    if (!best) return std::nullopt;
    assign(worker, *best);
  }
  Model& model = models_[*held];
  const Place place = first_for(model, worker);
  Attempt attempt = std::move(model.tasks.extract(place).value());
  --size_;
  // An empty model costs exactly nothing, whatever rounding has left.
  model.cost = model.tasks.empty() ? 0 : model.cost - attempt.task.cost;
  return attempt;
}

// The next task is hardly longer than the last one, since the longest goes first. As long as
// everybody's share of what is left is longer than all that this worker would have, somebody else
// will be busy just as long.
bool TaskQueue::may_fetch_ahead(const std::deque<Attempt>& in_hand) const {
  double busy = in_hand.back().task.cost;
  for (const Attempt& attempt : in_hand) busy += attempt.task.cost;
  return cost() >= busy * static_cast<double>(model_of_.size());
}

double TaskQueue::cost() const {
  double sum = 0;
  for (const auto& [number, model] : models_) sum += model.cost;
  return sum;
}

TaskQueue::Place TaskQueue::first_for(Model& model, int worker) const {
  Place place = model.tasks.begin();
  if (model_of_.size() == 1) return place;  // there is no other worker to try
  while (place != model.tasks.end() && place->not_on == worker) ++place;
  return place;
}

std::optional<std::uint32_t> TaskQueue::best_model_for(int worker) {
  std::optional<std::uint32_t> best;
  double best_share = -1;
  for (auto& [number, model] : models_) {
    if (first_for(model, worker) == model.tasks.end()) continue;
    const double share = model.cost / (model.workers + 1);
    if (share > best_share) {
      best = number;
      best_share = share;
    }
  }
  return best;
}

void TaskQueue::assign(int worker, std::uint32_t model) {
  std::optional<std::uint32_t>& held = model_of_[static_cast<std::size_t>(worker)];
  if (held) --models_[*held].workers;
  held = model;
  ++models_[model].workers;
}

}  // namespace factflow
