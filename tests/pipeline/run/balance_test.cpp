// How evenly the units of a real plan spread over equal workers: plays through who takes what and
// when, without computing any.
#include <algorithm>
#include <deque>
#include <functional>
#include <queue>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "pipeline/coordination/task_queue.hpp"
#include "pipeline/run/run_plan.hpp"
#include "tests/pipeline/clean_runs.hpp"
#include "tests/source_dir.hpp"
#include "workers/protocol.hpp"

namespace factflow {
namespace {

// 216 knockouts of a prompt: 75 prompts to a full unit.
constexpr const char* kYaml = R"(
name: balance
dataset: {{path: '{0}/demo/facts.jsonl', limit: 200}}
models:
  - {{name: gpt2, path: '{0}/demo/models/gpt2'}}
select: {{correct_for: none}}
sweep:
  windows: {{sizes: [1, 3, 5, 7]}}
  knockouts:
    - {{from: [subject, relation, last, first, context], to: last}}
    - {{from: context, to: subject}}
)";
constexpr std::uint32_t kFullUnit = 75;
constexpr double kFixedShare = 0.01;  // what a unit costs besides its prompts, of a full unit's

// The moment when the last of `workers` equal workers is done, if the coordinator's rules decide
// who gets what.
class Play {
 public:
  Play(const std::vector<Task>& tasks, int workers, double fixed)
      : queue_(workers), hands_(static_cast<size_t>(workers)), fixed_(fixed) {
    for (const Task& task : tasks) queue_.push({task});
  }

  double makespan() {
    hand_out(0);
    double now = 0;
    while (!ends_.empty()) {
      const size_t worker = ends_.top().second;
      now = ends_.top().first;
      ends_.pop();
      hands_[worker].pop_front();
      if (!hands_[worker].empty()) begin(worker, now);
      hand_out(now);
    }
    return now;
  }

 private:
  void hand_out(double now) {
    for (size_t depth = 1; depth <= kTasksInHand; ++depth)
      for (size_t i = 0; i < hands_.size(); ++i) {
        if (hands_[i].size() >= depth || (depth > 1 && !queue_.may_fetch_ahead(hands_[i])))
          continue;
        std::optional<Attempt> next = queue_.pop(static_cast<int>(i));
        if (!next) return;
        hands_[i].push_back(std::move(*next));
        if (depth == 1) begin(i, now);
      }
  }
  void begin(size_t worker, double now) {
    ends_.emplace(now + hands_[worker].front().task.cost + fixed_, worker);
  }

  TaskQueue queue_;
  std::vector<std::deque<Attempt>> hands_;
  double fixed_;
  using End = std::pair<double, size_t>;
  std::priority_queue<End, std::vector<End>, std::greater<>> ends_;
};

class Balance : public ::testing::Test {
 protected:
  struct Lists {
    std::vector<Task> evaluation, sweep;
  };
  // The units of a run over so many prompts.
  Lists units(std::uint32_t prompts) const {
    Dataset dataset = dataset_;
    dataset.prompts.clear();
    for (std::uint32_t i = 0; i < prompts; ++i)
      dataset.prompts.push_back(dataset_.prompts[i % dataset_.prompts.size()]);
    RunPlan plan(config_, dataset, planned_);
    Lists lists{plan.initial(), {}};
    for (const Task& task : lists.evaluation) {
      const std::vector<std::int32_t> right(unit_named(task.id).count, 1);
      for (Task& next : plan.completed(task.id, encode(clean_runs(right))))
        lists.sweep.push_back(std::move(next));
    }
    return lists;
  }

  // The worst excess over a perfect division of whole units, in percent, among sweeps of 20 to 22
  // full units.
  template <class List>
  double worst_excess(int workers, List list) const {
    double worst = 0;
    for (std::uint32_t prompts = 20 * kFullUnit; prompts <= 22 * kFullUnit; prompts += 10) {
      const std::vector<Task> tasks = units(prompts).sweep;
      double sum = 0;
      for (const Task& task : tasks) sum += task.cost;
      const double full = sum * kFullUnit / prompts, fixed = full * kFixedShare;
      const double perfect = (sum + fixed * prompts / kFullUnit) / workers;
      worst =
          std::max(worst, 100 * (Play(list(tasks, full), workers, fixed).makespan() / perfect - 1));
    }
    return worst;
  }
  double worst_excess(int workers) const {
    return worst_excess(workers, [](const std::vector<Task>& tasks, double) { return tasks; });
  }

  const Config config_ = parse_config(fmt::format(kYaml, source_dir()), "balance.yaml");
  const Dataset dataset_ = read_dataset(config_.dataset);
  const PlannedJob planned_ = build_job(config_, dataset_.prompts, Completeness::kConfigOnly);
};

// As many equal units as make up the same work: what unit_sizes() is there to improve.
std::vector<Task> in_equal_units(const std::vector<Task>& tasks, double full) {
  std::vector<Task> equal;
  double left = 0;
  for (const Task& task : tasks) left += task.cost;
  for (; left > full / 1000; left -= full)
    equal.push_back({equal.size(), 0, std::min(left, full), ""});
  return equal;
}

TEST_F(Balance, ASweepOfTwentyUnitsSpreadsEvenly) {
  EXPECT_LT(worst_excess(1), 1.5);  // what small units cost somebody who has no use for them
  EXPECT_LT(worst_excess(2), 2);
  EXPECT_LT(worst_excess(4), 4);
  EXPECT_LT(worst_excess(8), 6);
}

TEST_F(Balance, EqualUnitsWouldNot) {
  EXPECT_GT(worst_excess(2, in_equal_units), 4);
  EXPECT_GT(worst_excess(4, in_equal_units), 10);
  EXPECT_GT(worst_excess(8, in_equal_units), 18);
}

TEST_F(Balance, AnEvaluationOfThousandPromptsSpreadsEvenly) {
  const std::vector<Task> tasks = units(1344).evaluation;
  double sum = 0;
  for (const Task& task : tasks) sum += task.cost;
  const double full = sum / 1344 * 512, fixed = full * kFixedShare;
  EXPECT_LT(Play(tasks, 2, fixed).makespan(), 1.1 * sum / 2);
  EXPECT_LT(Play(tasks, 4, fixed).makespan(), 1.15 * sum / 4);
  EXPECT_GT(Play(in_equal_units(tasks, full), 2, fixed).makespan(), 1.2 * sum / 2);
}

TEST_F(Balance, UnitsCoverEveryPromptOnceAndShrink) {
  for (const std::uint32_t prompts : {1U, 8U, 9U, 75U, 76U, 200U, 1344U, 5000U}) {
    const Lists lists = units(prompts);
    for (const std::vector<Task>* list : {&lists.evaluation, &lists.sweep}) {
      std::uint32_t next = 0, last = 512;
      for (const Task& task : *list) {
        const UnitName unit = unit_named(task.id);
        EXPECT_EQ(unit.begin, next) << prompts;
        EXPECT_LE(unit.count, last) << prompts;
        next += last = unit.count;
      }
      EXPECT_EQ(next, prompts);
    }
  }
}

}  // namespace
}  // namespace factflow
