// GPT-2 (Radford et al. 2019), as transformers' GPT2LMHeadModel saves it. Its Conv1D weights are
// [in, out].
#include <fmt/format.h>

#include "model/families/declarations.hpp"
#include "model/families/old_buffers.hpp"
#include "model/families/transformer.hpp"
#include "model/weights.hpp"

namespace factflow {

Architecture read_gpt2(ConfigReader& config) {
  Architecture architecture;
  architecture.hidden = config.size(config.spelling("n_embd", "hidden_size"), 768);
  architecture.layers = config.layer_count(config.spelling("n_layer", "num_hidden_layers"), 12);
  architecture.vocabulary = config.size("vocab_size", 50257);
  architecture.norm_epsilon = config.number("layer_norm_epsilon", 1e-5);
  architecture.tied_head = config.flag("tie_word_embeddings", true);
  TransformerShape shape;
  shape.heads = shape.key_heads = config.size(config.spelling("n_head", "num_attention_heads"), 12);
  if (architecture.hidden % shape.heads != 0)
    config.fail("n_head", fmt::format("expected a divisor of n_embd = {}, found {}",
                                      architecture.hidden, shape.heads));
  shape.head_size = architecture.hidden / shape.heads;
  shape.mlp_size = 4 * architecture.hidden;
  if (!config.is_null("n_inner")) shape.mlp_size = config.integer("n_inner", shape.mlp_size);
  shape.learned_positions =
      config.size(config.spelling("n_positions", "max_position_embeddings"), 1024);
  config.expect("n_ctx", shape.learned_positions);
  shape.layer_norm = true;
  shape.query_key_value_bias = shape.attention_output_bias = shape.mlp_bias = true;
  shape.scale_by_layer = config.flag("scale_attn_by_inverse_layer_idx", false);
  shape.activation = read_activation(config, "activation_function", "gelu_new");
  config.expect("scale_attn_weights", true);
  config.ignore({"summary_activation", "n_special", "predict_special_tokens"});
  config.ignore_unless_null({"attn_pdrop", "embd_pdrop", "resid_pdrop", "reorder_and_upcast_attn",
                             "summary_first_dropout", "summary_proj_to_labels", "summary_type",
                             "summary_use_proj"});
  config.expect_layers("layer_types", architecture.layers, {"full_attention"});
  architecture.max_positions = shape.learned_positions;
  architecture.shape = shape;
  return architecture;
}

TensorTable gpt2_tensors(const Architecture& architecture) {
  const TransformerShape& shape = architecture.transformer();
  const std::int64_t hidden = architecture.hidden, mlp = shape.mlp_size;
  TensorTable table;
  table.prefix = "transformer.";
  table.entries = {{"transformer.wpe.weight", {shape.learned_positions, hidden}},
                   {"transformer.ln_f.weight", {hidden}},
                   {"transformer.ln_f.bias", {hidden}}};
  add_embedding_and_head(table, architecture, "transformer.wte.weight", "lm_head.weight");
  for (int i = 0; i < architecture.layers; ++i) {
    const std::string prefix = fmt::format("transformer.h.{}.", i);
    for (const char* norm : {"ln_1", "ln_2"})
      for (const char* part : {"weight", "bias"})
        table.entries.push_back({prefix + norm + "." + part, {hidden}});
    table.entries.push_back({prefix + "attn.c_attn.weight", {hidden, 3 * hidden}});
    table.entries.push_back({prefix + "attn.c_attn.bias", {3 * hidden}});
    table.entries.push_back({prefix + "attn.c_proj.weight", {hidden, hidden}});
    table.entries.push_back({prefix + "attn.c_proj.bias", {hidden}});
    table.entries.push_back({prefix + "mlp.c_fc.weight", {hidden, mlp}});
    table.entries.push_back({prefix + "mlp.c_fc.bias", {mlp}});
    table.entries.push_back({prefix + "mlp.c_proj.weight", {mlp, hidden}});
    table.entries.push_back({prefix + "mlp.c_proj.bias", {hidden}});
    add_causal_masks(table, prefix + "attn.");
  }
  return table;
}

std::unique_ptr<Network> build_gpt2(const Architecture& architecture, Weights& weights) {
  const auto norm = [&](const std::string& name) {
    return Norm{weights.take(name + ".weight"), weights.take(name + ".bias"),
                architecture.norm_epsilon, true};
  };
  const auto transposed = [&](const std::string& name) {
    return weights.projection(weights.take(name).t());
  };
  std::vector<TransformerLayer> layers;
  for (int i = 0; i < architecture.layers; ++i) {
    const std::string prefix = fmt::format("transformer.h.{}.", i);
    TransformerLayer layer;
    layer.attention_norm = norm(prefix + "ln_1");
    layer.mlp_norm = norm(prefix + "ln_2");
    layer.query_key_value = transposed(prefix + "attn.c_attn.weight");
    layer.query_key_value_bias = weights.take(prefix + "attn.c_attn.bias");
    layer.attention_output = transposed(prefix + "attn.c_proj.weight");
    layer.attention_output_bias = weights.take(prefix + "attn.c_proj.bias");
    layer.mlp_in = transposed(prefix + "mlp.c_fc.weight");
    layer.mlp_in_bias = weights.take(prefix + "mlp.c_fc.bias");
    layer.mlp_out = transposed(prefix + "mlp.c_proj.weight");
    layer.mlp_out_bias = weights.take(prefix + "mlp.c_proj.bias");
    layers.push_back(std::move(layer));
  }
  return std::make_unique<Transformer>(architecture, weights, "transformer.wte.weight",
                                       "lm_head.weight", "transformer.wpe.weight",
                                       norm("transformer.ln_f"), std::move(layers));
}

}  // namespace factflow
