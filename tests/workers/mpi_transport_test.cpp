// The same tests for one process and for every number of ranks: each test runs on all ranks
// together.
#include "workers/mpi_transport.hpp"

#include <thread>

#include <gmock/gmock.h>

#include "base/error.hpp"
#include "workers/protocol.hpp"

namespace factflow {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

Launch* launch = nullptr;  // of this program; tests share it because MPI starts once per process

TEST(Launch, RanksAreNumbered) {
  EXPECT_GE(launch->rank(), 0);
  EXPECT_LT(launch->rank(), launch->size());
  EXPECT_EQ(launch->local_rank(), launch->rank()) << "all ranks of this test run on one node";
  EXPECT_EQ(launch->ranks_on_node(), launch->size());
  EXPECT_FALSE(launch->host().empty());
}

TEST(Launch, BroadcastsAnySize) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{50} << 20}) {
    std::string blob(size, 'x');
    for (std::size_t i = 0; i < size; i += 4093) blob[i] = static_cast<char>(i);
    EXPECT_TRUE(launch->broadcast(launch->rank() == 0 ? blob : "ignored") == blob);
  }
}

TEST(Launch, GathersWhatEveryRankSays) {
  const auto said_by = [](int rank) {
    return std::string(static_cast<size_t>(rank) * 3, static_cast<char>('a' + rank));
  };
  const std::vector<std::string> all = launch->gather(said_by(launch->rank()));
  ASSERT_EQ(all.size(), static_cast<size_t>(launch->size()));
  for (int rank = 0; rank < launch->size(); ++rank)
    EXPECT_EQ(all[static_cast<size_t>(rank)], said_by(rank));
}

TEST(Launch, AStepThatSucceedsEverywhereThrowsNowhere) {
  int ran = 0;
  EXPECT_NO_THROW(launch->together([&] { ++ran; }));
  EXPECT_EQ(ran, 1);
}

TEST(Launch, AStepThatFailsOnOneRankFailsOnAllWithItsMessage) {
  for (int bad = 0; bad < launch->size(); ++bad) {
    try {
      launch->together([&] {
        if (launch->rank() == bad) throw InputError("model.safetensors", "is truncated");
      });
      FAIL() << "expected an error on every rank";
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), 2);
      EXPECT_THAT(error.what(), HasSubstr("model.safetensors: is truncated"));
      if (launch->size() > 1) {
        EXPECT_THAT(error.what(), HasSubstr("rank " + std::to_string(bad) + " on "));
      }
    }
  }
}

TEST(Launch, TheWorstFailureSpeaks) {
  if (launch->size() < 2) GTEST_SKIP() << "needs two ranks";
  try {
    launch->together([&] {
      if (launch->rank() == 0) throw RunError("a failed device");
      throw InputError("config", "bad");
    });
    FAIL() << "expected an error on every rank";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), 2);
    EXPECT_THAT(error.what(), HasSubstr("rank 1 on "));
  }
}

// Every worker echoes `rounds` messages, then leaves on kFinish.
void echo(WorkerTransport& transport) {
  transport.send({static_cast<std::uint32_t>(MessageKind::kHello), 0, 0, ""});
  for (;;) {
    std::optional<Message> message = transport.receive(milliseconds(10'000));
    ASSERT_TRUE(message.has_value());
    if (message->kind == static_cast<std::uint32_t>(MessageKind::kFinish)) break;
    EXPECT_EQ(message->worker, static_cast<std::uint32_t>(transport.worker()));
    message->kind = static_cast<std::uint32_t>(MessageKind::kResult);
    transport.send(std::move(*message));
  }
  transport.send({static_cast<std::uint32_t>(MessageKind::kGoodbye), 0, 0, ""});
  EXPECT_TRUE(transport.flush(milliseconds(10'000)));
}

std::string payload_of(std::uint64_t unit, std::size_t bytes) {
  return std::string(bytes, static_cast<char>('a' + unit % 26));
}

// Sends `count` messages to each worker and expects them back in order.
void exchange(CoordinatorTransport& transport, std::uint64_t count, std::size_t bytes) {
  std::vector<std::uint64_t> next(static_cast<std::size_t>(transport.workers()));
  for (std::uint64_t unit = 0; unit < count; ++unit)
    for (int worker = 0; worker < transport.workers(); ++worker)
      transport.send(worker, {static_cast<std::uint32_t>(MessageKind::kTask), 0, unit,
                              payload_of(unit, bytes)});
  int goodbyes = 0;
  while (goodbyes < transport.workers()) {
    const std::optional<Message> message = transport.receive(milliseconds(10'000));
    ASSERT_TRUE(message.has_value()) << "messages got lost";
    if (message->kind == static_cast<std::uint32_t>(MessageKind::kGoodbye)) ++goodbyes;
    if (message->kind != static_cast<std::uint32_t>(MessageKind::kResult)) continue;
    EXPECT_EQ(message->unit, next.at(message->worker)++);
    EXPECT_TRUE(message->payload == payload_of(message->unit, bytes));
    if (message->unit + 1 == count)
      transport.send(static_cast<int>(message->worker),
                     {static_cast<std::uint32_t>(MessageKind::kFinish), 0, 0, ""});
  }
}

void run_echo(std::uint64_t count, std::size_t bytes) {
  std::thread coordinator;
  if (launch->rank() == 0)
    coordinator = std::thread([&] { exchange(launch->coordinator_transport(), count, bytes); });
  echo(launch->worker_transport());
  if (coordinator.joinable()) coordinator.join();
}

TEST(MpiTransport, ManySmallMessages) {
  run_echo(2'000, 100);
}
TEST(MpiTransport, EmptyPayloads) {
  run_echo(50, 0);
}
TEST(MpiTransport, PayloadsOfTensOfMegabytes) {
  run_echo(3, std::size_t{40} << 20);
}

}  // namespace
}  // namespace factflow

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  factflow::Launch launch;
  factflow::launch = &launch;
  return launch.finish(RUN_ALL_TESTS());
}
