#include "workers/local_transport.hpp"

#include <thread>

#include <gmock/gmock.h>

#include "base/error.hpp"
#include "workers/protocol.hpp"
#include "workers/work_loop.hpp"

namespace factflow {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

Message message_of(MessageKind kind, std::uint64_t unit = 0, std::string payload = "") {
  return {static_cast<std::uint32_t>(kind), 0, unit, std::move(payload)};
}

// The next message that is no heartbeat.
Message next(CoordinatorTransport& transport) {
  for (;;) {
    std::optional<Message> message = transport.receive(milliseconds(5'000));
    if (!message) throw std::runtime_error("no message came");
    if (message->kind != static_cast<std::uint32_t>(MessageKind::kHeartbeat))
      return std::move(*message);
  }
}

MessageKind kind_of(const Message& message) {
  return static_cast<MessageKind>(message.kind);
}

TEST(LocalTransport, KeepsTheOrderOfEachOfManyWorkers) {
  constexpr int kWorkers = 16, kMessages = 500;
  LocalTransport transport(kWorkers);
  std::vector<std::thread> threads;
  for (int i = 0; i < kWorkers; ++i)
    threads.emplace_back([&transport, i] {
      for (std::uint64_t j = 0; j < kMessages; ++j)
        transport.worker(i).send({1, 99, j, std::to_string(i)});
    });
  std::vector<std::uint64_t> seen(kWorkers);
  for (int i = 0; i < kWorkers * kMessages; ++i) {
    const Message message = next(transport);
    ASSERT_EQ(message.payload, std::to_string(message.worker)) << "a worker cannot pose as another";
    EXPECT_EQ(message.unit, seen[message.worker]++);
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(LocalTransport, ReceiveGivesUpAfterTheTimeout) {
  LocalTransport transport(1);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_FALSE(transport.receive(milliseconds(30)).has_value());
  EXPECT_FALSE(transport.worker(0).receive(milliseconds(0)).has_value());
  EXPECT_GE(std::chrono::steady_clock::now() - start, milliseconds(29));
}

TEST(Protocol, FailuresSurviveTheJourney) {
  const Failure failure = decode_failure(encode_failure({FailureKind::kFatal, "two\nlines"}));
  EXPECT_EQ(failure.kind, FailureKind::kFatal);
  EXPECT_EQ(failure.reason, "two lines");
  for (const char* bad : {"", "\x09what", "\xFFwhat"}) EXPECT_THROW(decode_failure(bad), RunError);
}

// A worker that runs `compute` on a thread of its own.
class OneWorker {
 public:
  explicit OneWorker(const ComputeFunction& compute, const WorkLoopOptions& options = {})
      : thread_([this, compute, options] {
          try {
            answered_ = work(transport_.worker(0), compute, options);
          } catch (const RunError& error) {
            error_ = error.what();
          }
        }) {}
  ~OneWorker() { join(); }
  LocalTransport& transport() { return transport_; }
  void tell(MessageKind kind, std::uint64_t unit = 0, std::string payload = "") {
    transport_.send(0, message_of(kind, unit, std::move(payload)));
  }
  std::uint64_t join() {
    if (thread_.joinable()) thread_.join();
    return answered_;
  }
  std::string error() {
    join();
    return error_;
  }

 private:
  LocalTransport transport_{1};
  std::uint64_t answered_ = 0;
  std::string error_;
  std::thread thread_;
};

TEST(WorkLoop, AnswersEveryTaskAndSaysGoodbye) {
  OneWorker worker(
      [](std::uint64_t unit, const std::string& payload, const std::atomic<bool>&) -> std::string {
        if (unit == 2) throw UnitFailure(FailureKind::kOutOfMemory, "too large");
        if (unit == 3) throw std::runtime_error("odd");
        if (unit == 4) throw std::bad_alloc();
        return payload + "!";
      });
  EXPECT_EQ(kind_of(next(worker.transport())), MessageKind::kHello);
  for (std::uint64_t unit = 1; unit <= 4; ++unit) worker.tell(MessageKind::kTask, unit, "payload");
  const Message result = next(worker.transport());
  EXPECT_EQ(kind_of(result), MessageKind::kResult);
  EXPECT_EQ(result.payload, "payload!");
  for (const auto& [kind, reason] : {std::pair{FailureKind::kOutOfMemory, "too large"},
                                     {FailureKind::kError, "odd"},
                                     {FailureKind::kOutOfMemory, "out of host memory"}}) {
    const Message message = next(worker.transport());
    EXPECT_EQ(kind_of(message), MessageKind::kFailure);
    EXPECT_EQ(decode_failure(message.payload).kind, kind);
    EXPECT_EQ(decode_failure(message.payload).reason, reason);
  }
  worker.tell(MessageKind::kFinish);
  EXPECT_EQ(kind_of(next(worker.transport())), MessageKind::kGoodbye);
  EXPECT_EQ(worker.join(), 4u);
}

TEST(WorkLoop, ForeseesTheTaskAfterTheOneThatIsComputed) {
  constexpr std::uint64_t kTasks = 50;
  std::vector<std::uint64_t> foreseen;
  std::uint64_t computed = 0;
  WorkLoopOptions options;
  options.foresee = [&](std::uint64_t unit, const std::string& payload) {
    EXPECT_EQ(unit, computed + 2);  // `computed` + 1 comes now
    EXPECT_EQ(payload, std::to_string(unit));
    foreseen.push_back(unit);
  };
  OneWorker worker(
      [&](std::uint64_t unit, const std::string&, const std::atomic<bool>&) {
        EXPECT_EQ(unit, ++computed);
        std::this_thread::sleep_for(milliseconds(1));
        return std::string();
      },
      options);
  for (std::uint64_t unit = 1; unit <= kTasks; ++unit)
    worker.tell(MessageKind::kTask, unit, std::to_string(unit));
  EXPECT_EQ(kind_of(next(worker.transport())), MessageKind::kHello);
  for (std::uint64_t unit = 1; unit <= kTasks; ++unit)
    EXPECT_EQ(kind_of(next(worker.transport())), MessageKind::kResult);
  worker.tell(MessageKind::kFinish);
  EXPECT_EQ(worker.join(), kTasks);
  EXPECT_FALSE(foreseen.empty());
}

TEST(WorkLoop, FinishForgetsWhatHasNotBegun) {
  std::atomic<bool> begun{false}, go{false};
  OneWorker worker([&](std::uint64_t, const std::string&, const std::atomic<bool>&) {
    begun = true;
    while (!go) std::this_thread::sleep_for(milliseconds(1));
    return std::string("done");
  });
  worker.tell(MessageKind::kTask, 1);
  worker.tell(MessageKind::kTask, 2);
  while (!begun) std::this_thread::sleep_for(milliseconds(1));
  worker.tell(MessageKind::kFinish);
  std::this_thread::sleep_for(milliseconds(50));
  go = true;
  EXPECT_EQ(worker.join(), 1u);
}

TEST(WorkLoop, HeartbeatsGoOnWhileComputing) {
  WorkLoopOptions options;
  options.heartbeat_interval = milliseconds(10);
  OneWorker worker(
      [](std::uint64_t, const std::string&, const std::atomic<bool>& cancelled) -> std::string {
        while (!cancelled) std::this_thread::sleep_for(milliseconds(1));
        throw UnitCancelled{};
      },
      options);
  worker.tell(MessageKind::kTask, 1);
  int heartbeats = 0;
  while (heartbeats < 10) {
    const std::optional<Message> message = worker.transport().receive(milliseconds(2'000));
    ASSERT_TRUE(message.has_value());
    if (kind_of(*message) == MessageKind::kHeartbeat) ++heartbeats;
  }
  worker.tell(MessageKind::kCancel);
  EXPECT_EQ(worker.join(), 0u) << "a cancelled unit is not answered";
}

TEST(WorkLoop, GivesUpWhenTheCoordinatorFallsSilent) {
  std::atomic<int> calls{0};
  WorkLoopOptions options;
  options.coordinator_timeout = milliseconds(100);
  options.on_coordinator_lost = [&](const std::string&) { ++calls; };
  OneWorker worker(
      [](std::uint64_t, const std::string&, const std::atomic<bool>& cancelled) -> std::string {
        while (!cancelled) std::this_thread::sleep_for(milliseconds(1));
        throw UnitCancelled{};
      },
      options);
  worker.tell(MessageKind::kTask, 1);
  EXPECT_THAT(worker.error(), HasSubstr("has not heard of the coordinator"));
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace factflow
