#include "jobs/submission.hpp"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <regex>
#include <sstream>

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/file.h>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/text.hpp"
#include "jobs/scheduler.hpp"

namespace factflow {
namespace {

// sbatch itself waits for its controller for 10 s, or for as long as the site says.
constexpr std::chrono::seconds kPatience{60};

constexpr const char* kDamaged = "see with squeue that none of its jobs is left, then remove it";

std::filesystem::path record_of(const std::filesystem::path& directory) {
  return directory / "submit.json";
}

bool is_job_number(const std::string& id) {
  return !id.empty() && id.size() < 20 &&
         std::all_of(id.begin(), id.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
}

bool is_name(const std::string& name) {
  return !name.empty() && name[0] != '-' &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return std::isalnum(c) != 0 || std::strchr("-_.,", c) != nullptr;
         });
}

std::string every(const std::string& condition, const std::vector<std::string>& jobs,
                  const char* separator) {
  std::vector<std::string> words;
  for (const std::string& job : jobs) words.push_back(condition + ":" + job);
  return join(words, separator);
}

void record(const std::filesystem::path& directory, const Submission& submission) {
  const nlohmann::json json{{"runs", submission.runs},
                            {"analysis", submission.analysis},
                            {"cluster", submission.cluster},
                            {"names", submission.names},
                            {"one_more", submission.one_more}};
  publish_file(record_of(directory), json.dump(1) + "\n");
}

std::vector<std::string> sbatch_words(const Submission& so_far) {
  std::vector<std::string> words = {"sbatch", "--parsable"};
  if (!so_far.cluster.empty()) words.push_back("--clusters=" + so_far.cluster);
  return words;
}

struct JobNumber {
  std::string id, cluster;
  bool operator==(const JobNumber&) const = default;
};

// The lines of an answer that name a job: NUMBER[;CLUSTER], or what sbatch says without
// --parsable. A site may have its remarks above and below.
std::vector<JobNumber> job_numbers_in(const std::string& answer) {
  static const std::regex parsable(R"(\s*([0-9]{1,19})(?:;([A-Za-z0-9_][A-Za-z0-9_.-]*))?\s*)");
  static const std::regex spoken(
      R"(\s*Submitted batch job ([0-9]{1,19})(?: on cluster ([A-Za-z0-9_][A-Za-z0-9_.-]*))?\s*)");
  std::vector<JobNumber> found;
  std::istringstream lines(answer);
  std::smatch parts;
  for (std::string line; std::getline(lines, line);)
    if (line.size() < 200 &&
        (std::regex_match(line, parts, parsable) || std::regex_match(line, parts, spoken)))
      found.push_back({parts[1], parts[2]});
  return found;
}

// Whether a failing sbatch leaves open what became of the job: the controller may have taken it and
// answered too late.
bool leaves_open(const ChildOutput& sbatch) {
  return sbatch.timed_out || sbatch.code > 128 || !job_numbers_in(sbatch.out).empty() ||
         sbatch.err.find("timed out") != std::string::npos;
}

std::string submitted_already(const Submission& submission) {
  const std::vector<std::string> there = submission.all();
  return there.empty() ? ""
                       : fmt::format("; jobs {} are submitted already, `{}` ends them", join(there),
                                     shell_command(submission.scancel()));
}

[[noreturn]] void say_open(const std::filesystem::path& directory, const Submission& submission,
                           const std::string& problem) {
  std::vector<std::string> squeue = {"squeue", "--name=" + join(submission.names, ",")};
  if (!submission.cluster.empty()) squeue.push_back("--clusters=" + submission.cluster);
  throw RunError(
      fmt::format("{}; whether it took the job is not known, and nothing more is submitted: `{}` "
                  "shows the job if it did, and {} keeps note of it{}",
                  problem, shell_command(squeue), record_of(directory).string(),
                  submitted_already(submission)));
}

// Puts the record back to what is known for sure.
void forget_one_more(const std::filesystem::path& directory, Submission& submission,
                     const std::optional<Submission>& earlier) {
  submission.one_more = false;
  if (!submission.all().empty())
    record(directory, submission);
  else if (earlier)
    record(directory, *earlier);
  else
    remove_tree(record_of(directory));
}

// The cluster of the options, or several, of which sbatch takes one and says which.
std::string cluster_asked_for(const SlurmProfile& profile) {
  for (const std::string& option : profile.options)
    if (const std::size_t value = option.find('=');
        option.starts_with("--cluster") && value != option.npos)
      return option.substr(value + 1);
  return "";
}

// The jobs of one submission, one after the other.
class Submitter {
 public:
  Submitter(const SlurmProfile& profile, const BatchRun& run)
      : directory_(run.directory), earlier_(read_submission(run.directory)) {
    submission_.cluster = cluster_asked_for(profile);
    submission_.names = {run_job_name(run), analysis_job_name(run)};
  }

