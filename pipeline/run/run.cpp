#include "pipeline/run/run.hpp"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <thread>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "base/error.hpp"
#include "base/exit_codes.hpp"
#include "base/file_operations.hpp"
#include "base/files.hpp"
#include "base/output_directory.hpp"
#include "base/text.hpp"
#include "model/device.hpp"
#include "model/threads.hpp"
#include "pipeline/coordination/distributed_run.hpp"
#include "pipeline/coordination/run_lock.hpp"
#include "pipeline/coordination/unit_claims.hpp"
#include "pipeline/run/accuracy.hpp"
#include "pipeline/run/checked_run.hpp"
#include "pipeline/run/model_progress.hpp"
#include "pipeline/run/plan_size.hpp"
#include "pipeline/run/progress_display.hpp"
#include "pipeline/run/results_builder.hpp"
#include "pipeline/run/run_directory.hpp"
#include "pipeline/run/run_plan.hpp"
#include "pipeline/run/stop_signals.hpp"
#include "results/results_file.hpp"
#include "workers/device_choice.hpp"
#include "workers/worker.hpp"

namespace factflow {
namespace {

constexpr const char* kProgressFile = "progress.json";
constexpr std::chrono::seconds kSnapshotInterval{60};
constexpr std::chrono::seconds kNoteInterval{5};
constexpr std::chrono::milliseconds kPause{200};  // between looks at what another launch holds

std::chrono::milliseconds heartbeat_interval(int timeout_in_seconds) {
  return std::min(std::chrono::milliseconds(2000),
                  std::chrono::milliseconds(1000) * timeout_in_seconds / 5);
}

// Claims of sharing launches on what is no unit (those have a kind, so larger numbers).
constexpr std::uint64_t kOpeningClaim = 0, kResultsClaim = 1;

// A signal came before anything was begun.
class StoppedError : public Error {
 public:
  explicit StoppedError(const std::filesystem::path& path)
      : Error(kExitStopped,
              fmt::format("{}: stopped while waiting for another launch to end", path.string())) {}
};

std::unique_ptr<RunLock> lock_directory(const std::filesystem::path& path,
                                        const RunOptions& options) {
  const auto deadline = std::chrono::steady_clock::now() + options.wait;
  const RunLock::Mode mode = options.share ? RunLock::Mode::kShared : RunLock::Mode::kExclusive;
  while (true) {
    try {
      return std::make_unique<RunLock>(system_files(), path, mode);
    } catch (const BusyError&) {
      if (stop_requests() > 0) throw StoppedError(path);
      if (std::chrono::steady_clock::now() >= deadline) throw;
    }
    std::this_thread::sleep_for(kPause);
  }
}

// What rank 0 holds: the plan, the journal, and what a reader sees of both.
class Desk {
 public:
  explicit Desk(const RunOptions& options) : options_(options), display_(options.verbosity) {
    CheckedRun checked = check_run(options.config, options.overrides);
    config_ = std::move(checked.config);
    dataset_ = std::move(checked.dataset);
    planned_ = std::move(checked.planned);
    const std::filesystem::path path =
        options.out.empty() ? std::filesystem::path("runs") / config_.name : options.out;
    check_place(path);
    if (options.fresh) check_configuration_survives(options.config, path);
    made_ = make_output_directory(system_files(), path);
    lock_ = lock_directory(path, options);
    if (options.share) {
      claims_ = std::make_unique<UnitClaims>(system_files(), path, *lock_);
      writer_ = "share-" + lock_->token();
    }
    directory_ = look();
    plan_ = std::make_unique<RunPlan>(config_, dataset_, planned_);
    open_journal();
    introduce();
  }

  // A start that came to nothing leaves no directory behind.
  ~Desk() {
    journal_.reset();
    claims_.reset();
    lock_.reset();
    if (directory_.begun || !made_) return;
    ::rmdir(claims_directory(directory_.path).c_str());
    ::rmdir(directory_.path.c_str());
  }
  Desk(const Desk&) = delete;
  Desk& operator=(const Desk&) = delete;

  const Job& job() const { return planned_.job; }

