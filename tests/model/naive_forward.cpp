#include "naive_forward.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "naive_decoder.hpp"

namespace factflow {
namespace {

at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                      double epsilon) {
  const at::Tensor centred = x - x.mean(-1, true);
  return centred / ((centred * centred).mean(-1, true) + epsilon).sqrt() * weight + bias;
}

at::Tensor weightless_rms(const at::Tensor& x, double epsilon) {
  return x / ((x * x).mean(-1, true) + epsilon).sqrt();
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon) {
  return weightless_rms(x, epsilon) * weight;
}

at::Tensor swish(const at::Tensor& x) {
  return x / (1 + (-x).exp());
}
at::Tensor tanh_gelu(const at::Tensor& x) {
  return 0.5 * x * (1 + (std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)).tanh());
}
at::Tensor log1p_exp(const at::Tensor& x) {
  return x.exp().log1p();
}
at::Tensor exact_gelu(const at::Tensor& x) {
  return 0.5 * x * (1 + (x / std::sqrt(2.0)).erf());
}

// y[t] = swish(bias + sum_k weight[channel, k] x[t - kernel + 1 + k])
at::Tensor causal_convolution(const at::Tensor& x, const at::Tensor& weight,
                              const at::Tensor& bias) {
  const std::int64_t kernel = weight.size(2);
  at::Tensor y = bias.defined() ? bias.expand_as(x).clone() : at::zeros_like(x);
  for (std::int64_t t = 0; t < x.size(0); ++t)
    for (std::int64_t k = 0; k < kernel; ++k)
      if (const std::int64_t s = t - kernel + 1 + k; s >= 0)
        y[t] += weight.select(2, k).squeeze(1) * x[s];
  return swish(y);
}

// One per channel (Mamba-1) or head (Mamba-2).
at::Tensor decay_norms(const at::Tensor& a_log) {
  const at::Tensor decay = (-a_log.exp()).exp();
  return (decay.dim() == 2 ? decay.sum(1) : decay).contiguous();
}

// The reference's FAST_DECAY and SLOW_DECAY: the first third of a sort keeps the edge, the others
// lose it.
at::Tensor losing_by_reference(const ChannelSet& set, const at::Tensor& a_log) {
  const at::Tensor norm = decay_norms(a_log);
  at::Tensor lose = at::ones({norm.numel()}, at::kBool);
  if (set.kind == ChannelSet::Kind::kAll) return lose;
  const at::Tensor order =
      norm.argsort(/*stable=*/true, 0, /*descending=*/set.kind == ChannelSet::Kind::kSlow);
  return lose.index_fill_(0, order.narrow(0, 0, norm.numel() / 3), false);
}

// The channels of a set by counting who is ahead; ties in channel order.
at::Tensor channels_losing(const ChannelSet& set, const at::Tensor& a_log) {
  using Kind = ChannelSet::Kind;
  const at::Tensor norm = decay_norms(a_log);
  const auto count = norm.numel(), third = count / 3;
  if (set.kind == Kind::kAll) return at::ones({count}, at::kBool);
  const auto* norms = norm.data_ptr<double>();
  at::Tensor lose = at::zeros({count}, at::kBool);
  for (std::int64_t c = 0; c < count; ++c) {
    std::int64_t rank = 0;
    for (std::int64_t other = 0; other < count; ++other)
      rank += norms[other] > norms[c] || (norms[other] == norms[c] && other < c) ? 1 : 0;
    bool in = true;
    if (set.kind == Kind::kSlow || set.kind == Kind::kNotSlow)
      in = (rank < third) == (set.kind == Kind::kSlow);
    if (set.kind == Kind::kFast || set.kind == Kind::kNotFast)
      in = (rank >= count - third) == (set.kind == Kind::kFast);
    if (set.kind == Kind::kQuantile)
      in = rank >= count * (set.slice - 1) / set.slices && rank < count * set.slice / set.slices;
    lose.data_ptr<bool>()[c] = in;
  }
  return lose;
}

// The keys of rotary embeddings, under the names of transformers 5.
nlohmann::json rope_of(const nlohmann::json& config) {
  nlohmann::json rope = nlohmann::json::object();
  if (config.contains("rope_theta")) rope["rope_theta"] = config["rope_theta"];
  if (config.contains("rotary_pct")) rope["partial_rotary_factor"] = config["rotary_pct"];
  for (const char* key : {"rope_scaling", "rope_parameters"})
    if (config.contains(key) && config[key].is_object()) rope.update(config[key]);
  return rope;
}

