#include "model/families/llama_decoder.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "model/families/old_buffers.hpp"
#include "model/weights.hpp"

namespace factflow {
namespace {

int read_key_heads(ConfigReader& config, int heads, const LlamaDefaults& defaults) {
  const char* key = "num_key_value_heads";
  const bool one_each =
      config.has(key) ? defaults.null_key_heads && config.is_null(key) : !defaults.key_heads;
  const int key_heads = one_each             ? heads
                        : defaults.key_heads ? config.size(key, *defaults.key_heads)
                                             : config.integer(key);
  if (heads % key_heads != 0)
    config.fail(key, fmt::format("expected a divisor of {} heads, found {}{}", heads, key_heads,
                                 config.has(key) ? "" : ", the family's default"));
  return key_heads;
}

void expect_whole_heads(ConfigReader& config, int hidden, int heads) {
  if (hidden % heads != 0)
    config.fail("num_attention_heads",
                fmt::format("expected a divisor of hidden_size = {}, found {}{}", hidden, heads,
                            config.has("num_attention_heads") ? "" : ", the family's default"));
}

int read_head_size(ConfigReader& config, int hidden, int heads, const LlamaDefaults& defaults) {
  const bool given =
      config.has("head_dim") && !(defaults.null_head_size && config.is_null("head_dim"));
  if (given) return config.integer("head_dim");
  if (defaults.head_size)
    return config.has("head_dim") ? *defaults.head_size
                                  : config.size("head_dim", *defaults.head_size);
  expect_whole_heads(config, hidden, heads);
  return hidden / heads;
}

// Names of a layer: "model.layers.3.".
std::string layer_prefix(int layer) {
  return fmt::format("model.layers.{}.", layer);
}

const std::string kAttention = "self_attn.", kMlp = "mlp.";

class Parts {
 public:
  Parts(const Architecture& architecture, Weights& weights, const LlamaNames& names)
      : architecture_(architecture), weights_(weights), names_(names), rotations_(weights) {}

  NetworkParts all() {
    NetworkParts parts{"model.embed_tokens.weight", "lm_head.weight", "", norm("model.norm")};
    for (int i = 0; i < architecture_.layers; ++i) {
      const std::string layer = layer_prefix(i);
      std::vector<NetworkBlock>& blocks = parts.layers.emplace_back();
      blocks.push_back({norm_of(layer, names_.attention),
                        attention(layer, architecture_.mixer<AttentionShape>(i)),
                        norm_of(layer, names_.attention_behind)});
      blocks.push_back({norm_of(layer, names_.mlp),
                        second(layer, *architecture_.blocks[static_cast<size_t>(i)].at(1).mixer),
                        norm_of(layer, names_.mlp_behind)});
    }
    return parts;
  }

 private:
  Norm norm(const std::string& name) {
    const at::Tensor weight = weights_.take(name + ".weight");
    return {names_.one_plus ? weight + 1 : weight, {}, architecture_.norm_epsilon, false};
  }
  Norm norm_of(const std::string& layer, const std::string& name) {
    if (!name.empty()) return norm(layer + name);
    Norm none;
    none.identity = true;
    return none;
  }

  // Biases are folded where nothing stands between them and the stream.
  OutputProjection output(const std::string& name, const std::string& norm_behind) {
    const bool normalised = !names_.attention.empty() && !names_.mlp.empty();
    return {weights_.projection(name + ".weight"), weights_.optional(name + ".bias"),
            normalised && norm_behind.empty()};
  }