  const Submission& so_far() const { return submission_; }

  // Returns the number of the new job. The record says of it before it can exist, so that no fault
  // in between leaves a job of which nobody knows.
  std::string hand_in(const std::vector<std::string>& command) {
    submission_.one_more = true;
    write_record();
    const ChildProgram program = scheduler_command(command, kPatience);
    const ChildOutput sbatch = run_child(program);
    const std::vector<JobNumber> numbers = job_numbers_in(sbatch.out);
    if (sbatch.code != 0) refuse(program, sbatch);
    if (numbers.size() != 1)
      say_open(directory_, submission_,
               fmt::format("sbatch's answer is not understood: {}",
                           in_quotes(sbatch.out.empty() ? sbatch.err : sbatch.out)));
    if (!numbers[0].cluster.empty()) submission_.cluster = numbers[0].cluster;
    return numbers[0].id;
  }

  void add_run(std::string id) { submission_.runs.push_back(std::move(id)); }

  Submission complete(std::string analysis) {
    submission_.analysis = std::move(analysis);
    submission_.one_more = false;
    write_record();
    return submission_;
  }

 private:
  void write_record() const {
    try {
      record(directory_, submission_);
    } catch (const RunError& error) {
      throw RunError(error.what() + submitted_already(submission_));
    }
  }

  [[noreturn]] void refuse(const ChildProgram& program, const ChildOutput& sbatch) {
    const std::string problem = failure_of(program, sbatch);
    if (leaves_open(sbatch)) say_open(directory_, submission_, problem);
    forget_one_more(directory_, submission_, earlier_);
    if (sbatch.code == 127)
      throw InputError("sbatch", "is not on this machine",
                       "submit from a login node of the cluster");
    throw RunError("sbatch refused the job: " + problem + submitted_already(submission_));
  }

  std::filesystem::path directory_;
  std::optional<Submission> earlier_;
  Submission submission_;
};

void refuse_while_jobs_wait(const std::filesystem::path& directory) {
  const std::optional<Submission> earlier = read_submission(directory);
  if (!earlier) return;
  const JobStates queue = queued_jobs(earlier->asked());
  Submission waiting = *earlier;
  for (const JobState& job : queue.jobs) {
    const std::string id = job.id.substr(0, job.id.find('_'));
    const std::vector<std::string> known = waiting.all();
    if (std::find(known.begin(), known.end(), id) == known.end()) waiting.runs.push_back(id);
  }
  const std::string jobs = join(waiting.all());
  if (!queue.jobs.empty())
    throw InputError(directory.string(),
                     fmt::format("jobs {} of an earlier submission are in the queue", jobs),
                     "wait for them, or end them with " + shell_command(waiting.scancel()));
  if (!queue.problem.empty())
    throw RunError(fmt::format(
        "{}: whether jobs {}of an earlier submission are in the queue cannot be asked: {}; nothing "
        "is submitted: try again when SLURM answers, or remove {} if none of them is there",
        directory.string(), jobs.empty() ? "" : jobs + " ", queue.problem,
        record_of(directory).string()));
}

}  // namespace

