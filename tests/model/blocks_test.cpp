// What no family of today has: several mixers in one list, two in one layer, layers without any.
#include <cmath>

#include <gmock/gmock.h>

#include "model/block.hpp"
#include "model/mixers/attention/attention.hpp"
#include "model/mixers/mamba/mamba.hpp"
#include "model/mixers/mlp/mlp.hpp"
#include "model/mixers/state_space.hpp"
#include "model/reference/reference.hpp"
#include "model/replay/replay.hpp"
#include "model/threads.hpp"
#include "model/weights.hpp"

namespace factflow {
namespace {

using testing::ElementsAre;

constexpr int kHidden = 12, kVocabulary = 19;
constexpr std::int64_t kNumber = 8;  // bytes, in fp64

AttentionShape attention_shape() {
  AttentionShape shape;
  shape.heads = 4;
  shape.key_heads = 2;
  shape.head_size = 3;
  shape.scale = 0.5;
  return shape;
}

MambaShape mamba_shape() {
  MambaShape shape;
  shape.inner = 10;
  shape.states = 3;
  shape.time_step_rank = 2;
  return shape;
}

MlpShape mlp_shape() {
  MlpShape shape;
  shape.inner = 7;
  return shape;
}

// Attention; a scan; an MLP alone; and attention beside a scan, of which half is added.
Architecture hybrid() {
  const auto attention = std::make_shared<AttentionShape>(attention_shape());
  const auto mamba = std::make_shared<MambaShape>(mamba_shape());
  const auto mlp = std::make_shared<MlpShape>(mlp_shape());
  Architecture architecture;
  architecture.family = "hybrid";
  architecture.layers = 4;
  architecture.hidden = kHidden;
  architecture.vocabulary = kVocabulary;
  architecture.blocks = {
      {{attention}}, {{mamba}}, {{mlp}}, {{attention, true}, {mamba, false, 0.5}}};
  return architecture;
}

// Random weights by name, without a table of a family.
class Drawn {
 public:
  at::Tensor matrix(std::int64_t out, std::int64_t in) {
    return at::randn({out, in}, at::kDouble) / std::sqrt(static_cast<double>(in));
  }
  Projection projection(std::int64_t out, std::int64_t in) {
    return Projection(matrix(out, in), Precision::kFp64);
  }
  at::Tensor vector(std::int64_t width) { return at::randn({width}, at::kDouble) * 0.3; }
  Norm norm() { return {vector(kHidden) + 1, {}, 1e-5, false}; }
};

std::unique_ptr<Mixer> random_mixer(const MixerShape& shape) {
  Drawn draw;
  if (const auto* attention = dynamic_cast<const AttentionShape*>(&shape)) {
    AttentionWeights weights;
    weights.query_key_value =
        draw.projection(attention->queries() + 2 * attention->keys(), kHidden);
    weights.output = {draw.projection(kHidden, attention->queries()), draw.vector(kHidden), true};
    return std::make_unique<AttentionMixer>(*attention, std::move(weights));
  }
  if (const auto* mlp = dynamic_cast<const MlpShape*>(&shape))
    return std::make_unique<Mlp>(*mlp, MlpWeights{draw.projection(mlp->inner, kHidden),
                                                  {},
                                                  {draw.projection(kHidden, mlp->inner)}});
  const auto& mamba = dynamic_cast<const MambaShape&>(shape);
  const at::Tensor a_log = draw.matrix(mamba.inner, mamba.states);
  MambaWeights weights;
  weights.in = draw.projection(2 * mamba.inner, kHidden);
  weights.convolution = {draw.matrix(mamba.conv_kernel, mamba.inner), draw.vector(mamba.inner)};
  weights.parameters = draw.projection(mamba.time_step_rank + 2 * mamba.states, mamba.inner);
  weights.time_step = draw.projection(mamba.inner, mamba.time_step_rank);
  weights.scan = {a_log.exp().neg().t().contiguous(), draw.vector(mamba.inner),
                  draw.vector(mamba.inner)};
  weights.output = {draw.projection(kHidden, mamba.inner), draw.vector(kHidden)};
  weights.decay_norms = decay_norms_of(a_log);
  return std::make_unique<MambaMixer>(mamba, std::move(weights));
}

std::unique_ptr<Network> random_hybrid() {
  at::manual_seed(5);
  const Architecture architecture = hybrid();
  TensorTable table;
  table.entries = {{"words", {kVocabulary, kHidden}}};
  Weights weights(table, at::kCPU, Precision::kFp64, 3);
  Drawn draw;
  NetworkParts parts{"words", "", "", draw.norm()};
  for (const LayerShape& layer : architecture.blocks) {
    std::vector<NetworkBlock>& blocks = parts.layers.emplace_back();
    for (const BlockShape& block : layer)
      blocks.push_back({draw.norm(), random_mixer(*block.mixer)});
  }
  return std::make_unique<Network>(architecture, weights, std::move(parts));
}

TEST(Hybrid, EachLayerSaysWhatItIs) {
  const Architecture architecture = hybrid();
  EXPECT_EQ(architecture.mixing(), "attention+mamba");
  std::vector<std::string> names;
  for (const LayerShape& layer : architecture.blocks) names.push_back(layer_name(layer));
  EXPECT_THAT(names, ElementsAre("attention", "mamba", "mlp", "attention + mamba"));
  EXPECT_TRUE(architecture.keeps_states());
  // Heads have no decay, so a set by decay would mean nothing in three layers.
  EXPECT_EQ(architecture.channels(), 0);
}

// What two mixers of a layer have is no one value: a branch each has its own.
TEST(Hybrid, ASiteNamesOneValueOfALayer) {
  const Architecture architecture = hybrid();
  EXPECT_THAT(sites_of(architecture.blocks[0]), ElementsAre(Site::kH, Site::kS, Site::kO));
  EXPECT_THAT(sites_of(architecture.blocks[2]),
              ElementsAre(Site::kH, Site::kMlpIn, Site::kMlpHidden, Site::kMlp));
  EXPECT_THAT(sites_of(architecture.blocks[3]),
              ElementsAre(Site::kH, Site::kA, Site::kConv, Site::kSkip, Site::kSAttention,
                          Site::kSRecurrent, Site::kG, Site::kY, Site::kORawRecurrent,
                          Site::kOAttention, Site::kORecurrent));
}

TEST(Hybrid, EdgesAreThoseOfEveryMixerOfTheLayer) {
  const Architecture architecture = hybrid();
  Block heads;
  heads.selection = Heads{{1}};
  EXPECT_NO_THROW(check_block(architecture.blocks[0], heads));
  for (const size_t layer : {1U, 2U, 3U})
    EXPECT_THROW(check_block(architecture.blocks[layer], heads), std::invalid_argument) << layer;
  EXPECT_NO_THROW(check_block(architecture.blocks[3], Block{}));
}

// Blocks of the same kind share buffers; others add to them.
TEST(Hybrid, MemoryIsOfAllBuffersOnce) {
  const auto bytes = [](const std::vector<LayerShape>& layers) {
    return memory_of(layers, kHidden, Precision::kFp64).per_column;
  };
  const std::vector<LayerShape> all = hybrid().blocks;
  EXPECT_EQ(bytes({all[0], all[0]}), bytes({all[0]}));
  // The norm's buffer and "mixed", here of 12 and of 10 numbers, are shared.
  EXPECT_EQ(bytes({all[0], all[1]}), bytes({all[0]}) + bytes({all[1]}) - (kHidden + 10) * kNumber);
  EXPECT_EQ(bytes({all[3]}), bytes({all[0], all[1]}) + kHidden * kNumber);
  EXPECT_EQ(memory_of(all, kHidden, Precision::kFp64).per_state, 3 * 10 * kNumber);
}

TEST(Hybrid, TheEngineAgreesWithTheReferenceForward) {
  set_threads(1, 1);
  const auto network = random_hybrid();
  const ReferenceForward reference(*network);
  // The last layer's edges would be blocked twice, which the engine's count does not know.
  const ReplayRequest request{
      {3, 1, 4, 1, 5},
      9,
      {{{4}, {0, 1, 3}, {}, {{0, 1}, {1, 2}, {0, 2}}}, {{2, 4}, {1}, {}, {{0, 2}}}}};
  ReplayEngine engine(*network, 0);
  const ReplayResult found = engine.run({&request, 1})[0];
  const auto expected = [&](const std::vector<Intervention>& interventions) {
    return reference.log_probabilities(request.ids, interventions)[request.answer].item<double>();
  };
  EXPECT_NEAR(found.clean.log_probability, expected({}), 1e-12);
  for (size_t c = 0; c < request.series.size(); ++c)
    for (size_t w = 0; w < request.series[c].runs(); ++w) {
      EXPECT_NEAR(found.knockouts[c][w].log_probability, expected(request.series[c].run(w)), 1e-12)
          << c << ", " << w;
      EXPECT_GT(std::abs(found.knockouts[c][w].log_probability - found.clean.log_probability),
                1e-6);
    }
}

}  // namespace
}  // namespace factflow
