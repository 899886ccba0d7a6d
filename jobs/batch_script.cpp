#include "jobs/batch_script.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/child_process.hpp"
#include "base/error.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

// The limit after which a rank of another node counts as dead is 90 s
// (pipeline/coordination/owner.hpp): a job that follows on a killed one waits for that.
constexpr int kWaitSeconds = 180;

// Of the warning before the time limit: for results.h5, and because SLURM keeps its times to the
// minute.
constexpr std::int64_t kEndingSeconds = 60;

// SLURM sends USR1 before the time limit, and TERM (30 s before it kills, by default) when a job is
// cancelled, preempted or out of time; the latter is told twice, because the second signal ends a
// run at once. The launcher runs in the background, so that this shell hears of them.
constexpr const char* kHearSignals = R"(
run= early=
pass_on() { if [ -n "$run" ]; then kill -USR1 "$run" 2> /dev/null; else early=1; fi; }
trap pass_on USR1
trap 'pass_on; (sleep 15; pass_on) > /dev/null 2>&1 &' TERM
)";

// A signal interrupts `wait`, hence the loop; the last `wait` gives the exit code in any case.
constexpr const char* kWaitForRun = R"(run=$!
[ -z "$early" ] || pass_on
while kill -0 "$run" 2> /dev/null; do
  wait "$run"
done
wait "$run"
code=$?
)";

void check_path(const std::filesystem::path& path) {
  const std::string text = path.string();
  const bool bad = std::any_of(text.begin(), text.end(), [](unsigned char c) {
    return c < 32 || c == 127 || c == '"' || c == '\\';
  });
  if (bad)
    throw InputError(
        in_quotes(text),
        "a path with quotes, backslashes or control characters cannot stand in a batch script");
}

// A file name pattern of sbatch: a literal % is doubled.
std::string log_pattern(const BatchRun& run, const std::string& name) {
  std::string folder;
  for (const char c : (run.directory / "logs").string())
    folder += c == '%' ? "%%" : std::string(1, c);
  return fmt::format("\"{}/{}.log\"", folder, name);
}

class Head {
 public:
  void option(const std::string& name, const std::string& value) {
    if (!value.empty()) lines_ += fmt::format("#SBATCH --{}={}\n", name, value);
  }
  void option(const std::string& name, std::int64_t value) {
    if (value > 0) option(name, std::to_string(value));
  }
  void line(const std::string& text) { lines_ += "#SBATCH " + text + "\n"; }
  std::string text() const { return "#!/bin/bash\n" + lines_; }

 private:
  std::string lines_;
};

Head common_head(const SlurmProfile& profile, const BatchRun& run, const std::string& job_name,
                 const std::string& log) {
  for (const std::filesystem::path& path : {run.config, run.directory, run.start, run.program})
    check_path(path);
  Head head;
  head.option("job-name", job_name);
  head.option("output", log_pattern(run, log));
  head.line("--open-mode=append");
  head.option("chdir", fmt::format("\"{}\"", run.start.string()));
  head.option("account", profile.account);
  head.option("qos", profile.qos);
  head.line("--export=NONE");
  return head;
}

// The job has the environment of a login (--export=NONE), and srun passes on all of it. `module` is
// a function that the cluster's own profile defines.
std::string environment(const SlurmProfile& profile, const BatchRun& run) {
  std::string text = "\nexport SLURM_EXPORT_ENV=ALL\n";
  if (!profile.modules.empty() || !profile.setup.empty())
    text += "type module > /dev/null 2>&1 || . /etc/profile\n";
  const auto set = [&](const Environment& variables) {
    for (const auto& [name, value] : variables)
      text += fmt::format("export {}={}\n", name, shell_quoted(value));
  };
  set(run.variables);
  if (!profile.modules.empty()) text += "module load " + join(profile.modules, " ") + "\n";
  set(profile.environment);
  for (const std::string& line : profile.setup) text += line + "\n";
  return text;
}

