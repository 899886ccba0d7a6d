// OPT (Zhang et al. 2022), as transformers' OPTForCausalLM saves it: learned positions, of which
// token 0 has row 2; norms before the blocks, or in the 350m model on the stream behind them, where
// projections stand between the embedding's width and the stream's.
#include <fmt/format.h>

#include "model/families/declarations.hpp"
#include "model/families/llama_decoder.hpp"
#include "model/weights.hpp"

namespace factflow {
namespace {

constexpr int kFirstPosition = 2;
constexpr double kEpsilon = 1e-5;  // LayerNorm's own; there is no key

const std::string kDecoder = "model.decoder.";

// What config.json says beside sizes, as far as tensors need it.
struct Variant {
  bool before;       // norms stand before the blocks
  bool projects;     // the embedding has another width than the stream
  bool biased;       // all matrices
  bool has_tensors;  // norms have weights and biases
};

Variant variant_of(const Architecture& architecture) {
  const BlockShape& block = architecture.blocks.front().front();
  return {!block.norm_of_stream, architecture.embedding_width != architecture.hidden,
          architecture.mixer<AttentionShape>(0).output_bias, architecture.norm_weights};
}

std::string layer_prefix(int layer) {
  return fmt::format("{}layers.{}.", kDecoder, layer);
}

}  // namespace

Architecture read_opt(ConfigReader& config) {
  Architecture architecture;
  architecture.hidden = config.size("hidden_size", 768);
  architecture.layers = config.layer_count("num_hidden_layers", 12);
  architecture.vocabulary = config.size("vocab_size", 50272);
  architecture.norm_epsilon = kEpsilon;
  architecture.tied_head = config.flag("tie_word_embeddings", true);
  architecture.max_positions = config.size("max_position_embeddings", 2048);
  architecture.embedding_width = config.is_null("word_embed_proj_dim")
                                     ? architecture.hidden
                                     : config.integer("word_embed_proj_dim", architecture.hidden);
  architecture.norm_weights = config.flag("layer_norm_elementwise_affine", true);
  const bool before = config.flag("do_layer_norm_before", true);
  architecture.final_norm = before && !config.flag("_remove_final_layer_norm", false);
  config.ignore({"_remove_final_layer_norm"});
  AttentionShape attention;
  attention.heads = attention.key_heads = config.size("num_attention_heads", 12);
  if (architecture.hidden % attention.heads != 0)
    config.fail("num_attention_heads",
                fmt::format("expected a divisor of hidden_size = {}", architecture.hidden));
  attention.head_size = architecture.hidden / attention.heads;
  attention.scale = score_scale(attention.head_size);
  MlpShape mlp;
  mlp.inner = config.size("ffn_dim", 3072);
  mlp.activation = read_activation(config, "activation_function", "relu");
  attention.query_key_value_bias = attention.output_bias = mlp.bias =
      config.flag("enable_bias", true);
  config.ignore({"init_std"});
  config.expect_layers("layer_types", architecture.layers, {"full_attention"});
  LayerShape layer = decoder_layer(attention, mlp);
  for (BlockShape& block : layer) block.norm_of_stream = !before;
  architecture.blocks.assign(static_cast<size_t>(architecture.layers), layer);
  return architecture;
}

TensorTable opt_tensors(const Architecture& architecture) {
  const std::int64_t hidden = architecture.hidden, width = architecture.embedding_width;
  const Variant variant = variant_of(architecture);
  TensorTable table;
  table.prefix = "model.";
  table.entries = {
      {kDecoder + "embed_positions.weight", {architecture.max_positions + kFirstPosition, hidden}}};
  add_embedding_and_head(table, architecture, kDecoder + "embed_tokens.weight", "lm_head.weight");
  if (variant.projects) {
    add_matrix(table, kDecoder + "project_in", hidden, width, false);
    add_matrix(table, kDecoder + "project_out", width, hidden, false);
  }
  const auto add_norm = [&](const std::string& name) {
    for (const char* part : {".weight", ".bias"})
      if (variant.has_tensors) table.entries.push_back({name + part, {hidden}});
  };
  if (architecture.final_norm) add_norm(kDecoder + "final_layer_norm");
  for (int i = 0; i < architecture.layers; ++i) {
    const std::string prefix = layer_prefix(i);
    const std::int64_t mlp = architecture.mixer<MlpShape>(i, 1).inner;
    add_norm(prefix + "self_attn_layer_norm");
    add_norm(prefix + "final_layer_norm");
    for (const char* name : {"q_proj", "k_proj", "v_proj", "out_proj"})
      add_matrix(table, prefix + "self_attn." + name, hidden, hidden, variant.biased);
    add_matrix(table, prefix + "fc1", mlp, hidden, variant.biased);
    add_matrix(table, prefix + "fc2", hidden, mlp, variant.biased);
  }
  table.old_buffers.push_back(
      {kDecoder + "version", [](const StoredTensor&) { return std::string(); }});
  return table;
}

NetworkParts opt_parts(const Architecture& architecture, Weights& weights) {
  const Variant variant = variant_of(architecture);
  const auto norm = [&](const std::string& name) {
    return Norm{weights.optional(name + ".weight"), weights.optional(name + ".bias"),
                architecture.norm_epsilon, true};
  };
  Norm none;
  none.identity = true;
  // Biases are folded where every norm stands before a block.
  const auto output = [&](const std::string& name) {
    return OutputProjection{weights.projection(name + ".weight"), weights.optional(name + ".bias"),
                            architecture.final_norm};
  };
  NetworkParts parts{kDecoder + "embed_tokens.weight", "lm_head.weight",
                     kDecoder + "embed_positions.weight",
                     architecture.final_norm ? norm(kDecoder + "final_layer_norm") : none};
  parts.first_position = kFirstPosition;
  if (variant.projects) {
    parts.project_in = kDecoder + "project_in.weight";
    parts.project_out = kDecoder + "project_out.weight";
  }
  const auto block = [&](const std::string& name, std::unique_ptr<Mixer> mixer) {
    const Norm own = norm(name);
    return variant.before ? NetworkBlock{own, std::move(mixer)}
                          : NetworkBlock{none, std::move(mixer), {}, own};
  };
  for (int i = 0; i < architecture.layers; ++i) {
    const std::string prefix = layer_prefix(i), attention = prefix + "self_attn.";
    const std::string q = attention + "q_proj", k = attention + "k_proj", v = attention + "v_proj";
    std::vector<NetworkBlock>& layer = parts.layers.emplace_back();
    layer.push_back(block(
        prefix + "self_attn_layer_norm",
        std::make_unique<AttentionMixer>(
            architecture.mixer<AttentionShape>(i),
            AttentionWeights{
                weights.projection(weights.stack({q + ".weight", k + ".weight", v + ".weight"})),
                variant.biased ? weights.stack({q + ".bias", k + ".bias", v + ".bias"})
                               : at::Tensor(),
                output(attention + "out_proj")})));
    layer.push_back(
        block(prefix + "final_layer_norm",
              std::make_unique<Mlp>(
                  architecture.mixer<MlpShape>(i, 1),
                  MlpWeights{weights.projection(prefix + "fc1.weight"),
                             weights.optional(prefix + "fc1.bias"), output(prefix + "fc2")})));
  }
  return parts;
}

}  // namespace factflow
