// The engine on a GPU against the engine on the CPU, in fp64. Needs a CUDA
// build and a device.
#include <algorithm>
#include <cmath>
#include <map>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "model/checkpoint/checkpoint.hpp"
#include "model/device.hpp"
#include "model/replay.hpp"
#include "random_checkpoint.hpp"

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
    return all;
  }();
  return list;
}

std::vector<Model> state_space_models() {
  std::vector<Model> some;
  for (const Model& model : models())
    if (model.name.find("mamba") != std::string::npos) some.push_back(model);
  return some;
}

void PrintTo(const Model& model, std::ostream* out) {
  *out << model.name;
}

std::vector<Window> all_windows(int layers) {
  std::vector<Window> windows;
  for (int begin = 0; begin < layers; ++begin)
    for (int end = begin + 1; end <= layers; ++end) windows.push_back({begin, end});
  return windows;
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
        request.cuts.push_back({{last}, {source}, set, all_windows(layers)});
      request.cuts.push_back({{last}, {last}, set, all_windows(layers)});
      if (length > 4) request.cuts.push_back({{last}, {1, 2, last}, set, all_windows(layers)});
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
    request.cuts.resize(3);
    request.cuts.push_back({{2, 3}, {1, 2}, {}, all_windows(layers)});
    request.cuts.push_back({{length - 2, length - 1}, {0, 3}, {}, all_windows(layers)});
    request.cuts.push_back({{0, 1, 2, 3}, {0}, {}, all_windows(layers)});
  }
  return requests;
}

class Cuda : public testing::TestWithParam<Model> {
 protected:
  void SetUp() override {
    if (!choose_device("auto").is_cuda()) GTEST_SKIP() << "needs a CUDA device";
    config_ = small_config(GetParam().family);
    config_.update(GetParam().changes);
    tensors_ = random_tensors(config_, 5);
    checkpoint_ = written(tensors_);
    cpu_ = Network::load(checkpoint_, at::kCPU, Precision::kFp64);
  }

  const Architecture& architecture() const { return cpu_->architecture(); }

  // In float32 a device may be some times as far off as the weights amplify rounding, and in a
  // precision of fewer bits by so much more.
  void compare(const std::vector<ReplayRequest>& requests) {
    const std::vector<ReplayResult> expected = ReplayEngine(*cpu_).run(requests);
    const double noise = amplified_rounding(requests, expected);
    const std::vector<std::pair<Precision, double>> factors = {{Precision::kFp32, 8},
                                                               {Precision::kTf32x3, 64},
                                                               {Precision::kTf32, 4 << 13},
                                                               {Precision::kBf16, 4 << 16}};
    for (const auto& [precision, factor] : factors) {
      const auto network = Network::load(checkpoint_, at::Device(at::kCUDA, 0), precision);
      // Whole, and in passes of a few rows.
      for (const std::int64_t rows : {0, 300})
        EXPECT_LT(distance(ReplayEngine(*network, 0, rows).run(requests), expected), factor * noise)
            << to_string(precision) << ", rows per pass " << rows;
    }
  }

 private:
  using Tensors = std::map<std::string, NamedTensor>;

  std::shared_ptr<const Checkpoint> written(const Tensors& tensors) const {
    const TemporaryDirectory directory;
    write_checkpoint(directory.path(), config_, tensors);
    return std::make_shared<const Checkpoint>(Checkpoint::open(directory.path().string()));
  }

  // How far float32 on the CPU is off, and float64 once every weight has moved to a neighbouring
  // float32: the first alone may be lucky by a factor of sixteen.
  double amplified_rounding(const std::vector<ReplayRequest>& requests,
                            const std::vector<ReplayResult>& expected) const {
    const auto fp32 = Network::load(checkpoint_, at::kCPU, Precision::kFp32);
    double noise = std::max(1e-6, distance(ReplayEngine(*fp32).run(requests), expected));
    for (const unsigned seed : {1u, 2u, 3u}) {
      std::mt19937 random(seed);
      Tensors moved = tensors_;
      for (auto& [name, tensor] : moved)
        for (float& value : tensor.values)
          value = std::nextafter(value, (random() & 1u) != 0 ? INFINITY : -INFINITY);
      const auto network = Network::load(written(moved), at::kCPU, Precision::kFp64);
      noise = std::max(noise, distance(ReplayEngine(*network).run(requests), expected));
    }
    return noise;
  }

  // The largest difference of a log-probability, as a share of 1 - log p; infinite if an answer is
  // on one side only.
  static double distance(const std::vector<ReplayResult>& found,
                         const std::vector<ReplayResult>& expected) {
    double worst = found.size() == expected.size() ? 0 : INFINITY;
    const auto compare = [&](const Answer& one, const Answer& other) {
      if ((one.rank == 0) != (other.rank == 0)) worst = INFINITY;
      if (one.rank == 0) return;
      const double off =
          std::abs(one.log_probability - other.log_probability) / (1 - other.log_probability);
      worst = std::isnan(off) ? INFINITY : std::max(worst, off);
    };
    for (size_t r = 0; r < std::min(found.size(), expected.size()); ++r) {
      compare(found[r].clean, expected[r].clean);
      for (size_t c = 0; c < expected[r].knockouts.size(); ++c)
        for (size_t w = 0; w < expected[r].knockouts[c].size(); ++w)
          compare(found[r].knockouts[c][w], expected[r].knockouts[c][w]);
    }
    return worst;
  }

  json config_;
  Tensors tensors_;
  std::shared_ptr<const Checkpoint> checkpoint_;
  std::unique_ptr<Network> cpu_;
};

TEST_P(Cuda, ReplaysOfTheLastTokenAreThoseOfTheCpu) {
  compare(last_token_requests(architecture().layers, {{}}));
}

TEST_P(Cuda, ReplaysOfSeveralTokensAreThoseOfTheCpu) {
  compare(suffix_requests(architecture().layers));
}

class CudaChannels : public Cuda {};

TEST_P(CudaChannels, ChannelSetsAreThoseOfTheCpu) {
  compare(last_token_requests(architecture().layers,
                              {{}, {ChannelSet::Kind::kSlow}, {ChannelSet::Kind::kNotFast}}));
}

std::string name_of(const testing::TestParamInfo<Model>& test) {
  return test.param.name;
}

INSTANTIATE_TEST_SUITE_P(Models, Cuda, testing::ValuesIn(models()), name_of);
INSTANTIATE_TEST_SUITE_P(Models, CudaChannels, testing::ValuesIn(state_space_models()), name_of);

}  // namespace
}  // namespace factflow
