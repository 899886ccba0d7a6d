// Every buffer of every engine in the test program is filled with NaN before it is used.
#include <gtest/gtest.h>

#include "model/workspace.hpp"

namespace factflow {
namespace {

class PoisonedBuffers : public testing::Environment {
 public:
  void SetUp() override { poison_buffers(true); }
};

const testing::Environment* const poisoned = testing::AddGlobalTestEnvironment(new PoisonedBuffers);

}  // namespace
}  // namespace factflow
