#include "pipeline/run/run.hpp"

#include <csignal>
#include <cstdio>

#include <atomic>
#include <memory>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/text.hpp"
#include "model/device.hpp"
#include "pipeline/coordination/distributed_run.hpp"
#include "pipeline/coordination/file_operations.hpp"
#include "pipeline/coordination/run_lock.hpp"
#include "pipeline/run/progress_display.hpp"
#include "pipeline/run/results_builder.hpp"
#include "pipeline/run/run_directory.hpp"
#include "pipeline/run/run_plan.hpp"
#include "workers/worker.hpp"

namespace factflow {
namespace {

constexpr std::chrono::seconds kSnapshotInterval{60};

std::atomic<int> stop_requests{0};

void request_stop(int) { ++stop_requests; }

void catch_signals() {
  struct sigaction action {};
  action.sa_handler = request_stop;
  sigemptyset(&action.sa_mask);
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1}) sigaction(signal, &action, nullptr);
}

// What rank 0 holds: the plan, the journal, and what a reader sees of both.
class Desk {
 public:
  explicit Desk(const RunOptions& options) : options_(options), config_(read_config(options.config)) {
    if (options.limit) config_.dataset.limit = *options.limit;
    dataset_ = read_dataset(config_.dataset);
    planned_ = build_job(config_, true);
    const std::filesystem::path path = options.out.empty() ? std::filesystem::path("runs") / config_.name : options.out;
    lock_ = std::make_unique<RunLock>(system_files(), path, RunLock::Mode::kExclusive);
    directory_ = open_run_directory(path, config_, dataset_, options.fresh);
    plan_ = std::make_unique<RunPlan>(config_, dataset_, planned_);
    index_ = std::make_unique<JournalIndex>(system_files(), directory_.journal(), directory_.identity);
    journal_ = std::make_unique<Journal>(system_files(), directory_.journal(), directory_.identity, "main", *index_);
    introduce();
  }

  const Job& job() const { return planned_.job; }

  std::unique_ptr<Coordinator> coordinator(CoordinatorTransport& transport) {
    CoordinatorOptions options;
    options.retry_failed = options_.retry_failed;
    options.stop = &stop_requests;
    options.before_commit = [this] { lock_->check(); };
    options.on_event = [this](const std::string& text) { display_.line(text); };
    options.on_progress = [this](const Progress& progress) { on_progress(progress); };
    return std::make_unique<Coordinator>(transport, *plan_, *index_, *journal_, options);
  }

  int finish(const Outcome& outcome) {
    const ResultsSummary summary = snapshot();
    const bool complete = outcome.end == RunEnd::kComplete;
    display_.line(fmt::format("{}: {} units{}{}", complete ? "complete" : "stopped", summary.units_done,
                              summary.units_failed > 0 ? fmt::format(", {} failed", summary.units_failed) : "",
                              outcome.units_resumed > 0 ? fmt::format(", {} of them from before", outcome.units_resumed) : ""));
    for (std::uint32_t m = 0; m < config_.models.size(); ++m)
      if (plan_->released(m))
        display_.line(fmt::format("  {}: {} of {} prompts selected", config_.models[m].name, plan_->selected(m).size(), dataset_.prompts.size()));
    if (summary.failures > 0)
      display_.line(fmt::format("{} failures are listed in {} (group /failures)", summary.failures, directory_.results().string()));
    display_.line(fmt::format("results: {}", directory_.results().string()));
    display_.line(complete ? fmt::format("next: factflow analyse {}", directory_.path.string()) : "the same command continues");
    if (!complete) return 1;
    return summary.units_failed > 0 ? 1 : 0;
  }

  void say(const std::string& text) { display_.line(text); }

 private:
  void introduce() {
    if (const std::string warning = slow_blas_warning(); !warning.empty()) display_.line("warning: " + warning);
    display_.line(fmt::format("{}: {} prompts ({}{}), {} models, into {}", config_.name, dataset_.prompts.size(), dataset_.format,
                              dataset_.bad.empty() ? "" : fmt::format(", {} bad records left out", dataset_.bad.size()),
                              config_.models.size(), directory_.path.string()));
    for (size_t m = 0; m < config_.models.size(); ++m)
      if (!planned_.models[m].skipped.empty())
        display_.line(fmt::format("  {} has no state-space channels: skips {}", config_.models[m].name, join(planned_.models[m].skipped)));
  }

