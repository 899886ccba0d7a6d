#include "model/checkpoint/checkpoint.hpp"

#include "tests/checkpoint/support.hpp"

namespace factflow {
namespace {

using testing::HasSubstr;

std::string error_of(const std::filesystem::path& directory) {
  return input_error([&] { Checkpoint::open(directory.string()); });
}

// A demo model as `shards` files with an index, dealt out in name order.
class Sharded {
 public:
  Sharded(const Checkpoint& whole, size_t shards) {
    std::vector<std::map<std::string, StoredTensor>> parts(shards);
    size_t next = 0;
    for (const auto& [name, tensor] : whole.tensors()) {
      const size_t shard = next++ % shards;
      index["weight_map"][name] = file_name(shard);
      parts[shard][name] = tensor;
    }
    for (size_t i = 0; i < shards; ++i) directory.write(file_name(i), safetensors_of(parts[i]));
    directory.write("config.json", read_file(whole.directory() / "config.json"));
    write_index();
  }
  static std::string file_name(size_t shard) {
    return "model-0000" + std::to_string(shard + 1) + ".safetensors";
  }
  void write_index() const { directory.write("model.safetensors.index.json", index.dump()); }
  std::string error() const { return error_of(directory.path()); }
  // What the checkpoint says of one tensor that index and shards disagree about.
  std::string dispute(const std::string& tensor) const {
    const Checkpoint model = Checkpoint::open(directory.path().string());
    EXPECT_EQ(model.disputed().size(), 1u);
    return model.disputed().at(tensor).what();
  }

