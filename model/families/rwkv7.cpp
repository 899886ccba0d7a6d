// RWKV-7 (Peng et al. 2025), as flash-linear-attention saves it; files of the authors come here
// under the same names (model/checkpoint/rwkv_archive.hpp). Where the two differ the authors'
// package rules.
#include "model/mixers/rwkv7/rwkv7.hpp"

#include <fmt/format.h>

#include "model/families/declarations.hpp"
#include "model/families/hybrid.hpp"
#include "model/mixers/channel_mix/channel_mix.hpp"
#include "model/network.hpp"
#include "model/weights.hpp"

namespace factflow {
namespace {

constexpr const char* kEmbedding = "model.embeddings.weight";
constexpr const char* kEmbeddingNorm = "model.layers.0.pre_norm";
// What is mixed with the token before, in the order of the mixer.
constexpr const char* kMixes[] = {"x_r", "x_w", "x_k", "x_v", "x_a", "x_g"};

std::string prefix(int layer) {
  return fmt::format("model.layers.{}.", layer);
}

// A number, or a list of one for each layer.
void expect_full_values(ConfigReader& config, int layers, int hidden) {
  const nlohmann::json& width = config.raw("value_dim");
  if (width.is_null() || width == hidden ||
      width == nlohmann::json(std::vector<int>(static_cast<size_t>(layers), hidden)))
    return;
  config.fail("value_dim",
              fmt::format("only hidden_size = {} in every layer is supported, found {}", hidden,
                          width.dump()));
}

int read_inner(ConfigReader& config, int hidden) {
  const int expanded =
      config.is_null("hidden_ratio") ? 4 * hidden : config.expanded("hidden_ratio", 4, hidden);
  if (config.has("intermediate_size") && !config.is_null("intermediate_size"))
    return config.integer("intermediate_size");
  const int inner = (expanded + 31) / 32 * 32;
  config.check_width("hidden_ratio", inner);
  return inner;
}

Rwkv7Shape read_heads(ConfigReader& config, int hidden) {
  Rwkv7Shape shape;
  shape.head_size = config.size("head_dim", 64);
  if (hidden % shape.head_size != 0)
    config.fail("head_dim", fmt::format("expected a divisor of hidden_size = {}, found {}", hidden,
                                        shape.head_size));
  shape.heads = hidden / shape.head_size;
  config.expect_or_null("num_heads", shape.heads);
  shape.decay_rank = config.integer("decay_low_rank_dim");
  shape.rate_rank = config.integer("a_low_rank_dim");
  shape.value_rank = config.integer("v_low_rank_dim");
  shape.gate_rank = config.integer("gate_low_rank_dim");
  return shape;
}

// A low-rank pair and the size between its matrices.
struct Pair {
  const char* name;
  int rank;
  bool bias;
};
std::vector<Pair> pairs_of(const Rwkv7Shape& shape) {
  std::vector<Pair> pairs = {{"w_lora", shape.decay_rank, true},
                             {"a_lora", shape.rate_rank, true},
                             {"g_lora", shape.gate_rank, false}};
  if (!shape.first) pairs.push_back({"v_lora", shape.value_rank, true});
  return pairs;
}

void add_norm(TensorTable& table, const std::string& name, std::int64_t width) {
  table.entries.push_back({name + ".weight", {width}});
  table.entries.push_back({name + ".bias", {width}});
}

void add_time_mix(TensorTable& table, const std::string& in, const Rwkv7Shape& shape) {
  const std::int64_t hidden = shape.hidden();
  const auto add = [&](const std::string& name, std::vector<std::int64_t> sizes) {
    table.entries.push_back({in + name, std::move(sizes)});
  };
  for (const char* mix : kMixes) add(mix, {1, 1, hidden});
  for (const char* vector : {"k_k", "k_a"}) add(vector, {hidden});
  add("r_k", {shape.heads, shape.head_size});
  for (const char* matrix : {"r_proj", "k_proj", "v_proj", "o_proj"})
    add(std::string(matrix) + ".weight", {hidden, hidden});
  for (const Pair& pair : pairs_of(shape)) {
    const std::string lora = std::string(pair.name) + ".lora.";
    add(lora + "0.weight", {pair.rank, hidden});
    add(lora + "2.weight", {hidden, pair.rank});
    if (pair.bias) add(lora + "2.bias", {hidden});
  }
  add_norm(table, in + "g_norm", hidden);
}

Norm layer_norm(Weights& weights, const std::string& name, double epsilon) {
  return {weights.take(name + ".weight"), weights.take(name + ".bias"), epsilon, true};
}

LowRank low_rank(Weights& weights, const std::string& name) {
  return {weights.projection(name + ".lora.0.weight"), weights.projection(name + ".lora.2.weight"),
          weights.optional(name + ".lora.2.bias")};
}

std::unique_ptr<Mixer> time_mix(Weights& weights, const std::string& in, const Rwkv7Shape& shape,
                                double epsilon) {
  Rwkv7Weights one;
  std::vector<at::Tensor> mixes;
  for (const char* mix : kMixes) mixes.push_back(weights.take(in + mix).flatten());
  one.mix = at::stack(mixes);
  one.receptance = weights.projection(in + "r_proj.weight");
  one.key = weights.projection(in + "k_proj.weight");
  one.value = weights.projection(in + "v_proj.weight");
  one.decay = low_rank(weights, in + "w_lora");
  one.rate = low_rank(weights, in + "a_lora");
  one.gate = low_rank(weights, in + "g_lora");
  if (!shape.first) one.first_share = low_rank(weights, in + "v_lora");
  one.removal = weights.take(in + "k_k");
  one.key_rate = weights.take(in + "k_a");
  one.bonus = weights.take(in + "r_k");
  one.norm = layer_norm(weights, in + "g_norm", shape.head_size * epsilon);
  one.output = {weights.projection(in + "o_proj.weight")};
  return std::make_unique<Rwkv7>(shape, std::move(one));
}

std::unique_ptr<Mixer> channel_mix(Weights& weights, const std::string& in,
                                   const ChannelMixShape& shape) {
  return std::make_unique<ChannelMix>(shape,
                                      ChannelMixWeights{weights.take(in + "x_k"),
                                                        weights.projection(in + "key.weight"),
                                                        {weights.projection(in + "value.weight")}});
}

}  // namespace

Architecture read_rwkv7(ConfigReader& config) {
  Architecture architecture;
  architecture.hidden = config.size("hidden_size", 2048);
  architecture.layers = config.layer_count("num_hidden_layers", 24);
  architecture.vocabulary = config.size("vocab_size", 32000);
  architecture.norm_epsilon = config.number("norm_eps", 1e-5);
  architecture.tied_head = config.flag("tie_word_embeddings", false);
  if (!config.raw("attn").is_null())
    config.fail("attn", "layers of attention between those of RWKV-7 are not supported");
  expect_full_values(config, architecture.layers, architecture.hidden);
  config.expect("norm_first", true);
  config.expect("norm_bias", true);
  config.expect("hidden_act", "sqrelu");
  config.ignore({"attn_mode", "fuse_norm", "fuse_cross_entropy", "fuse_linear_cross_entropy",
                 "use_l2warp", "max_position_embeddings"});
  Rwkv7Shape time = read_heads(config, architecture.hidden);
  ChannelMixShape channels;
  channels.hidden = architecture.hidden;
  channels.inner = read_inner(config, architecture.hidden);
  for (int i = 0; i < architecture.layers; ++i) {
    time.first = i == 0;
    architecture.blocks.push_back(
        {{std::make_shared<Rwkv7Shape>(time)}, {std::make_shared<ChannelMixShape>(channels)}});
  }
  return architecture;
}

TensorTable rwkv7_tensors(const Architecture& architecture) {
  const std::int64_t hidden = architecture.hidden;
  TensorTable table;
  table.prefix = "model.";
  add_embedding_and_head(table, architecture, kEmbedding, "lm_head.weight");
  add_norm(table, kEmbeddingNorm, hidden);
  add_norm(table, "model.norm", hidden);
  for (int i = 0; i < architecture.layers; ++i) {
    const std::string layer = prefix(i);
    const std::int64_t inner = architecture.mixer<ChannelMixShape>(i, 1).inner;
    for (const char* norm : {"attn_norm", "ffn_norm"}) add_norm(table, layer + norm, hidden);
    add_time_mix(table, layer + "attn.", architecture.mixer<Rwkv7Shape>(i));
    table.entries.push_back({layer + "ffn.x_k", {hidden}});
    table.entries.push_back({layer + "ffn.key.weight", {inner, hidden}});
    table.entries.push_back({layer + "ffn.value.weight", {hidden, inner}});
  }
  return table;
}

NetworkParts rwkv7_parts(const Architecture& architecture, Weights& weights) {
  const double epsilon = architecture.norm_epsilon;
  NetworkParts parts{kEmbedding, "lm_head.weight", "", layer_norm(weights, "model.norm", epsilon)};
  parts.embedding_norm = layer_norm(weights, kEmbeddingNorm, epsilon);
  for (int i = 0; i < architecture.layers; ++i) {
    const std::string layer = prefix(i);
    std::vector<NetworkBlock>& loaded = parts.layers.emplace_back();
    loaded.push_back(
        {layer_norm(weights, layer + "attn_norm", epsilon),
         time_mix(weights, layer + "attn.", architecture.mixer<Rwkv7Shape>(i), epsilon)});
    loaded.push_back(
        {layer_norm(weights, layer + "ffn_norm", epsilon),
         channel_mix(weights, layer + "ffn.", architecture.mixer<ChannelMixShape>(i, 1))});
  }
  return parts;
}

}  // namespace factflow
