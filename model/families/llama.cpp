// Llama 2/3/3.x, Mistral and Qwen2/2.5: one decoder with small differences, as transformers saves
// them.
#include <fmt/format.h>

#include "model/families/declarations.hpp"
#include "model/families/transformer.hpp"
#include "model/weights.hpp"

namespace factflow {
namespace {

Architecture read_decoder(ConfigReader& config) {
  Architecture architecture;
  architecture.hidden = config.integer("hidden_size");
  architecture.layers = config.layer_count("num_hidden_layers");
  architecture.vocabulary = config.integer("vocab_size");
  architecture.norm_epsilon = config.number("rms_norm_eps", 1e-6);
  architecture.tied_head = config.flag("tie_word_embeddings", false);
  TransformerShape shape;
  shape.heads = config.integer("num_attention_heads");
  shape.key_heads = config.integer("num_key_value_heads", shape.heads);
  if (shape.heads % shape.key_heads != 0)
    config.fail("num_key_value_heads", fmt::format("expected a divisor of {} heads, found {}",
                                                   shape.heads, shape.key_heads));
  if (!config.has("head_dim") && architecture.hidden % shape.heads != 0)
    config.fail("num_attention_heads",
                fmt::format("expected a divisor of hidden_size = {}", architecture.hidden));
  shape.head_size = config.integer("head_dim", architecture.hidden / shape.heads);
  config.check_width("head_dim", static_cast<std::int64_t>(shape.heads) * shape.head_size);
  shape.mlp_size = config.integer("intermediate_size");
  shape.gated_mlp = true;
  shape.activation = read_activation(config, "hidden_act", "silu");
  shape.rotary = read_rotary(config, shape.head_size, 1.0);
  config.ignore(
      {"max_position_embeddings", "attention_dropout", "pretraining_tp", "is_llama_config"});
  config.expect("rope_interleaved", false);
  config.expect("use_mrope", false);
  architecture.shape = shape;
  return architecture;
}

}  // namespace

Architecture read_llama(ConfigReader& config) {
  Architecture architecture = read_decoder(config);
  auto& shape = std::get<TransformerShape>(architecture.shape);
  shape.query_key_value_bias = shape.attention_output_bias = config.flag("attention_bias", false);
  shape.mlp_bias = config.flag("mlp_bias", false);
  config.expect_layers("layer_types", architecture.layers, {"full_attention"});
  return architecture;
}

Architecture read_mistral(ConfigReader& config) {
  Architecture architecture = read_decoder(config);
  auto& shape = std::get<TransformerShape>(architecture.shape);
  // Null is no window; a file that does not mention it has the default of transformers' class.
  const int window = config.integer("sliding_window", config.mentions("sliding_window") ? 0 : 4096);
  if (window > 0) shape.sliding_windows.assign(static_cast<size_t>(architecture.layers), window);
  // The class treats all layers alike, whatever this list says; a list that says so is therefore
  // right.
  config.expect_layers("layer_types", architecture.layers,
                       {window > 0 ? "sliding_attention" : "full_attention"});
  return architecture;
}

Architecture read_qwen2(ConfigReader& config) {
  Architecture architecture = read_decoder(config);
  auto& shape = std::get<TransformerShape>(architecture.shape);
  shape.query_key_value_bias = true;
  const bool slides = config.flag("use_sliding_window", false);
  const int window = config.integer("sliding_window", 4096);
  const int full_layers = config.integer("max_window_layers", 28, 0);
  const nlohmann::json& types = config.raw("layer_types");
  if (!types.is_null() &&
      (!types.is_array() || types.size() != static_cast<size_t>(architecture.layers)))
    config.fail("layer_types", fmt::format("expected a list of {} layers", architecture.layers));
  if (!slides && types.is_null()) return architecture;
  for (int i = 0; i < architecture.layers; ++i) {
    bool sliding = slides && i >= full_layers;
    if (!types.is_null()) {
      const nlohmann::json& type = types.at(static_cast<size_t>(i));
      if (type != "full_attention" && type != "sliding_attention")
        config.fail(
            "layer_types",
            fmt::format("expected full_attention or sliding_attention, found {}", type.dump()));
      sliding = type == "sliding_attention";
    }
    if (sliding && !slides)
      config.fail("layer_types", "names sliding layers, but use_sliding_window is false");
    shape.sliding_windows.push_back(sliding ? window : 0);
  }
  return architecture;
}

TensorTable llama_tensors(const Architecture& architecture) {
  const TransformerShape& shape = architecture.transformer();
  const std::int64_t hidden = architecture.hidden, mlp = shape.mlp_size;
  const std::int64_t queries = static_cast<std::int64_t>(shape.heads) * shape.head_size;
  const std::int64_t keys = static_cast<std::int64_t>(shape.key_heads) * shape.head_size;
  TensorTable table{"model.", {}, {"rotary_emb.inv_freq"}, {}, {}};
  table.entries = {{"model.embed_tokens.weight", {architecture.vocabulary, hidden}},
                   {"model.norm.weight", {hidden}}};
  if (architecture.tied_head)
    table.tied = {"lm_head.weight"};
  else
    table.entries.push_back({"lm_head.weight", {architecture.vocabulary, hidden}});
  const auto matrix = [&](const std::string& name, std::int64_t out, std::int64_t in, bool bias) {
    table.entries.push_back({name + ".weight", {out, in}});
    if (bias) table.entries.push_back({name + ".bias", {out}});
  };
  for (int i = 0; i < architecture.layers; ++i) {
    const std::string prefix = fmt::format("model.layers.{}.", i);
    table.entries.push_back({prefix + "input_layernorm.weight", {hidden}});
    table.entries.push_back({prefix + "post_attention_layernorm.weight", {hidden}});
    matrix(prefix + "self_attn.q_proj", queries, hidden, shape.query_key_value_bias);
    matrix(prefix + "self_attn.k_proj", keys, hidden, shape.query_key_value_bias);
    matrix(prefix + "self_attn.v_proj", keys, hidden, shape.query_key_value_bias);
    matrix(prefix + "self_attn.o_proj", hidden, queries, shape.attention_output_bias);
    matrix(prefix + "mlp.gate_proj", mlp, hidden, shape.mlp_bias);
    matrix(prefix + "mlp.up_proj", mlp, hidden, shape.mlp_bias);
    matrix(prefix + "mlp.down_proj", hidden, mlp, shape.mlp_bias);
  }
  return table;
}

std::unique_ptr<Network> build_llama(const Architecture& architecture, Weights& weights) {
  const TransformerShape& shape = architecture.transformer();
  const auto norm = [&](const std::string& name) {
    return Norm{weights.take(name + ".weight"), {}, architecture.norm_epsilon, false};
  };
  const auto bias = [&](const std::string& name) {
    return weights.has(name + ".bias") ? weights.take(name + ".bias") : at::Tensor();
  };
  std::vector<TransformerLayer> layers;
  for (int i = 0; i < architecture.layers; ++i) {
    const std::string prefix = fmt::format("model.layers.{}.", i);
    const std::string q = prefix + "self_attn.q_proj", k = prefix + "self_attn.k_proj",
                      v = prefix + "self_attn.v_proj";
    const std::string gate = prefix + "mlp.gate_proj", up = prefix + "mlp.up_proj";
    TransformerLayer layer;
    layer.attention_norm = norm(prefix + "input_layernorm");
    layer.mlp_norm = norm(prefix + "post_attention_layernorm");
    layer.query_key_value =
        weights.projection(weights.stack({q + ".weight", k + ".weight", v + ".weight"}));
    if (shape.query_key_value_bias)
      layer.query_key_value_bias = weights.stack({q + ".bias", k + ".bias", v + ".bias"});
    layer.attention_output = weights.projection(prefix + "self_attn.o_proj.weight");
    layer.attention_output_bias = bias(prefix + "self_attn.o_proj");
    layer.mlp_in = weights.projection(weights.stack({gate + ".weight", up + ".weight"}));
    if (shape.mlp_bias) layer.mlp_in_bias = weights.stack({gate + ".bias", up + ".bias"});
    layer.mlp_out = weights.projection(prefix + "mlp.down_proj.weight");
    layer.mlp_out_bias = bias(prefix + "mlp.down_proj");
    layers.push_back(std::move(layer));
  }
  return std::make_unique<Transformer>(architecture, weights, "model.embed_tokens.weight",
                                       "lm_head.weight", "", norm("model.norm"), std::move(layers));
}

}  // namespace factflow