  std::unique_ptr<Mixer> attention(const std::string& layer, const AttentionShape& shape) {
    const std::string in = layer + kAttention;
    const std::string q = in + "q_proj", k = in + "k_proj", v = in + "v_proj";
    AttentionWeights made;
    made.query_key_value =
        names_.fused
            ? weights_.projection(in + "qkv_proj.weight")
            : weights_.projection(weights_.stack({q + ".weight", k + ".weight", v + ".weight"}));
    if (shape.query_key_value_bias)
      made.query_key_value_bias = weights_.stack({q + ".bias", k + ".bias", v + ".bias"});
    made.output = output(in + "o_proj", names_.attention_behind);
    made.rotations = rotations_.of(shape.rotary);
    if (shape.head_norms != AttentionShape::HeadNorms::kNone) {
      made.query_norm = norm(in + "q_norm").weight;
      made.key_norm = norm(in + "k_norm").weight;
      made.norm_epsilon = architecture_.norm_epsilon;
    }
    return std::make_unique<AttentionMixer>(shape, std::move(made));
  }

  std::unique_ptr<Mixer> second(const std::string& layer, const MixerShape& shape) {
    const auto* mlp = dynamic_cast<const MlpShape*>(&shape);
    if (mlp == nullptr) return names_.make_other(weights_, layer, shape);
    const std::string in = layer + kMlp;
    const std::string gate = in + "gate_proj", up = in + "up_proj";
    MlpWeights made;
    made.in = names_.fused
                  ? weights_.projection(in + "gate_up_proj.weight")
                  : weights_.projection(weights_.stack({gate + ".weight", up + ".weight"}));
    if (mlp->bias) made.in_bias = weights_.stack({gate + ".bias", up + ".bias"});
    made.output = output(in + "down_proj", names_.mlp_behind);
    return std::make_unique<Mlp>(*mlp, std::move(made));
  }

