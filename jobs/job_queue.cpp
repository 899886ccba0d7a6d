#include "jobs/job_queue.hpp"

#include <algorithm>
#include <cctype>
#include <optional>
#include <sstream>

#include <fmt/format.h>

#include "base/text.hpp"
#include "jobs/scheduler.hpp"

namespace factflow {
namespace {

// SLURM's own commands wait for their controller for 10 s.
constexpr std::chrono::seconds kPatience{20};

// "ID|STATE|DETAIL"; the id is a number, with what is left of an array behind it.
std::optional<JobState> state_in(const std::string& line) {
  JobState state;
  std::istringstream fields(line);
  if (!std::getline(fields, state.id, '|') || !std::getline(fields, state.state, '|'))
    return std::nullopt;
  std::getline(fields, state.detail);
  if (state.id.empty() || std::isdigit(static_cast<unsigned char>(state.id[0])) == 0 ||
      state.state.empty())
    return std::nullopt;
  return state;
}

bool is_blank(const std::string& line) {
  return line.find_first_not_of(" \t\r") == std::string::npos;
}

bool is_part_of(const std::string& found, const std::string& id) {
  return found == id || found.starts_with(id + "_");
}

bool is_one_of(const std::string& found, const std::vector<std::string>& ids) {
  return std::any_of(ids.begin(), ids.end(),
                     [&](const std::string& id) { return is_part_of(found, id); });
}

void note(JobStates& states, const std::string& problem) {
  if (states.problem.empty()) states.problem = problem;
}

// Adds what an answer says. A line that says nothing known may stand for any job.
void add_answer(const std::string& program, const std::string& text, JobStates& states) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (is_blank(line) || line.starts_with("CLUSTER: ")) continue;
    if (std::optional<JobState> state = state_in(line))
      states.jobs.push_back(std::move(*state));
    else
      note(states, fmt::format("{}'s answer is not understood: {}", program, in_quotes(line)));
  }
}

void ask(std::vector<std::string> words, const std::string& cluster, JobStates& states) {
  if (!cluster.empty()) words.push_back("--clusters=" + cluster);
  const ChildProgram program = scheduler_command(std::move(words), kPatience);
  const ChildOutput answer = run_child(program);
  // Of a single job that it has forgotten squeue says this instead of nothing.
  const bool forgotten = answer.err.find("Invalid job id") != std::string::npos;
  if (answer.code != 0 && (!forgotten || answer.timed_out))
    note(states, failure_of(program, answer));
  add_answer(program.words[0], answer.out, states);
}

// That sacct knows nothing is no problem: many clusters do without it.
void add_ended(const JobsAsked& asked, JobStates& states) {
  JobStates ended;
  ask({"sacct", "--noheader", "--parsable2", "--allocations", "--jobs=" + join(asked.ids, ","),
       "--format=JobID,State,Elapsed"},
      asked.cluster, ended);
  for (JobState& state : ended.jobs)
    if (std::none_of(states.jobs.begin(), states.jobs.end(),
                     [&](const JobState& known) { return known.id == state.id; }))
      states.jobs.push_back(std::move(state));
}

}  // namespace

JobStates queued_jobs(const JobsAsked& asked) {
  const std::string format = "--format=%i|%T|%r, %M";
  JobStates states;
  if (!asked.ids.empty())
    ask({"squeue", "--noheader", "--jobs=" + join(asked.ids, ","), format}, asked.cluster, states);
  std::erase_if(states.jobs, [&](const JobState& job) { return !is_one_of(job.id, asked.ids); });
  if (asked.names.empty()) return states;
  JobStates named;
  ask({"squeue", "--noheader", "--name=" + join(asked.names, ","), format}, asked.cluster, named);
  for (JobState& job : named.jobs)
    if (!is_one_of(job.id, asked.ids)) states.jobs.push_back(std::move(job));
  if (!named.problem.empty()) note(states, named.problem);
  return states;
}

JobStates job_states(const JobsAsked& asked) {
  JobStates states = queued_jobs(asked);
  if (asked.ids.empty()) return states;
  add_ended(asked, states);
  const auto place = [&](const JobState& state) {
    return std::find_if(asked.ids.begin(), asked.ids.end(),
                        [&](const std::string& id) { return is_part_of(state.id, id); }) -
           asked.ids.begin();
  };
  std::stable_sort(states.jobs.begin(), states.jobs.end(),
                   [&](const JobState& a, const JobState& b) { return place(a) < place(b); });
  return states;
}

}  // namespace factflow
