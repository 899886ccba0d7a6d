// A device that has less memory than the engine was told: an error, since smaller passes give other
// bits.
#include "workers/loaded_model.hpp"

#include <c10/core/CPUAllocator.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/threads.hpp"

namespace factflow {
namespace {

// Refuses large pieces, with the words of libtorch, as long as it lives.
class SmallMemory final : public at::Allocator {
 public:
  explicit SmallMemory(size_t largest) : largest_(largest) { c10::SetCPUAllocator(this, 1); }
  ~SmallMemory() override { c10::SetCPUAllocator(c10::GetDefaultCPUAllocator(), 1); }
  at::DataPtr allocate(size_t bytes) const override {
    if (bytes > largest_) {
      ++refused;
      TORCH_CHECK(false, "DefaultCPUAllocator: can't allocate memory: you tried to allocate ",
                  bytes, " bytes");
    }
    return c10::GetDefaultCPUAllocator()->allocate(bytes);
  }
  at::DeleterFnPtr raw_deleter() const override {
    return c10::GetDefaultCPUAllocator()->raw_deleter();
  }

  mutable int refused = 0;

 private:
  size_t largest_;
};

class MemoryShort : public ::testing::Test {
 protected:
  static LoadedModel load() {
    ModelJob job;
    job.name = "gpt2";
    job.path = job.tokenizer = FACTFLOW_SOURCE_DIR "/demo/models/gpt2";
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

}  // namespace
}  // namespace factflow
