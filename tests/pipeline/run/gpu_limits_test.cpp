// A model that no GPU can hold is refused with the configuration that asks for one.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "pipeline/run/job_builder.hpp"
#include "tests/source_dir.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow {
namespace {

TEST(GpuLimits, AreCheckedWhereAGpuIsAskedFor) {
  const TemporaryDirectory model;
  model.write("config.json", R"({"model_type": "mamba", "state_size": 64})");
  const auto build = [&](const char* device) {
    build_job(parse_config(fmt::format("name: x\ndataset: {{path: '{}/demo/facts.jsonl'}}\n"
                                       "models: [{{name: large, path: '{}'}}]\n"
                                       "run: {{device: '{}'}}\n",
                                       source_dir(), model.path().string(), device),
                           "x.yaml"),
              {}, Completeness::kConfigOnly);
  };
  for (const char* device : {"cpu", "auto"}) EXPECT_NO_THROW(build(device)) << device;
  for (const char* device : {"cuda", "cuda:1"}) {
    try {
      build(device);
      ADD_FAILURE() << device;
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), testing::AllOf(testing::HasSubstr(model.path().string() +
                                                                  ": has 64 states per channel"),
                                               testing::HasSubstr("device: cpu")));
    }
  }
}

}  // namespace
}  // namespace factflow
