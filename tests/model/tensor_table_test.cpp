// Checkpoints whose tensors are not what config.json promises, and the spellings that are accepted.
#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "random_checkpoint.hpp"

namespace factflow {
namespace {

using testing::HasSubstr;
using Tensors = std::map<std::string, NamedTensor>;

struct Spot {
  const char* model;
  const char* tensor;  // one that the family needs
};

// "" if the checkpoint loads.
std::string loading_error(const char* model, const Tensors& tensors) {
  const TemporaryDirectory directory;
  write_checkpoint(directory.path(), small_config(model), tensors);
  try {
    Network::load(std::make_shared<const Checkpoint>(Checkpoint::open(directory.path().string())),
                  at::kCPU, Precision::kFp32);
  } catch (const InputError& error) {
    const std::string line = error.what();
    EXPECT_EQ(line.find('\n'), std::string::npos) << line;
    EXPECT_THAT(line, HasSubstr(directory.path().string()));
    return line;
  }
  return "";
}

class BrokenTensors : public testing::TestWithParam<Spot> {
 protected:
  const char* model() const { return GetParam().model; }
  std::string name() const { return GetParam().tensor; }
  Tensors tensors_ = random_tensors(small_config(GetParam().model), 5);
};

TEST_P(BrokenTensors, AreComplete) {
  EXPECT_EQ(loading_error(model(), tensors_), "");
}

TEST_P(BrokenTensors, Missing) {
  tensors_.erase(name());
  EXPECT_THAT(loading_error(model(), tensors_),
              testing::ContainsRegex("tensor " + name() + " .* is missing"));
}

TEST_P(BrokenTensors, Misshapen) {
  tensors_[name()].shape.push_back(1);
  EXPECT_THAT(loading_error(model(), tensors_),
              HasSubstr("model.safetensors: tensor " + name() + ": expected shape ["));
}

TEST_P(BrokenTensors, Extra) {
  tensors_["experts.0.weight"] = {{2}, {1.0F, 2.0F}};
  EXPECT_THAT(
      loading_error(model(), tensors_),
      HasSubstr(
          "model.safetensors: tensor experts.0.weight [2] is not expected in this architecture"));
}

TEST_P(BrokenTensors, NotANumber) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    tensors_[name()].values.back() = bad;
    EXPECT_THAT(
        loading_error(model(), tensors_),
        HasSubstr("model.safetensors: tensor " + name() + ": 1 of " +
                  std::to_string(tensors_[name()].values.size()) + " values are NaN or infinite"));
  }
}

INSTANTIATE_TEST_SUITE_P(Families, BrokenTensors,
                         testing::Values(Spot{"gpt2", "transformer.h.1.attn.c_attn.weight"},
                                         Spot{"llama", "model.layers.2.mlp.up_proj.weight"},
                                         Spot{"mistral", "model.layers.0.self_attn.k_proj.weight"},
                                         Spot{"qwen2", "model.layers.0.self_attn.q_proj.bias"},
                                         Spot{"gpt_neox", "embed_out.weight"},
                                         Spot{"mamba", "backbone.layers.1.mixer.A_log"},
                                         Spot{"falcon_mamba", "lm_head.weight"},
                                         Spot{"mamba2", "backbone.layers.1.mixer.dt_bias"},
                                         Spot{"mamba_ssm", "backbone.norm_f.weight"},
                                         Spot{"mamba_ssm2", "backbone.layers.2.mixer.norm.weight"}),
                         [](const auto& test) { return test.param.model; });

void rename(Tensors& tensors, const std::string& from, const std::string& to) {
  auto node = tensors.extract(from);
  ASSERT_FALSE(node.empty()) << from;
  node.key() = to;
  tensors.insert(std::move(node));
}

TEST(TensorNames, TheBaseModelAloneLeavesItsPrefixOut) {
  Tensors with = random_tensors(small_config("gpt2"), 5), without;
  for (const auto& [name, tensor] : with)
    without[name.substr(std::string("transformer.").size())] = tensor;
  EXPECT_EQ(loading_error("gpt2", without), "");
}

TEST(TensorNames, MambaSsmCallsItsEmbeddingOtherwise) {
  Tensors tensors = random_tensors(small_config("mamba_ssm"), 5);
  rename(tensors, "backbone.embeddings.weight", "backbone.embedding.weight");
  EXPECT_EQ(loading_error("mamba_ssm", tensors), "");
}

TEST(TensorNames, ATiedHeadMayBeThereAsACopy) {
  Tensors tensors = random_tensors(small_config("mamba"), 5);
  tensors["lm_head.weight"] = tensors["backbone.embeddings.weight"];
  EXPECT_EQ(loading_error("mamba", tensors), "");
}

TEST(TensorNames, OldBuffersAreIgnored) {
  Tensors tensors = random_tensors(small_config("gpt2"), 5);
  tensors["transformer.h.0.attn.bias"] = {{1}, {1.0F}};
  tensors["h.2.attn.masked_bias"] = {{1}, {-1e4F}};
  EXPECT_EQ(loading_error("gpt2", tensors), "");
}

}  // namespace
}  // namespace factflow
