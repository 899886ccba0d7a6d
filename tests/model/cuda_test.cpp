// The engine on a GPU against the engine on the CPU, small models. Needs a CUDA build and a device.
#include <algorithm>
#include <optional>
#include <ostream>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "cuda_comparison.hpp"
#include "hybrid_configs.hpp"
#include "intervention_requests.hpp"
#include "model/check_intervention.hpp"
#include "model/device.hpp"

namespace factflow {
namespace {

using nlohmann::json;

// What a model is tried with: the small one, whose odd widths take the kernels
// for any alignment, or one with widths that the fast ones take.
struct Model {
  std::string name, family;
  json changes;
};

const std::vector<Model>& models() {
  static const std::vector<Model> list = [] {
    const json deep = {{"num_hidden_layers", 6}};
    std::vector<Model> all = {{"gpt2", "gpt2", {{"n_layer", 6}, {"n_positions", 64}}}};
    for (const char* family :
         {"llama", "mistral", "qwen2", "gpt_neox", "mamba", "falcon_mamba", "mamba2"})
      all.push_back({family, family, deep});
    // Three layers, of which each is special in these configurations.
    for (const std::string& decoder : small_decoders())
      all.push_back({decoder, decoder, json::object()});
    all.push_back({"gpt2_wide",
                   "gpt2",
                   {{"n_layer", 6}, {"n_positions", 64}, {"n_embd", 128}, {"n_head", 2}}});
    const auto add_wide = [&](const char* family, int layers, json changes) {
      changes["num_hidden_layers"] = layers;
      all.push_back({std::string(family) + "_wide", family, changes});
    };
    add_wide("llama", 6,
             {{"hidden_size", 128}, {"num_attention_heads", 2}, {"num_key_value_heads", 1}});
    add_wide("mamba", 12, {{"hidden_size", 128}, {"intermediate_size", 256}, {"state_size", 16}});
    add_wide("falcon_mamba", 6, {{"hidden_size", 96}, {"state_size", 16}});
    add_wide("mamba2", 6,
             {{"hidden_size", 64}, {"num_heads", 4}, {"head_dim", 32}, {"n_groups", 1}});
    // Widths and heads that the fast kernels of norms and attention take.
    for (const char* decoder : {"qwen3", "olmo3", "gemma2", "gemma3"})
      all.push_back({std::string(decoder) + "_wide",
                     decoder,
                     {{"hidden_size", 128}, {"head_dim", 64}, {"intermediate_size", 96}}});
    return all;
  }();
  return list;
}

json config_of(const Model& model) {
  json config = small_config(model.family);
  config.update(model.changes);
  return config;
}

std::vector<Model> models_with_channels() {
  std::vector<Model> some;
  for (const Model& model : models())
    if (read_architecture(config_of(model), "config.json").channels() > 0) some.push_back(model);
  return some;
}

void PrintTo(const Model& model, std::ostream* out) {
  *out << model.name;
}

// Prompts of 1 to 40 tokens. Into the last token: sources for several parts of the scan, and with
// twelve layers more windows of the states of one part than a part holds.
std::vector<ReplayRequest> last_token_requests(int layers,
                                               const std::vector<ChannelSet>& channels) {
  std::vector<ReplayRequest> requests;
  for (const int length : {1, 2, 5, 17, 40}) {
    ReplayRequest request;
    for (int t = 0; t < length; ++t) request.ids.push_back((7 * t + length) % 29);
    request.answer = length % 29;
    const int last = length - 1;
    for (const ChannelSet& set : channels) {
      for (int source = 0; source < std::min(length, 8); ++source)
        request.series.push_back({{last}, {source}, set, all_windows(layers)});
      request.series.push_back({{last}, {last}, set, all_windows(layers)});
      if (length > 4) request.series.push_back({{last}, {1, 2, last}, set, all_windows(layers)});
    }
    requests.push_back(std::move(request));
  }
  return requests;
}

// Several targets, so that rows have several tokens, beside cuts of the last
// token alone.
std::vector<ReplayRequest> suffix_requests(int layers) {
  std::vector<ReplayRequest> requests = last_token_requests(layers, {{}});
  for (ReplayRequest& request : requests) {
    const int length = static_cast<int>(request.ids.size());
    if (length < 5) continue;
    request.series.resize(3);
    request.series.push_back({{2, 3}, {1, 2}, {}, all_windows(layers)});
    request.series.push_back({{length - 2, length - 1}, {0, 3}, {}, all_windows(layers)});
    request.series.push_back({{0, 1, 2, 3}, {0}, {}, all_windows(layers)});
  }
  return requests;
}

class Cuda : public testing::TestWithParam<Model> {
 protected:
  void SetUp() override {
    if (!choose_device("auto").is_cuda()) GTEST_SKIP() << "needs a CUDA device";
    const json config = config_of(GetParam());
    comparison_.emplace(config, random_tensors(config, 5), 3);
  }

