#include "pipeline/coordination/task_queue.hpp"

#include <gmock/gmock.h>

namespace factflow {
namespace {

using ::testing::ElementsAre;

std::vector<std::uint64_t> pop_all(TaskQueue& queue, int worker) {
  std::vector<std::uint64_t> order;
  while (const std::optional<Attempt> attempt = queue.pop(worker))
    order.push_back(attempt->task.id);
  return order;
}

TEST(TaskQueue, LongestFirstWithinAModel) {
  TaskQueue queue(1);
  for (const auto& [id, cost] : {std::pair{1u, 2.0}, {2u, 5.0}, {3u, 2.0}, {4u, 9.0}})
    queue.push({{id, 0, cost, ""}});
  EXPECT_DOUBLE_EQ(queue.cost(), 18);
  EXPECT_THAT(pop_all(queue, 0), ElementsAre(4, 2, 1, 3));
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.cost(), 0);
}

TEST(TaskQueue, AWorkerKeepsItsModelWhileThereIsWorkForIt) {
  TaskQueue queue(2);
  queue.push({{1, 7, 10, ""}});
  queue.push({{2, 7, 1, ""}});
  queue.push({{3, 8, 9, ""}});
  queue.push({{4, 8, 8, ""}});
  // Model 8 has more work; having taken it, worker 0 stays, though model 7 has more left then.
  EXPECT_THAT(pop_all(queue, 0), ElementsAre(3, 4, 1, 2));
}

TEST(TaskQueue, WorkersSpreadByRemainingCostPerWorker) {
  TaskQueue queue(4);
  for (std::uint64_t i = 0; i < 30; ++i) queue.push({{i, 0, 1, ""}});
  for (std::uint64_t i = 100; i < 110; ++i) queue.push({{i, 1, 1, ""}});
  std::vector<int> on_model(2);
  for (int worker = 0; worker < 4; ++worker) ++on_model[queue.pop(worker)->task.affinity];
  EXPECT_THAT(on_model, ElementsAre(3, 1));
}

TEST(TaskQueue, AFailedTaskGoesToAnotherWorkerIfThereIsOne) {
  TaskQueue two(2), one(1);
  two.push({{1, 0, 1, ""}, 1, 0});
  EXPECT_FALSE(two.pop(0).has_value());
  EXPECT_EQ(two.pop(1)->failures, 1);
  one.push({{1, 0, 1, ""}, 1, 0});
  EXPECT_TRUE(one.pop(0).has_value());
}

TEST(TaskQueue, NobodyFetchesAheadWhatOthersCouldBegin) {
  TaskQueue queue(2);
  const Attempt task{{99, 0, 1, ""}}, short_task{{98, 0, 0.5, ""}};
  for (std::uint64_t i = 0; i < 4; ++i) queue.push({{i, 0, 1, ""}});
  EXPECT_TRUE(queue.may_fetch_ahead({task}));
  EXPECT_FALSE(queue.may_fetch_ahead({task, task}));
  EXPECT_TRUE(queue.may_fetch_ahead({short_task, short_task, short_task}));
  queue.pop(0);
  EXPECT_FALSE(queue.may_fetch_ahead({task}));
}

}  // namespace
}  // namespace factflow
