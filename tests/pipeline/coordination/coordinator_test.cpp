#include "pipeline/coordination/coordinator.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <thread>

#include <gmock/gmock.h>

#include "base/error.hpp"
#include "pipeline/coordination/run_lock.hpp"
#include "pipeline/coordination/unit_claims.hpp"
#include "tests/pipeline/coordination/testing.hpp"
#include "workers/local_transport.hpp"
#include "workers/work_loop.hpp"

namespace factflow {
namespace {

using std::chrono::milliseconds;
using testing::Crash;
using testing::FaultyFiles;
using ::testing::HasSubstr;
using testing::StagedPlan;

constexpr const char* kIdentity = "identity";

std::string compute_result(std::uint64_t unit, const std::string& payload,
                           const std::atomic<bool>&) {
  EXPECT_EQ(payload, std::to_string(unit));
  return StagedPlan::result_of(unit);
}

// Worker threads on a local transport.
class Workers {
 public:
  Workers(LocalTransport& transport, const ComputeFunction& compute,
          const WorkLoopOptions& options = {}) {
    for (int i = 0; i < transport.workers(); ++i)
      threads_.emplace_back([&transport, compute, options, i] {
        try {
          work(transport.worker(i), compute, options);
        } catch (const RunError&) {
        }
      });
  }
  ~Workers() {
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  std::vector<std::thread> threads_;
};

// One launch on `directory`: everything from the journal to the workers.
struct LaunchSetup {
  int workers = 3;
  FileOperations* files = &system_files();
  ComputeFunction compute = compute_result;
  CoordinatorOptions options;
};

Outcome launch(const std::filesystem::path& directory, TaskSource& plan, const LaunchSetup& setup) {
  LocalTransport transport(setup.workers);
  JournalIndex index(*setup.files, directory, kIdentity);
  Journal journal(*setup.files, directory, kIdentity, "main", index);
  Coordinator coordinator(transport, plan, index, journal, setup.options);
  Workers workers(transport, setup.compute);
  return coordinator.run();
}

LaunchSetup quick() {
  LaunchSetup setup;
  setup.options.commit_interval = milliseconds(1);
  setup.options.cancel_patience = milliseconds(500);
  return setup;
}

std::map<std::uint64_t, std::string> expected_results(std::uint32_t models, std::uint32_t units) {
  std::map<std::uint64_t, std::string> results;
  for (std::uint64_t first : {0, 1'000'000})
    for (std::uint32_t model = 0; model < models; ++model)
      for (std::uint32_t unit = 0; unit < units; ++unit)
        results[first + model * 1000 + unit] = StagedPlan::result_of(first + model * 1000 + unit);
  return results;
}

TEST(Coordinator, FinishesAllStagesWithAnyNumberOfWorkers) {
  for (const int workers : {1, 2, 5, 32}) {
    const TemporaryDirectory directory;
    StagedPlan plan(3, 20);
    LaunchSetup setup = quick();
    setup.workers = workers;
    const Outcome outcome = launch(directory.path(), plan, setup);
    EXPECT_EQ(outcome.end, RunEnd::kComplete);
    EXPECT_EQ(outcome.units_done, 120u);
    EXPECT_EQ(plan.done, expected_results(3, 20));
    EXPECT_EQ(testing::results_in(directory.path(), kIdentity), plan.done);
  }
}

TEST(Coordinator, AnEmptyPlanEndsAtOnce) {
  const TemporaryDirectory directory;
  StagedPlan plan(0, 0);
  EXPECT_EQ(launch(directory.path(), plan, quick()).units_done, 0u);
}

TEST(Coordinator, ASecondLaunchComputesNothing) {
  const TemporaryDirectory directory;
  StagedPlan first(2, 10), second(2, 10);
  launch(directory.path(), first, quick());
  LaunchSetup setup = quick();
  setup.compute = [](std::uint64_t unit, const std::string&,
                     const std::atomic<bool>&) -> std::string {
    ADD_FAILURE() << "computed " << unit << " again";
    return "";
  };
  const Outcome outcome = launch(directory.path(), second, setup);
  EXPECT_EQ(outcome.units_resumed, 40u);
  EXPECT_EQ(second.done, first.done);
}

TEST(Coordinator, TellsTheSourceOnlyWhatIsDurable) {
  const TemporaryDirectory directory;
  struct Watching : StagedPlan {
    Watching(const std::filesystem::path& path) : StagedPlan(1, 8), directory(path) {}
    std::vector<Task> completed(std::uint64_t unit, std::string result) override {
      const JournalIndex index(system_files(), directory, kIdentity);
      EXPECT_NE(index.find(unit), nullptr);
      return StagedPlan::completed(unit, std::move(result));
    }
    std::filesystem::path directory;
  } plan(directory.path());
  launch(directory.path(), plan, quick());
  EXPECT_EQ(plan.done.size(), 16u);
}

// Writes nothing down before more units have been computed, at most after 5 s.
class WaitingDisk : public FileOperations {
 public:
  explicit WaitingDisk(const std::atomic<int>& computed) : computed_(computed) {}
  int sync_data(int file) override {
    const int before = computed_;
    const auto deadline = std::chrono::steady_clock::now() + milliseconds(5'000);
    while (before > 0 && meanwhile < 3 && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(milliseconds(1));
      meanwhile = std::max(meanwhile, computed_ - before);
    }
    return FileOperations::sync_data(file);
  }
  int meanwhile = 0;  // units that were computed during one sync, if it waited

 private:
  const std::atomic<int>& computed_;
};

TEST(Coordinator, WorkersHaveWorkWhileItWaitsForTheDisk) {
  const TemporaryDirectory directory;
  StagedPlan plan(1, 40);
  std::atomic<int> computed{0};
  WaitingDisk disk(computed);
  LaunchSetup setup = quick();
  setup.workers = 1;
  setup.files = &disk;
  setup.compute = [&](std::uint64_t unit, const std::string& payload,
                      const std::atomic<bool>& cancelled) {
    std::this_thread::sleep_for(milliseconds(5));
    ++computed;
    return compute_result(unit, payload, cancelled);
  };
  launch(directory.path(), plan, setup);
  EXPECT_GE(disk.meanwhile, 3);
}

TEST(Coordinator, RetriesAFailedUnitOnceOnAnotherWorker) {
  const TemporaryDirectory directory;
  StagedPlan plan(2, 6);
  std::mutex mutex;
  std::map<std::uint64_t, std::vector<std::thread::id>> attempts;
  LaunchSetup setup = quick();
  setup.compute = [&](std::uint64_t unit, const std::string& payload,
                      const std::atomic<bool>& cancelled) {
    const std::lock_guard lock(mutex);
    attempts[unit].push_back(std::this_thread::get_id());
    if (unit == 3) throw std::runtime_error("broken\nbeyond repair");
    if (unit == 4 && attempts[unit].size() == 1) throw std::runtime_error("a passing weakness");
    return compute_result(unit, payload, cancelled);
  };
  const Outcome outcome = launch(directory.path(), plan, setup);
  EXPECT_EQ(outcome.end, RunEnd::kComplete);
  EXPECT_EQ(outcome.units_failed, 1u);
  EXPECT_EQ(outcome.units_done, 23u);
  EXPECT_EQ(plan.failures[3], "broken beyond repair");
  for (const std::uint64_t unit : {3, 4}) {
    ASSERT_EQ(attempts[unit].size(), 2u);
    EXPECT_NE(attempts[unit][0], attempts[unit][1]);
  }
}

TEST(Coordinator, KeepsAFailureOnRecordUntilToldToRetry) {
  const TemporaryDirectory directory;
  std::atomic<bool> broken{true};
  std::atomic<int> computed{0};
  LaunchSetup setup = quick();
  setup.workers = 1;
  setup.compute = [&](std::uint64_t unit, const std::string& payload,
                      const std::atomic<bool>& cancelled) {
    ++computed;
    if (unit == 1 && broken) throw std::runtime_error("broken");
    return compute_result(unit, payload, cancelled);
  };
  StagedPlan first(1, 3), second(1, 3), third(1, 3);
  EXPECT_EQ(launch(directory.path(), first, setup).units_failed, 1u);
  broken = false;
  computed = 0;
  EXPECT_EQ(launch(directory.path(), second, setup).units_failed, 1u);
  EXPECT_EQ(computed, 0);
  setup.options.retry_failed = true;
  EXPECT_EQ(launch(directory.path(), third, setup).units_failed, 0u);
  EXPECT_EQ(computed, 1);
  EXPECT_EQ(third.done, expected_results(1, 3));
}

TEST(Coordinator, RepeatsUnitsInWhichPromptsFailedWhenToldTo) {
  const TemporaryDirectory directory;
  std::atomic<bool> broken{true};
  std::atomic<int> computed{0};
  LaunchSetup setup = quick();
  setup.compute = [&](std::uint64_t unit, const std::string& payload,
                      const std::atomic<bool>& cancelled) {
    ++computed;
    return compute_result(unit, payload, cancelled) + (unit == 1 && broken ? "!" : "");
  };
  StagedPlan first(1, 3), second(1, 3), third(1, 3), fourth(1, 3);
  EXPECT_EQ(launch(directory.path(), first, setup).units_done, 6u);
  broken = false;
  computed = 0;
  EXPECT_EQ(launch(directory.path(), second, setup).units_done, 6u);
  EXPECT_EQ(computed, 0) << "such a result is one until somebody asks for another";
  EXPECT_TRUE(second.done[1].ends_with('!'));
  setup.options.retry_failed = true;
  launch(directory.path(), third, setup);
  EXPECT_EQ(computed, 1);
  EXPECT_EQ(third.done, expected_results(1, 3));
  launch(directory.path(), fourth, setup);
  EXPECT_EQ(computed, 1);
  EXPECT_EQ(fourth.done, expected_results(1, 3));
}

TEST(Coordinator, SplitsAUnitThatDoesNotFitAndRemembersIt) {
  const TemporaryDirectory directory;
  std::atomic<int> too_large{0};
  LaunchSetup setup = quick();
  setup.compute = [&](std::uint64_t unit, const std::string& payload,
                      const std::atomic<bool>& cancelled) {
    if (unit == 2 || unit == 1'000'001 || unit == 5) {
      ++too_large;
      throw UnitFailure(FailureKind::kOutOfMemory, "12 GiB asked for, 3 GiB free");
    }
    return compute_result(unit, payload, cancelled);
  };
  const auto run_once = [&] {
    StagedPlan plan(1, 6);
    plan.splittable = {2, 1'000'001};
    const Outcome outcome = launch(directory.path(), plan, setup);
    EXPECT_EQ(outcome.units_done, 13u);  // 12 - 2 split - 1 failed + 4 parts
    EXPECT_EQ(outcome.units_failed, 1u);
    EXPECT_TRUE(plan.done.contains(10'000'002) && plan.done.contains(20'000'002));
    EXPECT_FALSE(plan.done.contains(2));
    EXPECT_THAT(plan.failures[5], HasSubstr("12 GiB"));
  };
  run_once();
  EXPECT_EQ(too_large, 3);
  run_once();
  EXPECT_EQ(too_large, 3) << "the second launch knows what does not fit";
}

TEST(Coordinator, AFatalFailureEndsTheRunAndKeepsWhatIsDone) {
  const TemporaryDirectory directory;
  StagedPlan plan(1, 50);
  LaunchSetup setup = quick();
  setup.compute = [&](std::uint64_t unit, const std::string& payload,
                      const std::atomic<bool>& cancelled) {
    std::this_thread::sleep_for(milliseconds(1));
    if (unit == 20) throw UnitFailure(FailureKind::kFatal, "the device fell off the bus");
    return compute_result(unit, payload, cancelled);
  };
  try {
    launch(directory.path(), plan, setup);
    FAIL() << "expected RunError";
  } catch (const RunError& error) {
    EXPECT_THAT(error.what(), HasSubstr("the device fell off the bus"));
    EXPECT_THAT(error.what(), HasSubstr("unit 20"));
  }
  for (const auto& [unit, result] : plan.done)
    EXPECT_EQ(testing::results_in(directory.path(), kIdentity).count(unit), 1u);
  StagedPlan again(1, 50);
  EXPECT_EQ(launch(directory.path(), again, quick()).units_done, 100u);
}

// Up to e4b056d it was taken for a unit that is too large: split down to single prompts, with a
// load for each, and every one of them on record as a failure.
TEST(Coordinator, AModelThatCannotBeLoadedEndsTheRunOnce) {
  const TemporaryDirectory directory;
  StagedPlan plan(1, 512);
  for (std::uint64_t unit = 0; unit < 512; ++unit) plan.splittable.insert(unit);
  std::atomic<int> loads{0};
  std::vector<std::string> events;
  LaunchSetup setup = quick();
  setup.options.on_event = [&](const std::string& line) { events.push_back(line); };
  setup.compute = [&](std::uint64_t, const std::string&, const std::atomic<bool>&) -> std::string {
    ++loads;
    throw UnitFailure(FailureKind::kLoading, "model x cannot be loaded on CPU: out of memory");
  };
  try {
    launch(directory.path(), plan, setup);
    FAIL() << "expected RunError";
  } catch (const RunError& error) {
    EXPECT_THAT(error.what(), ::testing::StartsWith("model x cannot be loaded on CPU"));
    EXPECT_THAT(error.what(), HasSubstr("(worker "));
  }
  EXPECT_LE(loads, setup.workers * kTasksInHand);  // those that were fetched ahead
  EXPECT_THAT(events, ::testing::IsEmpty());
  EXPECT_TRUE(plan.failures.empty());
  EXPECT_EQ(JournalIndex(system_files(), directory.path(), kIdentity).units(), 0u);
}

// A plan that tells what is to come: progress neither falls nor jumps when the second stage begins.
TEST(Coordinator, CountsWorkThatIsKnownToCome) {
  struct Foretelling : StagedPlan {
    Foretelling() : StagedPlan(1, 6) {}
    std::vector<Task> completed(std::uint64_t unit, std::string result) override {
      std::vector<Task> tasks = StagedPlan::completed(unit, std::move(result));
      if (!tasks.empty()) released = true;
      for (Task& task : tasks) task.kind = 1;
      return tasks;
    }
    std::vector<ExpectedWork> expected() const override {
      double cost = 0;  // as StagedPlan has it
      for (std::uint64_t unit = 1'000'000; unit < 1'000'006; ++unit)
        cost += 1.0 + static_cast<double>(unit % 7);
      return released ? std::vector<ExpectedWork>{} : std::vector<ExpectedWork>{{1, 6, cost}};
    }
    bool released = false;
  } plan;
  const TemporaryDirectory directory;
  LaunchSetup setup = quick();
  setup.options.progress_interval = milliseconds(0);
  std::vector<Progress> seen;
  setup.options.on_progress = [&](const Progress& progress) { seen.push_back(progress); };
  launch(directory.path(), plan, setup);
  ASSERT_FALSE(seen.empty());
  for (size_t i = 0; i < seen.size(); ++i) {
    EXPECT_EQ(seen[i].units_total, 12u);
    EXPECT_NEAR(seen[i].cost_total, seen.back().cost_total, 1e-9);
    EXPECT_GE(seen[i].share, seen[i > 0 ? i - 1 : 0].share);
  }
  EXPECT_DOUBLE_EQ(seen.back().share, 1);
}

TEST(Coordinator, ASilentWorkerEndsTheRunWithItsNameAndUnit) {
  const TemporaryDirectory directory;
  StagedPlan plan(1, 30);
  LocalTransport transport(2);
  JournalIndex index(system_files(), directory.path(), kIdentity);
  Journal journal(system_files(), directory.path(), kIdentity, "main", index);
  LaunchSetup setup = quick();
  // A busy machine starves threads for a while, too.
  setup.options.heartbeat_timeout = milliseconds(2'000);
  Coordinator coordinator(transport, plan, index, journal, setup.options);
  // Worker 1 takes its tasks and is never heard of again.
  transport.worker(1).send(
      {static_cast<std::uint32_t>(MessageKind::kHello), 0, 0, "node17, process 4711"});
  WorkLoopOptions work_options;
  work_options.heartbeat_interval = milliseconds(50);
  std::thread healthy([&] { work(transport.worker(0), compute_result, work_options); });
  const auto start = std::chrono::steady_clock::now();
  try {
    coordinator.run();
    ADD_FAILURE() << "expected RunError";
  } catch (const RunError& error) {
    EXPECT_THAT(error.what(), HasSubstr("worker 1 (node17, process 4711) has not been heard of"));
    EXPECT_THAT(error.what(), HasSubstr("while working on unit"));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, milliseconds(10'000));
  EXPECT_FALSE(coordinator.all_workers_left());
  healthy.join();
  EXPECT_GT(testing::results_in(directory.path(), kIdentity).size(), 20u)
      << "what worker 0 did is kept";
}

TEST(Coordinator, LongUnitsDoNotLookLikeLostWorkers) {
  const TemporaryDirectory directory;
  StagedPlan plan(1, 1);
  LocalTransport transport(1);
  JournalIndex index(system_files(), directory.path(), kIdentity);
  Journal journal(system_files(), directory.path(), kIdentity, "main", index);
  LaunchSetup setup = quick();
  setup.options.heartbeat_timeout = milliseconds(1'000);
  setup.options.heartbeat_interval = milliseconds(20);
  Coordinator coordinator(transport, plan, index, journal, setup.options);
  WorkLoopOptions options;
  options.heartbeat_interval = milliseconds(20);
  options.coordinator_timeout = milliseconds(1'000);
  std::thread worker([&] {
    work(
        transport.worker(0),
        [](std::uint64_t unit, const std::string& payload, const std::atomic<bool>& cancelled) {
          std::this_thread::sleep_for(milliseconds(1'400));
          return compute_result(unit, payload, cancelled);
        },
        options);
  });
  EXPECT_EQ(coordinator.run().units_done, 2u);
  worker.join();
}

TEST(Coordinator, AStopRequestFinishesWhatIsInWorkAndResumes) {
  const TemporaryDirectory directory;
  std::atomic<int> stop{0}, computed{0};
  LaunchSetup setup = quick();
  setup.options.stop = &stop;
  setup.compute = [&](std::uint64_t unit, const std::string& payload,
                      const std::atomic<bool>& cancelled) {
    std::this_thread::sleep_for(milliseconds(2));
    if (++computed == 30) stop = 1;
    return compute_result(unit, payload, cancelled);
  };
  StagedPlan first(2, 30), second(2, 30);
  const Outcome outcome = launch(directory.path(), first, setup);
  EXPECT_EQ(outcome.end, RunEnd::kStopped);
  EXPECT_EQ(outcome.units_done, static_cast<std::uint64_t>(computed))
      << "every unit in work was kept";
  EXPECT_LT(computed, 40);
  stop = 0;
  const Outcome resumed = launch(directory.path(), second, setup);
  EXPECT_EQ(resumed.units_resumed, outcome.units_done);
  EXPECT_EQ(computed, 120);
  EXPECT_EQ(second.done, expected_results(2, 30));
}

TEST(Coordinator, ASecondStopRequestOrTheGraceTimeCancels) {
  for (const int requests : {1, 2}) {
    const TemporaryDirectory directory;
    StagedPlan plan(1, 4);
    std::atomic<int> stop{0};
    LaunchSetup setup = quick();
    setup.options.stop = &stop;
    setup.options.grace = requests == 1 ? milliseconds(50) : milliseconds(30'000);
    setup.compute = [&](std::uint64_t, const std::string&,
                        const std::atomic<bool>& cancelled) -> std::string {
      stop = requests;
      while (!cancelled) std::this_thread::sleep_for(milliseconds(1));
      throw UnitCancelled{};
    };
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(launch(directory.path(), plan, setup).end, RunEnd::kStopped);
    EXPECT_LT(std::chrono::steady_clock::now() - start, milliseconds(2000));
  }
}

TEST(Coordinator, ReportsProgressThatAddsUp) {
  const TemporaryDirectory directory;
  StagedPlan plan(2, 10);
  LaunchSetup setup = quick();
  setup.options.progress_interval = milliseconds(0);
  Progress last;
  setup.options.on_progress = [&](const Progress& progress) {
    EXPECT_GE(progress.units_done, last.units_done);
    EXPECT_LE(progress.cost_done, progress.cost_total);
    last = progress;
  };
  launch(directory.path(), plan, setup);
  EXPECT_EQ(last.units_done, 40u);
  EXPECT_EQ(last.units_total, 40u);
  EXPECT_DOUBLE_EQ(last.cost_done, last.cost_total);
}

TEST(Coordinator, CostsThatAreNoCostsDoNoHarm) {
  struct Odd : TaskSource {
    std::vector<Task> initial() override {
      return {{1, 0, -5, "1"}, {2, 0, std::nan(""), "2"}, {3, 1, HUGE_VAL, "3"}, {4, 1, 1, "4"}};
    }
    std::vector<Task> completed(std::uint64_t, std::string) override { return {}; }
    std::vector<Task> failed(std::uint64_t, const std::string&) override { return {}; }
    std::vector<Task> split(std::uint64_t) override { return {}; }
  } plan;
  const TemporaryDirectory directory;
  LaunchSetup setup = quick();
  Progress last;
  setup.options.on_progress = [&](const Progress& progress) { last = progress; };
  EXPECT_EQ(launch(directory.path(), plan, setup).units_done, 4u);
  EXPECT_DOUBLE_EQ(last.cost_total, 1);
}

TEST(Coordinator, APlanThatReleasesAUnitTwiceIsAnError) {
  struct Twice : StagedPlan {
    Twice() : StagedPlan(1, 2) {}
    std::vector<Task> completed(std::uint64_t, std::string) override { return {{1, 0, 1, "1"}}; }
  } plan;
  const TemporaryDirectory directory;
  EXPECT_THROW(launch(directory.path(), plan, quick()), std::logic_error);
}

// ---- the meter alone

Task task_of(std::uint64_t id, std::uint32_t kind, double cost) {
  Task task{id, 0, cost, ""};
  task.kind = kind;
  return task;
}

TEST(ProgressMeter, TheShareNeverFalls) {
  ProgressMeter meter;
  const ProgressMeter::Clock::time_point now{};
  meter.expect({{1, 10, 90}});
  for (std::uint64_t id = 0; id < 10; ++id) meter.add_total(task_of(id, 0, 1));
  for (std::uint64_t id = 0; id < 5; ++id) meter.add_done(task_of(id, 0, 1), false, false);
  EXPECT_NEAR(meter.snapshot(now, 0).share, 0.05, 1e-12);
  EXPECT_EQ(meter.snapshot(now, 0).units_total, 20u);
  // Fewer prompts are selected than might have been: the share rises.
  meter.expect({{1, 4, 30}});
  EXPECT_NEAR(meter.snapshot(now, 0).share, 0.125, 1e-12);
  // Something unforeseen: what was shown stays until it is true again.
  meter.add_total(task_of(99, 1, 1000));
  EXPECT_NEAR(meter.snapshot(now, 0).share, 0.125, 1e-12);
}

// Ten cheap units that take long for their cost, then one kind that is quick for its own: the time
// of the first says nothing about the second.
TEST(ProgressMeter, TheTimeLeftIsOfTheKindsThatAreLeft) {
  ProgressMeter meter;
  const ProgressMeter::Clock::time_point now{};
  for (std::uint64_t id = 0; id < 10; ++id) meter.add_total(task_of(id, 0, 1));
  meter.expect({{1, 10, 1000}});
  for (std::uint64_t id = 0; id < 10; ++id) {
    meter.add_done(task_of(id, 0, 1), false, false);
    meter.add_time(task_of(id, 0, 1), 0.5);
  }
  EXPECT_FALSE(meter.snapshot(now, 0).seconds_left.has_value()) << "500 s would be a guess";
  meter.expect({});
  for (std::uint64_t id = 10; id < 20; ++id) meter.add_total(task_of(id, 1, 100));
  meter.add_done(task_of(10, 1, 100), false, false);
  meter.add_time(task_of(10, 1, 100), 1);
  EXPECT_NEAR(meter.snapshot(now, 0, 1).seconds_left.value(), 9, 1e-9);
  EXPECT_NEAR(meter.snapshot(now, 0, 3).seconds_left.value(), 3, 1e-9);
  for (std::uint64_t id = 11; id < 20; ++id) meter.add_done(task_of(id, 1, 100), false, false);
  EXPECT_EQ(meter.snapshot(now, 0).seconds_left, 0);
}

// Lets every single changing file operation of a launch go wrong in turn, in every way, and
// continues after it.
class EveryStep : public ::testing::TestWithParam<FaultyFiles::Fault> {};

TEST_P(EveryStep, LosesNothingThatWasDurable) {
  const auto expected = expected_results(2, 4);
  for (int step = 1;; ++step) {
    const TemporaryDirectory directory;
    FaultyFiles files;
    files.fail_at = step;
    files.fault = GetParam();
    LaunchSetup setup = quick();
    setup.workers = 2;
    setup.files = &files;
    StagedPlan first(2, 4), second(2, 4);
    bool ended = false;
    try {
      launch(directory / "journal", first, setup);
    } catch (const RunError& error) {
      ended = true;
      EXPECT_THAT(error.what(), HasSubstr(directory.path().string()));
      if (GetParam() == FaultyFiles::Fault::kNoSpace) {
        EXPECT_THAT(error.what(), HasSubstr("No space left"));
      }
    } catch (const Crash&) {
      ended = true;
    }
    if (GetParam() == FaultyFiles::Fault::kShortWrite) {
      EXPECT_FALSE(ended) << "a short write is simply continued";
    }
    const auto durable = testing::results_in(directory / "journal", kIdentity);
    for (const auto& [unit, result] : first.done)
      EXPECT_EQ(durable.count(unit), 1u) << unit << " lost at " << step;
    launch(directory / "journal", second, quick());
    EXPECT_EQ(second.done, expected);
    EXPECT_EQ(testing::results_in(directory / "journal", kIdentity), expected);
    if (files.steps < step) break;  // the launch has no such step any more
    ASSERT_LT(step, 500);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Faults, EveryStep,
    ::testing::Values(FaultyFiles::Fault::kNoSpace, FaultyFiles::Fault::kReadOnly,
                      FaultyFiles::Fault::kIoError, FaultyFiles::Fault::kShortWrite,
                      FaultyFiles::Fault::kCrash, FaultyFiles::Fault::kPowerLoss));

TEST(Coordinator, IndependentProcessesShareTheUnits) {
  const TemporaryDirectory directory;
  std::mutex mutex;
  std::map<std::uint64_t, int> computed;
  const auto compute = [&](std::uint64_t unit, const std::string& payload,
                           const std::atomic<bool>& cancelled) {
    std::this_thread::sleep_for(milliseconds(2));
    const std::lock_guard lock(mutex);
    ++computed[unit];
    return compute_result(unit, payload, cancelled);
  };
  const auto member = [&](int number, StagedPlan& plan) {
    const RunLock lock(system_files(), directory.path(), RunLock::Mode::kShared);
    UnitClaims claims(system_files(), directory.path(), lock);
    const std::string writer = fmt::format("job-{}", number);
    LocalTransport transport(2);
    JournalIndex index(system_files(), directory / "journal", kIdentity);
    Journal journal(system_files(), directory / "journal", kIdentity, writer, index);
    CoordinatorOptions options = quick().options;
    options.claims = &claims;
    options.writer = writer;
    options.claims_interval = milliseconds(20);
    Coordinator coordinator(transport, plan, index, journal, options);
    const Workers workers(transport, compute);
    coordinator.run();
  };
  std::vector<std::unique_ptr<StagedPlan>> plans;
  {
    std::vector<std::thread> members;
    for (int i = 0; i < 3; ++i) {
      plans.push_back(std::make_unique<StagedPlan>(2, 15));
      members.emplace_back(member, i, std::ref(*plans.back()));
    }
    for (std::thread& thread : members) thread.join();
  }
  for (const auto& plan : plans) EXPECT_EQ(plan->done, expected_results(2, 15));
  EXPECT_EQ(testing::results_in(directory / "journal", kIdentity), expected_results(2, 15));
  for (const auto& [unit, times] : computed) EXPECT_EQ(times, 1) << unit;
}

}  // namespace
}  // namespace factflow