// [turned / 2, rounded up]. llama3 (as transformers names it): frequencies whose wave is longer
// than the original context are divided by the factor, those of short waves stay, and between it is
// blended.
at::Tensor inverse_frequencies_of(const nlohmann::json& rope, std::int64_t turned) {
  const at::Tensor share = at::arange(0, turned, 2, at::kDouble) / static_cast<double>(turned);
  const at::Tensor plain = (share * -std::log(rope.value("rope_theta", 10000.0))).exp();
  if (rope.value("rope_type", "default") != "llama3") return plain;
  const double low = rope["low_freq_factor"], high = rope["high_freq_factor"],
               context = rope["original_max_position_embeddings"], factor = rope["factor"];
  const at::Tensor waves = context / (2 * M_PI / plain),  // in the original context
      kept = ((waves - low) / (high - low)).clamp(0, 1);
  return plain * kept + plain / factor * (1 - kept);
}

// mixing [tokens, tokens, channels]: causal, without the blocked entries.
at::Tensor masked(const at::Tensor& mixing, const at::Tensor& pairs, const at::Tensor& lose) {
  const at::Tensor causal = at::ones_like(pairs).tril();
  return mixing * (causal.unsqueeze(-1) & ~(pairs.unsqueeze(-1) & lose)).to(at::kDouble);
}

at::Tensor to_tensor(const StoredTensor& stored) {
  at::Tensor tensor = at::empty(stored.shape, at::kDouble);
  convert(stored, 0, std::span(tensor.data_ptr<double>(), static_cast<size_t>(stored.count())));
  return tensor;
}

std::map<std::string, at::Tensor> tensors_of(const Checkpoint& checkpoint) {
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, stored] : checkpoint.tensors()) tensors[name] = to_tensor(stored);
  return tensors;
}

}  // namespace

at::Tensor NaiveModel::losing(const ChannelSet& set, const at::Tensor& a_log) const {
  const at::Tensor on_host = a_log.cpu();
  const at::Tensor lose = masking_ == Masking::kReference ? losing_by_reference(set, on_host)
                                                          : channels_losing(set, on_host);
  return lose.to(a_log.device());
}

NaiveModel::NaiveModel(const Checkpoint& checkpoint, Masking masking)
    : NaiveModel(checkpoint.config(), tensors_of(checkpoint), masking) {}

NaiveModel::NaiveModel(nlohmann::json config, std::map<std::string, at::Tensor> tensors,
                       Masking masking)
    : masking_(masking), config_(std::move(config)), ssm_(config_), tensors_(std::move(tensors)) {
  if (config_.contains("ssm_cfg")) ssm_ = config_["ssm_cfg"];
  family_ =
      config_.value("model_type", ssm_.value("layer", "Mamba1") == "Mamba1" ? "mamba" : "mamba2");
  for (const char* key : {"n_layer", "num_hidden_layers"}) layers_ = config_.value(key, layers_);
  for (const char* key : {"layer_norm_epsilon", "layer_norm_eps", "rms_norm_eps"})
    epsilon_ = config_.value(key, epsilon_);
  if (family_ == "llama" || family_ == "mistral" || family_ == "qwen2")
    epsilon_ = config_.value("rms_norm_eps", 1e-6);
}

bool NaiveModel::knows(const std::string& family) {
  for (const char* known :
       {"gpt2", "gpt_neox", "llama", "mistral", "qwen2", "mamba", "mamba2", "falcon_mamba"})
    if (family == known) return true;
  return NaiveDecoder::knows(family);
}

at::Tensor NaiveModel::project(const at::Tensor& x, const std::string& name) const {
  const at::Tensor y = x.matmul(get(name + ".weight").t());
  return tensors_.count(name + ".bias") != 0 ? y + get(name + ".bias") : y;
}

