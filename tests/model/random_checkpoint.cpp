#include "random_checkpoint.hpp"

#include <cmath>
#include <fstream>
#include <random>
#include <stdexcept>

#include "hybrid_configs.hpp"
#include "model/families/family.hpp"

namespace factflow {
namespace {

using nlohmann::json;

float scale_of(const std::string& name, const std::vector<std::int64_t>& shape) {
  if (name.find("embed") != std::string::npos || name.find("wte") != std::string::npos) return 1.0F;
  if (shape.size() > 1) return 1.4F / std::sqrt(static_cast<float>(shape.back()));
  return 0.2F;
}

float offset_of(const std::string& name) {
  if (name.ends_with("dt_bias") || name.find("dt_proj.bias") != std::string::npos) return -1.0F;
  const bool norm = name.find("norm") != std::string::npos || name.find("ln_") != std::string::npos;
  return (norm && name.ends_with("weight")) || name.ends_with(".D") ? 1.0F : 0.0F;
}

// Of small_decoders(); null for another name.
json small_decoder(const std::string& name) {
  const json full = "full_attention", slides = "sliding_attention";
  const json base = {{"hidden_size", 16},        {"num_hidden_layers", 3},
                     {"vocab_size", 29},         {"num_attention_heads", 4},
                     {"num_key_value_heads", 2}, {"intermediate_size", 24}};
  const auto with = [&](const char* family, const json& more) {
    json config = base;
    config["model_type"] = family;
    config.update(more);
    return config;
  };
  if (name == "qwen3")
    return with("qwen3", {{"head_dim", 6},
                          {"attention_bias", true},
                          {"use_sliding_window", true},
                          {"sliding_window", 3},
                          {"layer_types", {full, slides, slides}}});
  if (name == "olmo2") return with("olmo2", {{"attention_bias", true}, {"rms_norm_eps", 0.02}});
  if (name == "olmo3")
    return with("olmo3", {{"sliding_window", 3},
                          {"layer_types", {slides, full, slides}},
                          {"rope_theta", 500000.0},
                          {"rope_parameters",
                           {{"full_attention", {{"rope_theta", 100.0}}},
                            {"sliding_attention", {{"rope_theta", 30.0}}}}}});
  if (name == "gemma2")
    return with("gemma2", {{"head_dim", 6},
                           {"query_pre_attn_scalar", 10},
                           {"attn_logit_softcapping", 2.0},
                           {"final_logit_softcapping", 5.0},
                           {"sliding_window", 3},
                           {"layer_types", {slides, full, slides}}});
  if (name == "gemma3")
    return with("gemma3_text", {{"head_dim", 6},
                                {"attention_bias", true},
                                {"query_pre_attn_scalar", 5},
                                {"final_logit_softcapping", 7.0},
                                {"sliding_window", 4},
                                {"layer_types", {slides, slides, full}},
                                {"rope_parameters",
                                 {{"full_attention", {{"rope_theta", 300.0}}},
                                  {"sliding_attention", {{"rope_theta", 20.0}}}}}});
  if (name == "phi3")
    return with("phi3", {{"hidden_size", 20},
                         {"partial_rotary_factor", 0.8},
                         {"sliding_window", 4},
                         // Prompts of the tests lie on both sides of the limit.
                         {"original_max_position_embeddings", 5},
                         {"rope_scaling",
                          {{"type", "longrope"},
                           {"short_factor", {1.0, 1.5}},
                           {"long_factor", {2.0, 4.0}},
                           {"attention_factor", 1.1}}}});
  if (name == "smollm3")
    return with("smollm3", {{"attention_bias", true},
                            {"mlp_bias", true},
                            {"no_rope_layers", {1, 0, 1}},
                            {"use_sliding_window", true},
                            {"sliding_window", 3},
                            {"layer_types", {full, slides, full}}});
  if (name == "granite")
    return with("granite", {{"attention_bias", true},
                            {"mlp_bias", true},
                            {"attention_multiplier", 0.4},
                            {"embedding_multiplier", 3},
                            {"residual_multiplier", 0.6},
                            {"logits_scaling", 1.7}});
  if (name == "gptj")
    return {{"model_type", "gptj"}, {"n_embd", 20},      {"n_layer", 3},   {"vocab_size", 29},
            {"n_head", 4},          {"n_positions", 64}, {"rotary_dim", 4}};
  const json opt = {{"model_type", "opt"},          {"hidden_size", 16}, {"vocab_size", 29},
                    {"num_hidden_layers", 3},       {"ffn_dim", 24},     {"num_attention_heads", 4},
                    {"max_position_embeddings", 64}};
  if (name == "opt") return opt;
  json post = opt;
  post.update({{"do_layer_norm_before", false}, {"word_embed_proj_dim", 10}});
  return name == "opt_post" ? post : json();
}

}  // namespace

const std::vector<std::string>& small_decoders() {
  static const std::vector<std::string> names = {"qwen3",  "olmo2", "olmo3",   "gemma2",
                                                 "gemma3", "phi3",  "smollm3", "granite",
                                                 "gptj",   "opt",   "opt_post"};
  return names;
}

json small_config(const std::string& name) {
  if (json decoder = small_decoder(name); !decoder.is_null()) return decoder;
  const json decoder = {{"hidden_size", 16},
                        {"num_hidden_layers", 3},
                        {"vocab_size", 29},
                        {"num_attention_heads", 4},
                        {"intermediate_size", 24}};
  const json state_space = {
      {"hidden_size", 16}, {"num_hidden_layers", 3}, {"vocab_size", 29}, {"state_size", 5}};
  const auto with = [&](json base, const json& more) {
    base.update(more);
    return base;
  };
  if (name == "gpt2")
    return {{"model_type", name}, {"n_embd", 16}, {"n_layer", 3},
            {"vocab_size", 29},   {"n_head", 4},  {"n_positions", 12}};
  if (name == "llama")
    return with(decoder, {{"model_type", name},
                          {"num_key_value_heads", 2},
                          {"attention_bias", true},
                          {"mlp_bias", true},
                          {"rope_theta", 100.0}});
  if (name == "mistral")
    return with(
        decoder,
        {{"model_type", name}, {"num_key_value_heads", 1}, {"head_dim", 6}, {"sliding_window", 4}});
  if (name == "qwen2")
    return with(decoder,
                {{"model_type", name}, {"num_key_value_heads", 2}, {"tie_word_embeddings", true}});
  if (name == "gpt_neox") return with(decoder, {{"model_type", name}, {"rotary_pct", 0.5}});
  // 70 channels: more than one block of the scan, and no multiple of a vector.
  if (name == "mamba")
    return with(state_space, {{"model_type", name}, {"intermediate_size", 70}, {"use_bias", true}});
  if (name == "falcon_mamba")
    return with(state_space,
                {{"model_type", name}, {"conv_kernel", 3}, {"tie_word_embeddings", false}});
  if (name == "mamba2")
    return with(state_space, {{"model_type", name},
                              {"num_heads", 8},
                              {"head_dim", 4},
                              {"n_groups", 2},
                              {"time_step_limit", {0.05, 1.5}}});
  const json ssm = {
      {"d_model", 16}, {"n_layer", 3}, {"vocab_size", 29}, {"pad_vocab_size_multiple", 8}};
  if (name == "mamba_ssm")
    return with(ssm, {{"ssm_cfg", {{"d_state", 5}, {"d_conv", 2}, {"conv_bias", false}}}});
  if (name == "mamba_ssm2")
    return with(ssm, {{"ssm_cfg",
                       {{"layer", "Mamba2"},
                        {"d_state", 5},
                        {"headdim", 3},
                        {"d_ssm", 24},
                        {"ngroups", 2},
                        {"norm_before_gate", true}}}});
  if (json hybrid = small_hybrid_config(name); !hybrid.is_null()) return hybrid;
  throw std::invalid_argument("no small model named " + name);
}

std::map<std::string, NamedTensor> random_tensors(const json& config, unsigned seed) {
  const Architecture architecture = read_architecture(config, "config.json");
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::map<std::string, NamedTensor> tensors;
  for (const TensorEntry& entry : family_named(architecture.family).tensors(architecture).entries) {
    NamedTensor& tensor = tensors[entry.name];
    tensor.shape = entry.shape;
    std::int64_t count = 1;
    for (const std::int64_t size : entry.shape) count *= size;
    const float scale = entry.name.ends_with("A_log") ? 0.8F : scale_of(entry.name, entry.shape);
    for (std::int64_t i = 0; i < count; ++i)
      tensor.values.push_back(offset_of(entry.name) + scale * normal(random));
  }
  return tensors;
}

void move_to_neighbours(std::map<std::string, NamedTensor>& tensors, unsigned seed) {
  std::mt19937 random(seed);
  for (auto& [name, tensor] : tensors)
    for (float& value : tensor.values)
      value = std::nextafter(value, (random() & 1u) != 0 ? INFINITY : -INFINITY);
}

void write_tensors(const std::filesystem::path& directory,
                   const std::map<std::string, NamedTensor>& tensors) {
  json header = json::object();
  size_t end = 0;
  for (const auto& [name, tensor] : tensors) {
    const size_t begin = end;
    end += tensor.values.size() * sizeof(float);
    header[name] = {{"dtype", "F32"}, {"shape", tensor.shape}, {"data_offsets", {begin, end}}};
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::uint64_t length = text.size();
  std::ofstream file(directory / "model.safetensors", std::ios::binary);
  file.write(reinterpret_cast<const char*>(&length), sizeof length)
      .write(text.data(), static_cast<std::streamsize>(text.size()));
  for (const auto& [name, tensor] : tensors)
    file.write(reinterpret_cast<const char*>(tensor.values.data()),
               static_cast<std::streamsize>(tensor.values.size() * sizeof(float)));
}

void write_checkpoint(const std::filesystem::path& directory, const json& config,
                      const std::map<std::string, NamedTensor>& tensors) {
  std::ofstream(directory / "config.json") << config;
  write_tensors(directory, tensors);
}

std::shared_ptr<const Checkpoint> random_checkpoint(const std::string& name, unsigned seed) {
  const TemporaryDirectory directory;
  const json config = small_config(name);
  write_checkpoint(directory.path(), config, random_tensors(config, seed));
  return std::make_shared<const Checkpoint>(Checkpoint::open(directory.path().string()));
}

std::unique_ptr<Network> random_network(const std::string& name, unsigned seed,
                                        Precision precision) {
  return Network::load(random_checkpoint(name, seed), at::kCPU, precision);
}

}  // namespace factflow
