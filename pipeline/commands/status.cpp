// factflow status: what a run directory holds.
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
#include "pipeline/coordination/owner.hpp"
#include "pipeline/run/model_progress.hpp"
#include "pipeline/run/run_directory.hpp"
#include "pipeline/run/run_plan.hpp"
#include "results/results_file.hpp"

namespace factflow {
namespace {

constexpr size_t kShownFailures = 10;

// What the last launch knew to be asked; before it wrote that down, nothing is known of any stage.
std::vector<AskedOfModel> asked_in(const nlohmann::json& progress, const Config& config) {
  if (progress.contains("models")) return asked_from_json(progress.at("models"));
  std::vector<AskedOfModel> models;
  for (const ModelConfig& model : config.models)
    models.push_back(
        {model.name, std::vector<std::optional<AskedCount>>(experiment_kinds().size())});
  return models;
}

void print_failed_units(const Config& config, const JournalIndex& index) {
  std::vector<std::string> failures;
  index.for_each([&](const JournalRecord& record) {
    if (record.type != RecordType::kFailed) return;
    const UnitName unit = unit_named({record.unit, record.selection});
    failures.push_back(fmt::format("    {}: {}", describe(unit, config.models.at(unit.model).name),
                                   record.payload));
  });
  if (failures.empty()) return;
  std::cout << fmt::format("  {} failed (run --retry-failed repeats {}):\n",
                           counted(failures.size(), "unit"), failures.size() == 1 ? "it" : "them");
  for (size_t i = 0; i < std::min(failures.size(), kShownFailures); ++i)
    std::cout << failures[i] << '\n';
}

void print_journal(const std::filesystem::path& directory, const std::string& identity,
                   const nlohmann::json& progress) {
  const Config config = read_config(directory / "config.yaml");
  const JournalIndex index(system_files(), directory / "journal", identity);
  for (const ModelProgress& model : progress_of(asked_in(progress, config), index))
    std::cout << "  " << describe(model) << '\n';
  print_failed_units(config, index);
}

// The jobs on record, or those that may be there without being on record.
std::string jobs_of(const Submission& submission) {
  std::string text = submission.all().empty() ? "jobs" : "jobs " + join(submission.all());
  if (submission.one_more) text += ", and one that may have been submitted";
  return text + (submission.cluster.empty() ? " of SLURM"
                                            : fmt::format(" of SLURM ({})", submission.cluster));
}

void print_jobs(const std::filesystem::path& directory) {
  const std::optional<Submission> submission = read_submission(directory);
  if (!submission) return;
  const JobStates states = job_states(submission->asked());
  std::cout << fmt::format("  {}{}\n", jobs_of(*submission),
                           !states.problem.empty()
                               ? ": the queue could not be asked: " + states.problem
                           : states.jobs.empty() ? ": none in the queue any more"
                                                 : ":");
  for (const JobState& job : states.jobs)
    std::cout << fmt::format("    {}: {}{}{}\n", job.id, job.state,
                             job.detail.empty() ? "" : ", " + job.detail,
                             job.id == submission->analysis ? " (analysis)" : "");
}

// Whether there is nothing left to compute: every unit is done or has failed.
bool print_results(const std::filesystem::path& results) {
  if (!std::filesystem::exists(results)) {
    std::cout << "  no results.h5 yet\n";
    return false;
  }
  const ResultsReader reader(results);
  std::cout << fmt::format(
      "  results.h5: {}, {} of {}\n", reader.info().complete ? "complete" : "part of the run",
      reader.info().units_done,
      counted(static_cast<std::uint64_t>(reader.info().units_planned), "unit"));
  if (!reader.failures().empty())
    std::cout << fmt::format(
        "  {} (run --retry-failed repeats what can be repeated; bad records stay bad):\n",
        counted(reader.failures().size(), "failure"));
  for (size_t i = 0; i < std::min(reader.failures().size(), kShownFailures); ++i) {
    const FailureRecord& failure = reader.failures()[i];
    std::cout << fmt::format("    {} {} {} {}\n", failure.stage, failure.model,
                             failure.prompt.empty() ? "" : "prompt " + failure.prompt + ":",
                             failure.reason);
  }
  if (reader.failures().size() > kShownFailures)
    std::cout << fmt::format("    and {} more in group /failures\n",
                             reader.failures().size() - kShownFailures);
  return reader.info().complete;
}

void print_run(const std::filesystem::path& directory) {
  const std::filesystem::path record = directory / "run.json";
  try {
    const nlohmann::json run = read_json_file(record);
    std::cout << fmt::format("{}, begun {}\n", run.at("name").get<std::string>(),
                             run.at("created").get<std::string>());
    const std::filesystem::path noted = directory / "progress.json";
    const nlohmann::json progress =
        std::filesystem::exists(noted) ? read_json_file(noted) : nlohmann::json::object();
    if (run.value("plan", "") == kPlanVersion)
      print_journal(directory, run.at("identity").get<std::string>(), progress);
    else
      std::cout << "  begun by another version of factflow, which alone can continue it\n";
    if (progress.contains("text"))
      std::cout << "  last seen at " << progress.at("text").get<std::string>() << '\n';
  } catch (const nlohmann::json::exception& error) {
    throw InputError(record.string(), fmt::format("cannot be understood: {}", error.what()));
  }
}

}  // namespace

Usage status_usage() {
  Usage usage;
  po::options_description& options = usage.options;
  options.add_options()(
      "complete", po::bool_switch(),
      "exit with 1 if units are left to compute (failed ones are not), for scripts");
  usage.positional = {"DIR"};
  usage.examples = {"status runs/demo", "status runs/demo --complete"};
  return usage;
}

int status_command(const po::variables_map& values) {
  const std::filesystem::path directory = values["DIR"].as<std::string>();
  require_run(directory);
  const bool begun = std::filesystem::exists(directory / "run.json");
  if (begun)
    print_run(directory);
  else
    std::cout << "submitted, not begun\n";
  print_jobs(directory);
  const bool complete = begun && print_results(directory / "results.h5");
  return values["complete"].as<bool>() && !complete ? 1 : 0;
}

}  // namespace factflow