// q [heads, tokens, size]; k, v [key heads, tokens, size] -> [tokens, heads * size]. A token with
// no key left reads 0.
at::Tensor NaiveModel::attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                 const Block& block) const {
  const std::int64_t tokens = q.size(1), shared = q.size(0) / k.size(0),
                     window = family_ == "mistral" && config_.contains("sliding_window") &&
                                      config_["sliding_window"].is_number()
                                  ? config_["sliding_window"].get<std::int64_t>()
                                  : 0;
  at::Tensor seen = at::ones_like(block.pairs).tril() & ~block.pairs;
  if (window > 0) seen = seen & ~at::ones_like(seen).tril(-window);
  at::Tensor scores = q.matmul(k.repeat_interleave(shared, 0).transpose(1, 2)) /
                      std::sqrt(static_cast<double>(q.size(2)));
  if (masking_ == Masking::kReference && block.pairs.any().item<bool>()) {
    if (family_ == "gpt2") {
      // A row of nothing but the lowest number is a row of equal numbers.
      scores = scores + (~seen).to(at::kDouble) * std::numeric_limits<double>::lowest();
      return scores.softmax(-1)
          .matmul(v.repeat_interleave(shared, 0))
          .transpose(0, 1)
          .reshape({tokens, -1});
    }
    seen = ~block.pairs;
  }
  const at::Tensor weights = scores.exp() * seen.to(at::kDouble), total = weights.sum(-1, true);
  const at::Tensor out = weights.matmul(v.repeat_interleave(shared, 0)) /
                         at::where(total > 0, total, at::ones_like(total));
  return out.transpose(0, 1).reshape({tokens, -1});
}

// Rotates the first dimensions of heads [heads, tokens, size] by position.
at::Tensor NaiveModel::rotated(const at::Tensor& heads) const {
  const std::int64_t tokens = heads.size(1), size = heads.size(2);
  const nlohmann::json rope = rope_of(config_);
  const auto turned = static_cast<std::int64_t>(static_cast<double>(size) *
                                                rope.value("partial_rotary_factor", 1.0)),
             half = (turned + 1) / 2;
  const at::Tensor angles =
      at::arange(tokens, at::kDouble).unsqueeze(1) * inverse_frequencies_of(rope, turned);
  const at::Tensor cosine = angles.cos().to(heads.options()),
                   sine = angles.sin().to(heads.options());
  const auto parts = heads.split_with_sizes({half, half, size - 2 * half}, 2);
  return at::cat(
      {parts[0] * cosine - parts[1] * sine, parts[1] * cosine + parts[0] * sine, parts[2]}, 2);
}

at::Tensor NaiveModel::gpt2_layer(at::Tensor x, int layer, const Block& block) const {
  const std::string p = fmt::format("transformer.h.{}.", layer);
  const std::int64_t heads = config_["n_head"];
  const auto norm = [&](const char* name) {
    return layer_norm(x, get(p + name + ".weight"), get(p + name + ".bias"), epsilon_);
  };
  const auto conv1d = [&](const at::Tensor& input, const char* name) {
    return input.matmul(get(p + name + ".weight")) + get(p + name + ".bias");
  };
  const auto qkv = conv1d(norm("ln_1"), "attn.c_attn").chunk(3, 1);
  const auto split = [&](const at::Tensor& y) {
    return y.reshape({x.size(0), heads, -1}).transpose(0, 1);
  };
  x = x + conv1d(attention(split(qkv[0]), split(qkv[1]), split(qkv[2]), block), "attn.c_proj");
  return x + conv1d(tanh_gelu(conv1d(norm("ln_2"), "mlp.c_fc")), "mlp.c_proj");
}

at::Tensor NaiveModel::llama_layer(at::Tensor x, int layer, const Block& block) const {
  const std::string p = fmt::format("model.layers.{}.", layer);
  const std::int64_t heads = config_["num_attention_heads"],
                     key_heads = config_.value("num_key_value_heads", heads);
  const at::Tensor h = rms_norm(x, get(p + "input_layernorm.weight"), epsilon_);
  const auto split = [&](const char* name, std::int64_t count) {
    return project(h, p + "self_attn." + name).reshape({x.size(0), count, -1}).transpose(0, 1);
  };
  const at::Tensor mixed =
      attention(rotated(split("q_proj", heads)), rotated(split("k_proj", key_heads)),
                split("v_proj", key_heads), block);
  x = x + project(mixed, p + "self_attn.o_proj");
  const at::Tensor m = rms_norm(x, get(p + "post_attention_layernorm.weight"), epsilon_);
  return x + project(swish(project(m, p + "mlp.gate_proj")) * project(m, p + "mlp.up_proj"),
                     p + "mlp.down_proj");
}

