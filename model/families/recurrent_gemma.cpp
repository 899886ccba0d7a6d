// RecurrentGemma (Griffin; De et al. 2024), as transformers' RecurrentGemmaForCausalLM saves it:
// blocks of a linear recurrence, every third one local attention, and a gated MLP behind each.
#include <cmath>

#include <c10/util/BFloat16.h>
#include <fmt/format.h>

#include "model/families/building_blocks.hpp"
#include "model/families/declarations.hpp"
#include "model/families/hybrid.hpp"
#include "model/limits.hpp"
#include "model/mixers/rg_lru/rg_lru.hpp"
#include "model/mixers/state_space.hpp"
#include "model/weights.hpp"

namespace factflow {
namespace {

constexpr const char* kBlock = "temporal_block.";

const LayerNames& names() {
  static const LayerNames all = [] {
    LayerNames made;
    made.final_norm = "model.final_norm";
    made.norms = {"temporal_pre_norm", "channel_pre_norm"};
    made.attention = kBlock;
    made.mlp = "mlp_block.";
    made.one_plus = true;
    return made;
  }();
  return all;
}

// The list is repeated over the depth.
std::vector<bool> read_attention_layers(ConfigReader& config, int layers) {
  const nlohmann::json& given = config.raw("block_types");
  const nlohmann::json usual = {"recurrent", "recurrent", "attention"};
  const nlohmann::json& types = given.is_null() ? usual : given;
  if (!types.is_array() || types.empty())
    config.fail("block_types", fmt::format("expected a list, found {}", types.dump()));
  for (const nlohmann::json& type : types)
    if (type != "recurrent" && type != "attention")
      config.fail("block_types",
                  fmt::format("expected recurrent or attention, found {}", type.dump()));
  std::vector<bool> attends;
  for (int i = 0; i < layers; ++i)
    attends.push_back(types.at(static_cast<size_t>(i) % types.size()) == "attention");
  return attends;
}

RgLruShape read_recurrence(ConfigReader& config, int hidden, int heads) {
  RgLruShape shape;
  shape.width = config.is_null("lru_width") ? hidden : config.integer("lru_width", hidden);
  shape.blocks = heads;
  shape.conv_kernel = config.integer("conv1d_width", 4, 1, kMostTaps);
  if (shape.width % heads != 0)
    config.fail("lru_width",
                fmt::format("expected a multiple of {} heads, found {}", heads, shape.width));
  return shape;
}

void add_recurrence(TableBuilder& builder, const std::string& in, const RgLruShape& shape,
                    std::int64_t hidden) {
  const std::int64_t width = shape.width, block = width / shape.blocks;
  for (const char* name : {"linear_x", "linear_y"}) builder.matrix(in + name, width, hidden, true);
  builder.matrix(in + "linear_out", hidden, width, true);
  builder.tensor(in + "conv_1d.weight", {width, 1, shape.conv_kernel});
  builder.tensor(in + "conv_1d.bias", {width});
  builder.tensor(in + "rg_lru.recurrent_param", {width});
  for (const char* gate : {"rg_lru.input_gate", "rg_lru.recurrent_gate"}) {
    builder.tensor(in + gate + "_weight", {shape.blocks, block, block});
    builder.tensor(in + gate + "_bias", {shape.blocks, block});
  }
}

// By which sets choose: what of a state stays where the gate is open, exp(-8 softplus(parameter)).
std::vector<double> decay_of(const at::Tensor& softplus) {
  const at::Tensor norms = (softplus.to(at::kCPU, at::kDouble) * -8).exp().contiguous();
  const double* data = norms.data_ptr<double>();
  return {data, data + norms.numel()};
}

std::unique_ptr<Mixer> recurrence(Weights& weights, BlockLoader& loader, const std::string& in,
                                  const RgLruShape& shape) {
  RgLruWeights one;
  one.in = weights.projection(weights.stack({in + "linear_x.weight", in + "linear_y.weight"}));
  one.in_bias = weights.stack({in + "linear_x.bias", in + "linear_y.bias"})
                    .to(activation_type(weights.precision()));
  one.convolution = {causal_taps(weights.take(in + "conv_1d.weight")),
                     weights.take(in + "conv_1d.bias")};
  one.input_gate = weights.take(in + "rg_lru.input_gate_weight");
  one.input_bias = weights.take(in + "rg_lru.input_gate_bias");
  one.decay_gate = weights.take(in + "rg_lru.recurrent_gate_weight");
  one.decay_bias = weights.take(in + "rg_lru.recurrent_gate_bias");
  const at::Tensor parameter = weights.take(in + "rg_lru.recurrent_param");
  one.decay = at::softplus(parameter);
  one.output = loader.output(in + "linear_out");
  one.decay_norms = decay_of(at::softplus(parameter.to(at::kDouble)));
  return std::make_unique<RgLru>(shape, std::move(one));
}

}  // namespace

Architecture read_recurrent_gemma(ConfigReader& config) {
  Architecture architecture = read_stream(config, {2560, 26, 256000, 1e-6, true});
  const int hidden = architecture.hidden;
  // The class multiplies by a number of bfloat16.
  architecture.embedding_scale =
      static_cast<float>(c10::BFloat16(static_cast<float>(std::sqrt(hidden))));
  architecture.logits_cap = config.number("logits_soft_cap", 30);
  if (!(architecture.logits_cap > 0))
    config.fail("logits_soft_cap",
                fmt::format("expected a number above 0, found {}", architecture.logits_cap));
  AttentionShape attention = read_attention(config, hidden, {10, 0, 0, /*null_key_heads=*/true});
  if (attention.head_size != hidden / attention.heads)
    config.fail("head_dim", "is not read by the class, which takes hidden_size / heads");
  attention.query_key_value_bias = config.flag("attention_bias", false);
  attention.output_bias = true;
  attention.rotary = read_plain_rotary(config, attention.head_size, 10000, 0.5);
  attention.sliding_window =
      config.integer(config.spelling("attention_window_size", "sliding_window"), 2048);
  const RgLruShape recurrent = read_recurrence(config, hidden, attention.heads);
  MlpShape mlp;
  mlp.inner = config.size("intermediate_size", 3 * 2560) / 2;
  mlp.gated = mlp.bias = true;
  mlp.activation = kernels::Activation::kGeluTanh;
  if (mlp.inner < 1) config.fail("intermediate_size", "leaves no channels: half of it is used");
  config.expect("hidden_activation", "gelu_pytorch_tanh");
  config.ignore({"final_w_init_variance_scale", "w_init_variance_scale",
                 "embeddings_scale_by_sqrt_dim", "layer_types", "layers_block_type",
                 "_block_types"});
  for (const bool attends : read_attention_layers(config, architecture.layers)) {
    std::shared_ptr<const MixerShape> mixer = std::make_shared<RgLruShape>(recurrent);
    if (attends) mixer = std::make_shared<AttentionShape>(attention);
    architecture.blocks.push_back({{mixer}, {std::make_shared<MlpShape>(mlp)}});
  }
  return architecture;
}

TensorTable recurrent_gemma_tensors(const Architecture& architecture) {
  return tensors_in_turn(
      architecture, names(),
      [&](TableBuilder& builder, const std::string& layer, const MixerShape& mixer) {
        const auto* shape = dynamic_cast<const RgLruShape*>(&mixer);
        if (shape == nullptr) return false;
        add_recurrence(builder, layer + kBlock, *shape, architecture.hidden);
        return true;
      });
}

NetworkParts recurrent_gemma_parts(const Architecture& architecture, Weights& weights) {
  return parts_in_turn(
      architecture, weights, names(),
      [&](BlockLoader& loader, const std::string& layer,
          const MixerShape& mixer) -> std::unique_ptr<Mixer> {
        const auto* shape = dynamic_cast<const RgLruShape*>(&mixer);
        return shape == nullptr ? nullptr : recurrence(weights, loader, layer + kBlock, *shape);
      });
}

}  // namespace factflow
