// factflow submit: a run as SLURM jobs.
#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <random>

#include <fmt/format.h>

#include "base/child_process.hpp"
#include "base/error.hpp"
#include "base/files.hpp"
#include "base/output_directory.hpp"
#include "base/text.hpp"
#include "jobs/job_size.hpp"
#include "jobs/quantities.hpp"
#include "jobs/submission.hpp"
#include "model/checkpoint/hub_cache.hpp"
#include "pipeline/commands/command.hpp"
#include "pipeline/input/config.hpp"
#include "pipeline/run/checked_run.hpp"
#include "pipeline/run/plan_size.hpp"
#include "pipeline/run/run_directory.hpp"

namespace factflow {
namespace {

constexpr int kMostArrayJobs = 10000;

// What would end the job after hours of waiting in the queue is found now.
CheckedRun checked_config(const std::filesystem::path& file, const ConfigOverrides& overrides,
                          const std::filesystem::path& out) {
  CheckedRun checked = check_run(file, overrides);
  check_run_directory(out.empty() ? std::filesystem::path("runs") / checked.config.name : out,
                      checked.config, checked.dataset);
  return checked;
}

// The machine of the job is not this one, but the profile tells what it will have.
void check_devices(const SlurmProfile& profile, const RunConfig& run, int array,
                   const std::filesystem::path& profile_file) {
  const auto refuse = [&](const std::string& problem, const std::string& remedy) {
    throw InputError(profile_file.string(), problem, remedy);
  };
  const bool exact = run.precision == "fp64" || run.precision == "fp32";
  // Some clusters want GPUs to be asked for in words of their own.
  const bool has_gpus =
      profile.gpus_per_node > 0 ||
      std::any_of(profile.options.begin(), profile.options.end(), [](const std::string& option) {
        return option.find("gpu") != std::string::npos || option.find("gres") != std::string::npos;
      });
  if (!has_gpus && (run.device.starts_with("cuda") || !exact))
    refuse(fmt::format("asks for no GPU, but the configuration has device {} and precision {}",
                       run.device, run.precision),
           "set gpus_per_node, or change the configuration");
  if (profile.gpus_per_node > 0 && run.precision == "fp64" && run.device == "auto")
    refuse("asks for GPUs, but the configuration's precision, fp64, runs on the CPU only",
           "write device: cpu in the configuration, or another precision");
  if (array == 0 && profile.gpus_per_node > 0 && profile.ranks_per_node > profile.gpus_per_node &&
      (run.device == "auto" || run.device == "cuda") && !run.share_gpus)
    refuse(fmt::format("starts {} ranks on nodes of {}", profile.ranks_per_node,
                       counted(static_cast<std::uint64_t>(profile.gpus_per_node), "GPU")),
           "start a rank per GPU, or let ranks share with run: {share_gpus: true}");
}

// The directory, or the nearest one above it that exists: where its file system can be asked.
std::filesystem::path existing_part(std::filesystem::path directory) {
  std::error_code ignored;
  while (!std::filesystem::exists(directory, ignored) && directory.has_relative_path())
    directory = directory.parent_path();
  return directory;
}

// Sizes that the profile leaves to the plan; says what it found.
void fill_in_sizes(SlurmProfile& profile, BatchRun& run, const CheckedRun& checked) {
  const PlanSize size =
      size_of_plan(checked.config, checked.dataset, checked.planned, profile.gpus_per_node > 0);
  const double seconds = profile.rates.empty()
                             ? 0
                             : seconds_on(profile.rates, checked.config.run.precision,
                                          checked.planned, size, RateTable());
  const int array = run.array;
  const std::int64_t ranks = profile.nodes * profile.ranks_per_node;
  fill_in(profile, run, {static_cast<std::int64_t>(size.total.units), size.host_memory, seconds});
  std::cout << fmt::format(
      "plan: at most {}, {} of results{}\n",
      counted(static_cast<std::uint64_t>(size.total.units), "unit"), format_bytes(size.total.bytes),
      seconds > 0 ? fmt::format(", about {} on one {}", format_duration(seconds), profile.rates)
                  : "");
  if (run.array < array)
    std::cout << fmt::format("  {} enough for them\n",
                             counted(static_cast<std::uint64_t>(run.array), "job is", "jobs are"));
  if (profile.nodes * profile.ranks_per_node < ranks)
    std::cout << fmt::format(
        "  {} enough for them\n",
        counted(static_cast<std::uint64_t>(profile.nodes * profile.ranks_per_node), "rank is",
                "ranks are"));
  std::error_code unknown;
  const std::filesystem::space_info space =
      std::filesystem::space(existing_part(run.directory), unknown);
  const auto free = static_cast<double>(space.available);
  // What has no size, /proc for instance, is no disk that could be full: that no directory can be
  // made there is said by make_output_directory. Three times: the journal, results.h5, and the one
  // that replaces it.
  if (!unknown && space.capacity > 0 && size.total.bytes > free / 3)
    throw RunError(fmt::format(
        "{}: {} are free, journal and results may need {}; free some space, or choose another "
        "directory with --out",
        run.directory.string(), format_bytes(free), format_bytes(3 * size.total.bytes)));
}

void print_dry_run(const BatchRun& run, const SlurmProfile& profile) {
  std::cout << read_file(run.directory / "submit.sbatch") << "\n";
  Submission submission;
  for (std::int64_t i = 0; i <= profile.follow_ups; ++i) {
    std::cout << "would run: " << shell_command(run_command_line(run, submission)) << '\n';
    submission.runs.push_back(fmt::format("JOB{}", i + 1));
  }
  std::cout << "would run: " << shell_command(analysis_command_line(run, submission)) << '\n';
}

// What a job asks for, in the units in which sbatch understands it.
std::string describe(const SlurmProfile& profile, const BatchRun& run) {
  const bool array = run.array > 0;
  std::vector<std::string> parts = {
      fmt::format("nodes {}", array ? 1 : profile.nodes),
      fmt::format("ranks a node {}", array ? 1 : profile.ranks_per_node)};
  if (profile.gpus_per_node > 0)
    parts.push_back(fmt::format("GPUs a node {}", array ? 1 : profile.gpus_per_node));
  if (profile.memory == "0")
    parts.push_back("all memory of a node");
  else if (!profile.memory.empty())
    parts.push_back(fmt::format("memory a node {}iB", profile.memory));
  if (const std::optional<std::int64_t> seconds = seconds_of_limit(profile.time))
    parts.push_back("at most " + format_duration(static_cast<double>(*seconds)));
  return fmt::format("each job: {}\n", join(parts));
}

// Whether the configuration names something of the Hugging Face cache.
bool uses_hub_cache(const Config& config) {
  return config.models_directory.empty() &&
         std::any_of(config.models.begin(), config.models.end(), [](const ModelConfig& model) {
           return model.path.starts_with("hf:") || model.tokenizer.starts_with("hf:");
         });
}

// What the jobs take over of this process's environment. Checkpoints of the hub were found in this
// cache, and the jobs, which see none of the variables that say where it is, look there too.
Environment inherited(const SlurmProfile& profile, const Config& config) {
  Environment variables;
  for (const std::string& name : profile.inherit)
    if (const char* value = std::getenv(name.c_str())) variables[name] = value;
  if (uses_hub_cache(config) && !variables.contains("HF_HUB_CACHE"))
    variables["HF_HUB_CACHE"] = std::filesystem::absolute(hub_cache_root()).string();
  return variables;
}

std::string random_mark() {
  return fmt::format("{:08x}", std::random_device()());
}

void print(const Submission& submission, const BatchRun& run) {
  std::cout << fmt::format("submitted job {}{}{}\n", submission.runs[0],
                           run.array > 0 ? fmt::format(" (array of {})", run.array) : "",
                           submission.cluster.empty() ? "" : " on cluster " + submission.cluster);
  if (submission.runs.size() > 1)
    std::cout << fmt::format("follow-ups, if it does not finish: {}\n",
                             join({submission.runs.begin() + 1, submission.runs.end()}));
  std::cout << fmt::format("analysis: {}\nlogs: {}\nsee how it goes: {}\nend all of it: {}\n",
                           submission.analysis, (run.directory / "logs").string(),
                           shell_command({"factflow", "status", run.directory.string()}),
                           shell_command(submission.scancel()));
}

}  // namespace

Usage submit_usage() {
  Usage usage;
  po::options_description& options = usage.options;
  add_overrides(options);
  options.add_options()("profile", po::value<std::string>()->required(),
                        "what the cluster wants to know: configs/slurm/*.yaml")(
      "out", po::value<std::string>()->default_value(""),
      "directory of the results; default runs/NAME")(
      "array", po::value<int>()->default_value(0),
      "N independent jobs of one process each that share the units, in place of one MPI job")(
      "retry-failed", po::bool_switch(), "compute units again that failed before")(
      "dry-run", po::bool_switch(), "write the scripts and show what would be submitted");
  usage.epilogue =
      profile_help() +
      "\nThe job is continued by follow-ups until the sweep is complete; see docs/slurm.md.\n";
  usage.positional = {"CONFIG"};
  usage.examples = {"submit configs/demo.yaml --profile configs/slurm/gpu.yaml --dry-run"};
  return usage;
}

int submit_command(const po::variables_map& values) {
  const int array = values["array"].as<int>();
  if (array < 0 || array > kMostArrayJobs)
    throw InputError("factflow submit",
                     fmt::format("--array expects a number from 1 to {}", kMostArrayJobs));
  SlurmProfile profile = read_profile(values["profile"].as<std::string>());
  const std::filesystem::path out = values["out"].as<std::string>();
  const CheckedRun checked =
      checked_config(values["CONFIG"].as<std::string>(), overrides_of(values), out);
  const Config& config = checked.config;
  check_devices(profile, config.run, array, values["profile"].as<std::string>());
  for (const std::string& sentence : remarks_on(config, checked.dataset))
    std::cout << sentence << '\n';

  BatchRun run;
  run.name = config.name;
  run.directory =
      std::filesystem::absolute(out.empty() ? std::filesystem::path("runs") / config.name : out)
          .lexically_normal();
  run.config = run.directory / "submit.yaml";
  run.start = std::filesystem::current_path();
  run.program = std::filesystem::read_symlink("/proc/self/exe");
  run.mark = random_mark();
  run.variables = inherited(profile, config);
  run.retry_failed = values["retry-failed"].as<bool>();
  run.array = array;
  fill_in_sizes(profile, run, checked);
  std::cout << describe(profile, run);
  if (const std::string doubt = doubt_about(profile); !doubt.empty())
    std::cerr << "warning: " << doubt << '\n';
  make_output_directory(system_files(), run.directory);
  const SubmissionLock lock(run.directory);
  // Not the file itself: its relative paths would mean others in another folder.
  write_scripts(profile, run, resolved_yaml(config));
  if (values["dry-run"].as<bool>()) {
    print_dry_run(run, profile);
    return 0;
  }
  print(submit(profile, run), run);
  return 0;
}

}  // namespace factflow