  const Architecture& architecture() const { return comparison_->architecture(); }
  int layers() const { return architecture().layers; }
  void compare(const std::vector<ReplayRequest>& requests) {
    comparison_->compare({requests}, 300);
  }

 private:
  std::optional<CudaComparison> comparison_;
};

TEST_P(Cuda, ReplaysOfTheLastTokenAreThoseOfTheCpu) {
  compare(last_token_requests(layers(), {{}}));
}

TEST_P(Cuda, InterventionsAndReadsAreThoseOfTheCpu) {
  compare(intervention_requests(architecture()));
}

TEST_P(Cuda, ReplaysOfSeveralTokensAreThoseOfTheCpu) {
  compare(suffix_requests(layers()));
}

class CudaChannels : public Cuda {};

TEST_P(CudaChannels, ChannelSetsAreThoseOfTheCpu) {
  compare(
      last_token_requests(layers(), {{}, {ChannelSet::Kind::kSlow}, {ChannelSet::Kind::kNotFast}}));
}

bool is_possible(const Architecture& architecture, Block block) {
  for (int layer = 0; layer < architecture.layers; ++layer) block.layers.push_back(layer);
  try {
    check_intervention(architecture, block);
    return true;
  } catch (const std::invalid_argument&) {
    return false;
  }
}

std::string name_of(const testing::TestParamInfo<Model>& test) {
  return test.param.name;
}

// Models of several kinds of mixers, and mixtures of experts.
std::vector<Model> hybrids() {
  std::vector<Model> some;
  for (const std::string& name : small_hybrids()) some.push_back({name, name, {}});
  return some;
}

class CudaHybrid : public testing::TestWithParam<Model> {
 protected:
  void SetUp() override {
    if (!choose_device("auto").is_cuda()) GTEST_SKIP() << "needs a CUDA device";
    const json config = small_hybrid_config(GetParam().name);
    comparison_.emplace(config, random_tensors(config, 5), 3);
  }
  const Architecture& architecture() const { return comparison_->architecture(); }
  void compare(const std::vector<ReplayRequest>& requests) {
    comparison_->compare({requests}, 300);
  }

 private:
  std::optional<CudaComparison> comparison_;
};

TEST_P(CudaHybrid, ReplaysAreThoseOfTheCpu) {
  compare(last_token_requests(architecture().layers, {{}}));
  compare(suffix_requests(architecture().layers));
}

// Edges of each path, in windows and in layers apart, with and without what sources erase, and
// another run's values at every site of every layer.
TEST_P(CudaHybrid, PathsAndSitesAreThoseOfTheCpu) {
  const int layers = architecture().layers;
  ReplayRequest request;
  for (int t = 0; t < 9; ++t) request.ids.push_back((7 * t + 3) % 29);
  request.answer = 4;
  for (const Path path : {Path::kAttention, Path::kRecurrent, Path::kBoth})
    for (const bool erase : {false, true}) {
      Block block;
      block.targets = {4, 8}, block.sources = {2, 4}, block.path = path, block.erase = erase;
      if (!architecture().has(path) || !is_possible(architecture(), block)) continue;
      request.series.push_back({{block}, all_windows(layers)});
      block.layers = {0, layers - 1};
      request.series.push_back({{block}, std::nullopt});
    }
  for (int layer = 0; layer < layers; ++layer)
    for (const Site site : sites_of(architecture().blocks[static_cast<size_t>(layer)])) {
      Write write;
      write.site = site, write.layers = {layer}, write.tokens = {1, 8};
      write.value = OtherRun{{1, 2, 28, 21, 9}, {2, 3}};
      request.series.push_back({{write}, std::nullopt});
    }
  compare({request});
}

INSTANTIATE_TEST_SUITE_P(Models, CudaHybrid, testing::ValuesIn(hybrids()), name_of);
INSTANTIATE_TEST_SUITE_P(Models, Cuda, testing::ValuesIn(models()), name_of);
INSTANTIATE_TEST_SUITE_P(Models, CudaChannels, testing::ValuesIn(models_with_channels()), name_of);

}  // namespace
}  // namespace factflow
