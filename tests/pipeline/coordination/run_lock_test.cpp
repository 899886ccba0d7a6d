#include "pipeline/coordination/run_lock.hpp"

#include <barrier>

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/error.hpp"
#include "base/files.hpp"
#include "pipeline/coordination/unit_claims.hpp"
#include "tests/pipeline/coordination/testing.hpp"

namespace factflow {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using Mode = RunLock::Mode;

RunLock::Options fast() {
  return {milliseconds(20), milliseconds(300)};
}

std::string refusal(const std::filesystem::path& directory, Mode mode) {
  try {
    const RunLock lock(system_files(), directory, mode, fast());
  } catch (const BusyError& error) {
    EXPECT_EQ(error.exit_code(), kExitBusy);
    return error.what();
  }
  return "locked";
}

// What another process leaves behind, as an owner file of another machine or of a dead process on
// this one.
Owner elsewhere() {
  Owner owner = Owner::self();
  owner.host = "node17";
  owner.machine = "another machine";
  return owner;
}
Owner dead() {
  Owner owner = Owner::self();
  owner.process_start += 1;  // this process number had another process once
  return owner;
}

TEST(RunLock, WhoHoldsADirectoryIsSeenWithoutATrace) {
  const TemporaryDirectory directory;
  EXPECT_TRUE(owners_of(directory.path()).empty());
  {
    const RunLock lock(system_files(), directory.path(), Mode::kExclusive, fast());
    const std::vector<SeenOwner> owners = owners_of(directory.path());
    ASSERT_EQ(owners.size(), 1U);
    EXPECT_TRUE(owners[0].alive && owners[0].here && !owners[0].shares);
    EXPECT_EQ(owners[0].owner.process, ::getpid());
  }
  EXPECT_TRUE(owners_of(directory.path()).empty());
  {
    const RunLock one(system_files(), directory.path(), Mode::kShared, fast());
    const RunLock two(system_files(), directory.path(), Mode::kShared, fast());
    const std::vector<SeenOwner> owners = owners_of(directory.path());
    ASSERT_EQ(owners.size(), 2U);
    EXPECT_TRUE(owners[0].alive && owners[0].shares && owners[1].shares);
  }
  const std::filesystem::path left = directory.write("run.lock", encode_owner(dead()));
  EXPECT_FALSE(owners_of(directory.path()).at(0).alive);
  // Of another machine the age of the file decides.
  directory.write("run.lock", encode_owner(elsewhere()));
  EXPECT_TRUE(owners_of(directory.path()).at(0).alive);
  std::filesystem::last_write_time(
      left, std::filesystem::file_time_type::clock::now() - std::chrono::hours(1));
  const auto before = std::filesystem::last_write_time(left);
  const SeenOwner silent = owners_of(directory.path()).at(0);
  EXPECT_FALSE(silent.alive);
  EXPECT_THAT(silent.description, HasSubstr("on node17, started"));
  EXPECT_THAT(silent.description, HasSubstr("last sign of life 1 h"));
  EXPECT_EQ(std::filesystem::last_write_time(left), before);
  directory.write("run.lock", "garbage");
  EXPECT_EQ(owners_of(directory.path()).at(0).description, "an unknown process");
}

TEST(RunLock, TheSecondLaunchIsRefusedUntilTheFirstEnds) {
  const TemporaryDirectory directory;
  {
    const RunLock lock(system_files(), directory / "run", Mode::kExclusive, fast());
    EXPECT_TRUE(lock.held());
    const std::string message = refusal(directory / "run", Mode::kExclusive);
    EXPECT_THAT(message, HasSubstr(fmt::format("is in use by process {} on ", ::getpid())));
    EXPECT_THAT(message, HasSubstr("choose another output directory"));
    EXPECT_THAT(refusal(directory / "run", Mode::kShared), HasSubstr("is in use by"));
    EXPECT_TRUE(lock.held());
  }
  EXPECT_EQ(refusal(directory / "run", Mode::kExclusive), "locked");
  EXPECT_FALSE(std::filesystem::exists(directory / "run" / "run.lock"));
}

TEST(RunLock, SharersGoWithEachOtherButNotWithAnExclusiveLaunch) {
  const TemporaryDirectory directory;
  {
    const RunLock first(system_files(), directory.path(), Mode::kShared, fast());
    const RunLock second(system_files(), directory.path(), Mode::kShared, fast());
    EXPECT_THAT(refusal(directory.path(), Mode::kExclusive), HasSubstr("is in use by"));
    EXPECT_EQ(refusal(directory.path(), Mode::kShared), "locked");
  }
  EXPECT_EQ(refusal(directory.path(), Mode::kExclusive), "locked");
}

TEST(RunLock, ADeadProcessOfThisMachineIsReplacedAtOnce) {
  const TemporaryDirectory directory;
  publish_file(directory / "run.lock", encode_owner(dead()));
  std::filesystem::create_directory(directory / "claims");
  publish_file(directory / "claims" / "owner-1", encode_owner(dead()));
  EXPECT_EQ(refusal(directory.path(), Mode::kExclusive), "locked");
}

TEST(RunLock, AKilledProcessIsReplacedAtOnce) {
  const TemporaryDirectory directory;
  const pid_t child = ::fork();
  if (child == 0) {
    const RunLock lock(system_files(), directory.path(), Mode::kExclusive, fast());
    ::pause();
  }
  while (!std::filesystem::exists(directory / "run.lock")) ::usleep(1000);
  EXPECT_THAT(refusal(directory.path(), Mode::kExclusive),
              HasSubstr(fmt::format("process {}", child)));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(refusal(directory.path(), Mode::kExclusive), "locked");
}

TEST(RunLock, ACrashAtAnyStepLeavesTheDirectoryUsable) {
  for (const Mode mode : {Mode::kExclusive, Mode::kShared}) {
    bool crashed = true;
    for (int step = 1; crashed; ++step) {
      const TemporaryDirectory directory;
      publish_file(directory / "run.lock", encode_owner(dead()));  // to be removed on the way
      const pid_t child = ::fork();
      if (child == 0) {
        testing::FaultyFiles files;
        files.fault = testing::FaultyFiles::Fault::kCrash;
        files.fail_at = step;
        try {
          const RunLock lock(files, directory / "", mode,
                             {milliseconds(100'000), milliseconds(300)});
          ::_exit(0);  // without giving it back
        } catch (...) {
          ::_exit(1);
        }
      }
      int status = 0;
      ::waitpid(child, &status, 0);
      ASSERT_TRUE(WIFEXITED(status));
      crashed = WEXITSTATUS(status) == 1;
      EXPECT_EQ(refusal(directory.path(), Mode::kShared), "locked") << "after step " << step;
      EXPECT_EQ(refusal(directory.path(), Mode::kExclusive), "locked") << "after step " << step;
      ASSERT_LT(step, 100);
    }
  }
}

TEST(RunLock, AnotherMachineLivesAsLongAsItsHeartbeat) {
  const TemporaryDirectory directory;
  publish_file(directory / "run.lock", encode_owner(elsewhere()));
  EXPECT_THAT(refusal(directory.path(), Mode::kExclusive), HasSubstr("node17"));
  EXPECT_THAT(refusal(directory.path(), Mode::kExclusive), HasSubstr("last sign of life"));
  ::usleep(350'000);
  EXPECT_EQ(refusal(directory.path(), Mode::kExclusive), "locked");
}

TEST(RunLock, AFileThatIsNoLockIsBelievedUntilItIsOld) {
  const TemporaryDirectory directory;
  publish_file(directory / "run.lock", "what is this");
  EXPECT_THAT(refusal(directory.path(), Mode::kExclusive), HasSubstr("unknown process"));
  ::usleep(350'000);
  EXPECT_EQ(refusal(directory.path(), Mode::kExclusive), "locked");
}

TEST(RunLock, AHolderThatLostItsLockNotices) {
  const TemporaryDirectory directory;
  {
    const RunLock lock(system_files(), directory.path(), Mode::kExclusive, fast());
    EXPECT_NO_THROW(lock.check());
    publish_file(directory / "run.lock", encode_owner(elsewhere()));
    ::usleep(100'000);
    EXPECT_FALSE(lock.held());
    EXPECT_THROW(lock.check(), RunError);
  }
  EXPECT_TRUE(std::filesystem::exists(directory / "run.lock"))
      << "the lock of the other is left alone";
}

TEST(RunLock, OfManyThatStartTogetherOneWins) {
  for (int round = 0; round < 10; ++round) {
    const TemporaryDirectory directory;
    // With a stale lock in the way, which all of them want to remove.
    publish_file(directory / "run.lock", encode_owner(dead()));
    std::atomic<int> winners{0};
    std::barrier together(8);
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i)
      threads.emplace_back([&] {
        together.arrive_and_wait();
        try {
          const RunLock lock(system_files(), directory.path(), Mode::kExclusive, fast());
          ++winners;
          ::usleep(100'000);
          EXPECT_TRUE(lock.held());
        } catch (const BusyError&) {
        }
      });
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(winners, 1);
  }
}

TEST(RunLock, ALiveLockIsNotRemovedThoughADeadOneWasSeen) {
  const TemporaryDirectory directory;
  const RunLock lock(system_files(), directory.path(), Mode::kExclusive, fast());
  publish_file(directory / "own", encode_owner(Owner::self()));
  EXPECT_FALSE(remove_stale(system_files(), lock.file(), "a dead one", directory / "own",
                            milliseconds(300)));
  EXPECT_TRUE(std::filesystem::exists(lock.file()));
  EXPECT_FALSE(std::filesystem::exists(directory / "run.lock.removal"));
}

// A directory of claims may hold what is none.
TEST(RunLock, OnlyClaimsOfDeadSharersAreRemoved) {
  const TemporaryDirectory directory;
  std::filesystem::create_directory(directory / "claims");
  publish_file(directory / "claims" / "owner-dead", encode_owner(dead()));
  publish_file(directory / "claims" / "unit-0000000000000001-00000000000000ff",
               encode_owner(dead()));
  publish_file(directory / "claims" / "contract.pdf", "a contract");
  EXPECT_EQ(refusal(directory.path(), Mode::kExclusive), "locked");
  EXPECT_FALSE(std::filesystem::exists(directory / "claims" / "owner-dead"));
  EXPECT_TRUE(std::filesystem::exists(directory / "claims" / "contract.pdf"));
}

TEST(RunLock, ARemoverThatDiedIsNoObstacle) {
  const TemporaryDirectory directory;
  publish_file(directory / "run.lock", encode_owner(dead()));
  publish_file(directory / "run.lock.removal", encode_owner(dead()));
  EXPECT_EQ(refusal(directory.path(), Mode::kExclusive), "locked");
  EXPECT_FALSE(std::filesystem::exists(directory / "run.lock.removal"));
}

TEST(UnitClaims, OneClaimPerUnit) {
  const TemporaryDirectory directory;
  const RunLock first_lock(system_files(), directory.path(), Mode::kShared, fast());
  const RunLock second_lock(system_files(), directory.path(), Mode::kShared, fast());
  UnitClaims first(system_files(), directory.path(), first_lock);
  {
    UnitClaims second(system_files(), directory.path(), second_lock);
    EXPECT_TRUE(first.claim(1));
    EXPECT_TRUE(first.claim(1)) << "it is ours already";
    EXPECT_FALSE(second.claim(1));
    EXPECT_TRUE(second.claim(2));
    EXPECT_TRUE(second.claim(3));
    first.release(1);
    EXPECT_TRUE(second.claim(1));
    EXPECT_FALSE(first.claim(1));
  }
  for (const std::uint64_t unit : {1, 2, 3})
    EXPECT_TRUE(first.claim(unit)) << "given back at the end";
}

TEST(UnitClaims, AKilledProcessLeavesItsUnitsToOthers) {
  const TemporaryDirectory directory;
  const pid_t child = ::fork();
  if (child == 0) {
    const RunLock lock(system_files(), directory.path(), Mode::kShared, fast());
    UnitClaims claims(system_files(), directory.path(), lock);
    claims.claim(5);
    ::pause();
  }
  const std::filesystem::path claim = directory / "claims" / "unit-0000000000000005";
  while (!std::filesystem::exists(claim)) ::usleep(1000);
  const RunLock lock(system_files(), directory.path(), Mode::kShared, fast());
  UnitClaims claims(system_files(), directory.path(), lock);
  EXPECT_FALSE(claims.claim(5));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_TRUE(claims.claim(5));
}

TEST(UnitClaims, ManyProcessesAfterOneStaleClaim) {
  const TemporaryDirectory directory;
  std::filesystem::create_directories(directory / "claims");
  for (std::uint64_t unit = 0; unit < 50; ++unit)
    publish_file(directory / "claims" / fmt::format("unit-{:016x}", unit), encode_owner(dead()));
  std::atomic<int> claimed{0};
  std::barrier together(6);
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i)
    threads.emplace_back([&] {
      const RunLock lock(system_files(), directory.path(), Mode::kShared, fast());
      UnitClaims claims(system_files(), directory.path(), lock);
      together.arrive_and_wait();
      for (std::uint64_t unit = 0; unit < 50; ++unit) claimed += claims.claim(unit);
      together.arrive_and_wait();  // nobody gives units back while others still ask
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(claimed, 50);
}

}  // namespace
}  // namespace factflow
