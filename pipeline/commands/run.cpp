// factflow run: the sweep of a configuration.
#include "pipeline/run/run.hpp"

#include <fmt/format.h>

#include "base/error.hpp"
#include "pipeline/commands/command.hpp"
#include "pipeline/input/config.hpp"

namespace factflow {

namespace {
constexpr int kLongestStop = 86400;
}

Usage run_usage() {
  Usage usage;
  po::options_description& options = usage.options;
  add_overrides(options);
  options.add_options()("out", po::value<std::string>(),
                        "directory of the results; default runs/NAME")(
      "fresh", po::bool_switch(),
      "start over: removes what an earlier run and its analyses wrote into the directory, once the "
      "first result is there")("retry-failed", po::bool_switch(),
                               "compute units again that failed before")(
      "share", po::bool_switch(),
      "share the units with other launches on the same directory that also say --share (array "
      "jobs)")("wait", po::value<int>()->default_value(0),
               "seconds to wait for another launch on the directory to end")(
      "dry-run", po::bool_switch(),
      "compute nothing and write nothing: say what would be begun or continued, where, on which "
      "device")("quiet,q", po::bool_switch(), "say only what needs a human: warnings and failures")(
      "verbose,v", po::bool_switch(), "also say every unit, by which rank and how long it took")(
      "stop-within", po::value<int>()->default_value(30),
      "seconds that units in work may take after a signal (SIGINT, SIGTERM, SIGUSR1); what takes "
      "longer is dropped");
  usage.epilogue =
      "Run alone or under mpirun / srun: N ranks are N workers. The same command continues a run "
      "that was stopped.\n\n"
      "Exit codes: 0 complete; 1 failed: units failed, or the run could not go on; 2 bad usage or "
      "input; 3 stopped by a\n"
      "signal, the same command continues; 4 another launch holds the directory.\n\n" +
      config_help();
  usage.positional = {"CONFIG"};
  usage.examples = {"run configs/demo.yaml", "run configs/demo.yaml --dry-run",
                    "run configs/demo.yaml --limit 20 --set run.precision=fp64 --out runs/small"};
  return usage;
}

int run_command(const po::variables_map& values) {
  RunOptions run_options;
  run_options.config = values["CONFIG"].as<std::string>();
  if (values.count("out") != 0) {
    run_options.out = values["out"].as<std::string>();
    if (run_options.out.empty())
      throw InputError("factflow run", "--out expects a directory", "leave it out for runs/NAME");
  }
  run_options.overrides = overrides_of(values);
  run_options.fresh = values["fresh"].as<bool>();
  run_options.retry_failed = values["retry-failed"].as<bool>();
  run_options.share = values["share"].as<bool>();
  if (run_options.share && run_options.fresh)
    throw InputError("factflow run", "--fresh would remove what the sharing launches compute",
                     "start over without --share first");
  if (values["wait"].as<int>() < 0)
    throw InputError("factflow run", "--wait expects a number of seconds");
  run_options.wait = std::chrono::seconds(values["wait"].as<int>());
  const int stop_within = values["stop-within"].as<int>();
  if (stop_within < 0 || stop_within > kLongestStop)
    throw InputError("factflow run",
                     fmt::format("--stop-within expects seconds from 0 to {}", kLongestStop));
  run_options.stop_within = std::chrono::seconds(stop_within);
  if (values["quiet"].as<bool>() && values["verbose"].as<bool>())
    throw InputError("factflow run", "--quiet and --verbose do not go together",
                     "leave one of them out");
  if (values["quiet"].as<bool>()) run_options.verbosity = Verbosity::kQuiet;
  if (values["verbose"].as<bool>()) run_options.verbosity = Verbosity::kVerbose;
  return values["dry-run"].as<bool>() ? dry_run(run_options) : run(run_options);
}

}  // namespace factflow
