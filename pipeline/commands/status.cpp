// factflow status: what a run directory holds, and whether anybody works on it.
#include <algorithm>
#include <chrono>
#include <iostream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/file_operations.hpp"
#include "base/json_text.hpp"
#include "base/text.hpp"
#include "jobs/job_queue.hpp"
#include "jobs/submission.hpp"
#include "pipeline/commands/command.hpp"
#include "pipeline/commands/run_folder.hpp"
#include "pipeline/coordination/journal.hpp"
#include "pipeline/coordination/run_lock.hpp"
#include "pipeline/run/model_progress.hpp"
#include "pipeline/run/run_directory.hpp"
#include "pipeline/run/run_plan.hpp"
#include "results/results_file.hpp"

namespace factflow {
namespace {

namespace fs = std::filesystem;

constexpr size_t kShownFailures = 10;

struct FailedUnit {
  std::string unit, reason;
};

// All that is known of a run.
struct Status {
  bool begun = false;
  std::string name, created;
  bool ours = true;  // of this version, so that its journal can be read
  std::vector<SeenOwner> owners;
  nlohmann::json noted;  // progress.json, or an empty object
  double noted_ago = 0;  // seconds
  std::vector<ModelProgress> models;
  std::vector<FailedUnit> failed_units;
  bool has_results = false, complete = false;
  std::int64_t units_done = 0, units_planned = 0;  // of results.h5
  // Of prompts and records, as of results.h5: what is not in failed_units.
  std::vector<FailureRecord> failures;
  std::optional<Submission> submission;
  JobStates jobs;

