// Llama 2/3/3.x, Mistral and Qwen2/2.5: one decoder with small differences, as transformers saves
// them.
#include <optional>

#include <fmt/format.h>

#include "model/families/declarations.hpp"
#include "model/families/decoder.hpp"
#include "model/families/old_buffers.hpp"
#include "model/families/rotary.hpp"
#include "model/network.hpp"
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

struct Decoder {
  Architecture architecture;  // but its blocks
  AttentionShape attention;
  MlpShape mlp;

  Architecture with_layers_alike() const {
    Architecture whole = architecture;
    whole.blocks.assign(static_cast<size_t>(whole.layers), decoder_layer(attention, mlp));
    return whole;
  }
};

Decoder read_decoder(ConfigReader& config, const ClassRules& rules) {
  Decoder decoder;
  auto& [architecture, attention, mlp] = decoder;
  architecture.hidden = config.size("hidden_size", 4096);
  architecture.layers = config.layer_count("num_hidden_layers", 32);
  architecture.vocabulary = config.size("vocab_size", rules.vocabulary);
  architecture.norm_epsilon = config.number("rms_norm_eps", 1e-6);
  architecture.tied_head = config.flag("tie_word_embeddings", false);
  attention.heads = config.size("num_attention_heads", 32);
  attention.key_heads = read_key_heads(config, attention.heads, rules);
  attention.head_size = read_head_size(config, architecture.hidden, attention.heads, rules);
  config.check_width("head_dim", attention.queries());
  attention.scale = score_scale(attention.head_size);
  mlp.inner = config.size("intermediate_size", rules.mlp_size);
  mlp.gated = true;
  mlp.activation = read_activation(config, "hidden_act", "silu");
  attention.rotary = read_rotary(config, attention.head_size, rules.positions);
  config.ignore({"pretraining_tp", "is_llama_config"});
  config.ignore_unless_null({"max_position_embeddings"});
  if (!rules.null_dropout) config.ignore_unless_null({"attention_dropout"});
  return decoder;
}

// 0 = none, which null says; a file that does not mention it has the default of transformers'
// classes.
int read_window(ConfigReader& config) {
  return config.is_null("sliding_window") ? 0 : config.integer("sliding_window", 4096);
}

// Which layers slide, as Qwen2's class decides it.
std::vector<bool> sliding_layers(ConfigReader& config, int layers, bool may_slide, int window) {
  const bool slides = may_slide && window > 0;
  const int full_layers = config.integer("max_window_layers", 28, 0);
  const nlohmann::json& types = config.raw("layer_types");
  if (!types.is_null() && (!types.is_array() || types.size() != static_cast<size_t>(layers)))
    config.fail("layer_types", fmt::format("expected a list of {} layers", layers));
  std::vector<bool> sliding;
  for (int i = 0; i < layers; ++i) {
    sliding.push_back(slides && i >= full_layers);
    if (types.is_null()) continue;
    const nlohmann::json& type = types.at(static_cast<size_t>(i));
    if (type != "full_attention" && type != "sliding_attention")
      config.fail(
          "layer_types",
          fmt::format("expected full_attention or sliding_attention, found {}", type.dump()));
    sliding.back() = type == "sliding_attention";
    if (sliding.back() && !slides)
      config.fail("layer_types", fmt::format("names sliding layers, but {}",
                                             may_slide ? "sliding_window is null"
                                                       : "use_sliding_window is false"));
  }
  return sliding;
}

}  // namespace

Architecture read_llama(ConfigReader& config) {
  Decoder decoder = read_decoder(config, kLlama);
  AttentionShape& attention = decoder.attention;
  attention.query_key_value_bias = attention.output_bias = config.flag("attention_bias", false);
  decoder.mlp.bias = config.flag("mlp_bias", false);
  config.expect_layers("layer_types", decoder.architecture.layers, {"full_attention"});
  return decoder.with_layers_alike();
}

Architecture read_mistral(ConfigReader& config) {
  Decoder decoder = read_decoder(config, kMistral);
  decoder.attention.sliding_window = read_window(config);
  // The class treats all layers alike, whatever this list says; a list that says so is therefore
  // right.
  config.expect_layers(
      "layer_types", decoder.architecture.layers,
      {decoder.attention.sliding_window > 0 ? "sliding_attention" : "full_attention"});
  return decoder.with_layers_alike();
}

