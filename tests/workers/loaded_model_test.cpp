// A device that has less memory than the engine was told: an error, since smaller passes give other
// bits.
#include "experiments/loaded_model.hpp"

#include <atomic>

#include <c10/core/CPUAllocator.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/version.h>

#include "base/error.hpp"
#include "experiments/evaluate/evaluate.hpp"
#include "experiments/table.hpp"
#include "model/device.hpp"
#include "model/threads.hpp"
#include "tests/source_dir.hpp"
#include "workers/work_loop.hpp"
#include "workers/worker.hpp"

namespace factflow {
namespace {

// Refuses large pieces, with the words of libtorch, as long as it lives.
class SmallMemory final : public at::Allocator {
 public:
  explicit SmallMemory(size_t largest) : largest_(largest) { c10::SetCPUAllocator(this, 1); }
  ~SmallMemory() override { c10::SetCPUAllocator(c10::GetDefaultCPUAllocator(), 1); }
#if TORCH_VERSION_MAJOR >= 2
  at::DataPtr allocate(size_t bytes) override {
    return refuse_or_allocate(bytes);
  }
  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }
#else
  at::DataPtr allocate(size_t bytes) const override {
    return refuse_or_allocate(bytes);
  }
#endif
  at::DeleterFnPtr raw_deleter() const override {
    return c10::GetDefaultCPUAllocator()->raw_deleter();
  }

  mutable int refused = 0;

 private:
  at::DataPtr refuse_or_allocate(size_t bytes) const {
    if (bytes > largest_) {
      ++refused;
      TORCH_CHECK(false, "DefaultCPUAllocator: can't allocate memory: you tried to allocate ",
                  bytes, " bytes");
    }
    return c10::GetDefaultCPUAllocator()->allocate(bytes);
  }

  size_t largest_;
};

class MemoryShort : public ::testing::Test {
 protected:
  static LoadedModel load() {
    ModelSource job;
    job.path = job.tokenizer = source_dir() + "/demo/models/gpt2";
    return LoadedModel(job, at::kCPU, Precision::kFp64, std::int64_t{8} << 30, "here");
  }
  static std::vector<ReplayRequest> requests() {
    std::vector<Window> windows;
    for (int start = 0; start < 8; ++start) windows.push_back({start, start + 4});
    std::vector<ReplayRequest> all;
    for (int i = 0; i < 64; ++i)
      all.push_back(
          {{1, 2, 3 + i, 4, 5, 6, 7, 8}, 9, {{{7}, {2}, {}, windows}, {{7}, {3}, {}, windows}}});
    return all;
  }
};

TEST_F(MemoryShort, ADeviceWithLessMemoryThanPassesMayTakeIsAnErrorThatNamesTheKey) {
  set_threads(1, 1);
  const std::vector<ReplayResult> expected = load().replay(requests());
  LoadedModel model = load();
  {
    const SmallMemory memory(size_t{1} << 20);
    try {
      model.replay(requests());
      FAIL() << "smaller passes have other bits";
    } catch (const MemoryError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("memory_limit"));
    }
    EXPECT_GT(memory.refused, 0);
  }
  // Where there is memory again, the passes are the same ones, and so are the bits.
  const std::vector<ReplayResult> results = model.replay(requests());
  ASSERT_EQ(results.size(), expected.size());
  for (size_t i = 0; i < results.size(); ++i) {
    EXPECT_EQ(results[i].clean.log_probability, expected[i].clean.log_probability);
    for (size_t cut = 0; cut < 2; ++cut)
      for (size_t w = 0; w < 8; ++w)
        EXPECT_EQ(results[i].knockouts[cut][w].log_probability,
                  expected[i].knockouts[cut][w].log_probability);
  }
}

TEST_F(MemoryShort, APromptThatNeverFitsIsAMemoryError) {
  LoadedModel model = load();
  const SmallMemory memory(64);
  EXPECT_THROW(model.replay(requests()), MemoryError);
}

// Up to e4b056d a unit that is too large: split, and the model loaded anew for every part.
TEST_F(MemoryShort, AModelThatCannotBeLoadedIsNoUnitThatIsTooLarge) {
  Job job;
  job.device = "cpu";
  job.threads_per_rank = 1;
  job.precision = "fp64";
  ModelJob& model = job.models.emplace_back();
  model.name = "small";
  model.path = model.tokenizer = source_dir() + "/demo/models/gpt2";
  model.kept = 2'500'000;
  model.work.resize(experiment_kinds().size());
  Worker worker(job, "cpu", 1, "here");
  Prompt prompt;
  prompt.text = "The capital of France is";
  prompt.subject = "France";
  prompt.subject_begin = 15;
  prompt.answer = " Paris";
  const std::string payload = encode(Unit{evaluate_kind().number(), 0, {prompt, prompt}, {}});
  const std::atomic<bool> cancelled{false};
  {
    const SmallMemory memory(size_t{64} << 10);
    try {
      worker.compute(1, payload, cancelled);
      FAIL() << "the weights do not fit";
    } catch (const UnitFailure& failure) {
      EXPECT_EQ(failure.kind(), FailureKind::kLoading);
      EXPECT_THAT(failure.what(), testing::StartsWith("model small cannot be loaded on CPU"));
      EXPECT_THAT(failure.what(), testing::HasSubstr("its weights take 19.1 MiB in fp64"));
      EXPECT_THAT(failure.what(), testing::Not(testing::HasSubstr("\n")));
    }
    const int refused = memory.refused;
    EXPECT_GT(refused, 0);
    EXPECT_THROW(worker.compute(2, payload, cancelled), UnitFailure);
    EXPECT_EQ(memory.refused, refused) << "it is not loaded once more";
  }
}

TEST(WorkerStart, WhatNoDeviceCouldHoldIsRefusedAtOnce) {
  Job job;
  job.device = "cpu";
  ModelJob& model = job.models.emplace_back();
  model.name = "huge";
  model.kept = std::int64_t{1} << 50;
  model.converted = model.kept;
  try {
    Worker worker(job, "cpu", 1, "here");
    FAIL() << "4 PiB of weights";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), testing::StartsWith("model huge: its weights take"));
  }
  // In float32 they stay in the file's map.
  job.models[0].converted = 0;
  EXPECT_NO_THROW(Worker(job, "cpu", 1, "here"));
  job.precision = "fp64";
  EXPECT_THROW(Worker(job, "cpu", 1, "here"), InputError);
}

TEST(WorkerStart, APrecisionThatTheDeviceHasNotIsRefusedAtOnce) {
  Job job;
  job.precision = "bf16";
  EXPECT_THROW(Worker(job, "cpu", 1, "here"), InputError);
}

}  // namespace
}  // namespace factflow
