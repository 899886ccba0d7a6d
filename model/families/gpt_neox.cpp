// GPT-NeoX (Pythia), as transformers' GPTNeoXForCausalLM saves it. Its fused projection interleaves
// query, key and value per head; the rows are put in the order of the shared decoder at loading.
#include <fmt/format.h>

#include "model/families/declarations.hpp"
#include "model/families/old_buffers.hpp"
#include "model/families/rotary.hpp"
#include "model/families/transformer.hpp"
#include "model/weights.hpp"

namespace factflow {

Architecture read_gpt_neox(ConfigReader& config) {
  Architecture architecture;
  architecture.hidden = config.size("hidden_size", 6144);
  architecture.layers = config.layer_count("num_hidden_layers", 44);
  architecture.vocabulary = config.size("vocab_size", 50432);
  architecture.norm_epsilon = config.number("layer_norm_eps", 1e-5);
  architecture.tied_head = config.flag("tie_word_embeddings", false);
  TransformerShape shape;
  shape.heads = shape.key_heads = config.size("num_attention_heads", 64);
  if (architecture.hidden % shape.heads != 0)
    config.fail("num_attention_heads",
                fmt::format("expected a divisor of hidden_size = {}", architecture.hidden));
  shape.head_size = architecture.hidden / shape.heads;
  shape.mlp_size = config.size("intermediate_size", 24576);
  shape.layer_norm = true;
  shape.parallel_residual = config.flag("use_parallel_residual", true);
  shape.query_key_value_bias = shape.attention_output_bias = config.flag("attention_bias", true);
  shape.mlp_bias = true;
  shape.activation = read_activation(config, "hidden_act", "gelu");
  shape.rotary = read_gpt_neox_rotary(config, shape.head_size);
  config.ignore_unless_null({"max_position_embeddings", "attention_dropout", "hidden_dropout",
                             "classifier_dropout", "is_decoder"});
  config.expect_layers("layer_types", architecture.layers, {"full_attention"});
  architecture.shape = shape;
  return architecture;
}

TensorTable gpt_neox_tensors(const Architecture& architecture) {
  const TransformerShape& shape = architecture.transformer();
  const std::int64_t hidden = architecture.hidden, mlp = shape.mlp_size;
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
    for (const char* norm : {"input_layernorm", "post_attention_layernorm"})
      for (const char* part : {"weight", "bias"})
        table.entries.push_back({prefix + norm + "." + part, {hidden}});
    matrix(prefix + "attention.query_key_value", 3 * hidden, hidden, shape.query_key_value_bias);
    matrix(prefix + "attention.dense", hidden, hidden, shape.attention_output_bias);
    matrix(prefix + "mlp.dense_h_to_4h", mlp, hidden, true);
    matrix(prefix + "mlp.dense_4h_to_h", hidden, mlp, true);
    add_causal_masks(table, prefix + "attention.");
    add_inverse_frequencies(table, prefix + "attention.", shape.rotary);
  }
  return table;
}

std::unique_ptr<Network> build_gpt_neox(const Architecture& architecture, Weights& weights) {
  const TransformerShape& shape = architecture.transformer();
  const auto norm = [&](const std::string& name) {
    return Norm{weights.take(name + ".weight"), weights.take(name + ".bias"),
                architecture.norm_epsilon, true};
  };
  const auto bias = [&](const std::string& name) {
    return weights.has(name + ".bias") ? weights.take(name + ".bias") : at::Tensor();
  };
  // [heads, 3, head_size, ...] -> [3, heads, head_size, ...]
  const auto by_kind = [&](const at::Tensor& fused) {
    if (!fused.defined()) return fused;
    return fused.reshape({shape.heads, 3, shape.head_size, -1})
        .transpose(0, 1)
        .reshape(fused.sizes())
        .contiguous();
  };
  std::vector<TransformerLayer> layers;
  for (int i = 0; i < architecture.layers; ++i) {
    const std::string prefix = fmt::format("gpt_neox.layers.{}.", i);
    TransformerLayer layer;
    layer.attention_norm = norm(prefix + "input_layernorm");
    layer.mlp_norm = norm(prefix + "post_attention_layernorm");
    layer.query_key_value =
        weights.projection(by_kind(weights.take(prefix + "attention.query_key_value.weight")));
    layer.query_key_value_bias = by_kind(bias(prefix + "attention.query_key_value"));
    layer.attention_output = weights.projection(prefix + "attention.dense.weight");
    layer.attention_output_bias = bias(prefix + "attention.dense");
    layer.mlp_in = weights.projection(prefix + "mlp.dense_h_to_4h.weight");
    layer.mlp_in_bias = bias(prefix + "mlp.dense_h_to_4h");
    layer.mlp_out = weights.projection(prefix + "mlp.dense_4h_to_h.weight");
    layer.mlp_out_bias = bias(prefix + "mlp.dense_4h_to_h");
    layers.push_back(std::move(layer));
  }
  return std::make_unique<Transformer>(architecture, weights, "gpt_neox.embed_in.weight",
                                       "embed_out.weight", "", norm("gpt_neox.final_layer_norm"),
                                       std::move(layers));
}

}  // namespace factflow
