// Llama 2/3/3.x, Mistral and Qwen2/2.5: one decoder with small differences, as transformers saves
// them.
#include <optional>

#include <fmt/format.h>

#include "model/families/declarations.hpp"
#include "model/families/old_buffers.hpp"
#include "model/families/rotary.hpp"
#include "model/families/transformer.hpp"
#include "model/weights.hpp"

namespace factflow {
namespace {

// What the classes of transformers take for keys that are absent or null.
struct ClassRules {
  int vocabulary, mlp_size, positions;  // of absent keys
  std::optional<int> key_heads;         // of an absent num_key_value_heads; nullopt = one per head
  bool null_key_heads;                  // null is one per head, not an error
  bool null_head_size;                  // null is as good as absence, not an error
  bool null_dropout;                    // likewise
};
constexpr ClassRules kLlama{32000, 11008, 2048, std::nullopt, true, true, true};
constexpr ClassRules kMistral{32000, 14336, 131072, 8, false, true, false};
constexpr ClassRules kQwen2{151936, 22016, 32768, 32, true, false, false};

int read_key_heads(ConfigReader& config, int heads, const ClassRules& rules) {
  const char* key = "num_key_value_heads";
  const bool one_each =
      config.has(key) ? rules.null_key_heads && config.is_null(key) : !rules.key_heads;
  const int key_heads = one_each          ? heads
                        : rules.key_heads ? config.size(key, *rules.key_heads)
                                          : config.integer(key);
  if (heads % key_heads != 0)
    config.fail(key, fmt::format("expected a divisor of {} heads, found {}{}", heads, key_heads,
                                 config.has(key) ? "" : ", the family's default"));
  return key_heads;
}

int read_head_size(ConfigReader& config, int hidden, int heads, const ClassRules& rules) {
  if (config.has("head_dim") && !(rules.null_head_size && config.is_null("head_dim")))
    return config.integer("head_dim");
  if (hidden % heads != 0)
    config.fail("num_attention_heads",
                fmt::format("expected a divisor of hidden_size = {}", hidden));
  return hidden / heads;
}

Architecture read_decoder(ConfigReader& config, const ClassRules& rules) {
  Architecture architecture;
  architecture.hidden = config.size("hidden_size", 4096);
  architecture.layers = config.layer_count("num_hidden_layers", 32);
  architecture.vocabulary = config.size("vocab_size", rules.vocabulary);
  architecture.norm_epsilon = config.number("rms_norm_eps", 1e-6);
  architecture.tied_head = config.flag("tie_word_embeddings", false);
  TransformerShape shape;
  shape.heads = config.size("num_attention_heads", 32);
  shape.key_heads = read_key_heads(config, shape.heads, rules);
  shape.head_size = read_head_size(config, architecture.hidden, shape.heads, rules);
  config.check_width("head_dim", static_cast<std::int64_t>(shape.heads) * shape.head_size);
  shape.mlp_size = config.size("intermediate_size", rules.mlp_size);
  shape.gated_mlp = true;
  shape.activation = read_activation(config, "hidden_act", "silu");
  shape.rotary = read_rotary(config, shape.head_size, rules.positions);
  config.ignore({"pretraining_tp", "is_llama_config"});
  config.ignore_unless_null({"max_position_embeddings"});
  if (!rules.null_dropout) config.ignore_unless_null({"attention_dropout"});
  architecture.shape = shape;
  return architecture;
}

// 0 = none, which null says; a file that does not mention it has the default of transformers'
// classes.
int read_window(ConfigReader& config) {
  return config.is_null("sliding_window") ? 0 : config.integer("sliding_window", 4096);
}

}  // namespace

Architecture read_llama(ConfigReader& config) {
  Architecture architecture = read_decoder(config, kLlama);
  auto& shape = std::get<TransformerShape>(architecture.shape);
  shape.query_key_value_bias = shape.attention_output_bias = config.flag("attention_bias", false);
  shape.mlp_bias = config.flag("mlp_bias", false);
  config.expect_layers("layer_types", architecture.layers, {"full_attention"});
  return architecture;
}

Architecture read_mistral(ConfigReader& config) {
  Architecture architecture = read_decoder(config, kMistral);
  auto& shape = std::get<TransformerShape>(architecture.shape);
  const int window = read_window(config);
  if (window > 0) shape.sliding_windows.assign(static_cast<size_t>(architecture.layers), window);
  // The class treats all layers alike, whatever this list says; a list that says so is therefore
  // right.
  config.expect_layers("layer_types", architecture.layers,
                       {window > 0 ? "sliding_attention" : "full_attention"});
  return architecture;
}

Architecture read_qwen2(ConfigReader& config) {
  Architecture architecture = read_decoder(config, kQwen2);
  auto& shape = std::get<TransformerShape>(architecture.shape);
  shape.query_key_value_bias = true;
  config.ignore({"attention_bias"});  // the class does not read it; the tensors say
  const bool may_slide = config.flag("use_sliding_window", false);
  const int window = read_window(config);
  const bool slides = may_slide && window > 0;
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
      config.fail("layer_types", fmt::format("names sliding layers, but {}",
                                             may_slide ? "sliding_window is null"
                                                       : "use_sliding_window is false"));
    shape.sliding_windows.push_back(sliding ? window : 0);
  }
  return architecture;
}

TensorTable llama_tensors(const Architecture& architecture) {
  const TransformerShape& shape = architecture.transformer();
  const std::int64_t hidden = architecture.hidden, mlp = shape.mlp_size;
  const std::int64_t queries = static_cast<std::int64_t>(shape.heads) * shape.head_size;
  const std::int64_t keys = static_cast<std::int64_t>(shape.key_heads) * shape.head_size;
  TensorTable table;
  table.prefix = "model.";
  table.entries = {{"model.norm.weight", {hidden}}};
  add_embedding_and_head(table, architecture, "model.embed_tokens.weight", "lm_head.weight");
  add_inverse_frequencies(table, "model.", shape.rotary);
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
    add_inverse_frequencies(table, prefix + "self_attn.", shape.rotary);
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
