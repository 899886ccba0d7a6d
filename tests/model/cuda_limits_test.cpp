// What a GPU cannot hold is found before anything is put on it; asked of limits, without a GPU.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "model/limits.hpp"
#include "random_checkpoint.hpp"

namespace factflow {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string error_of(nlohmann::json config, const char* change, const CudaLimits& limits = {}) {
  config.merge_patch(nlohmann::json::parse(change));
  try {
    check_cuda_limits(read_architecture(config, "config.json"), limits, "models/large");
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

std::string error_of(const char* model, const char* change, const CudaLimits& limits = {}) {
  return error_of(small_config(model), change, limits);
}

TEST(CudaLimits, HoldModelsOfUsualSizes) {
  for (const char* model : {"gpt2", "llama", "mistral", "qwen2", "gpt_neox", "mamba",
                            "falcon_mamba", "mamba2", "mamba_ssm", "mamba_ssm2"})
    EXPECT_EQ(error_of(model, "{}"), "") << model;
  for (const std::string& model : small_decoders())
    EXPECT_EQ(error_of(model.c_str(), "{}"), "") << model;
  EXPECT_EQ(error_of("llama", R"({"head_dim": 256})"), "");
  EXPECT_EQ(error_of("mamba", R"({"state_size": 16})"), "");
  EXPECT_EQ(error_of(nlohmann::json{{"model_type", "mamba2"}}, "{}"), "");
}

TEST(CudaLimits, ArePassedByStates) {
  EXPECT_THAT(error_of("mamba", R"({"state_size": 17})"),
              AllOf(HasSubstr("models/large: has 17 states per channel, but the CUDA kernels hold "
                              "at most 16"),
                    HasSubstr("device: cpu")));
  EXPECT_THAT(error_of("falcon_mamba", R"({"state_size": 32})"), HasSubstr("32 states"));
  EXPECT_THAT(error_of("mamba_ssm", R"({"ssm_cfg": {"d_state": 64}})"), HasSubstr("64 states"));
  EXPECT_EQ(error_of("mamba", R"({"state_size": 17})", {.states = 32}), "");
}

TEST(CudaLimits, ArePassedByHeads) {
  for (const char* model : {"llama", "mistral", "qwen2"})
    EXPECT_THAT(error_of(model, R"({"head_dim": 258})"),
                AllOf(HasSubstr("has 258 dimensions in an attention head"), HasSubstr("256"),
                      HasSubstr("device: cpu")));
  EXPECT_THAT(error_of("gpt2", R"({"n_embd": 514, "n_head": 2})"), HasSubstr("257 dimensions"));
  EXPECT_THAT(error_of("gpt_neox", R"({"hidden_size": 1040})"), HasSubstr("260 dimensions"));
}

TEST(CudaLimits, ArePassedBySharedMemory) {
  const char* many = R"({"hidden_size": 512, "num_heads": 1024, "head_dim": 1, "n_groups": 1})";
  EXPECT_THAT(error_of("mamba2", many),
              AllOf(HasSubstr("has 1024 heads in a group"), HasSubstr("shared memory"),
                    HasSubstr("227.0 KiB"), HasSubstr("device: cpu")));
  EXPECT_EQ(error_of("mamba2", R"({"hidden_size": 512, "num_heads": 1024, "head_dim": 1})"), "");
  EXPECT_THAT(error_of("mamba2", "{}", {.shared_bytes = 1024}),
              HasSubstr("has 4 heads in a group"));
  EXPECT_EQ(error_of("llama", "{}", {.shared_bytes = 1024}), "");
}

}  // namespace
}  // namespace factflow