std::vector<std::string> Submission::all() const {
  std::vector<std::string> ids = runs;
  if (!analysis.empty()) ids.push_back(analysis);
  return ids;
}

JobsAsked Submission::asked() const {
  return {all(), one_more ? names : std::vector<std::string>{}, cluster};
}

std::vector<std::string> Submission::scancel() const {
  std::vector<std::string> words = {"scancel"};
  if (!cluster.empty()) words.push_back("--clusters=" + cluster);
  for (std::string& id : all()) words.push_back(std::move(id));
  return words;
}

SubmissionLock::SubmissionLock(const std::filesystem::path& directory) {
  FileOperations& files = system_files();
  make_directories(files, directory / "logs");
  const std::filesystem::path path = directory / "logs" / "submit.lock";
  file_ = OpenFile(files, files.open(path, O_RDWR | O_CREAT, 0666));
  if (!file_) throw_file_error(path, "create", errno);
  if (files.lock(file_.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
    throw InputError(directory.string(), "another factflow submit is at work in it",
                     "wait for it to end");
  refuse_while_jobs_wait(directory);
}

void write_scripts(const SlurmProfile& profile, const BatchRun& run, const std::string& config) {
  const std::string run_text = run_script(profile, run),
                    analysis_text = analysis_script(profile, run);
  make_directories(system_files(), run.directory / "logs");
  publish_file(run.config, config);
  publish_file(run.directory / "submit.sbatch", run_text);
  publish_file(run.directory / "analyse.sbatch", analysis_text);
}

std::vector<std::string> run_command_line(const BatchRun& run, const Submission& so_far) {
  std::vector<std::string> words = sbatch_words(so_far);
  if (!so_far.runs.empty()) {
    words.push_back("--dependency=" + every("afternotok", so_far.runs, ","));
    words.push_back("--kill-on-invalid-dep=yes");
  }
  words.push_back((run.directory / "submit.sbatch").string());
  return words;
}

std::vector<std::string> analysis_command_line(const BatchRun& run, const Submission& so_far) {
  std::vector<std::string> words = sbatch_words(so_far);
  words.push_back("--dependency=" + every("afterok", so_far.runs, "?"));
  words.push_back("--kill-on-invalid-dep=yes");
  words.push_back((run.directory / "analyse.sbatch").string());
  return words;
}

Submission submit(const SlurmProfile& profile, const BatchRun& run) {
  Submitter submitter(profile, run);
  for (std::int64_t i = 0; i <= profile.follow_ups; ++i)
    submitter.add_run(submitter.hand_in(run_command_line(run, submitter.so_far())));
  return submitter.complete(submitter.hand_in(analysis_command_line(run, submitter.so_far())));
}

std::optional<Submission> read_submission(const std::filesystem::path& directory) {
  const std::filesystem::path file = record_of(directory);
  if (!std::filesystem::exists(file)) return std::nullopt;
  Submission submission;
  try {
    const nlohmann::json json = nlohmann::json::parse(read_file(file));
    json.at("runs").get_to(submission.runs);
    json.at("analysis").get_to(submission.analysis);
    submission.cluster = json.value("cluster", "");
    submission.names = json.value("names", std::vector<std::string>{});
    submission.one_more = json.value("one_more", false);
  } catch (const nlohmann::json::exception& error) {
    throw InputError(file.string(), fmt::format("cannot be understood: {}", error.what()),
                     kDamaged);
  }
  const auto check = [&](const std::string& text, bool good, const char* expected) {
    if (!good)
      throw InputError(file.string(),
                       fmt::format("expected {}, found {}", expected, in_quotes(text)), kDamaged);
  };
  for (const std::string& id : submission.all()) check(id, is_job_number(id), "numbers of jobs");
  for (const std::string& name : submission.names) check(name, is_name(name), "names of jobs");
  if (!submission.cluster.empty())
    check(submission.cluster, is_name(submission.cluster), "the name of a cluster");
  return submission;
}

}  // namespace factflow