  const Architecture& architecture_;
  Weights& weights_;
  const LlamaNames& names_;
  RotationCache rotations_;
};

void add_attention(TensorTable& table, const std::string& in, std::int64_t hidden,
                   const AttentionShape& shape, bool fused) {
  const bool bias = shape.query_key_value_bias;
  if (fused) {
    add_matrix(table, in + "qkv_proj", shape.queries() + 2 * shape.keys(), hidden, bias);
  } else {
    add_matrix(table, in + "q_proj", shape.queries(), hidden, bias);
    add_matrix(table, in + "k_proj", shape.keys(), hidden, bias);
    add_matrix(table, in + "v_proj", shape.keys(), hidden, bias);
  }
  add_matrix(table, in + "o_proj", hidden, shape.queries(), shape.output_bias);
  using HeadNorms = AttentionShape::HeadNorms;
  if (shape.head_norms == HeadNorms::kNone) return;
  const bool each = shape.head_norms == HeadNorms::kEachHead;
  table.entries.push_back({in + "q_norm.weight", {each ? shape.head_size : shape.queries()}});
  table.entries.push_back({in + "k_norm.weight", {each ? shape.head_size : shape.keys()}});
}

void add_mlp(TensorTable& table, const std::string& in, std::int64_t hidden, const MlpShape& shape,
             bool fused) {
  if (fused) {
    add_matrix(table, in + "gate_up_proj", 2 * std::int64_t{shape.inner}, hidden, shape.bias);
  } else {
    add_matrix(table, in + "gate_proj", shape.inner, hidden, shape.bias);
    add_matrix(table, in + "up_proj", shape.inner, hidden, shape.bias);
  }
  add_matrix(table, in + "down_proj", hidden, shape.inner, shape.bias);
}

}  // namespace

Architecture LlamaDecoder::with_layers_alike() const {
  Architecture whole = architecture;
  whole.blocks.assign(static_cast<size_t>(whole.layers), decoder_layer(attention, mlp));
  return whole;
}

Architecture LlamaDecoder::with_windows(const std::vector<bool>& slides, int window) const {
  return with_kinds(slides, window, {attention.rotary, attention.rotary});
}

Architecture LlamaDecoder::with_kinds(const std::vector<bool>& slides, int window,
                                      const RotaryByKind& rotary) const {
  Architecture whole = architecture;
  for (const bool layer_slides : slides) {
    AttentionShape own = attention;
    own.sliding_window = layer_slides ? window : 0;
    own.rotary = layer_slides ? rotary.sliding : rotary.full;
    whole.blocks.push_back(decoder_layer(own, mlp));
  }
  return whole;
}

LlamaDecoder read_llama_decoder(ConfigReader& config, const LlamaDefaults& defaults) {
  LlamaDecoder decoder;
  auto& [architecture, attention, mlp] = decoder;
  architecture.hidden = config.size("hidden_size", defaults.hidden);
  architecture.layers = config.layer_count("num_hidden_layers", defaults.layers);
  architecture.vocabulary = config.size("vocab_size", defaults.vocabulary);
  architecture.norm_epsilon = config.number("rms_norm_eps", defaults.epsilon);
  architecture.tied_head = config.flag("tie_word_embeddings", defaults.tied);
  attention.heads = config.size("num_attention_heads", defaults.heads);
  attention.key_heads = read_key_heads(config, attention.heads, defaults);
  attention.head_size = read_head_size(config, architecture.hidden, attention.heads, defaults);
  config.check_width("head_dim", attention.queries());
  if (defaults.whole_heads) expect_whole_heads(config, architecture.hidden, attention.heads);
  attention.scale = score_scale(attention.head_size);
  mlp.inner = config.size("intermediate_size", defaults.mlp_size);
  mlp.gated = true;
  mlp.activation = read_activation(config, defaults.activation_key, defaults.activation);
  config.ignore({"pretraining_tp", "is_llama_config"});
  config.ignore_unless_null({"max_position_embeddings"});
  if (!defaults.null_dropout) config.ignore_unless_null({"attention_dropout"});
  return decoder;
}

std::vector<bool> sliding_layers(ConfigReader& config, const std::vector<bool>& derived,
                                 const std::string& none) {
  const nlohmann::json& types = config.raw("layer_types");
  config.expect_layers("layer_types", static_cast<int>(derived.size()),
                       {"full_attention", "sliding_attention"});
  std::vector<bool> slides;
  for (size_t i = 0; i < derived.size(); ++i) {
    slides.push_back(types.is_null() ? derived[i] : types.at(i) == "sliding_attention");
    if (slides.back() && !none.empty())
      config.fail(types.is_null() ? "sliding_window" : "layer_types",
                  fmt::format("{}, but {}",
                              types.is_null() ? fmt::format("layer {} slides", i)
                                              : std::string("names sliding layers"),
                              none));
  }
  return slides;
}

void add_matrix(TensorTable& table, const std::string& name, std::int64_t out, std::int64_t in,
                bool bias) {
  table.entries.push_back({name + ".weight", {out, in}});
  if (bias) table.entries.push_back({name + ".bias", {out}});
}

TensorTable llama_named_tensors(const Architecture& architecture, const LlamaNames& names) {
  const std::int64_t hidden = architecture.hidden;
  TensorTable table;
  table.prefix = "model.";
  table.entries = {{"model.norm.weight", {hidden}}};
  add_embedding_and_head(table, architecture, "model.embed_tokens.weight", "lm_head.weight");
  add_inverse_frequencies(table, "model.", architecture.mixer<AttentionShape>(0).rotary);
  for (int i = 0; i < architecture.layers; ++i) {
    const std::string layer = layer_prefix(i);
    for (const std::string& norm :
         {names.attention, names.attention_behind, names.mlp, names.mlp_behind})
      if (!norm.empty()) table.entries.push_back({layer + norm + ".weight", {hidden}});
    const auto& attention = architecture.mixer<AttentionShape>(i);
    add_attention(table, layer + kAttention, hidden, attention, names.fused);
    const MixerShape& second = *architecture.blocks[static_cast<size_t>(i)].at(1).mixer;
    if (const auto* mlp = dynamic_cast<const MlpShape*>(&second))
      add_mlp(table, layer + kMlp, hidden, *mlp, names.fused);
    else
      names.add_other(table, layer, second);
    add_inverse_frequencies(table, layer + kAttention, attention.rotary);
  }
  return table;
}

NetworkParts llama_named_parts(const Architecture& architecture, Weights& weights,
                               const LlamaNames& names) {
  return Parts(architecture, weights, names).all();
}

}  // namespace factflow
