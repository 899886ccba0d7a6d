// LFM2 (Liquid AI 2025), as transformers' Lfm2ForCausalLM saves it: gated short convolutions, in
// some layers attention with a norm of each query and key head, and a gated MLP in every layer.
#include <fmt/format.h>

#include "model/families/building_blocks.hpp"
#include "model/families/declarations.hpp"
#include "model/families/hybrid.hpp"
#include "model/limits.hpp"
#include "model/mixers/short_convolution/short_convolution.hpp"
#include "model/mixers/state_space.hpp"
#include "model/weights.hpp"

namespace factflow {
namespace {

constexpr const char* kConvolution = "conv.";

const LayerNames& names() {
  static const LayerNames all = [] {
    LayerNames made;
    made.final_norm = "model.embedding_norm";  // which stands at the end
    made.norms = {"operator_norm", "ffn_norm"};
    made.matrices.output = "out_proj";
    made.matrices.query_norm = "q_layernorm";
    made.matrices.key_norm = "k_layernorm";
    made.mlp_matrices = {"w1", "w3", "w2"};
    return made;
  }();
  return all;
}

// layer_types, or the indices of attention layers; with neither all layers are attention.
std::vector<bool> read_attention_layers(ConfigReader& config, int layers) {
  const nlohmann::json &types = config.raw("layer_types"), &indices = config.raw("full_attn_idxs");
  std::vector<bool> attends(static_cast<size_t>(layers), indices.is_null());
  if (!indices.is_null()) {
    if (!indices.is_array()) config.fail("full_attn_idxs", "expected a list of layers");
    for (const nlohmann::json& index : indices) {
      if (!index.is_number_integer() || index < 0 || index >= layers)
        config.fail("full_attn_idxs",
                    fmt::format("expected layers 0 to {}, found {}", layers - 1, index.dump()));
      attends[index.get<size_t>()] = true;
    }
  }
  if (types.is_null()) return attends;
  config.expect_layers("layer_types", layers, {"conv", "full_attention"});
  for (size_t i = 0; i < attends.size(); ++i) attends[i] = types.at(i) == "full_attention";
  return attends;
}

// As the class derives it.
int read_mlp_width(ConfigReader& config) {
  const std::string key = config.has("block_ff_dim") && !config.is_null("block_ff_dim")
                              ? "block_ff_dim"
                              : "intermediate_size";
  int width = config.size(key, 12288);
  config.ignore({"intermediate_size", "block_ff_dim", "block_use_swiglu", "block_mlp_init_scale",
                 "block_out_init_scale", "block_dim", "block_norm_eps", "block_use_xavier_init",
                 "conv_use_xavier_init", "conv_dim", "conv_dim_out"});
  const bool adjusts = config.flag("block_auto_adjust_ff_dim", true);
  const int multiple = config.integer("block_multiple_of", 256);
  const double multiplier =
      config.is_null("block_ffn_dim_multiplier") ? 1 : config.number("block_ffn_dim_multiplier", 1);
  if (!adjusts) return width;
  width = static_cast<int>(multiplier * static_cast<int>(2 * std::int64_t{width} / 3));
  if (width < 1) config.fail(key, "leaves no channels");
  return multiple * ((width + multiple - 1) / multiple);
}

}  // namespace

Architecture read_lfm2(ConfigReader& config) {
  Architecture architecture;
  architecture.hidden = config.size("hidden_size", 2560);
  architecture.layers = config.layer_count("num_hidden_layers", 32);
  architecture.vocabulary = config.size("vocab_size", 65536);
  architecture.norm_epsilon = config.number("norm_eps", 1e-5);
  const std::string tie = config.spelling("tie_word_embeddings", "tie_embedding");
  architecture.tied_head = config.flag(tie, true);
  AttentionShape attention = read_attention(config, architecture.hidden, {32, 8, 0});
  attention.head_norms = AttentionShape::HeadNorms::kEachHead;
  attention.rotary = read_plain_rotary(config, attention.head_size, 1e6);
  config.ignore({"theta"});
  ShortConvolutionShape convolution;
  convolution.width = architecture.hidden;
  convolution.conv_kernel = config.integer("conv_L_cache", 3, 1, kMostTaps);
  convolution.bias = config.flag("conv_bias", false);
  MlpShape mlp;
  mlp.inner = read_mlp_width(config);
  mlp.gated = true;
  for (const bool attends : read_attention_layers(config, architecture.layers)) {
    std::shared_ptr<const MixerShape> mixer = std::make_shared<ShortConvolutionShape>(convolution);
    if (attends) mixer = std::make_shared<AttentionShape>(attention);
    architecture.blocks.push_back({{mixer}, {std::make_shared<MlpShape>(mlp)}});
  }
  return architecture;
}

TensorTable lfm2_tensors(const Architecture& architecture) {
  const std::int64_t hidden = architecture.hidden;
  return tensors_in_turn(
      architecture, names(),
      [&](TableBuilder& builder, const std::string& layer, const MixerShape& mixer) {
        const auto* shape = dynamic_cast<const ShortConvolutionShape*>(&mixer);
        if (shape == nullptr) return false;
        const std::string in = layer + kConvolution;
        builder.matrix(in + "in_proj", 3 * hidden, hidden, shape->bias);
        builder.tensor(in + "conv.weight", {hidden, 1, shape->conv_kernel});
        if (shape->bias) builder.tensor(in + "conv.bias", {hidden});
        builder.matrix(in + "out_proj", hidden, hidden, shape->bias);
        return true;
      });
}

NetworkParts lfm2_parts(const Architecture& architecture, Weights& weights) {
  return parts_in_turn(architecture, weights, names(),
                       [&](BlockLoader& loader, const std::string& layer,
                           const MixerShape& mixer) -> std::unique_ptr<Mixer> {
                         const auto* shape = dynamic_cast<const ShortConvolutionShape*>(&mixer);
                         if (shape == nullptr) return nullptr;
                         const std::string in = layer + kConvolution;
                         return std::make_unique<ShortConvolution>(
                             *shape,
                             ShortConvolutionWeights{weights.projection(in + "in_proj.weight"),
                                                     weights.activation_bias(in + "in_proj.bias"),
                                                     {causal_taps(weights.take(in + "conv.weight")),
                                                      weights.optional(in + "conv.bias")},
                                                     loader.output(in + "out_proj")});
                       });
}

}  // namespace factflow
