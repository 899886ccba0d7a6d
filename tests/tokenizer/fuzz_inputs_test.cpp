// Inputs that once upset the fuzzer: each must be read or refused, never more.
#include <filesystem>

#include <gtest/gtest.h>

#include "base/files.hpp"
#include "tests/fuzz/tokenizer_fuzz.hpp"
#include "tests/source_dir.hpp"

namespace factflow {
namespace {

TEST(FuzzInputs, AreReadOrRefused) {
  size_t inputs = 0;
  for (const auto& file :
       std::filesystem::directory_iterator(source_dir() + "/tests/fuzz/tokenizer_inputs")) {
    SCOPED_TRACE(file.path());
    EXPECT_NO_THROW(load_and_encode(read_file(file.path())));
    ++inputs;
  }
  EXPECT_GT(inputs, 0u);
}

}  // namespace
}  // namespace factflow