  std::unique_ptr<Coordinator> coordinator(CoordinatorTransport& transport) {
    CoordinatorOptions options;
    options.retry_failed = options_.retry_failed;
    options.heartbeat_timeout = std::chrono::seconds(config_.run.heartbeat_timeout);
    options.heartbeat_interval = heartbeat_interval(config_.run.heartbeat_timeout);
    options.stop = &stop_requests();
    options.grace = options_.stop_within;
    options.before_commit = [this] { lock_->check(); };
    options.on_event = [this](const std::string& text) { display_.line(text); };
    options.on_unit = [this](const std::string& text) { display_.detail(text); };
    options.on_progress = [this](const Progress& progress) { on_progress(progress); };
    options.claims = claims_.get();
    options.writer = writer_;
    auto coordinator =
        std::make_unique<Coordinator>(transport, *plan_, *index_, *journal_, options);
    coordinator_ = coordinator.get();
    return coordinator;
  }

  int finish(const Outcome& outcome) {
    tell_evaluations();
    const bool complete = outcome.end == RunEnd::kComplete;
    if (!begun()) {
      display_.line("stopped before the first unit was finished");
      display_.line("the same command continues");
      return kExitStopped;
    }
    const std::optional<ResultsSummary> summary = final_results(outcome);
    if (!summary) {
      display_.line(
          "stopped: results.h5 is left to the launch that writes it now; the same command "
          "continues");
      return kExitStopped;
    }
    note_progress(last_progress_);
    const std::string end = fmt::format(
        "{}: {}{}{}", complete ? "complete" : "stopped",
        counted(static_cast<std::uint64_t>(summary->units_done), "unit"),
        summary->units_failed > 0 ? fmt::format(", {} failed", summary->units_failed) : "",
        outcome.units_resumed > 0 ? fmt::format(", {} of them from {}", outcome.units_resumed,
                                                claims_ ? "others or before" : "before")
                                  : "");
    complete ? display_.tell(end) : display_.line(end);
    for (const ModelProgress& model : progress_of(asked_of_models(config_, *plan_), *index_))
      display_.tell("  " + describe(model));
    for (const std::string& warning : summary->warnings) display_.line("  warning: " + warning);
    if (summary->failures > 0)
      display_.line(fmt::format(
          "{} listed in {} (group /failures)",
          counted(static_cast<std::uint64_t>(summary->failures), "failure is", "failures are"),
          directory_.results().string()));
    display_.tell(fmt::format("results: {}", directory_.results().string()));
    if (!complete) {
      display_.line("the same command continues");
      return kExitStopped;
    }
    for (const std::string& sentence : empty_sets(config_, dataset_, planned_, *plan_))
      display_.line("  " + sentence);
    if (nothing_selected(config_, *plan_)) {
      display_.line("factflow: no prompt is selected, so nothing was swept or drawn");
      return kExitFailed;
    }
    display_.tell(fmt::format("next: factflow analyse {}", directory_.path.string()));
    return summary->units_failed == 0 ? kExitGood : kExitFailed;
  }

  void say(const std::string& text) { display_.line(text); }
  void tell(const std::string& text) { display_.tell(text); }

  // One line if some of so many ranks have nothing to do in any stage, else "".
  std::string idle_ranks_warning(int ranks) const {
    const auto units = static_cast<std::uint64_t>(units_side_by_side(config_, dataset_, planned_));
    if (static_cast<std::uint64_t>(ranks) <= units) return "";
    return fmt::format("{} ranks for at most {} at a time: {} or fewer do as well", ranks,
                       counted(units, "unit"), units);
  }

 private:
  void introduce() {
    display_.tell(
        fmt::format("{}: {} ({}{}), {}, into {}", config_.name,
                    counted(dataset_.prompts.size(), "prompt"), dataset_.format,
                    dataset_.bad.empty()
                        ? ""
                        : fmt::format(", {} left out", counted(dataset_.bad.size(), "bad record")),
                    counted(config_.models.size(), "model"), directory_.path.string()));
    for (const std::string& sentence : remarks_on(config_, dataset_))
      display_.line("  " + sentence);
    for (size_t m = 0; m < config_.models.size(); ++m)
      for (const PlannedWork& planned : planned_.models[m].experiments)
        if (!planned.skipped.empty())
          display_.tell(fmt::format("  {} has no {}: skips {}", config_.models[m].name,
                                    planned.lacking, join(planned.skipped)));
  }

