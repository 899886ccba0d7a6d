#include "hybrid_configs.hpp"

#include <map>

namespace factflow {
namespace {

using nlohmann::json;

json with(json base, const json& more) {
  base.update(more);
  return base;
}

const json& stream() {
  static const json keys = {{"hidden_size", 16},        {"num_hidden_layers", 3},
                            {"vocab_size", 29},         {"num_attention_heads", 4},
                            {"num_key_value_heads", 2}, {"intermediate_size", 24}};
  return keys;
}

const json& mamba2() {
  static const json keys = {{"mamba_n_heads", 8}, {"mamba_d_state", 5}, {"mamba_n_groups", 2}};
  return keys;
}

const json& delta() {
  static const json keys = {{"linear_num_key_heads", 2},
                            {"linear_num_value_heads", 4},
                            {"linear_key_head_dim", 5},
                            {"linear_value_head_dim", 3},
                            {"head_dim", 8},
                            {"linear_conv_kernel_dim", 3}};
  return keys;
}

std::map<std::string, json> made() {
  const json kinds = {"linear_attention", "full_attention", "linear_attention"};
  const json experts = {
      {"num_experts", 4}, {"num_experts_per_tok", 2}, {"moe_intermediate_size", 6}};
  const json shared = with(experts, {{"shared_expert_intermediate_size", 7}});
  const json granite =
      with(with(stream(), mamba2()), {{"model_type", "granitemoehybrid"},
                                      {"layer_types", {"mamba", "attention", "mamba"}},
                                      {"shared_intermediate_size", 10},
                                      {"position_embedding_type", "rope"},
                                      {"attention_multiplier", 0.3},
                                      {"residual_multiplier", 0.8},
                                      {"embedding_multiplier", 1.5},
                                      {"logits_scaling", 2.5}});
  const json nemotron = with(stream(), {{"model_type", "nemotron_h"},
                                        {"hybrid_override_pattern", "M-*E"},
                                        {"head_dim", 6},
                                        {"mamba_num_heads", 4},
                                        {"mamba_head_dim", 5},
                                        {"n_groups", 2},
                                        {"ssm_state_size", 5},
                                        {"time_step_min", 0.2},
                                        {"n_routed_experts", 6},
                                        {"num_experts_per_tok", 2},
                                        {"n_group", 3},
                                        {"topk_group", 2},
                                        {"routed_scaling_factor", 1.5},
                                        {"moe_latent_size", 8},
                                        {"moe_intermediate_size", 6},
                                        {"moe_shared_expert_intermediate_size", 7}});
  const json zamba2 = with(stream(), {{"model_type", "zamba2"},
                                      {"layers_block_type", {"hybrid", "mamba", "hybrid"}},
                                      {"num_key_value_heads", 4},
                                      {"n_mamba_heads", 8},
                                      {"mamba_d_state", 5},
                                      {"mamba_ngroups", 2},
                                      {"num_mem_blocks", 1},
                                      {"use_shared_attention_adapter", true},
                                      {"adapter_rank", 3},
                                      {"add_bias_linear", true},
                                      {"use_mem_rope", true},
                                      {"time_step_min", 0.1}});
  const json qwen = with(with(stream(), delta()), {{"layer_types", kinds}});
  return {
      {"mixtral",
       with(stream(),
            {{"model_type", "mixtral"}, {"num_local_experts", 4}, {"sliding_window", 4}})},
      {"qwen3_moe", with(with(stream(), experts),
                         {{"model_type", "qwen3_moe"}, {"head_dim", 6}, {"mlp_only_layers", {1}}})},
      {"bamba",
       with(with(stream(), mamba2()), {{"model_type", "bamba"}, {"attn_layer_indices", {1}}})},
      {"granite_hybrid", with(granite, {{"num_local_experts", 0}})},
      {"granite_hybrid_moe", with(granite, {{"num_local_experts", 4}})},
      {"falcon_h1", with(with(stream(), mamba2()), {{"model_type", "falcon_h1"},
                                                    {"head_dim", 6},
                                                    {"mamba_d_ssm", 24},
                                                    {"mamba_rms_norm", true},
                                                    {"ssm_multipliers", {1.1, 0.9, 1.2, 0.8, 0.7}},
                                                    {"ssm_in_multiplier", 1.3},
                                                    {"ssm_out_multiplier", 0.75},
                                                    {"attention_in_multiplier", 1.2},
                                                    {"attention_out_multiplier", 0.9},
                                                    {"attention_bias", true},
                                                    {"mamba_proj_bias", true},
                                                    {"key_multiplier", 0.6},
                                                    {"mlp_multipliers", {0.8, 1.3}},
                                                    {"lm_head_multiplier", 0.7}})},
      {"nemotron_h", nemotron},
      {"jamba", with(stream(), {{"model_type", "jamba"},
                                {"attn_layer_period", 3},
                                {"attn_layer_offset", 1},
                                {"num_experts", 4},
                                {"mamba_d_state", 5},
                                {"mamba_dt_rank", 3}})},
      {"qwen3_next",
       with(with(qwen, shared), {{"model_type", "qwen3_next"}, {"mlp_only_layers", {1}}})},
      {"qwen3_5", with(qwen, {{"model_type", "qwen3_5_text"}})},
      {"qwen3_5_moe", with(with(qwen, shared), {{"model_type", "qwen3_5_moe_text"}})},
      {"recurrent_gemma", with(stream(), {{"model_type", "recurrent_gemma"},
                                          {"block_types", {"recurrent", "attention"}},
                                          {"attention_window_size", 4},
                                          {"lru_width", 20}})},
      {"rwkv7",
       {{"model_type", "rwkv7"},
        {"hidden_size", 12},
        {"head_dim", 4},
        {"num_hidden_layers", 3},
        {"vocab_size", 29},
        {"intermediate_size", 20},
        {"decay_low_rank_dim", 3},
        {"a_low_rank_dim", 2},
        {"v_low_rank_dim", 4},
        {"gate_low_rank_dim", 5}}},
      {"zamba2", zamba2},
      {"zamba2_shared", with(zamba2, {{"layers_block_type", {"hybrid", "hybrid", "hybrid"}}})},
      {"lfm2", with(stream(), {{"model_type", "lfm2"},
                               {"layer_types", {"conv", "full_attention", "conv"}},
                               {"block_multiple_of", 4},
                               {"conv_bias", true}})},
      {"olmo_hybrid",
       with(with(with(stream(), delta()), {{"layer_types", kinds}}),
            {{"model_type", "olmo_hybrid"}, {"rope_parameters", {{"rope_theta", nullptr}}}})},
  };
}

const std::map<std::string, json>& all() {
  static const std::map<std::string, json> configs = made();
  return configs;
}

}  // namespace

const std::vector<std::string>& small_hybrids() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> found;
    for (const auto& [name, config] : all()) found.push_back(name);
    return found;
  }();
  return names;
}

json small_hybrid_config(const std::string& name) {
  const auto found = all().find(name);
  return found == all().end() ? json() : found->second;
}

}  // namespace factflow
