// A whole run without models, for the tests that kill processes: units are numbers, results a
// function of them.
//   ranks DIRECTORY [--units N] [--milliseconds M] [--fail-start RANK] [--hang RANK] [--job NAME]
// Writes DIRECTORY/pids/RANK, so that a test can choose whom to kill. Exit codes as factflow's: 0,
// 1, 2; 3 = stopped.
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <thread>

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include "base/error.hpp"
#include "pipeline/coordination/distributed_run.hpp"
#include "pipeline/coordination/run_lock.hpp"
#include "pipeline/coordination/unit_claims.hpp"
#include "tests/pipeline/coordination/testing.hpp"

namespace factflow {
namespace {

using std::chrono::milliseconds;
using testing::StagedPlan;

std::atomic<int> stop_requests{0};

struct Arguments {
  std::filesystem::path directory;
  std::uint32_t units = 40;
  int milliseconds_per_unit = 3;
  int fail_start = -1, hang = -1;
  std::string job;  // share the directory with other jobs under this name
};

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  arguments.directory = argv[1];
  for (int i = 2; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    if (name == "--units") arguments.units = static_cast<std::uint32_t>(std::stoul(argv[i + 1]));
    if (name == "--milliseconds") arguments.milliseconds_per_unit = std::stoi(argv[i + 1]);
    if (name == "--fail-start") arguments.fail_start = std::stoi(argv[i + 1]);
    if (name == "--hang") arguments.hang = std::stoi(argv[i + 1]);
    if (name == "--job") arguments.job = argv[i + 1];
  }
  return arguments;
}

void report(const std::string& line) {
  std::fprintf(stderr, "ranks: %s\n", line.c_str());
}

// What rank 0 keeps for the coordinator.
struct RunState {
  RunState(const Arguments& arguments)
      : lock(system_files(), arguments.directory,
             arguments.job.empty() ? RunLock::Mode::kExclusive : RunLock::Mode::kShared),
        plan(2, arguments.units),
        index(system_files(), arguments.directory / "journal", "identity"),
        journal(system_files(), arguments.directory / "journal", "identity", writer(arguments),
                index) {
    if (!arguments.job.empty())
      claims = std::make_unique<UnitClaims>(system_files(), arguments.directory, lock);
    options.writer = writer(arguments);
    options.claims = claims.get();
    options.claims_interval = milliseconds(100);
    options.stop = &stop_requests;
    options.grace = milliseconds(5'000);
    options.heartbeat_timeout = milliseconds(2'000);
    options.heartbeat_interval = milliseconds(200);
    options.commit_interval = milliseconds(10);
    options.on_event = report;
    options.before_commit = [this] { lock.check(); };
  }
  static std::string writer(const Arguments& arguments) {
    return arguments.job.empty() ? "main" : arguments.job;
  }

  RunLock lock;
  StagedPlan plan;
  JournalIndex index;
  Journal journal;
  std::unique_ptr<UnitClaims> claims;
  CoordinatorOptions options;
};

std::string compute(const Arguments& arguments, int rank, std::uint64_t unit,
                    const std::atomic<bool>& cancelled) {
  if (arguments.hang == rank && unit % 10 == 5) {
    // A process that stops answering altogether, heartbeats included.
    ::raise(SIGSTOP);
  }
  for (int waited = 0; waited < arguments.milliseconds_per_unit; ++waited) {
    if (cancelled) throw UnitCancelled{};
    std::this_thread::sleep_for(milliseconds(1));
  }
  return StagedPlan::result_of(unit);
}

void start(const Arguments& arguments, const Launch& launch, std::unique_ptr<RunState>& state) {
  if (arguments.fail_start == launch.rank())
    throw InputError("model.safetensors", "is not there on this node");
  if (launch.rank() == 0) state = std::make_unique<RunState>(arguments);
  std::filesystem::create_directories(arguments.directory / "pids");
  std::ofstream(arguments.directory / "pids" / std::to_string(launch.rank())) << ::getpid() << "\n";
}

int run(const Arguments& arguments, Launch& launch) {
  std::unique_ptr<RunState> state;
  launch.together([&] { start(arguments, launch, state); });
  DistributedRun run;
  run.make_coordinator = [&](CoordinatorTransport& transport) {
    return std::make_unique<Coordinator>(transport, state->plan, state->index, state->journal,
                                         state->options);
  };
  run.compute = [&](std::uint64_t unit, const std::string&, const std::atomic<bool>& cancelled) {
    return compute(arguments, launch.rank(), unit, cancelled);
  };
  run.report = report;
  run.work.heartbeat_interval = milliseconds(200);
  run.work.coordinator_timeout = milliseconds(3'000);
  run.stopped_exit_code = 3;
  const std::optional<Outcome> outcome = run_on_ranks(launch, run);
  if (!outcome) return 0;
  std::printf("%s: %llu units, %llu resumed\n",
              outcome->end == RunEnd::kComplete ? "complete" : "stopped",
              static_cast<unsigned long long>(outcome->units_done),
              static_cast<unsigned long long>(outcome->units_resumed));
  return outcome->end == RunEnd::kComplete ? 0 : 3;
}

}  // namespace
}  // namespace factflow

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  for (const int number : {SIGINT, SIGTERM, SIGUSR1})
    ::signal(number, [](int) { ++factflow::stop_requests; });
  factflow::Launch launch;
  int code = 1;
  try {
    code = factflow::run(factflow::parse(argc, argv), launch);
  } catch (const factflow::Error& error) {
    if (launch.rank() == 0) factflow::report(error.what());
    code = error.exit_code();
  }
  return launch.finish(code);
}