  RunDirectory look() const {
    return look_at_run_directory(lock_->directory(), config_, dataset_,
                                 {options_.fresh, /*alone=*/!options_.share});
  }

  // A run that continues opens its journal at once. Another one makes nothing before it has a first
  // result: whatever goes wrong until then, what lies in the directory stays, and stays free.
  void open_journal() {
    const bool continues = directory_.begun;
    // Before the journals are read, which only grow.
    const std::uint64_t noted = continues ? units_noted() : 0;
    index_ = std::make_unique<JournalIndex>(system_files(), directory_.journal(),
                                            directory_.identity, /*begins_empty=*/!continues);
    if (continues) warn_of_losses(noted);
    journal_ = continues
                   ? std::make_unique<Journal>(system_files(), directory_.journal(),
                                               directory_.identity, writer_, *index_)
                   : std::make_unique<Journal>(system_files(), directory_.journal(),
                                               directory_.identity, writer_, [this] { begin(); });
  }

  // Claims the directory, of launches that share it the first to come here; the others find it
  // begun.
  void begin() {
    lock_->check();
    if (claims_) {
      wait_for_claim(kOpeningClaim);
      directory_ = look();
    }
    if (!directory_.begun) begin_run_directory(directory_, config_);
    if (claims_) claims_->release(kOpeningClaim);
  }

  // Whether there is something on record, be it by another launch that shares the directory.
  bool begun() {
    if (!directory_.begun && claims_) directory_ = look();
    return directory_.begun;
  }

  // How many units the last launch saw done; 0 if it left no word.
  std::uint64_t units_noted() const {
    try {
      const nlohmann::json noted =
          nlohmann::json::parse(read_file(directory_.path / kProgressFile));
      return noted.at("units_done").get<std::uint64_t>() +
             noted.at("units_failed").get<std::uint64_t>();
    } catch (const std::exception&) {
      return 0;
    }
  }

  // What the journal has lost is computed again, but not without a word.
  void warn_of_losses(std::uint64_t noted) {
    // Of launches that share the directory, another one may be writing just now.
    if (!claims_)
      for (const TornEnd& torn : index_->torn_ends())
        display_.line(fmt::format(
            "warning: {}: the last {} bytes are part of a commit{} that was interrupted or cut "
            "short; they do not count, and what they held is computed again",
            torn.file.string(), torn.bytes,
            torn.records > 0 ? fmt::format(" of {}", counted(torn.records, "unit")) : ""));
    if (index_->units() < noted)
      display_.line(
          fmt::format("warning: {} holds {} where the last launch had {}: {} will be computed "
                      "again (was a file "
                      "cut, removed, or restored from an old copy?)",
                      directory_.journal().string(), counted(index_->units(), "unit"), noted,
                      counted(noted - index_->units(), "unit")));
  }

  void on_progress(const Progress& progress) {
    display_.show(progress);
    tell_evaluations();
    last_progress_ = progress;
    if (!directory_.begun) return;  // nothing to note, and no place for notes
    const auto now = std::chrono::steady_clock::now();
    if (now - last_note_ >= kNoteInterval) {
      last_note_ = now;
      note_progress(progress);
    }
    if (now >= next_snapshot_) {
      if (!claims_ || claims_->claim(kResultsClaim))
        snapshot([this] { coordinator_->sign_of_life(); });
      // A snapshot may take a while on a large run: at most a twentieth of the time goes there.
      const auto took = std::chrono::steady_clock::now() - now;
      next_snapshot_ = std::chrono::steady_clock::now() +
                       std::max<std::chrono::steady_clock::duration>(kSnapshotInterval, 20 * took);
    }
  }

