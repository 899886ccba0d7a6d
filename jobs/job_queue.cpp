#include "jobs/job_queue.hpp"

#include <algorithm>
#include <sstream>

#include "base/text.hpp"
#include "jobs/scheduler.hpp"

namespace factflow {
namespace {

constexpr std::chrono::seconds kPatience{20};

// Lines "ID|STATE|DETAIL".
std::vector<JobState> states_in(const std::string& text) {
  std::vector<JobState> states;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    JobState state;
    std::istringstream fields(line);
    if (std::getline(fields, state.id, '|') && std::getline(fields, state.state, '|')) {
      std::getline(fields, state.detail);
      states.push_back(std::move(state));
    }
  }
  return states;
}

std::vector<JobState> queued(const std::vector<std::string>& ids) {
  const ChildOutput squeue = run_child(scheduler_command(
      {"squeue", "--noheader", "--jobs=" + join(ids, ","), "--format=%i|%T|%r, %M"}, kPatience));
  return squeue.code == 0 ? states_in(squeue.out) : std::vector<JobState>{};
}

bool is_part_of(const std::string& found, const std::string& id) {
  return found == id || found.starts_with(id + "_");
}

}  // namespace

std::vector<JobState> job_states(const std::vector<std::string>& ids) {
  if (ids.empty()) return {};
  std::vector<JobState> states = queued(ids);
  const ChildOutput sacct =
      run_child(scheduler_command({"sacct", "--noheader", "--parsable2", "--allocations",
                                   "--jobs=" + join(ids, ","), "--format=JobID,State,Elapsed"},
                                  kPatience));
  if (sacct.code == 0)
    for (JobState& ended : states_in(sacct.out))
      if (std::none_of(states.begin(), states.end(),
                       [&](const JobState& known) { return known.id == ended.id; }))
        states.push_back(std::move(ended));
  const auto place = [&](const JobState& state) {
    return std::find_if(ids.begin(), ids.end(),
                        [&](const std::string& id) { return is_part_of(state.id, id); }) -
           ids.begin();
  };
  std::stable_sort(states.begin(), states.end(),
                   [&](const JobState& a, const JobState& b) { return place(a) < place(b); });
  return states;
}

bool in_queue(const std::vector<std::string>& ids) {
  return !ids.empty() && !queued(ids).empty();
}

}  // namespace factflow