  TemporaryDirectory directory;
  nlohmann::json index = {{"metadata", {{"total_size", 1}}}};
};

TEST(Checkpoint, OpensTheDemoModels) {
  for (const char* name : {"gpt2", "llama", "mamba", "mamba2", "falcon_mamba"}) {
    const Checkpoint model = Checkpoint::open(demo_model(name).string());
    EXPECT_EQ(model.config()["model_type"], name);
    EXPECT_FALSE(model.is_mamba_ssm());
    EXPECT_EQ(model.owned_bytes(), 0u);
    EXPECT_GT(model.tensors().size(), 100u);
    for (const auto& [tensor, stored] : model.tensors()) {
      EXPECT_EQ(stored.type, StoredType::kF16) << tensor;
      EXPECT_EQ(count_non_finite(stored), 0) << tensor;
    }
  }
}

TEST(Checkpoint, ShardsGiveTheSameTensorsAndDigest) {
  const Checkpoint whole = Checkpoint::open(demo_model("mamba2").string());
  const Sharded sharded(whole, 3);
  const Checkpoint model = Checkpoint::open(sharded.directory.path().string());
  EXPECT_EQ(model.tensors().size(), whole.tensors().size());
  EXPECT_EQ(model.digest(), whole.digest());
  EXPECT_EQ(model.digest().size(), 32u);
}

TEST(Checkpoint, TensorsInMemoryAreThoseOfTheFile) {
  const auto whole =
      std::make_shared<const Checkpoint>(Checkpoint::open(demo_model("mamba").string()));
  auto watched = std::make_shared<int>(0);
  const std::weak_ptr<int> keeper = watched;
  {
    const Checkpoint taken = Checkpoint::in_memory(whole->directory(), whole->tensors(), watched);
    watched.reset();
    EXPECT_FALSE(keeper.expired());
    EXPECT_EQ(taken.digest(), whole->digest());
    EXPECT_EQ(taken.config(), whole->config());
    const auto& [name, tensor] = *whole->tensors().begin();
    EXPECT_EQ(taken.tensors().at(name).bytes.data(), tensor.bytes.data());  // nothing is copied
    EXPECT_EQ(taken.owned_bytes(), 0u);
  }
  EXPECT_TRUE(keeper.expired());
  EXPECT_THAT(input_error([&] { Checkpoint::in_memory(whole->directory(), {}, nullptr); }),
              HasSubstr("holds weights without a single tensor"));
}

TEST(Checkpoint, DigestSeesEveryPart) {
  const std::vector<float> values = {1, 2, 3, 4}, others = {1, 2, 3, 5};
  const auto digest = [](const std::string& config,
                         const std::map<std::string, StoredTensor>& tensors) {
    const TemporaryDirectory directory;
    directory.write("config.json", config);
    directory.write("model.safetensors", safetensors_of(tensors));
    return Checkpoint::open(directory.path().string()).digest();
  };
  StoredTensor tensor = tensor_of(values), reshaped = tensor, retyped = tensor;
  reshaped.shape = {2, 2};
  retyped.type = StoredType::kI32;
  const std::vector<std::string> digests = {digest("{}", {{"a", tensor}}),
                                            digest("{ }", {{"a", tensor}}),
                                            digest("{}", {{"b", tensor}}),
                                            digest("{}", {{"a", reshaped}}),
                                            digest("{}", {{"a", retyped}}),
                                            digest("{}", {{"a", tensor_of(others)}}),
                                            digest("{}", {{"a", tensor}, {"b", tensor}})};
  EXPECT_EQ(std::set<std::string>(digests.begin(), digests.end()).size(), digests.size());
  EXPECT_EQ(digests.front(), digest("{}", {{"a", tensor}}));
}

TEST(Checkpoint, RefusesShardsThatContradictTheIndex) {
  const Checkpoint whole = Checkpoint::open(demo_model("mamba").string());
  Sharded sharded(whole, 2);
  const nlohmann::json good = sharded.index;
  const std::string first = whole.tensors().begin()->first;

  sharded.index["weight_map"].erase(first);
  sharded.write_index();
  EXPECT_THAT(sharded.dispute(first), HasSubstr("model-00001.safetensors holds the tensor '" +
                                                first + "', which weight_map does not list"));

  sharded.index = good;
  sharded.index["weight_map"][first] = Sharded::file_name(1);
  sharded.write_index();
  EXPECT_THAT(sharded.error(), HasSubstr("places in 'model-00002.safetensors'"));

  sharded.index = good;
  sharded.index["weight_map"]["more"] = Sharded::file_name(1);
  sharded.write_index();
  EXPECT_THAT(
      sharded.dispute("more"),
      HasSubstr("places the tensor 'more' in model-00002.safetensors, which does not hold it"));

  sharded.index = good;
  sharded.index["weight_map"]["more"] = "model-00003.safetensors";
  sharded.write_index();
  EXPECT_THAT(
      sharded.error(),
      HasSubstr(
          "model-00003.safetensors: is missing, though model.safetensors.index.json names it"));

  // In two shards and in no list: which of them is meant?
  sharded.index = good;
  sharded.index["weight_map"].erase(first);
  sharded.write_index();
  std::map<std::string, StoredTensor> second;
  for (const auto& [name, shard] : good["weight_map"].items())
    if (shard == Sharded::file_name(1) || name == first) second[name] = whole.tensors().at(name);
  sharded.directory.write(Sharded::file_name(1), safetensors_of(second));
  EXPECT_THAT(sharded.error(), HasSubstr("model-00002.safetensors holds the tensor '" + first));
}

TEST(Checkpoint, RefusesABadIndex) {
  const TemporaryDirectory directory;
  directory.write("config.json", "{}");
  const auto error = [&](const std::string& text) {
    directory.write("pytorch_model.bin.index.json", text);
    return error_of(directory.path());
  };
  EXPECT_THAT(error("[]"), HasSubstr("expected an object"));
  EXPECT_THAT(error("{}"), HasSubstr("has no object weight_map"));
  EXPECT_THAT(error(R"({"weight_map": {}})"), HasSubstr("key weight_map: is empty"));
  EXPECT_THAT(error(R"({"weight_map": {"a": 1}})"), HasSubstr("tensor 'a': found a JSON number"));
  EXPECT_THAT(error(R"({"weight_map": {"a": "x.bin", "a": "y.bin"}})"), HasSubstr("key 'a' twice"));
  for (const char* name :
       {"", ".", "..", "../x.bin", "/etc/passwd", "a/b.bin", "a\\\\b.bin", "a\\u0000b"})
    EXPECT_THAT(error(std::string(R"({"weight_map": {"a": ")") + name + "\"}}"),
                HasSubstr("tensor 'a': refuses the file"))
        << name;
}

TEST(Checkpoint, ReadsShardedPickles) {
  const TemporaryDirectory directory;
  directory.write("config.json", R"({"d_model": 1, "n_layer": 1, "ssm_cfg": {}})");
  directory.write("a.bin", read_file(test_folder() / "pickles" / "strided.bin"));
  directory.write("b.bin", read_file(test_folder() / "pickles" / "parameter.bin"));
  directory.write("pytorch_model.bin.index.json",
                  R"({"weight_map": {"t": "a.bin", "p": "b.bin", "q": "b.bin"}})");
  const Checkpoint model = Checkpoint::open(directory.path().string());
  EXPECT_EQ(model.tensors().size(), 3u);
  EXPECT_EQ(element(model.tensors().at("t"), 1), 3);
  EXPECT_EQ(model.owned_bytes(), 24u);
  EXPECT_TRUE(model.is_mamba_ssm());
}

TEST(Checkpoint, PrefersSafetensors) {
  const TemporaryDirectory directory;
  const std::vector<float> values = {7};
  directory.write("config.json", "{}");
  directory.write("pytorch_model.bin", "not read");
  directory.write("model.safetensors", safetensors_of({{"a", tensor_of(values)}}));
  const Checkpoint model = Checkpoint::open(directory.path().string());
  EXPECT_EQ(element(model.tensors().at("a"), 0), 7);
  EXPECT_EQ(model.tensors().at("a").file, (directory.path() / "model.safetensors").string());
  EXPECT_THAT(model.unread(), testing::ElementsAre("pytorch_model.bin"));
}

TEST(Checkpoint, RefusesAWholeFileBesideOtherShards) {
  const TemporaryDirectory directory;
  const std::vector<float> values = {7};
  const std::string file = safetensors_of({{"a", tensor_of(values)}});
  directory.write("config.json", "{}");
  directory.write("model.safetensors", file);
  directory.write("other.safetensors", file);
  const std::string index = "model.safetensors.index.json";
  directory.write(index, R"({"weight_map": {"a": "model.safetensors"}})");
  EXPECT_EQ(error_of(directory.path()), "");
  directory.write(index, R"({"weight_map": {"a": "other.safetensors"}})");
  EXPECT_THAT(error_of(directory.path()),
              HasSubstr("names 'other.safetensors', but model.safetensors lies beside it"));
}

TEST(Checkpoint, RefusesAnAdapter) {
  const TemporaryDirectory directory;
  const std::vector<float> values = {7};
  directory.write("config.json", "{}");
  directory.write("model.safetensors", safetensors_of({{"a", tensor_of(values)}}));
  directory.write("adapter_config.json", "{}");
  EXPECT_THAT(error_of(directory.path()), HasSubstr("adapter_config.json: says that an adapter"));
  EXPECT_THAT(input_error([&] { Checkpoint::read_config(directory.path().string()); }),
              testing::AllOf(HasSubstr("adapter_config.json: says that an adapter"),
                             HasSubstr("merge_and_unload")));
}

TEST(Checkpoint, RefusesBadSources) {
  const TemporaryDirectory directory;
  EXPECT_THAT(error_of("state-spaces/mamba-130m"),
              HasSubstr("of the Hugging Face cache as hf:ORG/NAME"));
  EXPECT_THAT(error_of(directory.write("model.safetensors", "")),
              HasSubstr("is a file, expected a checkpoint directory"));
  EXPECT_THAT(error_of(directory.path()), HasSubstr("holds no config.json"));
  directory.write("config.json", "{}");
  EXPECT_THAT(error_of(directory.path()), HasSubstr("model.safetensors: is empty"));
  directory.write("model.safetensors", safetensors("{}", ""));
  EXPECT_THAT(error_of(directory.path()), HasSubstr("without a single tensor"));
  std::filesystem::remove(directory.path() / "model.safetensors");
  EXPECT_THAT(error_of(directory.path()), HasSubstr("holds no weights: tried model.safetensors, "));
  std::filesystem::create_symlink("../blobs/none", directory.path() / "model.safetensors");
  EXPECT_THAT(error_of(directory.path()),
              HasSubstr("model.safetensors: is a link to a file that is not there"));
}

TEST(Checkpoint, SurvivesBeingMoved) {
  Checkpoint model = Checkpoint::open(demo_model("gpt2").string());
  const std::string digest = model.digest();
  Checkpoint moved = std::move(model);
  model = Checkpoint::open(demo_model("llama").string());
  EXPECT_EQ(moved.digest(), digest);
  EXPECT_NE(model.digest(), digest);
}

// The same weights as transformers saved them and as the mamba_ssm library did, under its names and
// pickled by torch.
TEST(Checkpoint, PickledWeightsEqualSafetensors) {
  if (!std::filesystem::exists(oracle_case("mamba_original")))
    GTEST_SKIP() << "no ../shared/oracle/cases";
  for (const std::string name : {"mamba", "mamba2"}) {
    const Checkpoint original = Checkpoint::open(oracle_case(name + "_original").string());
    const Checkpoint converted = Checkpoint::open(oracle_case(name).string());
    EXPECT_TRUE(original.is_mamba_ssm());
    EXPECT_FALSE(converted.is_mamba_ssm());
    EXPECT_EQ(original.owned_bytes(), 0u);
    size_t compared = 0;
    for (const auto& [tensor, stored] : original.tensors()) {
      std::string other = tensor;
      if (tensor == "lm_head.weight" || tensor == "backbone.embedding.weight")
        other = "backbone.embeddings.weight";
      ASSERT_TRUE(converted.tensors().contains(other)) << other;
      const StoredTensor& expected = converted.tensors().at(other);
      EXPECT_EQ(stored.shape, expected.shape) << tensor;
      ASSERT_EQ(stored.type, expected.type) << tensor;
      EXPECT_TRUE(std::ranges::equal(stored.bytes, expected.bytes)) << tensor;
      ++compared;
    }
    // lm_head, which safetensors leaves out as tied.
    EXPECT_EQ(compared, converted.tensors().size() + 1);
  }
}

}  // namespace
}  // namespace factflow
