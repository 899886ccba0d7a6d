#include "jobs/submission.hpp"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/text.hpp"
#include "jobs/job_queue.hpp"
#include "jobs/scheduler.hpp"

namespace factflow {
namespace {

constexpr std::chrono::seconds kPatience{60};

std::filesystem::path record_of(const std::filesystem::path& directory) {
  return directory / "submit.json";
}

bool is_job_number(const std::string& id) {
  return !id.empty() && id.size() < 20 &&
         std::all_of(id.begin(), id.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
}

std::string every(const std::string& condition, const std::vector<std::string>& jobs,
                  const char* separator) {
  std::vector<std::string> words;
  for (const std::string& job : jobs) words.push_back(condition + ":" + job);
  return join(words, separator);
}

void record(const std::filesystem::path& directory, const Submission& submission) {
  const nlohmann::json json{{"runs", submission.runs}, {"analysis", submission.analysis}};
  publish_file(record_of(directory), json.dump(1) + "\n");
}

// Returns the number of the new job.
std::string hand_in(const std::vector<std::string>& command, const Submission& before) {
  const ChildOutput sbatch = run_child(scheduler_command(command, kPatience));
  if (sbatch.code == 127)
    throw InputError("sbatch", "is not on this machine", "submit from a login node of the cluster");
  const std::string id = sbatch.out.substr(0, sbatch.out.find_first_of(";\n"));  // NUMBER[;CLUSTER]
  if (sbatch.code == 0 && is_job_number(id)) return id;
  std::string said = sbatch.err.empty() ? sbatch.out : sbatch.err;
  std::replace(said.begin(), said.end(), '\n', ' ');
  const std::vector<std::string> there = before.all();
  throw RunError(fmt::format(
      "sbatch refused the job: {}{}", said,
      there.empty() ? "" : fmt::format("; jobs {} are submitted already", join(there))));
}

}  // namespace

std::vector<std::string> Submission::all() const {
  std::vector<std::string> ids = runs;
  if (!analysis.empty()) ids.push_back(analysis);
  return ids;
}

void write_scripts(const SlurmProfile& profile, const BatchRun& run, const std::string& config) {
  const std::string run_text = run_script(profile, run),
                    analysis_text = analysis_script(profile, run);
  std::error_code error;
  std::filesystem::create_directories(run.directory / "logs", error);
  if (error)
    throw RunError(fmt::format("{}: cannot be created: {}", (run.directory / "logs").string(),
                               error.message()));
  publish_file(run.config, config);
  publish_file(run.directory / "submit.sbatch", run_text);
  publish_file(run.directory / "analyse.sbatch", analysis_text);
}

std::vector<std::string> run_command_line(const BatchRun& run,
                                          const std::vector<std::string>& earlier) {
  std::vector<std::string> words = {"sbatch", "--parsable"};
  if (!earlier.empty()) {
    words.push_back("--dependency=" + every("afternotok", earlier, ","));
    words.push_back("--kill-on-invalid-dep=yes");
  }
  words.push_back((run.directory / "submit.sbatch").string());
  return words;
}

std::vector<std::string> analysis_command_line(const BatchRun& run,
                                               const std::vector<std::string>& runs) {
  return {"sbatch", "--parsable", "--dependency=" + every("afterok", runs, "?"),
          "--kill-on-invalid-dep=yes", (run.directory / "analyse.sbatch").string()};
}

Submission submit(const SlurmProfile& profile, const BatchRun& run) {
  if (const std::optional<Submission> earlier = read_submission(run.directory);
      earlier && in_queue(earlier->all()))
    throw InputError(
        run.directory.string(),
        fmt::format("jobs {} of an earlier submission are in the queue", join(earlier->all())),
        "wait for them, or end them with scancel " + join(earlier->all(), " "));
  Submission submission;
  for (std::int64_t i = 0; i <= profile.follow_ups; ++i) {
    submission.runs.push_back(hand_in(run_command_line(run, submission.runs), submission));
    record(run.directory, submission);
  }
  submission.analysis = hand_in(analysis_command_line(run, submission.runs), submission);
  record(run.directory, submission);
  return submission;
}

std::optional<Submission> read_submission(const std::filesystem::path& directory) {
  const std::filesystem::path file = record_of(directory);
  if (!std::filesystem::exists(file)) return std::nullopt;
  Submission submission;
  try {
    const nlohmann::json json = nlohmann::json::parse(read_file(file));
    json.at("runs").get_to(submission.runs);
    json.at("analysis").get_to(submission.analysis);
  } catch (const nlohmann::json::exception& error) {
    throw InputError(file.string(), fmt::format("cannot be understood: {}", error.what()),
                     "remove it");
  }
  for (const std::string& id : submission.all())
    if (!is_job_number(id))
      throw InputError(file.string(),
                       fmt::format("expected numbers of jobs, found {}", in_quotes(id)),
                       "remove it");
  return submission;
}

}  // namespace factflow