at::Tensor NaiveModel::gpt_neox_layer(const at::Tensor& x, int layer, const Block& block) const {
  const std::string p = fmt::format("gpt_neox.layers.{}.", layer);
  const std::int64_t heads = config_["num_attention_heads"];
  const auto norm = [&](const char* name) {
    return layer_norm(x, get(p + name + ".weight"), get(p + name + ".bias"), epsilon_);
  };
  // Per head: query, key, value.
  const auto qkv = project(norm("input_layernorm"), p + "attention.query_key_value")
                       .reshape({x.size(0), heads, -1})
                       .transpose(0, 1)
                       .chunk(3, 2);
  const at::Tensor mixed =
      project(attention(rotated(qkv[0]), rotated(qkv[1]), qkv[2], block), p + "attention.dense");
  const at::Tensor inner =
      exact_gelu(project(norm("post_attention_layernorm"), p + "mlp.dense_h_to_4h"));
  return x + mixed + project(inner, p + "mlp.dense_4h_to_h");
}

at::Tensor NaiveModel::mamba_layer(const at::Tensor& x, int layer, const Block& block) const {
  const std::string p = fmt::format("backbone.layers.{}.", layer), m = p + "mixer.";
  const auto xz = project(rms_norm(x, get(p + "norm.weight"), epsilon_), m + "in_proj").chunk(2, 1);
  const auto bias = tensors_.find(m + "conv1d.bias");
  const at::Tensor u = causal_convolution(xz[0], get(m + "conv1d.weight"),
                                          bias == tensors_.end() ? at::Tensor() : get(bias->first));
  const std::int64_t rank = get(m + "dt_proj.weight").size(1), states = get(m + "A_log").size(1);
  auto parts = project(u, m + "x_proj").split_with_sizes({rank, states, states}, 1);
  if (family_ == "falcon_mamba")
    for (at::Tensor& part : parts)
      part = weightless_rms(part, config_.value("mixer_rms_eps", 1e-6));
  const at::Tensor dt = log1p_exp(project(parts[0], m + "dt_proj")), sum = dt.cumsum(0);
  const at::Tensor span = (sum.unsqueeze(1) - sum.unsqueeze(0)).clamp_min(0);  // [t, s, channel]
  // [t, s, channel, state].
  const at::Tensor decay = (span.unsqueeze(-1) * -get(m + "A_log").exp()).exp();
  // [t, s, 1, state].
  const at::Tensor read = (parts[2].unsqueeze(1) * parts[1].unsqueeze(0)).unsqueeze(2);
  const at::Tensor mixing = (decay * read).sum(-1) * dt.unsqueeze(0);
  const at::Tensor y =
      (masked(mixing, block.pairs, losing(block.channels, get(m + "A_log"))) * u.unsqueeze(0))
          .sum(1) +
      u * get(m + "D");
  return x + project(y * swish(xz[1]), m + "out_proj");
}