  void on_progress(const Progress& progress) {
    display_.show(progress);
    const auto now = std::chrono::steady_clock::now();
    if (now - last_note_ >= std::chrono::seconds(5)) {
      last_note_ = now;
      publish_file(directory_.path / "progress.json",
                   nlohmann::json{{"units_done", progress.units_done}, {"units_failed", progress.units_failed},
                                  {"units_total", progress.units_total}, {"text", describe(progress)}}.dump(1) + "\n");
    }
    if (now >= next_snapshot_) {
      snapshot();
      // A snapshot may take a while on a large run: at most a twentieth of the time goes there.
      const auto took = std::chrono::steady_clock::now() - now;
      next_snapshot_ = std::chrono::steady_clock::now() + std::max<std::chrono::steady_clock::duration>(kSnapshotInterval, 20 * took);
    }
  }

  ResultsSummary snapshot() {
    lock_->check();
    index_->refresh();
    return build_results({config_, dataset_, planned_, *plan_, *index_, directory_.created}, directory_.results());
  }

  RunOptions options_;
  Config config_;
  Dataset dataset_;
  PlannedJob planned_;
  std::unique_ptr<RunLock> lock_;
  RunDirectory directory_;
  std::unique_ptr<RunPlan> plan_;
  std::unique_ptr<JournalIndex> index_;
  std::unique_ptr<Journal> journal_;
  ProgressDisplay display_;
  std::chrono::steady_clock::time_point last_note_{}, next_snapshot_ = std::chrono::steady_clock::now() + kSnapshotInterval;
};

using OptionalDesk = std::unique_ptr<Desk>;

void complain(const OptionalDesk& desk, const char* what) {
  if (desk)
    desk->say(fmt::format("factflow: {}", what));  // after the progress line, if there is one
  else
    std::fprintf(stderr, "factflow: %s\n", what);
}

std::unique_ptr<Worker> prepare(Launch& launch, const RunOptions& options, OptionalDesk& desk) {
  launch.together([&] {
    if (launch.rank() == 0) desk = std::make_unique<Desk>(options);
  });
  const Job job = decode_job(launch.broadcast(desk ? encode(desk->job()) : std::string()));
  std::unique_ptr<Worker> worker;
  launch.together([&] { worker = std::make_unique<Worker>(job, launch.local_rank(), launch.ranks_on_node(), launch.host()); });
  if (desk) desk->say(fmt::format("{} {} on {}", launch.size(), launch.size() == 1 ? "rank" : "ranks", worker->device()));
  return worker;
}

// Returns the exit code of this rank.
int compute(Launch& launch, const OptionalDesk& desk, Worker& worker) {
  DistributedRun distributed;
  distributed.make_coordinator = [&](CoordinatorTransport& transport) { return desk->coordinator(transport); };
  distributed.compute = [&](std::uint64_t, const std::string& payload, const std::atomic<bool>& cancelled) {
    return worker.compute(payload, cancelled);
  };
  distributed.report = [&](const std::string& text) { complain(desk, text.c_str()); };
  try {
    const std::optional<Outcome> outcome = run_on_ranks(launch, distributed);
    return desk && outcome ? desk->finish(*outcome) : 0;
  } catch (const Error& error) {
    complain(desk, error.what());
    return error.exit_code();
  } catch (const std::exception& error) {
    complain(desk, fmt::format("internal error: {}", error.what()).c_str());
    return 1;
  }
}

}  // namespace

int run(const RunOptions& options) {
  catch_signals();
  Launch launch;
  OptionalDesk desk;
  std::unique_ptr<Worker> worker;
  try {
    worker = prepare(launch, options, desk);
  } catch (const Error& error) {
    // Thrown on every rank alike: rank 0 speaks, and all leave in good order.
    if (launch.rank() == 0) complain(desk, error.what());
    return launch.finish(error.exit_code());
  }
  return launch.finish(compute(launch, desk, *worker));
}

}  // namespace factflow
