// Checkpoints of RWKV-7 as its authors save them: a folder with a lone .pth.
#include "model/checkpoint/rwkv_archive.hpp"

#include "tests/checkpoint/support.hpp"

namespace factflow {
namespace {

using testing::HasSubstr;

// A folder with one of the files that make_pickles.py wrote, as model.pth.
void put(const TemporaryDirectory& folder, const std::string& pickle,
         const std::string& name = "model.pth") {
  folder.write(name, read_file(test_folder() / "pickles" / (pickle + ".bin")));
}

std::string refusal(const std::string& pickle) {
  const TemporaryDirectory folder;
  put(folder, pickle);
  return input_error([&] { Checkpoint::open(folder.path().string()); });
}

TEST(RwkvArchive, SizesAreReadOffTheTensors) {
  const TemporaryDirectory folder;
  put(folder, "rwkv7");
  EXPECT_TRUE(Checkpoint::has_weights(folder.path().string()));
  const Checkpoint checkpoint = Checkpoint::open(folder.path().string());
  const nlohmann::json& config = checkpoint.config();
  EXPECT_EQ(config, Checkpoint::read_config(folder.path().string()));
  EXPECT_EQ(config["model_type"], "rwkv7");
  for (const auto& [key, size] : std::map<std::string, int>{{"hidden_size", 4},
                                                            {"vocab_size", 5},
                                                            {"num_hidden_layers", 2},
                                                            {"head_dim", 2},
                                                            {"intermediate_size", 6},
                                                            {"decay_low_rank_dim", 2},
                                                            {"a_low_rank_dim", 3},
                                                            {"v_low_rank_dim", 1},
                                                            {"gate_low_rank_dim", 2}})
    EXPECT_EQ(config[key], size) << key;
}

TEST(RwkvArchive, TensorsHaveTheNamesAndFormsOfTheOtherLayout) {
  const TemporaryDirectory folder;
  put(folder, "rwkv7");
  const Checkpoint checkpoint = Checkpoint::open(folder.path().string());
  const auto& tensors = checkpoint.tensors();
  using Shape = std::vector<std::int64_t>;
  EXPECT_EQ(tensors.at("model.layers.1.attn.x_g").shape, (Shape{1, 1, 4}));
  EXPECT_EQ(tensors.at("model.layers.1.attn.k_k").shape, (Shape{4}));
  EXPECT_EQ(tensors.at("model.layers.0.attn.w_lora.lora.2.bias").shape, (Shape{4}));
  EXPECT_EQ(tensors.at("model.layers.0.pre_norm.bias").shape, (Shape{4}));
  EXPECT_EQ(tensors.at("lm_head.weight").shape, (Shape{5, 4}));
  // The first layer shares nothing of another.
  EXPECT_FALSE(tensors.contains("model.layers.0.attn.v_lora.lora.0.weight"));
  const StoredTensor& pair = tensors.at("model.layers.1.attn.a_lora.lora.0.weight");
  EXPECT_EQ(pair.shape, (Shape{3, 4}));
  // a1 [4, 3] counts in steps of 1/64, row after row.
  const double first = element(pair, 0);
  EXPECT_EQ(element(pair, 1), first + 3 / 64.0);
  EXPECT_EQ(element(pair, 4), first + 1 / 64.0);
  EXPECT_GT(checkpoint.owned_bytes(), 0u);
}

TEST(RwkvArchive, WhatIsNoRwkv7IsRefused) {
  EXPECT_THAT(refusal("rwkv6"), HasSubstr("blocks.0.att.time_decay"));
  EXPECT_THAT(refusal("rwkv6"), HasSubstr("RWKV before version 7"));
  EXPECT_THAT(refusal("rwkv7_deep"), HasSubstr("DeepEmbed"));
  EXPECT_THAT(refusal("protocol4"), HasSubstr("RWKV-7 does not have"));
  EXPECT_THAT(refusal("os_system"), HasSubstr("refuses the global os.system"));
  EXPECT_THAT(refusal("rwkv7_repeated"), HasSubstr("need more memory than the file"));
}

// As old files of flash-linear-attention have it: [6, 1, 1, hidden] in the order r, w, k, v, a, g.
TEST(RwkvArchive, OneTensorOfSixMixesIsSplit) {
  const std::vector<float> values = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  StoredTensor all = tensor_of(values);
  all.shape = {6, 1, 1, 2};
  TensorMap tensors = {{"model.layers.0.attn.x_x", all}, {"other", tensor_of(values)}};
  split_rwkv_mixes(tensors);
  ASSERT_EQ(tensors.size(), 7u);
  EXPECT_EQ(element(tensors.at("model.layers.0.attn.x_r"), 1), 1);
  EXPECT_EQ(element(tensors.at("model.layers.0.attn.x_v"), 0), 6);
  EXPECT_EQ(tensors.at("model.layers.0.attn.x_g").shape, (std::vector<std::int64_t>{1, 1, 2}));
  TensorMap wrong = {{"model.layers.0.attn.x_x", tensor_of(values)}};
  EXPECT_THAT(input_error([&] { split_rwkv_mixes(wrong); }), HasSubstr("expected 6 mixes"));
}

TEST(RwkvArchive, OnlyALoneFileWithoutConfigurationIsOne) {
  const TemporaryDirectory folder;
  put(folder, "rwkv7", "consolidated.00.pth");
  EXPECT_EQ(find_rwkv_archive(folder.path()), std::nullopt);
  put(folder, "rwkv7", "a.pth");
  EXPECT_EQ(find_rwkv_archive(folder.path()), folder.path() / "a.pth");
  put(folder, "rwkv7", "b.pth");
  EXPECT_EQ(find_rwkv_archive(folder.path()), std::nullopt);
  const TemporaryDirectory configured;
  put(configured, "rwkv7");
  configured.write("config.json", "{}");
  EXPECT_EQ(find_rwkv_archive(configured.path()), std::nullopt);
}

}  // namespace
}  // namespace factflow
