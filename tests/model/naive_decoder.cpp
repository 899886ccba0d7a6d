#include "naive_decoder.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace factflow {
namespace {

using nlohmann::json;

bool contains(const std::vector<int>& list, int item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

int first_of(const json& config, const char* key, const char* other) {
  return config.contains(key) ? config.at(key).get<int>() : config.at(other).get<int>();
}

}  // namespace

bool NaiveDecoder::knows(const std::string& family) {
  for (const char* known : {"qwen3", "olmo2", "olmo3", "gemma2", "gemma3_text", "phi3", "smollm3",
                            "granite", "gptj", "opt"})
    if (family == known) return true;
  return false;
}

NaiveDecoder::NaiveDecoder(const json& config, const std::map<std::string, at::Tensor>& tensors)
    : config_(config), tensors_(tensors), family_(config.at("model_type")) {
  gemma_ = is("gemma2") || is("gemma3_text");
  olmo_ = is("olmo2") || is("olmo3");
  layers_ = first_of(config, "num_hidden_layers", "n_layer");
  heads_ = first_of(config, "num_attention_heads", "n_head");
  hidden_ = first_of(config, "hidden_size", "n_embd");
  key_heads_ = config.value("num_key_value_heads", heads_);
  head_size_ = config.value("head_dim", hidden_ / heads_);
  epsilon_ = is("opt")                                  ? 1e-5
             : is("gptj")                               ? config.value("layer_norm_epsilon", 1e-5)
             : is("olmo2") || is("olmo3") || is("phi3") ? config.value("rms_norm_eps", 1e-5)
                                                        : config.value("rms_norm_eps", 1e-6);
  scale_ = 1 / std::sqrt(static_cast<double>(head_size_));
  if (gemma_) scale_ = 1 / std::sqrt(config.value("query_pre_attn_scalar", 256.0));
  if (is("granite")) scale_ = config.value("attention_multiplier", 1.0);
}

at::Tensor NaiveDecoder::linear(const std::string& name, const at::Tensor& x) const {
  const at::Tensor y = x.matmul(get(name + ".weight").t());
  return has(name + ".bias") ? y + get(name + ".bias") : y;
}

at::Tensor NaiveDecoder::norm(const std::string& name, const at::Tensor& x) const {
  const bool layer_norm = is("gptj") || is("opt");
  const at::Tensor centred = layer_norm ? x - x.mean(-1, true) : x;
  at::Tensor y = centred / (centred.pow(2).mean(-1, true) + epsilon_).sqrt();
  if (has(name + ".weight")) y = y * (gemma_ ? get(name + ".weight") + 1 : get(name + ".weight"));
  return has(name + ".bias") ? y + get(name + ".bias") : y;
}

at::Tensor NaiveDecoder::activated(const at::Tensor& x) const {
  if (is("opt") && config_.value("activation_function", "relu") == "gelu")
    return x / 2 * ((x / std::sqrt(2.0)).erf() + 1);
  if (is("opt")) return x.clamp_min(0);
  if (is("gptj") || gemma_)
    return x / 2 * (((x.pow(3) * 0.044715 + x) * std::sqrt(2 / M_PI)).tanh() + 1);
  return x / ((-x).exp() + 1);
}

int NaiveDecoder::window(int layer) const {
  if (!config_.contains("sliding_window") || !config_.at("sliding_window").is_number()) return 0;
  const int tokens = config_.at("sliding_window");
  if (is("phi3")) return tokens;
  const auto at = static_cast<size_t>(layer);
  bool slides = false;
  if (config_.contains("layer_types"))
    slides = config_.at("layer_types").at(at) == "sliding_attention";
  else if (is("gemma2"))
    slides = layer % 2 == 0;
  else if (is("gemma3_text"))
    slides = (layer + 1) % config_.value("sliding_window_pattern", 6) != 0;
  else if (is("olmo3"))
    slides = (layer + 1) % 4 != 0;
  else if (config_.value("use_sliding_window", false))
    slides = is("qwen3") ? layer >= config_.at("max_window_layers")
                         : config_.at("no_rope_layers").at(at) == 0;
  return slides ? tokens : 0;
}

// heads [tokens, heads, size]
at::Tensor NaiveDecoder::turned(int layer, const at::Tensor& heads) const {
  if (is("opt")) return heads;
  if (is("smollm3") && config_.at("no_rope_layers").at(static_cast<size_t>(layer)) == 0)
    return heads;
  json rope = config_.value("rope_parameters", json::object());
  if (rope.contains("full_attention"))
    rope = rope.at(window(layer) > 0 ? "sliding_attention" : "full_attention");
  const double theta =
      rope.value("rope_theta", config_.value("rope_theta", is("smollm3") ? 2e6 : 10000.0));
  int turning = head_size_;
  if (is("phi3"))
    turning = static_cast<int>(
        turning * rope.value("partial_rotary_factor", config_.value("partial_rotary_factor", 1.0)));
  if (is("gptj")) turning = config_.at("rotary_dim");
  const int pairs = turning / 2;
  // LongRoPE, by the length of the whole prompt.
  json scaling = config_.value("rope_scaling", json());
  if (!scaling.is_object() || !scaling.contains("long_factor")) scaling = json::object();
  std::vector<double> stretch(static_cast<size_t>(pairs), 1);
  if (scaling.contains("long_factor"))
    scaling
        .at(heads.size(0) > config_.at("original_max_position_embeddings") ? "long_factor"
                                                                           : "short_factor")
        .get_to(stretch);
  const double magnitude = scaling.value("attention_factor", 1.0);
  std::vector<double> angles;
  for (std::int64_t t = 0; t < heads.size(0); ++t)
    for (int i = 0; i < pairs; ++i)
      angles.push_back(static_cast<double>(t) * std::pow(theta, -2.0 * i / turning) /
                       stretch[static_cast<size_t>(i)]);
  const at::Tensor angle =
      at::tensor(angles, at::kDouble).reshape({heads.size(0), 1, pairs}).to(heads.device());
  const at::Tensor cosine = angle.cos() * magnitude, sine = angle.sin() * magnitude;
  at::Tensor out = heads.clone();
  const auto half = [&](const at::Tensor& of, int which) {
    return is("gptj") ? of.slice(2, which, 2 * pairs, 2)
                      : of.slice(2, which * pairs, (which + 1) * pairs);
  };
  const at::Tensor x = half(heads, 0), y = half(heads, 1);
  half(out, 0).copy_(x * cosine - y * sine);
  half(out, 1).copy_(y * cosine + x * sine);
  return out;
}

at::Tensor NaiveDecoder::attention(int layer, const at::Tensor& x, const Block& knockout) const {
  const std::string name = prefix(layer) + (is("gptj") ? "attn." : "self_attn.");
  const int queries = heads_ * head_size_, keys = key_heads_ * head_size_;
  std::vector<at::Tensor> parts;
  if (is("phi3"))
    parts = linear(name + "qkv_proj", x).split_with_sizes({queries, keys, keys}, 1);
  else
    for (const char* part : {"q_proj", "k_proj", "v_proj"}) parts.push_back(linear(name + part, x));
  const auto split = [&](const at::Tensor& rows, int heads) {
    return rows.reshape({x.size(0), heads, head_size_});
  };
  if (olmo_) {
    parts[0] = norm(name + "q_norm", parts[0]);
    parts[1] = norm(name + "k_norm", parts[1]);
  }
  at::Tensor q = split(parts[0], heads_), k = split(parts[1], key_heads_);
  const at::Tensor v = split(parts[2], key_heads_);
  if (is("qwen3") || is("gemma3_text")) {
    q = norm(name + "q_norm", q);
    k = norm(name + "k_norm", k);
  }
  q = turned(layer, q);
  k = turned(layer, k);
  const bool on = contains(knockout.layers, layer);
  at::Tensor out = at::zeros_like(q);
  for (int t = 0; t < x.size(0); ++t) {
    std::vector<std::int64_t> seen;
    for (int s = 0; s <= t; ++s)
      if ((window(layer) == 0 || t - s < window(layer)) &&
          !(on && contains(knockout.targets, t) && contains(knockout.sources, s)))
        seen.push_back(s);
    if (seen.empty()) continue;
    const at::Tensor at = at::tensor(seen, at::kLong).to(k.device());
    for (int h = 0; h < heads_; ++h) {
      const int of = h / (heads_ / key_heads_);
      at::Tensor score = k.index_select(0, at).select(1, of).mv(q[t][h]) * scale_;
      // Absent, Gemma-2's caps are those of its class.
      const json given = config_.value("attn_logit_softcapping", json(50.0));
      if (is("gemma2") && !given.is_null()) {
        const double cap = given;
        score = (score / cap).tanh() * cap;
      }
      out[t][h] = v.index_select(0, at).select(1, of).t().mv(score.softmax(0));
    }
  }
  return linear(name + (is("gptj") || is("opt") ? "out_proj" : "o_proj"), out.flatten(1));
}

at::Tensor NaiveDecoder::mlp(int layer, const at::Tensor& x) const {
  const std::string p = prefix(layer);
  if (is("gptj")) return linear(p + "mlp.fc_out", activated(linear(p + "mlp.fc_in", x)));
  if (is("opt")) return linear(p + "fc2", activated(linear(p + "fc1", x)));
  if (is("phi3")) {
    const auto parts = linear(p + "mlp.gate_up_proj", x).chunk(2, 1);
    return linear(p + "mlp.down_proj", activated(parts[0]) * parts[1]);
  }
  return linear(p + "mlp.down_proj",
                activated(linear(p + "mlp.gate_proj", x)) * linear(p + "mlp.up_proj", x));
}

std::string NaiveDecoder::prefix(int layer) const {
  return fmt::format("{}.{}.",
                     is("gptj")  ? "transformer.h"
                     : is("opt") ? "model.decoder.layers"
                                 : "model.layers",
                     layer);
}

at::Tensor NaiveDecoder::layer(int layer, const at::Tensor& x, const Block& knockout) const {
  const std::string p = prefix(layer);
  if (is("gptj")) {
    const at::Tensor u = norm(p + "ln_1", x);
    return x + attention(layer, u, knockout) + mlp(layer, u);
  }
  if (is("opt")) {
    const std::string first = p + "self_attn_layer_norm", second = p + "final_layer_norm";
    if (config_.value("do_layer_norm_before", true)) {
      const at::Tensor y = x + attention(layer, norm(first, x), knockout);
      return y + mlp(layer, norm(second, y));
    }
    const at::Tensor y = norm(first, x + attention(layer, x, knockout));
    return norm(second, y + mlp(layer, y));
  }
  const std::string behind = p + "post_attention_layernorm",
                    last = p + "post_feedforward_layernorm";
  if (olmo_) {
    const at::Tensor y = x + norm(behind, attention(layer, x, knockout));
    return y + norm(last, mlp(layer, y));
  }
  const at::Tensor o = attention(layer, norm(p + "input_layernorm", x), knockout);
  if (gemma_) {
    const at::Tensor y = x + norm(behind, o);
    return y + norm(last, mlp(layer, norm(p + "pre_feedforward_layernorm", y)));
  }
  const double share = is("granite") ? config_.value("residual_multiplier", 1.0) : 1.0;
  const at::Tensor y = x + o * share;
  return y + mlp(layer, norm(behind, y)) * share;
}

at::Tensor NaiveDecoder::embedded(const std::vector<int>& ids) const {
  const auto tokens = static_cast<std::int64_t>(ids.size());
  const std::string d = "model.decoder.";
  const at::Tensor words = get((is("gptj")  ? "transformer.wte"
                                : is("opt") ? d + "embed_tokens"
                                            : "model.embed_tokens") +
                               std::string(".weight"));
  at::Tensor x = at::empty({tokens, words.size(1)}, words.options());
  for (std::int64_t t = 0; t < tokens; ++t) x[t] = words[ids[static_cast<size_t>(t)]];
  if (gemma_) x = x * std::sqrt(static_cast<double>(hidden_));
  if (is("granite")) x = x * config_.value("embedding_multiplier", 1.0);
  if (!is("opt")) return x;
  if (has(d + "project_in.weight")) x = linear(d + "project_in", x);
  return x + get(d + "embed_positions.weight").narrow(0, 2, tokens);
}

at::Tensor NaiveDecoder::log_probabilities(const std::vector<int>& ids,
                                           const Block& knockout) const {
  at::Tensor x = embedded(ids);
  for (int l = 0; l < layers_; ++l) x = layer(l, x, knockout);
  x = x[x.size(0) - 1].unsqueeze(0);
  const std::string d = "model.decoder.";
  if (is("gptj"))
    x = norm("transformer.ln_f", x);
  else if (!is("opt"))
    x = norm("model.norm", x);
  else if (has(d + "final_layer_norm.weight"))
    x = norm(d + "final_layer_norm", x);
  if (has(d + "project_out.weight")) x = linear(d + "project_out", x);
  const std::string words = is("gptj")  ? "transformer.wte"
                            : is("opt") ? d + "embed_tokens"
                                        : "model.embed_tokens";
  at::Tensor logits = x.matmul(get((has("lm_head.weight") ? "lm_head" : words) + ".weight").t())[0];
  if (has("lm_head.bias")) logits = logits + get("lm_head.bias");
  if (is("granite")) logits = logits / config_.value("logits_scaling", 1.0);
  const json given = config_.value("final_logit_softcapping", is("gemma2") ? json(30.0) : json());
  if (gemma_ && given.is_number()) {
    const double cap = given;
    logits = (logits / cap).tanh() * cap;
  }
  return logits.log_softmax(0);
}

}  // namespace factflow