at::Tensor NaiveModel::mamba2_layer(const at::Tensor& x, int layer, const Block& block) const {
  const std::string p = fmt::format("backbone.layers.{}.", layer), m = p + "mixer.";
  const std::int64_t tokens = x.size(0), heads = get(m + "A_log").size(0),
                     inner = get(m + "norm.weight").size(0);
  const std::int64_t channels = get(m + "conv1d.weight").size(0),
                     groups = ssm_.contains("n_groups") ? ssm_["n_groups"] : ssm_["ngroups"];
  const at::Tensor projected =
      project(rms_norm(x, get(p + "norm.weight"), epsilon_), m + "in_proj");
  const std::int64_t mlp = (projected.size(1) - inner - channels - heads) / 2,
                     states = (channels - inner) / 2 / groups;
  const auto parts = projected.split_with_sizes({mlp, mlp, inner, channels, heads}, 1);
  const auto xbc = causal_convolution(parts[3], get(m + "conv1d.weight"), get(m + "conv1d.bias"))
                       .split_with_sizes({inner, groups * states, groups * states}, 1);
  const at::Tensor u = xbc[0].reshape({tokens, heads, -1});
  const auto per_head = [&](const at::Tensor& y) {
    return y.reshape({tokens, groups, -1}).repeat_interleave(heads / groups, 1);
  };
  const std::vector<double> limit = ssm_.value("time_step_limit", std::vector<double>{0, INFINITY});
  const at::Tensor dt = log1p_exp(parts[4] + get(m + "dt_bias")).clamp(limit[0], limit[1]);
  const at::Tensor sum = (dt * -get(m + "A_log").exp()).cumsum(0);
  // [t, s, head].
  const at::Tensor decay = (sum.unsqueeze(1) - sum.unsqueeze(0)).clamp_max(0).exp();
  const at::Tensor read = (per_head(xbc[2]).unsqueeze(1) * per_head(xbc[1]).unsqueeze(0)).sum(-1);
  const at::Tensor mixing =
      masked(read * decay * dt.unsqueeze(0), block.pairs, losing(block.channels, get(m + "A_log")));
  const at::Tensor y =
      ((mixing.unsqueeze(-1) * u.unsqueeze(0)).sum(1) + u * get(m + "D").unsqueeze(-1))
          .reshape({tokens, -1});
  const bool gate_last = config_.contains("ssm_cfg") && ssm_.value("norm_before_gate", false);
  const at::Tensor gated = gate_last ? y : y * swish(parts[2]),
                   grouped = gated.reshape({tokens, groups, -1});
  at::Tensor normed =
      weightless_rms(grouped, epsilon_).reshape({tokens, -1}) * get(m + "norm.weight");
  if (gate_last) normed = normed * swish(parts[2]);
  return x + project(at::cat({swish(parts[0]) * parts[1], normed}, 1), m + "out_proj");
}

at::Tensor NaiveModel::layer_output(const at::Tensor& x, int layer, const Block& block) const {
  if (family_ == "gpt2") return gpt2_layer(x, layer, block);
  if (family_ == "gpt_neox") return gpt_neox_layer(x, layer, block);
  if (family_ == "mamba2") return mamba2_layer(x, layer, block);
  if (family_ == "mamba" || family_ == "falcon_mamba") return mamba_layer(x, layer, block);
  return llama_layer(x, layer, block);
}

at::Tensor NaiveModel::log_probabilities(const std::vector<int>& ids,
                                         const factflow::Block& knockout) const {
  if (NaiveDecoder::knows(family_))
    return NaiveDecoder(config_, tensors_).log_probabilities(ids, knockout);
  const bool gpt2 = family_ == "gpt2", neox = family_ == "gpt_neox",
             ssm = tensors_.contains("backbone.embeddings.weight");
  const std::string base = gpt2   ? "transformer.wte"
                           : neox ? "gpt_neox.embed_in"
                           : ssm  ? "backbone.embeddings"
                                  : "model.embed_tokens";
  const std::string last = gpt2   ? "transformer.ln_f"
                           : neox ? "gpt_neox.final_layer_norm"
                           : ssm  ? "backbone.norm_f"
                                  : "model.norm";
  const auto tokens = static_cast<std::int64_t>(ids.size());
  const at::Tensor embedding = get(base + ".weight");
  at::Tensor x = at::empty({tokens, embedding.size(1)}, embedding.options());
  for (std::int64_t t = 0; t < tokens; ++t) x[t] = embedding[ids[static_cast<size_t>(t)]];
  if (gpt2) x = x + get("transformer.wpe.weight").narrow(0, 0, tokens);
  const at::Tensor open = at::zeros({tokens, tokens}, x.options().dtype(at::kBool));
  at::Tensor closed = open.clone();
  for (const int target : knockout.targets)
    for (const int source : knockout.sources) closed[target][source] = true;
  for (int l = 0; l < layers_; ++l) {
    const bool on =
        std::find(knockout.layers.begin(), knockout.layers.end(), l) != knockout.layers.end();
    x = layer_output(x, l, {on ? closed : open, std::get<ChannelSet>(knockout.selection)});
  }
  x = x.narrow(0, tokens - 1, 1);
  x = gpt2 || neox ? layer_norm(x, get(last + ".weight"), get(last + ".bias"), epsilon_)
                   : rms_norm(x, get(last + ".weight"), epsilon_);
  const std::string head = neox ? "embed_out.weight" : "lm_head.weight";
  return x.matmul(get(tensors_.count(head) != 0 ? head : base + ".weight").t())[0].log_softmax(0);
}

}  // namespace factflow
