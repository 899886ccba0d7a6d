// GPT-2 (Radford et al. 2019), as transformers' GPT2LMHeadModel saves it. Its Conv1D weights are
// [in, out].
#include <fmt/format.h>

#include "model/families/declarations.hpp"
#include "model/families/decoder.hpp"
#include "model/families/old_buffers.hpp"
#include "model/network.hpp"
#include "model/weights.hpp"

namespace factflow {

Architecture read_gpt2(ConfigReader& config) {
  Architecture architecture;
  architecture.hidden = config.size(config.spelling("n_embd", "hidden_size"), 768);
  architecture.layers = config.layer_count(config.spelling("n_layer", "num_hidden_layers"), 12);
  architecture.vocabulary = config.size("vocab_size", 50257);
  architecture.norm_epsilon = config.number("layer_norm_epsilon", 1e-5);
  architecture.tied_head = config.flag("tie_word_embeddings", true);
  AttentionShape attention;
  attention.heads = attention.key_heads =
      config.size(config.spelling("n_head", "num_attention_heads"), 12);
  if (architecture.hidden % attention.heads != 0)
    config.fail("n_head", fmt::format("expected a divisor of n_embd = {}, found {}",
                                      architecture.hidden, attention.heads));
  attention.head_size = architecture.hidden / attention.heads;
  attention.query_key_value_bias = attention.output_bias = true;
  MlpShape mlp;
  mlp.inner = 4 * architecture.hidden;
  if (!config.is_null("n_inner")) mlp.inner = config.integer("n_inner", mlp.inner);
  mlp.bias = true;
  architecture.max_positions =
      config.size(config.spelling("n_positions", "max_position_embeddings"), 1024);
  config.expect("n_ctx", architecture.max_positions);
  const bool scale_by_layer = config.flag("scale_attn_by_inverse_layer_idx", false);
  mlp.activation = read_activation(config, "activation_function", "gelu_new");
  config.expect("scale_attn_weights", true);
  config.ignore({"summary_activation", "n_special", "predict_special_tokens"});
  config.ignore_unless_null({"attn_pdrop", "embd_pdrop", "resid_pdrop", "reorder_and_upcast_attn",
                             "summary_first_dropout", "summary_proj_to_labels", "summary_type",
                             "summary_use_proj"});
  config.expect_layers("layer_types", architecture.layers, {"full_attention"});
  for (int i = 0; i < architecture.layers; ++i) {
    attention.scale = score_scale(attention.head_size) / (scale_by_layer ? i + 1 : 1);
    architecture.blocks.push_back(decoder_layer(attention, mlp));
  }
  return architecture;
}

TensorTable gpt2_tensors(const Architecture& architecture) {
  const std::int64_t hidden = architecture.hidden;
  TensorTable table;
  table.prefix = "transformer.";
  table.entries = {{"transformer.wpe.weight", {architecture.max_positions, hidden}},
                   {"transformer.ln_f.weight", {hidden}},
                   {"transformer.ln_f.bias", {hidden}}};
  add_embedding_and_head(table, architecture, "transformer.wte.weight", "lm_head.weight");
  for (int i = 0; i < architecture.layers; ++i) {
    const std::string prefix = fmt::format("transformer.h.{}.", i);
    const std::int64_t mlp = architecture.mixer<MlpShape>(i, 1).inner;
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

NetworkParts gpt2_parts(const Architecture& architecture, Weights& weights) {
  const auto norm = [&](const std::string& name) {
    return Norm{weights.take(name + ".weight"), weights.take(name + ".bias"),
                architecture.norm_epsilon, true};
  };
  const auto transposed = [&](const std::string& name) {
    return weights.projection(name + ".weight", true);
  };
  const auto output = [&](const std::string& name) {
    return OutputProjection{transposed(name), weights.take(name + ".bias"), true};
  };
  NetworkParts parts{"transformer.wte.weight", "lm_head.weight", "transformer.wpe.weight",
                     norm("transformer.ln_f")};
  for (int i = 0; i < architecture.layers; ++i) {
    const std::string prefix = fmt::format("transformer.h.{}.", i);
    const std::string attention = prefix + "attn.c_attn", mlp = prefix + "mlp.c_fc";
    std::vector<NetworkBlock>& layer = parts.layers.emplace_back();
    layer.push_back({norm(prefix + "ln_1"),
                     std::make_unique<AttentionMixer>(
                         architecture.mixer<AttentionShape>(i),
                         AttentionWeights{transposed(attention), weights.take(attention + ".bias"),
                                          output(prefix + "attn.c_proj")})});
    layer.push_back({norm(prefix + "ln_2"),
                     std::make_unique<Mlp>(architecture.mixer<MlpShape>(i, 1),
                                           MlpWeights{transposed(mlp), weights.take(mlp + ".bias"),
                                                      output(prefix + "mlp.c_proj")})});
  }
  return parts;
}

}  // namespace factflow
