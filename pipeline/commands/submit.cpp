// factflow submit: a run as SLURM jobs.
#include <iostream>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/text.hpp"
#include "jobs/submission.hpp"
#include "pipeline/commands/command.hpp"
#include "pipeline/input/config.hpp"
#include "pipeline/run/asked_prompts.hpp"
#include "pipeline/run/run_directory.hpp"

namespace factflow {
namespace {

namespace po = boost::program_options;

constexpr int kMostArrayJobs = 10000;

// What would end the job after hours of waiting in the queue is found now.
Config checked_config(const std::filesystem::path& file, const std::filesystem::path& out) {
  Config config = read_config(file);
  const Dataset dataset = read_prompts(config);
  build_job(config, true);
  check_run_directory(out.empty() ? std::filesystem::path("runs") / config.name : out, config, dataset);
  return config;
}

void print_dry_run(const BatchRun& run, const SlurmProfile& profile) {
  std::cout << read_file(run.directory / "submit.sbatch") << "\n";
  std::vector<std::string> runs;
  for (std::int64_t i = 0; i <= profile.follow_ups; ++i) {
    std::cout << "would run: " << join(run_command_line(run, runs), " ") << '\n';
    runs.push_back(fmt::format("JOB{}", i + 1));
  }
  std::cout << "would run: " << join(analysis_command_line(run, runs), " ") << '\n';
}

}  // namespace

int submit_command(const std::vector<std::string>& arguments) {
  po::options_description options;
  options.add_options()
      ("profile", po::value<std::string>()->required(), "what the cluster wants to know: configs/slurm/*.yaml")
      ("out", po::value<std::string>()->default_value(""), "directory of the results; default runs/NAME")
      ("array", po::value<int>()->default_value(0), "N independent jobs of one process each that share the units, in place of one MPI job")
      ("dry-run", po::bool_switch(), "write the scripts and show what would be submitted");
  po::variables_map values;
  const std::string epilogue = profile_help() + "\nThe job is continued by follow-ups until the sweep is complete; see docs/slurm.md.\n";
  if (!parse_options(command_named("submit"), options, {"CONFIG"}, arguments, values, epilogue)) return 0;
  const int array = values["array"].as<int>();
  if (array < 0 || array > kMostArrayJobs)
    throw InputError("factflow submit", fmt::format("--array expects a number from 1 to {}", kMostArrayJobs));
  const SlurmProfile profile = read_profile(values["profile"].as<std::string>());
  const std::filesystem::path config_file = values["CONFIG"].as<std::string>();
  const std::filesystem::path out = values["out"].as<std::string>();
  const Config config = checked_config(config_file, out);

  BatchRun run;
  run.name = config.name;
  run.directory = std::filesystem::absolute(out.empty() ? std::filesystem::path("runs") / config.name : out).lexically_normal();
  run.config = run.directory / "submit.yaml";
  run.start = std::filesystem::current_path();
  run.program = std::filesystem::read_symlink("/proc/self/exe");
  run.array = array;
  write_scripts(profile, run, read_file(config_file));
  if (values["dry-run"].as<bool>()) {
    print_dry_run(run, profile);
    return 0;
  }
  const Submission submission = submit(profile, run);
  std::cout << fmt::format("submitted job {}{}\n", submission.runs[0], array > 0 ? fmt::format(" (array of {})", array) : "");
  if (submission.runs.size() > 1)
    std::cout << fmt::format("follow-ups, if it does not finish: {}\n", join({submission.runs.begin() + 1, submission.runs.end()}));
  std::cout << fmt::format("analysis: {}\nlogs: {}\nsee how it goes: factflow status {}\nend all of it: scancel {}\n", submission.analysis,
                           (run.directory / "logs").string(), run.directory.string(), join(submission.all(), " "));
  return 0;
}

}  // namespace factflow