  // Once for each model and set of prompts: whether they can do what is asked is worth knowing
  // hours before the end.
  void tell_evaluations() {
    for (std::uint32_t m = 0; m < config_.models.size(); ++m) {
      if (!plan_->is_evaluated(m) || !told_.insert(m).second) continue;
      const ModelAccuracy accuracy = accuracy_of(config_.models[m].name, plan_->ranks()[m]);
      accuracy_["models"].push_back(to_json(accuracy));
      display_.tell(describe(accuracy));
    }
    if (told_.size() < config_.models.size() || told_sets_) return;
    told_sets_ = true;
    for (const SetAccuracy& set : accuracy_of_sets(config_, plan_->ranks())) {
      accuracy_["sets"].push_back(to_json(set));
      accuracy_["text"].push_back(describe(set));
      display_.tell((config_.select.size() > 1 ? set.set + ": " : "") + describe(set));
    }
  }

  void note_progress(const Progress& progress) {
    // Sums of costs are not exact.
    const bool all = progress.units_done + progress.units_failed == progress.units_total;
    publish_file(directory_.path / kProgressFile,
                 nlohmann::json{
                     {"units_done", progress.units_done},
                     {"units_failed", progress.units_failed},
                     {"units_total", progress.units_total},
                     {"share", all ? 1.0 : progress.share},
                     {"units_per_second", progress.units_per_second},
                     {"seconds_left", progress.seconds_left ? nlohmann::json(*progress.seconds_left)
                                                            : nlohmann::json()},
                     {"working_on", progress.working_on},
                     {"ranks", progress.workers},
                     {"ranks_busy", progress.busy},
                     {"text", describe(progress)},
                     {"accuracy", accuracy_},
                     {"models", to_json(asked_of_models(config_, *plan_))}}
                         .dump(1) +
                     "\n");
  }

  // Of sharing launches one writes at a time. Only the holder of the claim, if there are claims,
  // may call this.
  ResultsSummary snapshot(const std::function<void()>& between = [] {}) {
    lock_->check();
    index_->refresh();
    const ResultsSummary summary =
        build_results({config_, dataset_, planned_, *plan_, *index_, directory_.created, between},
                      directory_.results());
    if (claims_) claims_->release(kResultsClaim);
    return summary;
  }

  // The last one to finish makes the file; it is there already for a launch that had to wait for
  // another one to do so. Nothing: this launch was stopped while another one writes.
  std::optional<ResultsSummary> final_results(const Outcome& outcome) {
    if (!claims_) return snapshot();
    if (outcome.end != RunEnd::kComplete && !claims_->claim(kResultsClaim)) return std::nullopt;
    wait_for_claim(kResultsClaim);
    if (outcome.end == RunEnd::kComplete && std::filesystem::exists(directory_.results())) {
      const ResultsReader there(directory_.results());
      const RunInfo& info = there.info();
      if (info.complete && info.units_done == static_cast<std::int64_t>(outcome.units_done)) {
        claims_->release(kResultsClaim);
        return ResultsSummary{info.units_done, info.units_planned - info.units_done,
                              info.units_planned,
                              static_cast<std::int64_t>(there.failures().size()), true};
      }
    }
    return snapshot();
  }

  // Held for the time in which one process opens the directory or writes the results; a dead
  // holder's claim is taken over.
  void wait_for_claim(std::uint64_t what) {
    while (!claims_->claim(what)) {
      lock_->check();
      std::this_thread::sleep_for(kPause);
    }
  }

