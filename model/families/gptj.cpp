// GPT-J (Wang & Komatsuzaki 2021), as transformers' GPTJForCausalLM saves it: attention and MLP in
// parallel behind one norm; interleaved rotary pairs, put in the order of the shared decoder at
// loading; a head with a bias.
#include <fmt/format.h>

#include "model/families/declarations.hpp"
#include "model/families/llama_decoder.hpp"
#include "model/families/old_buffers.hpp"
#include "model/weights.hpp"

namespace factflow {
namespace {

// Rows of queries or keys [heads head_size, hidden]: of the rotated dimensions of each head the
// first ones of all pairs, then the second ones. Scores are the same.
at::Tensor with_halves(const at::Tensor& rows, const AttentionShape& shape) {
  std::vector<std::int64_t> order;
  for (int head = 0; head < shape.heads; ++head) {
    const int begin = head * shape.head_size, rotated = shape.rotary.dimensions;
    for (const int first : {0, 1})
      for (int i = first; i < rotated; i += 2) order.push_back(begin + i);
    for (int i = rotated; i < shape.head_size; ++i) order.push_back(begin + i);
  }
  return rows.index_select(0, at::tensor(order, at::kLong).to(rows.device()));
}

}  // namespace

Architecture read_gptj(ConfigReader& config) {
  Architecture architecture;
  architecture.hidden = config.size(config.spelling("n_embd", "hidden_size"), 4096);
  architecture.layers = config.layer_count(config.spelling("n_layer", "num_hidden_layers"), 28);
  architecture.vocabulary = config.size("vocab_size", 50400);
  architecture.norm_epsilon = config.number("layer_norm_epsilon", 1e-5);
  architecture.tied_head = config.flag("tie_word_embeddings", false);
  architecture.max_positions =
      config.integer(config.spelling("n_positions", "max_position_embeddings"), 2048);
  AttentionShape attention;
  attention.heads = attention.key_heads =
      config.size(config.spelling("n_head", "num_attention_heads"), 16);
  if (architecture.hidden % attention.heads != 0)
    config.fail("n_head", fmt::format("expected a divisor of n_embd = {}, found {}",
                                      architecture.hidden, attention.heads));
  attention.head_size = architecture.hidden / attention.heads;
  attention.scale = score_scale(attention.head_size);
  attention.rotary.dimensions = config.integer("rotary_dim", 64, 2);
  if (attention.rotary.dimensions % 2 != 0 || attention.rotary.dimensions > attention.head_size)
    config.fail("rotary_dim", fmt::format("expected an even number of a head's {} dimensions, "
                                          "found {}",
                                          attention.head_size, attention.rotary.dimensions));
  MlpShape mlp;
  mlp.inner = 4 * architecture.hidden;
  if (!config.is_null("n_inner")) mlp.inner = config.integer("n_inner", mlp.inner);
  mlp.bias = true;
  mlp.activation = read_activation(config, "activation_function", "gelu_new");
  config.expect_or_null("rotary", true);
  config.expect("scale_attn_weights", true);
  config.ignore({"n_ctx", "summary_activation", "summary_first_dropout", "summary_proj_to_labels",
                 "summary_type", "summary_use_proj"});
  config.expect_layers("layer_types", architecture.layers, {"full_attention"});
  LayerShape layer = decoder_layer(attention, mlp, /*parallel=*/true);
  layer.back().shares_input = true;
  architecture.blocks.assign(static_cast<size_t>(architecture.layers), layer);
  return architecture;
}

TensorTable gptj_tensors(const Architecture& architecture) {
  const std::int64_t hidden = architecture.hidden;
  TensorTable table;
  table.prefix = "transformer.";
  table.entries = {{"transformer.ln_f.weight", {hidden}},
                   {"transformer.ln_f.bias", {hidden}},
                   {"lm_head.bias", {architecture.vocabulary}}};
  add_embedding_and_head(table, architecture, "transformer.wte.weight", "lm_head.weight");
  for (int i = 0; i < architecture.layers; ++i) {
    const std::string prefix = fmt::format("transformer.h.{}.", i);
    const std::int64_t mlp = architecture.mixer<MlpShape>(i, 1).inner;
    for (const char* part : {"weight", "bias"})
      table.entries.push_back({prefix + "ln_1." + part, {hidden}});
    for (const char* name : {"q_proj", "k_proj", "v_proj", "out_proj"})
      add_matrix(table, prefix + "attn." + name, hidden, hidden, false);
    add_matrix(table, prefix + "mlp.fc_in", mlp, hidden, true);
    add_matrix(table, prefix + "mlp.fc_out", hidden, mlp, true);
    add_causal_masks(table, prefix + "attn.");
  }
  return table;
}

NetworkParts gptj_parts(const Architecture& architecture, Weights& weights) {
  const auto norm = [&](const std::string& name) {
    return Norm{weights.take(name + ".weight"), weights.take(name + ".bias"),
                architecture.norm_epsilon, true};
  };
  const auto rotations = rotations_of(architecture.mixer<AttentionShape>(0).rotary, weights);
  NetworkParts parts{"transformer.wte.weight", "lm_head.weight", "", norm("transformer.ln_f")};
  parts.head_bias = "lm_head.bias";
  for (int i = 0; i < architecture.layers; ++i) {
    const std::string prefix = fmt::format("transformer.h.{}.", i);
    const std::string attention = prefix + "attn.", mlp = prefix + "mlp.fc_in";
    const auto& shape = architecture.mixer<AttentionShape>(i);
    const at::Tensor query_key_value =
        at::cat({with_halves(weights.take(attention + "q_proj.weight"), shape),
                 with_halves(weights.take(attention + "k_proj.weight"), shape),
                 weights.take(attention + "v_proj.weight")});
    const Norm before = norm(prefix + "ln_1");
    std::vector<NetworkBlock>& layer = parts.layers.emplace_back();
    layer.push_back(
        {before, std::make_unique<AttentionMixer>(
                     shape, AttentionWeights{weights.projection(query_key_value),
                                             at::Tensor(),
                                             {weights.projection(attention + "out_proj.weight")},
                                             rotations})});
    layer.push_back({before, std::make_unique<Mlp>(
                                 architecture.mixer<MlpShape>(i, 1),
                                 MlpWeights{weights.projection(mlp + ".weight"),
                                            weights.take(mlp + ".bias"),
                                            {weights.projection(prefix + "mlp.fc_out.weight"),
                                             weights.take(prefix + "mlp.fc_out.bias"), true}})});
  }
  return parts;
}

}  // namespace factflow
