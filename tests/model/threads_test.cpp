// What is said about threads and the matrix library of the host.
#include "model/threads.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace factflow {
namespace {

using testing::HasSubstr;
using testing::Not;

// The programs ask for the OpenBLAS that shares OpenMP's threads where it is installed, whichever
// one the system would take.
TEST(Threads, TheOpenBlasThatSharesThreadsIsTaken) {
  if (std::getenv("LD_LIBRARY_PATH") != nullptr || std::getenv("LD_PRELOAD") != nullptr)
    GTEST_SKIP() << "LD_LIBRARY_PATH and LD_PRELOAD choose the library";
  const char* folder = "/usr/lib/x86_64-linux-gnu/openblas-openmp";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << folder << " is not installed";
  std::ostringstream maps;
  maps << std::ifstream("/proc/self/maps").rdbuf();
  if (maps.str().find("libblas.so") == std::string::npos)
    GTEST_SKIP() << "this libtorch brings its own matrix products";
  EXPECT_THAT(maps.str(), HasSubstr(std::string(folder) + "/libblas.so.3"));
  EXPECT_THAT(maps.str(), Not(HasSubstr("openblas-pthread")));
}

TEST(Threads, ACoreTypeBelowTheProcessorIsNamed) {
  EXPECT_THAT(core_type_warning("Haswell", 512), HasSubstr("OPENBLAS_CORETYPE=Haswell"));
  EXPECT_THAT(core_type_warning("Nehalem", 256), HasSubstr("128 bits"));
  EXPECT_EQ(core_type_warning("SkylakeX", 512), "");
  EXPECT_EQ(core_type_warning("Cooperlake", 512), "");
  EXPECT_EQ(core_type_warning("Haswell", 256), "");
  EXPECT_EQ(core_type_warning("Zen", 256), "");
  EXPECT_EQ(core_type_warning("", 512), "");
}

TEST(Threads, TheMixtureTakesTimeAndLeavesItsThreads) {
  EXPECT_GT(seconds_of_mixture(1), 0);
  EXPECT_EQ(set_threads(2, 1), 2);
  EXPECT_GT(seconds_of_mixture(2), 0);
  set_threads(1, 1);
}

}  // namespace
}  // namespace factflow