std::string program(const SlurmProfile& profile, const BatchRun& run) {
  const std::string path =
      shell_quoted(profile.program.empty() ? run.program.string() : profile.program);
  if (profile.container.empty()) return path;
  return fmt::format("apptainer exec {}{} {}", profile.gpus_per_node > 0 ? "--nv " : "",
                     shell_quoted(profile.container), path);
}

std::string launch(const SlurmProfile& profile, bool array) {
  if (array) return "";  // every job is one process on its own
  if (profile.launcher == Launcher::kMpirun)
    return fmt::format("mpirun --bind-to none -n {} ", profile.nodes * profile.ranks_per_node);
  return fmt::format(
      "srun --mpi=pmix --kill-on-bad-exit=1 {}",
      profile.cpus_per_rank > 0 ? fmt::format("--cpus-per-task={} ", profile.cpus_per_rank) : "");
}

// Seconds for the units in work after the signal.
std::int64_t time_to_stop(const SlurmProfile& profile) {
  const std::int64_t lead = profile.signal_lead;
  return std::max(lead - std::max(kEndingSeconds, lead / 5), lead / 2);
}

}  // namespace

std::string run_job_name(const BatchRun& run) {
  return fmt::format("factflow-{}{}{}", run.name, run.mark.empty() ? "" : "-", run.mark);
}

std::string analysis_job_name(const BatchRun& run) {
  return run_job_name(run) + "-analysis";
}

std::string run_script(const SlurmProfile& profile, const BatchRun& run) {
  const bool array = run.array > 0;
  Head head = common_head(profile, run, run_job_name(run), array ? "run-%A_%a" : "run-%j");
  head.option("partition", profile.partition);
  head.option("constraint", profile.constraint);
  head.option("time", profile.time);
  if (array) head.option("array", fmt::format("1-{}", run.array));
  head.option("nodes", array ? 1 : profile.nodes);
  head.option("ntasks-per-node", array ? 1 : profile.ranks_per_node);
  head.option("cpus-per-task", profile.cpus_per_rank);
  if (profile.gpus_per_node > 0)
    head.option("gres",
                fmt::format("gpu:{}{}", profile.gpu_type.empty() ? "" : profile.gpu_type + ":",
                            array ? 1 : profile.gpus_per_node));
  head.option("mem", profile.memory);
  head.option("signal", fmt::format("B:USR1@{}", profile.signal_lead));
  head.line(profile.requeue ? "--requeue" : "--no-requeue");
  for (const std::string& option : profile.options) head.line(option);
  const std::string factflow = program(profile, run),
                    directory = shell_quoted(run.directory.string());
  return head.text() + kHearSignals + environment(profile, run) + "[ -z \"$early\" ] || exit 1\n" +
         fmt::format("\n{}{} run {} --out {} --wait {} --stop-within {}{}{} &\n",
                     launch(profile, array), factflow, shell_quoted(run.config.string()), directory,
                     kWaitSeconds, time_to_stop(profile), run.retry_failed ? " --retry-failed" : "",
                     array ? " --share" : "") +
         kWaitForRun +
         // Failed units are on record and in the report: the jobs that follow have nothing to add.
         fmt::format(
             "if [ $code -eq 1 ] && {} status {} --complete > /dev/null; then code=0; fi\nexit "
             "$code\n",
             factflow, directory);
}

std::string analysis_script(const SlurmProfile& profile, const BatchRun& run) {
  Head head = common_head(profile, run, analysis_job_name(run), "analysis-%j");
  head.option("partition",
              profile.analysis.partition.empty() ? profile.partition : profile.analysis.partition);
  head.option("time", profile.analysis.time);
  head.line("--ntasks=1");
  head.option("cpus-per-task", profile.analysis.cpus);
  head.option("mem", profile.analysis.memory);
  return head.text() + environment(profile, run) +
         fmt::format("\n{} analyse {}\n", program(profile, run),
                     shell_quoted(run.directory.string()));
}

}  // namespace factflow
