#include "model/families/hybrid.hpp"

#include <map>

#include <fmt/format.h>

#include "base/text.hpp"
#include "model/families/decoder.hpp"
#include "model/limits.hpp"

namespace factflow {
namespace {

LayerKind kind_of(ConfigReader& config, const std::string& key, const nlohmann::json& word) {
  static const std::map<std::string, LayerKind> kinds = {
      {"attention", LayerKind::kAttention},
      {"full_attention", LayerKind::kAttention},
      {"mamba", LayerKind::kRecurrent},
      {"linear_attention", LayerKind::kRecurrent},
      {"mlp", LayerKind::kMlp},
      {"moe", LayerKind::kExperts},
  };
  const auto found = word.is_string() ? kinds.find(word.get<std::string>()) : kinds.end();
  if (found == kinds.end())
    config.fail(key, fmt::format("expected attention, mamba, mlp or moe, or full_attention or "
                                 "linear_attention, found {}",
                                 word.dump()));
  return found->second;
}

}  // namespace

std::optional<std::vector<LayerKind>> read_layer_kinds(ConfigReader& config, const std::string& key,
                                                       int layers) {
  const nlohmann::json& list = config.raw(key);
  if (list.is_null()) return std::nullopt;
  if (!list.is_array() || list.empty() || list.size() > static_cast<size_t>(kMostLayers) ||
      (layers > 0 && list.size() != static_cast<size_t>(layers)))
    config.fail(key, layers > 0 ? fmt::format("expected a list of {} layers", layers)
                                : fmt::format("expected a list of 1 to {} layers", kMostLayers));
  std::vector<LayerKind> kinds;
  for (const nlohmann::json& word : list) kinds.push_back(kind_of(config, key, word));
  return kinds;
}

Architecture read_stream(ConfigReader& config, const StreamDefaults& defaults) {
  Architecture architecture;
  architecture.hidden = config.size("hidden_size", defaults.hidden);
  architecture.layers = config.layer_count("num_hidden_layers", defaults.layers);
  architecture.vocabulary = config.size("vocab_size", defaults.vocabulary);
  architecture.norm_epsilon = config.number("rms_norm_eps", defaults.epsilon);
  architecture.tied_head = config.flag("tie_word_embeddings", defaults.tied);
  return architecture;
}

AttentionShape read_attention(ConfigReader& config, int hidden, const AttentionDefaults& defaults) {
  AttentionShape attention;
  attention.heads = config.size("num_attention_heads", defaults.heads);
  const char* key_heads = "num_key_value_heads";
  const bool one_each = config.has(key_heads) ? defaults.null_key_heads && config.is_null(key_heads)
                                              : defaults.key_heads == 0;
  attention.key_heads = one_each ? attention.heads : config.size(key_heads, defaults.key_heads);
  if (attention.heads % attention.key_heads != 0)
    config.fail(key_heads, fmt::format("expected a divisor of {} heads, found {}", attention.heads,
                                       attention.key_heads));
  const bool given =
      config.has("head_dim") && !(defaults.null_head_size && config.is_null("head_dim"));
  if (!given && defaults.head_size == 0 && hidden % attention.heads != 0)
    config.fail("num_attention_heads",
                fmt::format("expected a divisor of hidden_size = {}", hidden));
  attention.head_size = given                    ? config.integer("head_dim")
                        : defaults.head_size > 0 ? config.size("head_dim", defaults.head_size)
                                                 : hidden / attention.heads;
  config.check_width("head_dim", attention.queries());
  attention.scale = score_scale(attention.head_size);
  return attention;
}

Rotary read_plain_rotary(ConfigReader& config, int head_size, double theta,
                         std::optional<double> share) {
  static const nlohmann::json kEmpty = nlohmann::json::object();
  const auto gives = [&](const char* key) { return config.has(key) && !config.is_null(key); };
  if (gives("rope_parameters") && gives("rope_scaling"))
    config.fail("rope_scaling", "stands beside rope_parameters; keep one of them");
  const char* object_key = gives("rope_parameters") ? "rope_parameters" : "rope_scaling";
  const nlohmann::json& object = config.raw(object_key);
  config.ignore({"max_position_embeddings"});
  if (!object.is_null() && !object.is_object())
    config.fail(object_key, fmt::format("expected an object, found {}", object.dump()));
  ConfigReader rope(object.is_null() ? kEmpty : object, config.file(),
                    std::string(object_key) + ".");
  const auto number = [&](const char* key, double fallback) {
    if (!rope.has(key)) return config.number(key, fallback);
    const double value = rope.number(key);
    if (gives(key) && config.number(key) != value)
      rope.fail(key, fmt::format("is {}, but {} outside is {}", value, key, config.number(key)));
    return value;
  };
  const std::string type = rope.word(rope.spelling("rope_type", "type"), "default");
  if (type != "default")
    rope.fail("rope_type", fmt::format("only default is supported here, found '{}'", type));
  Rotary rotary;
  rotary.theta = number("rope_theta", theta);
  const double turned = number("partial_rotary_factor", share.value_or(1));
  if (!share && turned != 1)
    config.fail("partial_rotary_factor",
                fmt::format("only 1 is supported in this family, found {}", turned));
  rotary.dimensions = static_cast<int>(head_size * turned);
  if (!(rotary.theta > 0))
    config.fail("rope_theta", fmt::format("expected a positive number, found {}", rotary.theta));
  if (!(turned > 0 && turned <= 1) || rotary.dimensions < 2 || rotary.dimensions % 2 != 0)
    config.fail("partial_rotary_factor",
                fmt::format("expected a share that rotates an even number of {} dimensions, found "
                            "{}, of {}",
                            head_size, turned, rotary.dimensions));
  rope.ignore({"mrope_section", "mrope_interleaved"});
  rope.expect_or_null("factor", 1);
  rope.finish({});
  return rotary;
}

void ignore_rotary(ConfigReader& config) {
  config.ignore({"rope_parameters", "rope_scaling", "rope_theta", "partial_rotary_factor",
                 "max_position_embeddings"});
}

Mamba2Shape read_mamba2_block(ConfigReader& config, int inner) {
  Mamba2Shape shape;
  shape.inner = inner;
  shape.heads = config.size("mamba_n_heads", 128);
  if (inner % shape.heads != 0)
    config.fail("mamba_n_heads",
                fmt::format("expected a divisor of {} channels, found {}", inner, shape.heads));
  shape.head_size = inner / shape.heads;
  if (!config.says("mamba_d_head", "auto")) config.expect("mamba_d_head", shape.head_size);
  shape.groups = config.size("mamba_n_groups", 1);
  shape.states = config.size("mamba_d_state", 256);
  shape.conv_kernel = config.integer("mamba_d_conv", 4, 1, kMostTaps);
  shape.conv_bias = config.flag("mamba_conv_bias", true);
  shape.bias = shape.output_bias = config.flag("mamba_proj_bias", false);
  read_time_step_limit(config, "time_step_limit", shape);
  check_mamba2(config, "mamba_n_groups", shape);
  shape.norm_group = inner / shape.groups;
  config.ignore({"mamba_chunk_size", "chunk_size", "num_logits_to_keep", "time_step_min",
                 "time_step_max", "time_step_floor"});
  return shape;
}

void check_mamba2(ConfigReader& config, const std::string& key, const Mamba2Shape& shape) {
  config.check_width(key, static_cast<std::int64_t>(shape.groups) * shape.states);
  if (shape.heads % shape.groups != 0)
    config.fail(key, fmt::format("expected a divisor of the {} heads, found {}", shape.heads,
                                 shape.groups));
  if (shape.heads / shape.groups > kMostHeadsPerGroup)
    config.fail(key, fmt::format("at most {} heads per group are supported", kMostHeadsPerGroup));
  if (!(shape.dt_min <= shape.dt_max))
    config.fail(key, "the lower limit of dt is above the upper one");
}

void read_time_step_limit(ConfigReader& config, const std::string& key, Mamba2Shape& shape) {
  const nlohmann::json& limits = config.raw(key);
  if (limits.is_null()) return;
  if (!limits.is_array() || limits.size() != 2 || !limits[0].is_number() || !limits[1].is_number())
    config.fail(key, fmt::format("expected two numbers, found {}", limits.dump()));
  shape.dt_min = limits[0].get<double>();
  shape.dt_max = limits[1].get<double>();
}

void expect_silu(ConfigReader& config, const std::string& key) {
  if (!config.says(key, "swish")) config.expect(key, "silu");
}

}  // namespace factflow