Architecture read_qwen2(ConfigReader& config) {
  Decoder decoder = read_decoder(config, kQwen2);
  decoder.attention.query_key_value_bias = true;
  config.ignore({"attention_bias"});  // the class does not read it; the tensors say
  const bool may_slide = config.flag("use_sliding_window", false);
  const int window = read_window(config);
  Architecture architecture = decoder.architecture;
  for (const bool slides : sliding_layers(config, architecture.layers, may_slide, window)) {
    decoder.attention.sliding_window = slides ? window : 0;
    architecture.blocks.push_back(decoder_layer(decoder.attention, decoder.mlp));
  }
  return architecture;
}

TensorTable llama_tensors(const Architecture& architecture) {
  const std::int64_t hidden = architecture.hidden;
  const Rotary& rotary = architecture.mixer<AttentionShape>(0).rotary;
  TensorTable table;
  table.prefix = "model.";
  table.entries = {{"model.norm.weight", {hidden}}};
  add_embedding_and_head(table, architecture, "model.embed_tokens.weight", "lm_head.weight");
  add_inverse_frequencies(table, "model.", rotary);
  const auto matrix = [&](const std::string& name, std::int64_t out, std::int64_t in, bool bias) {
    table.entries.push_back({name + ".weight", {out, in}});
    if (bias) table.entries.push_back({name + ".bias", {out}});
  };
  for (int i = 0; i < architecture.layers; ++i) {
    const std::string prefix = fmt::format("model.layers.{}.", i);
    const auto& attention = architecture.mixer<AttentionShape>(i);
    const auto& mlp = architecture.mixer<MlpShape>(i, 1);
    table.entries.push_back({prefix + "input_layernorm.weight", {hidden}});
    table.entries.push_back({prefix + "post_attention_layernorm.weight", {hidden}});
    matrix(prefix + "self_attn.q_proj", attention.queries(), hidden,
           attention.query_key_value_bias);
    matrix(prefix + "self_attn.k_proj", attention.keys(), hidden, attention.query_key_value_bias);
    matrix(prefix + "self_attn.v_proj", attention.keys(), hidden, attention.query_key_value_bias);
    matrix(prefix + "self_attn.o_proj", hidden, attention.queries(), attention.output_bias);
    matrix(prefix + "mlp.gate_proj", mlp.inner, hidden, mlp.bias);
    matrix(prefix + "mlp.up_proj", mlp.inner, hidden, mlp.bias);
    matrix(prefix + "mlp.down_proj", hidden, mlp.inner, mlp.bias);
    add_inverse_frequencies(table, prefix + "self_attn.", rotary);
  }
  return table;
}

NetworkParts llama_parts(const Architecture& architecture, Weights& weights) {
  const auto norm = [&](const std::string& name) {
    return Norm{weights.take(name + ".weight"), {}, architecture.norm_epsilon, false};
  };
  const auto output = [&](const std::string& name) {
    return OutputProjection{weights.projection(name + ".weight"), weights.optional(name + ".bias"),
                            true};
  };
  const auto rotations = rotations_of(architecture.mixer<AttentionShape>(0).rotary, weights);
  NetworkParts parts{"model.embed_tokens.weight", "lm_head.weight", "", norm("model.norm")};
  for (int i = 0; i < architecture.layers; ++i) {
    const std::string prefix = fmt::format("model.layers.{}.", i);
    const std::string q = prefix + "self_attn.q_proj", k = prefix + "self_attn.k_proj",
                      v = prefix + "self_attn.v_proj";
    const std::string gate = prefix + "mlp.gate_proj", up = prefix + "mlp.up_proj";
    const auto& attention = architecture.mixer<AttentionShape>(i);
    const auto& mlp = architecture.mixer<MlpShape>(i, 1);
    std::vector<NetworkBlock>& layer = parts.layers.emplace_back();
    layer.push_back(
        {norm(prefix + "input_layernorm"),
         std::make_unique<AttentionMixer>(
             attention,
             AttentionWeights{
                 weights.projection(weights.stack({q + ".weight", k + ".weight", v + ".weight"})),
                 attention.query_key_value_bias
                     ? weights.stack({q + ".bias", k + ".bias", v + ".bias"})
                     : at::Tensor(),
                 output(prefix + "self_attn.o_proj"), rotations})});
    layer.push_back(
        {norm(prefix + "post_attention_layernorm"),
         std::make_unique<Mlp>(
             mlp,
             MlpWeights{weights.projection(weights.stack({gate + ".weight", up + ".weight"})),
                        mlp.bias ? weights.stack({gate + ".bias", up + ".bias"}) : at::Tensor(),
                        output(prefix + "mlp.down_proj")})});
  }
  return parts;
}

}  // namespace factflow