  bool running() const {
    return std::any_of(owners.begin(), owners.end(),
                       [](const SeenOwner& owner) { return owner.alive; });
  }
  // In one word, for programs.
  std::string state() const {
    if (!begun) return running() ? "starting" : "submitted";
    if (running()) return "running";
    return complete ? "complete" : owners.empty() ? "stopped" : "interrupted";
  }
};

// What the last launch knew to be asked; before it wrote that down, nothing is known of any stage.
std::vector<AskedOfModel> asked_in(const nlohmann::json& progress, const Config& config) {
  if (progress.contains("models")) return asked_from_json(progress.at("models"));
  std::vector<AskedOfModel> models;
  for (const ModelConfig& model : config.models)
    models.push_back(
        {model.name, std::vector<std::optional<AskedCount>>(experiment_kinds().size())});
  return models;
}

void read_journal(Status& status, const fs::path& directory, const std::string& identity) {
  const Config config = read_config(directory / "config.yaml");
  const JournalIndex index(system_files(), directory / "journal", identity);
  status.models = progress_of(asked_in(status.noted, config), index);
  index.for_each([&](const JournalRecord& record) {
    if (record.type != RecordType::kFailed) return;
    const UnitName unit = unit_named({record.unit, record.selection});
    status.failed_units.push_back(
        {describe(unit, config.models.at(unit.model).name), record.payload});
  });
}

void read_run(Status& status, const fs::path& directory) {
  const fs::path record = directory / "run.json", noted = directory / "progress.json";
  std::string identity;
  try {
    const nlohmann::json run = read_json_file(record);
    status.name = run.at("name").get<std::string>();
    status.created = run.at("created").get<std::string>();
    status.ours = run.value("plan", "") == kPlanVersion;
    identity = run.at("identity").get<std::string>();
  } catch (const nlohmann::json::exception& error) {
    throw InputError(record.string(), fmt::format("cannot be understood: {}", error.what()));
  }
  if (fs::exists(noted)) {
    status.noted = read_json_file(noted);
    const auto ago = fs::file_time_type::clock::now() - fs::last_write_time(noted);
    status.noted_ago = std::max(std::chrono::duration<double>(ago).count(), 0.0);
  }
  // A launch that begins has written the record, and not yet the rest.
  if (status.ours && fs::exists(directory / "config.yaml"))
    read_journal(status, directory, identity);
}

// Of a unit that failed as a whole the journal has the word: the results file, which may be older,
// only repeats it.
bool is_of_a_unit(const FailureRecord& failure) {
  return failure.prompt.empty() && failure.stage != "dataset";
}

void read_results(Status& status, const fs::path& results) {
  if (!fs::exists(results)) return;
  const ResultsReader reader(results);
  status.has_results = true;
  status.complete = reader.info().complete;
  status.units_done = reader.info().units_done;
  status.units_planned = reader.info().units_planned;
  for (const FailureRecord& failure : reader.failures())
    if (!status.ours || !is_of_a_unit(failure)) status.failures.push_back(failure);
}

Status status_of(const fs::path& directory) {
  Status status;
  status.noted = nlohmann::json::object();
  status.owners = owners_of(directory);
  status.begun = fs::exists(directory / "run.json");
  if (status.begun) read_run(status, directory);
  read_results(status, directory / "results.h5");
  status.submission = read_submission(directory);
  if (status.submission) status.jobs = job_states(status.submission->asked());
  return status;
}

bool is_held(const fs::path& directory) {
  std::error_code error;
  if (!fs::is_directory(directory, error)) return false;
  const std::vector<SeenOwner> owners = owners_of(directory);
  return std::any_of(owners.begin(), owners.end(),
                     [](const SeenOwner& owner) { return owner.alive; });
}

// ---- for people

void print_state(const Status& status) {
  for (const SeenOwner& owner : status.owners)
    if (owner.alive) std::cout << fmt::format("  running: {}\n", owner.description);
  if (status.running()) return;
  for (const SeenOwner& owner : status.owners)
    std::cout << fmt::format("  not running: {} ended without a word (killed, or its machine)\n",
                             owner.description);
  if (status.begun && !status.complete)
    std::cout << (status.owners.empty() ? "  not running: " : "  ")
              << "the same command continues it\n";
}

void print_progress(const Status& status) {
  if (status.noted.contains("text") && status.running())
    std::cout << fmt::format("  {}{} ({} ago)\n", status.noted.at("text").get<std::string>(),
                             status.noted.value("working_on", "").empty()
                                 ? ""
                                 : "; " + status.noted.at("working_on").get<std::string>(),
                             format_duration(status.noted_ago));
  for (const ModelProgress& model : status.models) std::cout << "  " << describe(model) << '\n';
  if (status.noted.contains("accuracy"))
    for (const nlohmann::json& sentence : status.noted.at("accuracy").at("text"))
      std::cout << "  " << sentence.get<std::string>() << '\n';
}

void print_failures(const Status& status) {
  const auto some = [](size_t count, const auto& one) {
    for (size_t i = 0; i < std::min(count, kShownFailures); ++i)
      std::cout << "    " << one(i) << '\n';
    if (count > kShownFailures)
      std::cout << fmt::format("    and {} more (--json has all)\n", count - kShownFailures);
  };
  if (const size_t count = status.failed_units.size(); count > 0) {
    std::cout << fmt::format("  {} failed (run --retry-failed repeats {}):\n",
                             counted(count, "unit"), count == 1 ? "it" : "them");
    some(count, [&](size_t i) {
      return status.failed_units[i].unit + ": " + status.failed_units[i].reason;
    });
  }
  if (const size_t count = status.failures.size(); count > 0) {
    std::cout << fmt::format(
        "  {} (run --retry-failed repeats what can be repeated; bad records stay bad):\n",
        counted(count, "failure"));
    some(count, [&](size_t i) {
      const FailureRecord& failure = status.failures[i];
      return fmt::format("{} {} {} {}", failure.stage, failure.model,
                         failure.prompt.empty() ? "" : "prompt " + failure.prompt + ":",
                         failure.reason);
    });
  }
}

// The jobs on record, or those that may be there without being on record.
std::string jobs_of(const Submission& submission) {
  std::string text = submission.all().empty() ? "jobs" : "jobs " + join(submission.all());
  if (submission.one_more) text += ", and one that may have been submitted";
  return text + (submission.cluster.empty() ? " of SLURM"
                                            : fmt::format(" of SLURM ({})", submission.cluster));
}

void print_jobs(const Submission& submission, const JobStates& states) {
  std::cout << fmt::format("  {}{}\n", jobs_of(submission),
                           !states.problem.empty()
                               ? ": the queue could not be asked: " + states.problem
                           : states.jobs.empty() ? ": none in the queue any more"
                                                 : ":");
  for (const JobState& job : states.jobs)
    std::cout << fmt::format("    {}: {}{}{}\n", job.id, job.state,
                             job.detail.empty() ? "" : ", " + job.detail,
                             job.id == submission.analysis ? " (analysis)" : "");
}

void print(const Status& status) {
  if (status.begun)
    std::cout << fmt::format("{}, begun {}\n", status.name, status.created);
  else
    std::cout << (status.submission ? "submitted, not begun\n" : "starting, no result yet\n");
  print_state(status);
  if (status.begun && !status.ours)
    std::cout << "  begun by another version of factflow, which alone can continue it\n";
  print_progress(status);
  print_failures(status);
  if (status.submission) print_jobs(*status.submission, status.jobs);
  if (!status.begun) return;
  if (!status.has_results)
    std::cout << "  no results.h5 yet\n";
  else
    std::cout << fmt::format("  results.h5: {}, {} of {}\n",
                             status.complete ? "complete" : "part of the run", status.units_done,
                             counted(static_cast<std::uint64_t>(status.units_planned), "unit"));
}

// ---- for programs

nlohmann::json to_json(const SeenOwner& owner) {
  return {{"process", owner.owner.process}, {"host", owner.owner.host},
          {"started", owner.owner.started}, {"alive", owner.alive},
          {"on_this_machine", owner.here},  {"shares", owner.shares},
          {"seconds_silent", owner.silence}};
}

nlohmann::json to_json(const ModelProgress& model) {
  nlohmann::json kinds = nlohmann::json::array();
  for (size_t kind = 0; kind < experiment_kinds().size(); ++kind) {
    const std::optional<AskedCount>& asked = model.asked.of_kind[kind];
    if (asked && !asked->configured) continue;
    kinds.push_back({{"kind", experiment_kinds()[kind]->name()},
                     {"prompts", asked ? nlohmann::json(asked->prompts) : nlohmann::json()},
                     {"computed", model.of_kind[kind].computed},
                     {"failed", model.of_kind[kind].failed}});
  }
  return {{"name", model.asked.name}, {"right", model.right}, {"kinds", kinds}};
}

nlohmann::json progress_json(const Status& status) {
  if (!status.noted.contains("units_total")) return nullptr;
  const auto noted = [&](const char* key) { return status.noted.value(key, nlohmann::json()); };
  return {{"units_done", noted("units_done")},
          {"units_failed", noted("units_failed")},
          {"units_total", noted("units_total")},
          {"share", noted("share")},
          {"units_per_second", noted("units_per_second")},
          {"seconds_left", noted("seconds_left")},
          {"working_on", noted("working_on")},
          {"ranks", noted("ranks")},
          {"ranks_busy", noted("ranks_busy")},
          {"seconds_ago", status.noted_ago}};
}

nlohmann::json jobs_json(const Submission& submission, const JobStates& states) {
  nlohmann::json jobs = nlohmann::json::array();
  for (const JobState& job : states.jobs)
    jobs.push_back({{"id", job.id},
                    {"state", job.state},
                    {"detail", job.detail},
                    {"analysis", job.id == submission.analysis}});
  return {{"submitted", submission.all()}, {"in_queue", jobs}, {"problem", states.problem}};
}

nlohmann::json to_json(const Status& status) {
  nlohmann::json json = {{"state", status.state()},
                         {"name", status.name},
                         {"begun", status.created},
                         {"of_this_version", status.ours},
                         {"processes", nlohmann::json::array()},
                         {"progress", progress_json(status)},
                         {"models", nlohmann::json::array()},
                         {"accuracy", nullptr},
                         {"failed_units", nlohmann::json::array()},
                         {"failures", nlohmann::json::array()},
                         {"jobs", nullptr},
                         {"results", nullptr}};
  for (const SeenOwner& owner : status.owners) json["processes"].push_back(to_json(owner));
  for (const ModelProgress& model : status.models) json["models"].push_back(to_json(model));
  if (status.noted.contains("accuracy"))
    json["accuracy"] = {{"models", status.noted.at("accuracy").at("models")},
                        {"sets", status.noted.at("accuracy").at("sets")}};
  for (const FailedUnit& one : status.failed_units)
    json["failed_units"].push_back({{"unit", one.unit}, {"reason", one.reason}});
  for (const FailureRecord& one : status.failures)
    json["failures"].push_back({{"stage", one.stage},
                                {"model", one.model},
                                {"prompt", one.prompt},
                                {"reason", one.reason}});
  if (status.submission) json["jobs"] = jobs_json(*status.submission, status.jobs);
  if (status.has_results)
    json["results"] = {{"complete", status.complete},
                       {"units_done", status.units_done},
                       {"units_planned", status.units_planned}};
  return json;
}

}  // namespace

Usage status_usage() {
  Usage usage;
  po::options_description& options = usage.options;
  options.add_options()(
      "complete", po::bool_switch(),
      "exit with 1 if units are left to compute (failed ones are not), for scripts");
  add_json(options);
  usage.positional = {"DIR"};
  usage.examples = {"status runs/demo", "status runs/demo --complete", "status runs/demo --json"};
  return usage;
}

int status_command(const po::variables_map& values) {
  const fs::path directory = values["DIR"].as<std::string>();
  try {
    // A launch has the directory for a while before there is anything to show.
    if (!is_held(directory)) require_run(directory);
    const Status status = status_of(directory);
    if (wants_json(values))
      print_json(to_json(status));
    else
      print(status);
    return values["complete"].as<bool>() && !(status.begun && status.complete) ? 1 : 0;
  } catch (const nlohmann::json::exception& error) {
    throw InputError((directory / "progress.json").string(),
                     fmt::format("cannot be understood: {}", error.what()),
                     "remove it: the next launch writes it anew");
  }
}

}  // namespace factflow