  RunOptions options_;
  Config config_;
  Dataset dataset_;
  PlannedJob planned_;
  std::unique_ptr<RunLock> lock_;
  std::unique_ptr<UnitClaims> claims_;  // with --share only
  std::string writer_ = "main";         // name of this launch's journal file
  bool made_ = false;                   // the directory, by this launch
  RunDirectory directory_;
  std::unique_ptr<RunPlan> plan_;
  std::unique_ptr<JournalIndex> index_;
  std::unique_ptr<Journal> journal_;
  Coordinator* coordinator_ = nullptr;  // lives as long as its callbacks are called
  ProgressDisplay display_;
  Progress last_progress_;
  std::set<std::uint32_t> told_;  // models of tell_evaluations()
  bool told_sets_ = false;
  // Of what is told, for progress.json.
  nlohmann::json accuracy_ = {{"models", nlohmann::json::array()},
                              {"sets", nlohmann::json::array()},
                              {"text", nlohmann::json::array()}};
  std::chrono::steady_clock::time_point last_note_{},
      next_snapshot_ = std::chrono::steady_clock::now() + kSnapshotInterval;
};

using OptionalDesk = std::unique_ptr<Desk>;

void complain(const OptionalDesk& desk, const char* what) {
  if (desk)
    desk->say(fmt::format("factflow: {}", what));  // after the progress line, if there is one
  else
    std::fprintf(stderr, "factflow: %s\n", what);
}

// What a rank has before the first unit.
struct Ready {
  std::unique_ptr<Worker> worker;
  int heartbeat_timeout = 0;  // seconds
};

Ready prepare(Launch& launch, const RunOptions& options, OptionalDesk& desk) {
  launch.together([&] {
    if (launch.rank() == 0) desk = std::make_unique<Desk>(options);
  });
  const std::string bytes = launch.broadcast(desk ? encode(desk->job()) : std::string());
  Job job;
  Outlook outlook;
  // In the vote: a rank that cannot read the job must not leave the others waiting for it.
  launch.together([&] {
    job = decode_job(bytes);
    outlook = {launch.host(), job.device == "cpu" ? std::vector<std::string>{} : visible_gpus()};
  });
  const std::vector<Outlook> outlooks = decode_outlooks(launch.gather(encode(outlook)));
  std::unique_ptr<Worker> worker;
  launch.together([&] {
    worker = std::make_unique<Worker>(
        job, assign_device(job.device, job.share_gpus, outlooks, launch.rank()),
        launch.ranks_on_node(), launch.host());
  });
  if (desk) {
    desk->tell(fmt::format("{} on {}", counted(static_cast<std::uint64_t>(launch.size()), "rank"),
                           worker->device()));
    for (const std::string& warning : slowness_warnings(launch.ranks_on_node()))
      desk->say("warning: " + warning);
    if (const std::string warning = desk->idle_ranks_warning(launch.size()); !warning.empty())
      desk->say("warning: " + warning);
  }
  return {std::move(worker), job.heartbeat_timeout};
}

// Returns the exit code of this rank.
int compute(Launch& launch, const OptionalDesk& desk, Ready& ready) {
  Worker& worker = *ready.worker;
  DistributedRun distributed;
  distributed.work.heartbeat_interval = heartbeat_interval(ready.heartbeat_timeout);
  distributed.work.coordinator_timeout = std::chrono::seconds(ready.heartbeat_timeout);
  distributed.make_coordinator = [&](CoordinatorTransport& transport) {
    return desk->coordinator(transport);
  };
  distributed.compute = [&](std::uint64_t unit, const std::string& payload,
                            const std::atomic<bool>& cancelled) {
    return worker.compute(unit, payload, cancelled);
  };
  distributed.work.foresee = [&](std::uint64_t unit, std::string payload) {
    worker.foresee(unit, std::move(payload));
  };
  distributed.report = [&](const std::string& text) { complain(desk, text.c_str()); };
  distributed.stopped_exit_code = kExitStopped;
  try {
    const std::optional<Outcome> outcome = run_on_ranks(launch, distributed);
    return desk && outcome ? desk->finish(*outcome) : 0;
  } catch (const Error& error) {
    complain(desk, error.what());
    return error.exit_code();
  } catch (const std::exception& error) {
    complain(desk, fmt::format("internal error: {}", error.what()).c_str());
    return kExitFailed;
  }
}

}  // namespace

int run(const RunOptions& options) {
  catch_stop_signals();
  Launch launch;
  OptionalDesk desk;
  Ready ready;
  try {
    ready = prepare(launch, options, desk);
  } catch (const Error& error) {
    // Thrown on every rank alike: rank 0 speaks, and all leave in good order.
    if (launch.rank() == 0) complain(desk, error.what());
    return launch.finish(error.exit_code());
  }
  return launch.finish(compute(launch, desk, ready));
}

}  // namespace factflow
