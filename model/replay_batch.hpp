// Runs that are asked for one by one, and computed together: those of one prompt are series of one
// request.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "model/intervention.hpp"
#include "model/replay/replay_plan.hpp"
#include "model/replay/replay_result.hpp"

namespace factflow {

// Answers requests in order: ReplayEngine::run, or what is around it.
using Replayer = std::function<std::vector<ReplayResult>(const std::vector<ReplayRequest>&)>;

class ReplayBatch {
 public:
  struct Run {
    size_t request = 0, series = 0;
  };
  // `together` empty: the clean run.
  Run ask(const std::vector<int>& ids, int answer, std::vector<Intervention> together);
  // A value in a run that was asked for; how it is called among the values of its request.
  size_t read(Run run, SiteAt at, int token);

  void compute(const Replayer& replay) { results_ = replay(requests_); }

  // After compute(). A run in which nothing is done has the clean run's answer.
  const Answer& answer(Run run) const;
  std::vector<double> value(Run run, size_t read) const;

 private:
  std::map<std::pair<std::vector<int>, int>, size_t> request_of_;  // by ids and answer
  std::vector<ReplayRequest> requests_;
  std::vector<ReplayResult> results_;
};

}  // namespace factflow
