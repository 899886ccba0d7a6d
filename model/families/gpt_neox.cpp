// GPT-NeoX (Pythia), as transformers' GPTNeoXForCausalLM saves it. Its fused projection interleaves
// query, key and value per head; the rows are put in the order of the shared decoder at loading.
#include <fmt/format.h>

#include "model/families/declarations.hpp"
#include "model/families/decoder.hpp"
#include "model/families/old_buffers.hpp"
#include "model/families/rotary.hpp"
#include "model/network.hpp"
#include "model/weights.hpp"

namespace factflow {

Architecture read_gpt_neox(ConfigReader& config) {
  Architecture architecture;
  architecture.hidden = config.size("hidden_size", 6144);
  architecture.layers = config.layer_count("num_hidden_layers", 44);
  architecture.vocabulary = config.size("vocab_size", 50432);
  architecture.norm_epsilon = config.number("layer_norm_eps", 1e-5);
  architecture.tied_head = config.flag("tie_word_embeddings", false);
  AttentionShape attention;
  attention.heads = attention.key_heads = config.size("num_attention_heads", 64);
  if (architecture.hidden % attention.heads != 0)
    config.fail("num_attention_heads",
                fmt::format("expected a divisor of hidden_size = {}", architecture.hidden));
  attention.head_size = architecture.hidden / attention.heads;
  attention.scale = score_scale(attention.head_size);
  MlpShape mlp;
  mlp.inner = config.size("intermediate_size", 24576);
  const bool parallel = config.flag("use_parallel_residual", true);
  attention.query_key_value_bias = attention.output_bias = config.flag("attention_bias", true);
  mlp.bias = true;
  mlp.activation = read_activation(config, "hidden_act", "gelu");
  attention.rotary = read_gpt_neox_rotary(config, attention.head_size);
  config.ignore_unless_null({"max_position_embeddings", "attention_dropout", "hidden_dropout",
                             "classifier_dropout", "is_decoder"});
  config.expect_layers("layer_types", architecture.layers, {"full_attention"});
  architecture.blocks.assign(static_cast<size_t>(architecture.layers),
                             decoder_layer(attention, mlp, parallel));
  return architecture;
}

TensorTable gpt_neox_tensors(const Architecture& architecture) {
  const std::int64_t hidden = architecture.hidden;
  TensorTable table;
  table.prefix = "gpt_neox.";
  table.renamed = {{"lm_head.weight", "embed_out.weight"}};  // transformers 5
  table.entries = {{"gpt_neox.final_layer_norm.weight", {hidden}},
                   {"gpt_neox.final_layer_norm.bias", {hidden}}};
  add_embedding_and_head(table, architecture, "gpt_neox.embed_in.weight", "embed_out.weight");
  const auto matrix = [&](const std::string& name, std::int64_t out, std::int64_t in, bool bias) {
    table.entries.push_back({name + ".weight", {out, in}});
    if (bias) table.entries.push_back({name + ".bias", {out}});
  };
  for (int i = 0; i < architecture.layers; ++i) {
    const std::string prefix = fmt::format("gpt_neox.layers.{}.", i);
    const auto& attention = architecture.mixer<AttentionShape>(i);
    const std::int64_t mlp = architecture.mixer<MlpShape>(i, 1).inner;
    for (const char* norm : {"input_layernorm", "post_attention_layernorm"})
      for (const char* part : {"weight", "bias"})
        table.entries.push_back({prefix + norm + "." + part, {hidden}});
    matrix(prefix + "attention.query_key_value", 3 * hidden, hidden,
           attention.query_key_value_bias);
    matrix(prefix + "attention.dense", hidden, hidden, attention.output_bias);
    matrix(prefix + "mlp.dense_h_to_4h", mlp, hidden, true);
    matrix(prefix + "mlp.dense_4h_to_h", hidden, mlp, true);
    add_causal_masks(table, prefix + "attention.");
    add_inverse_frequencies(table, prefix + "attention.", attention.rotary);
  }
  return table;
}

NetworkParts gpt_neox_parts(const Architecture& architecture, Weights& weights) {
  const auto norm = [&](const std::string& name) {
    return Norm{weights.take(name + ".weight"), weights.take(name + ".bias"),
                architecture.norm_epsilon, true};
  };
  // [heads, 3, head_size, ...] -> [3, heads, head_size, ...]
  const auto by_kind = [](const AttentionShape& shape, const at::Tensor& fused) {
    if (!fused.defined()) return fused;
    return fused.reshape({shape.heads, 3, shape.head_size, -1})
        .transpose(0, 1)
        .reshape(fused.sizes())
        .contiguous();
  };
  const auto output = [&](const std::string& name) {
    return OutputProjection{weights.projection(name + ".weight"), weights.optional(name + ".bias"),
                            true};
  };
  const auto rotations = rotations_of(architecture.mixer<AttentionShape>(0).rotary, weights);
  NetworkParts parts{"gpt_neox.embed_in.weight", "embed_out.weight", "",
                     norm("gpt_neox.final_layer_norm")};
  for (int i = 0; i < architecture.layers; ++i) {
    const std::string prefix = fmt::format("gpt_neox.layers.{}.", i);
    const std::string fused = prefix + "attention.query_key_value",
                      mlp = prefix + "mlp.dense_h_to_4h";
    const auto& attention = architecture.mixer<AttentionShape>(i);
    std::vector<NetworkBlock>& layer = parts.layers.emplace_back();
    layer.push_back(
        {norm(prefix + "input_layernorm"),
         std::make_unique<AttentionMixer>(
             attention, AttentionWeights{
                            weights.projection(by_kind(attention, weights.take(fused + ".weight"))),
                            by_kind(attention, weights.optional(fused + ".bias")),
                            output(prefix + "attention.dense"), rotations})});
    layer.push_back({norm(prefix + "post_attention_layernorm"),
                     std::make_unique<Mlp>(architecture.mixer<MlpShape>(i, 1),
                                           MlpWeights{weights.projection(mlp + ".weight"),
                                                      weights.optional(mlp + ".bias"),
                                                      output(prefix + "mlp.dense_4h_to_h")})});
  }
  return parts;
}

}  // namespace factflow
