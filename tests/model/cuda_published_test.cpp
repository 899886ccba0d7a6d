// The engine on a GPU against the engine on the CPU at published widths, where blocks of threads
// have many warps and prompts many replays: three layers, a small vocabulary, random weights.
// Needs a CUDA build and a device, 48 GiB of host memory, and a few minutes of 16 cores.
#include <algorithm>
#include <cmath>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "cuda_comparison.hpp"
#include "model/device.hpp"
#include "model/families/family.hpp"

namespace factflow {
namespace {

using nlohmann::json;

constexpr int kLayers = 3, kVocabulary = 211;

struct Published {
  std::string name;
  json config;
};

json mamba2(int hidden, int layers = kLayers) {
  return {{"model_type", "mamba2"},
          {"hidden_size", hidden},
          {"num_hidden_layers", layers},
          {"num_heads", hidden / 32},
          {"head_dim", 64},
          {"n_groups", 1},
          {"state_size", 128},
          {"vocab_size", kVocabulary},
          {"tie_word_embeddings", true}};
}

// Mixtures of experts: widths and experts of config.json, but for those whose few experts are as
// wide as a 7B's MLP, of which there are four. `mixed` are layers of linear and full attention.
std::vector<json> mixtures(const json& mixed) {
  return {{{"name", "mixtral_4x7B"},
           {"model_type", "mixtral"},
           {"hidden_size", 4096},
           {"num_attention_heads", 32},
           {"num_key_value_heads", 8},
           {"intermediate_size", 14336},
           {"num_local_experts", 4},
           {"num_experts_per_tok", 2},
           {"rope_theta", 1e6}},
          {{"name", "qwen3_30B_A3B"},
           {"model_type", "qwen3_moe"},
           {"hidden_size", 2048},
           {"num_attention_heads", 32},
           {"num_key_value_heads", 4},
           {"head_dim", 128},
           {"num_experts", 128},
           {"num_experts_per_tok", 8},
           {"norm_topk_prob", true},
           {"moe_intermediate_size", 768},
           {"rope_theta", 1e6}},
          {{"name", "qwen3_5_35B_A3B"},
           {"model_type", "qwen3_5_moe_text"},
           {"hidden_size", 2048},
           {"num_attention_heads", 16},
           {"num_key_value_heads", 2},
           {"head_dim", 256},
           {"linear_num_key_heads", 16},
           {"linear_num_value_heads", 32},
           {"num_experts", 256},
           {"num_experts_per_tok", 8},
           {"moe_intermediate_size", 512},
           {"shared_expert_intermediate_size", 512},
           {"layer_types", mixed}},
          {{"name", "granite_4_h_tiny"},
           {"model_type", "granitemoehybrid"},
           {"hidden_size", 1536},
           {"num_attention_heads", 12},
           {"num_key_value_heads", 4},
           {"mamba_n_heads", 48},
           {"mamba_d_state", 128},
           {"intermediate_size", 512},
           {"shared_intermediate_size", 1024},
           {"num_local_experts", 64},
           {"num_experts_per_tok", 6},
           {"attention_multiplier", 0.0078125},
           {"layer_types", {"mamba", "attention", "mamba"}}},
          {{"name", "nemotron_h_30B_A3B"},
           {"model_type", "nemotron_h"},
           {"hidden_size", 2688},
           {"hybrid_override_pattern", "ME*"},
           {"num_attention_heads", 32},
           {"num_key_value_heads", 2},
           {"head_dim", 128},
           {"mamba_num_heads", 64},
           {"mamba_head_dim", 64},
           {"n_groups", 8},
           {"ssm_state_size", 128},
           {"n_routed_experts", 128},
           {"num_experts_per_tok", 6},
           {"routed_scaling_factor", 2.5},
           {"moe_intermediate_size", 1856},
           {"moe_shared_expert_intermediate_size", 3712}},
          {{"name", "jamba_of_4"},
           {"model_type", "jamba"},
           {"hidden_size", 4096},
           {"num_attention_heads", 32},
           {"num_key_value_heads", 8},
           {"intermediate_size", 14336},
           {"attn_layer_period", 3},
           {"attn_layer_offset", 1},
           {"num_experts", 4},
           {"mamba_d_state", 16},
           {"mamba_dt_rank", 256}}};
}

// The widths of config.json; windows that slide are short enough to leave something out.
const std::vector<Published>& published() {
  static const std::vector<Published> list = [] {
    const auto decoder = [](json widths) {
      widths.update({{"num_hidden_layers", kLayers}, {"vocab_size", kVocabulary}});
      return widths;
    };
    std::vector<Published> all = {
        {"gpt2_124M",
         {{"model_type", "gpt2"},
          {"n_embd", 768},
          {"n_layer", kLayers},
          {"n_head", 12},
          {"n_positions", 1024},
          {"vocab_size", kVocabulary}}},
        {"llama_1B", decoder({{"model_type", "llama"},
                              {"hidden_size", 2048},
                              {"num_attention_heads", 32},
                              {"num_key_value_heads", 8},
                              {"head_dim", 64},
                              {"intermediate_size", 8192},
                              {"rope_theta", 500000.0}})},
        {"mistral_7B", decoder({{"model_type", "mistral"},
                                {"hidden_size", 4096},
                                {"num_attention_heads", 32},
                                {"num_key_value_heads", 8},
                                {"intermediate_size", 14336},
                                {"sliding_window", 48}})},
        {"qwen2_500M", decoder({{"model_type", "qwen2"},
                                {"hidden_size", 896},
                                {"num_attention_heads", 14},
                                {"num_key_value_heads", 2},
                                {"intermediate_size", 4864},
                                {"tie_word_embeddings", true}})},
        {"gpt_neox_2800M", decoder({{"model_type", "gpt_neox"},
                                    {"hidden_size", 2560},
                                    {"num_attention_heads", 32},
                                    {"intermediate_size", 10240},
                                    {"rotary_pct", 0.25}})},
        {"mamba_130M",
         decoder({{"model_type", "mamba"}, {"hidden_size", 768}, {"state_size", 16}})},
        {"mamba_2800M",
         decoder({{"model_type", "mamba"}, {"hidden_size", 2560}, {"state_size", 16}})},
        {"falcon_mamba_7B", decoder({{"model_type", "falcon_mamba"},
                                     {"hidden_size", 4096},
                                     {"state_size", 16},
                                     {"time_step_rank", 256},
                                     {"tie_word_embeddings", false}})}};
    const json full = "full_attention", slides = "sliding_attention";
    const json kinds = {slides, full, slides};
    static_assert(kLayers == 3);
    for (json more : std::vector<json>{{{"name", "qwen3_600M"},
                                        {"model_type", "qwen3"},
                                        {"hidden_size", 1024},
                                        {"num_attention_heads", 16},
                                        {"num_key_value_heads", 8},
                                        {"head_dim", 128},
                                        {"intermediate_size", 3072},
                                        {"rope_theta", 1e6},
                                        {"tie_word_embeddings", true}},
                                       {{"name", "olmo2_1B"},
                                        {"model_type", "olmo2"},
                                        {"hidden_size", 2048},
                                        {"num_attention_heads", 16},
                                        {"intermediate_size", 8192},
                                        {"rope_theta", 500000.0}},
                                       {{"name", "olmo3_7B"},
                                        {"model_type", "olmo3"},
                                        {"hidden_size", 4096},
                                        {"num_attention_heads", 32},
                                        {"intermediate_size", 11008},
                                        {"sliding_window", 48},
                                        {"layer_types", kinds},
                                        {"max_position_embeddings", 65536},
                                        {"rope_scaling",
                                         {{"rope_type", "yarn"},
                                          {"factor", 8.0},
                                          {"original_max_position_embeddings", 8192},
                                          {"attention_factor", 1.2079441541679836}}}},
                                       {{"name", "gemma2_2B"},
                                        {"model_type", "gemma2"},
                                        {"hidden_size", 2304},
                                        {"num_attention_heads", 8},
                                        {"num_key_value_heads", 4},
                                        {"head_dim", 256},
                                        {"intermediate_size", 9216},
                                        {"sliding_window", 48},
                                        {"layer_types", kinds}},
                                       {{"name", "gemma3_1B"},
                                        {"model_type", "gemma3_text"},
                                        {"hidden_size", 1152},
                                        {"num_attention_heads", 4},
                                        {"num_key_value_heads", 1},
                                        {"head_dim", 256},
                                        {"intermediate_size", 6912},
                                        {"sliding_window", 48},
                                        {"layer_types", kinds}},
                                       {{"name", "phi3_mini_4k"},
                                        {"model_type", "phi3"},
                                        {"hidden_size", 3072},
                                        {"num_attention_heads", 32},
                                        {"intermediate_size", 8192},
                                        {"sliding_window", 48}},
                                       {{"name", "phi4_mini"},
                                        {"model_type", "phi3"},
                                        {"hidden_size", 3072},
                                        {"num_attention_heads", 24},
                                        {"num_key_value_heads", 8},
                                        {"intermediate_size", 8192},
                                        {"partial_rotary_factor", 0.75},
                                        {"tie_word_embeddings", true},
                                        {"max_position_embeddings", 131072},
                                        {"original_max_position_embeddings", 16},
                                        {"rope_scaling",
                                         {{"type", "longrope"},
                                          {"short_factor", std::vector<double>(48, 1.1)},
                                          {"long_factor", std::vector<double>(48, 2.5)}}}},
                                       {{"name", "smollm3_3B"},
                                        {"model_type", "smollm3"},
                                        {"hidden_size", 2048},
                                        {"num_attention_heads", 16},
                                        {"num_key_value_heads", 4},
                                        {"intermediate_size", 11008},
                                        {"no_rope_layers", {1, 0, 1}}},
                                       {{"name", "granite_2B"},
                                        {"model_type", "granite"},
                                        {"hidden_size", 2048},
                                        {"num_attention_heads", 32},
                                        {"num_key_value_heads", 8},
                                        {"intermediate_size", 8192},
                                        {"embedding_multiplier", 12},
                                        {"attention_multiplier", 0.015625},
                                        {"residual_multiplier", 0.22},
                                        {"logits_scaling", 8},
                                        {"tie_word_embeddings", true}}}) {
      const std::string name = more.at("name");
      more.erase("name");
      all.push_back({name, decoder(more)});
    }
    const json linear = "linear_attention", mixed = {linear, full, linear};
    for (json more : std::vector<json>{{{"name", "qwen3_5_800M"},
                                        {"model_type", "qwen3_5_text"},
                                        {"hidden_size", 1024},
                                        {"num_attention_heads", 8},
                                        {"num_key_value_heads", 2},
                                        {"head_dim", 256},
                                        {"intermediate_size", 3584},
                                        {"linear_num_key_heads", 16},
                                        {"linear_num_value_heads", 16},
                                        {"layer_types", mixed},
                                        {"tie_word_embeddings", true}},
                                       {{"name", "qwen3_next_dense"},
                                        {"model_type", "qwen3_next"},
                                        {"hidden_size", 2048},
                                        {"num_attention_heads", 16},
                                        {"num_key_value_heads", 2},
                                        {"head_dim", 256},
                                        {"num_experts", 0},
                                        {"intermediate_size", 5120},
                                        {"layer_types", mixed}},
                                       {{"name", "olmo_hybrid_7B"},
                                        {"model_type", "olmo_hybrid"},
                                        {"hidden_size", 3840},
                                        {"num_attention_heads", 30},
                                        {"num_key_value_heads", 30},
                                        {"intermediate_size", 11008},
                                        {"linear_num_key_heads", 30},
                                        {"linear_num_value_heads", 30},
                                        {"linear_key_head_dim", 96},
                                        {"linear_value_head_dim", 192},
                                        {"layer_types", mixed}},
                                       {{"name", "recurrent_gemma_2B"},
                                        {"model_type", "recurrent_gemma"},
                                        {"hidden_size", 2560},
                                        {"num_attention_heads", 10},
                                        {"num_key_value_heads", 1},
                                        {"intermediate_size", 15360},
                                        {"attention_window_size", 48}},
                                       {{"name", "lfm2_350M"},
                                        {"model_type", "lfm2"},
                                        {"hidden_size", 1024},
                                        {"num_attention_heads", 16},
                                        {"num_key_value_heads", 8},
                                        {"intermediate_size", 6656},
                                        {"layer_types", {"conv", "full_attention", "conv"}}},
                                       {{"name", "rwkv7_400M"},
                                        {"model_type", "rwkv7"},
                                        {"hidden_size", 1024},
                                        {"head_dim", 64},
                                        {"intermediate_size", 4096},
                                        {"decay_low_rank_dim", 64},
                                        {"a_low_rank_dim", 64},
                                        {"v_low_rank_dim", 32},
                                        {"gate_low_rank_dim", 128}},
                                       {{"name", "rwkv7_1500M"},
                                        {"model_type", "rwkv7"},
                                        {"hidden_size", 2048},
                                        {"head_dim", 64},
                                        {"intermediate_size", 8192},
                                        {"decay_low_rank_dim", 96},
                                        {"a_low_rank_dim", 96},
                                        {"v_low_rank_dim", 64},
                                        {"gate_low_rank_dim", 256}},
                                       {{"name", "falcon_h1_1500M"},
                                        {"model_type", "falcon_h1"},
                                        {"hidden_size", 2048},
                                        {"num_attention_heads", 8},
                                        {"num_key_value_heads", 2},
                                        {"head_dim", 128},
                                        {"mamba_d_ssm", 3072},
                                        {"mamba_n_heads", 48},
                                        {"mamba_d_head", 64},
                                        {"mamba_d_state", 256},
                                        {"intermediate_size", 4096}},
                                       {{"name", "granite_4_h_micro"},
                                        {"model_type", "granitemoehybrid"},
                                        {"hidden_size", 2048},
                                        {"num_attention_heads", 32},
                                        {"num_key_value_heads", 8},
                                        {"mamba_n_heads", 64},
                                        {"mamba_d_state", 128},
                                        {"shared_intermediate_size", 8192},
                                        {"num_local_experts", 0},
                                        {"attention_multiplier", 0.015625},
                                        {"layer_types", {"mamba", "attention", "mamba"}}},
                                       {{"name", "bamba_9B"},
                                        {"model_type", "bamba"},
                                        {"hidden_size", 4096},
                                        {"num_attention_heads", 32},
                                        {"num_key_value_heads", 8},
                                        {"mamba_n_heads", 128},
                                        {"mamba_d_state", 128},
                                        {"intermediate_size", 14336},
                                        {"attn_layer_indices", {1}}},
                                       {{"name", "zamba2_1200M"},
                                        {"model_type", "zamba2"},
                                        {"hidden_size", 2048},
                                        {"num_attention_heads", 32},
                                        {"num_key_value_heads", 32},
                                        {"n_mamba_heads", 64},
                                        {"mamba_d_state", 128},
                                        {"mamba_ngroups", 1},
                                        {"intermediate_size", 8192},
                                        {"num_mem_blocks", 1},
                                        {"use_shared_attention_adapter", true},
                                        {"adapter_rank", 128},
                                        {"use_mem_rope", true},
                                        {"layers_block_type", {"mamba", "hybrid", "hybrid"}}}}) {
      const std::string name = more.at("name");
      more.erase("name");
      all.push_back({name, decoder(more)});
    }
    for (json& more : mixtures(mixed)) {
      const std::string name = more.at("name");
      more.erase("name");
      all.push_back({name, decoder(more)});
    }
    all.push_back({"gptj_6B",
                   {{"model_type", "gptj"},
                    {"n_embd", 4096},
                    {"n_layer", kLayers},
                    {"n_head", 16},
                    {"rotary_dim", 64},
                    {"vocab_size", kVocabulary}}});
    all.push_back({"opt_125M", decoder({{"model_type", "opt"}})});
    all.push_back({"opt_350M", decoder({{"model_type", "opt"},
                                        {"hidden_size", 1024},
                                        {"num_attention_heads", 16},
                                        {"ffn_dim", 4096},
                                        {"word_embed_proj_dim", 512},
                                        {"do_layer_norm_before", false}})});
    for (const auto& [name, hidden] : {std::pair{"mamba2_130M", 768},
                                       {"mamba2_370M", 1024},
                                       {"mamba2_780M", 1536},
                                       {"mamba2_1300M", 2048},
                                       {"mamba2_2700M", 2560}})
      all.push_back({name, mamba2(hidden)});
    return all;
  }();
  return list;
}

void PrintTo(const Published& model, std::ostream* out) {
  *out << model.name;
}

// Weights that keep activations near one, norms and D near one, A as Mamba begins with; drawn by
// all cores.
RandomTensors wide_tensors(const json& config) {
  const Architecture architecture = read_architecture(config, "config.json");
  RandomTensors tensors;
  unsigned seed = 0;
  for (const TensorEntry& entry : family_named(architecture.family).tensors(architecture).entries) {
    NamedTensor& tensor = tensors[entry.name];
    tensor.shape = entry.shape;
    std::int64_t count = 1;
    for (const std::int64_t size : entry.shape) count *= size;
    tensor.values.resize(static_cast<size_t>(count));
    const bool vector = entry.shape.size() == 1, a_log = entry.name.ends_with("A_log");
    const float scale = vector ? 0.1F : 1 / std::sqrt(static_cast<float>(entry.shape.back()));
    const float middle = vector && !entry.name.ends_with("bias") ? 1.0F : 0.0F;
    constexpr std::int64_t kPiece = 1 << 16;  // by a generator of its own
    const unsigned of_tensor = ++seed;
    at::parallel_for(
        0, (count + kPiece - 1) / kPiece, 1, [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t piece = begin; piece < end; ++piece) {
            std::seed_seq numbers{of_tensor, static_cast<unsigned>(piece)};
            std::mt19937 random(numbers);
            std::normal_distribution<float> normal(middle, scale);
            std::uniform_real_distribution<float> decay(1, 16);
            for (std::int64_t i = piece * kPiece; i < std::min(count, (piece + 1) * kPiece); ++i)
              tensor.values[static_cast<size_t>(i)] =
                  a_log ? std::log(decay(random)) : normal(random);
          }
        });
  }
  return tensors;
}

ReplayRequest prompt(int length) {
  ReplayRequest request;
  for (int t = 0; t < length; ++t) request.ids.push_back((7 * t + 3 * length) % kVocabulary);
  request.answer = 5 * length % kVocabulary;
  return request;
}

// Into the last token, in all windows: every set of sources of a short prompt; of a longer one each
// token alone, and so many pairs that there are 150 knockouts at least.
ReplayRequest into_last(int length, int stride = 1) {
  ReplayRequest request = prompt(length);
  const auto cut = [&](std::vector<int> sources) {
    request.series.push_back({{length - 1}, std::move(sources), {}, all_windows(kLayers)});
  };
  if (length <= 5) {
    for (unsigned set = 1; set < 1u << length; ++set) {
      std::vector<int> sources;
      for (int t = 0; t < length; ++t)
        if ((set >> t & 1u) != 0) sources.push_back(t);
      cut(sources);
    }
    return request;
  }
  for (int t = 0; t < length; t += stride) cut({t});
  for (int t = 1; t < length && request.series.size() < 33; ++t) cut({0, t});
  for (int t = 2; t < length && request.series.size() < 33; ++t) cut({1, t});
  return request;
}

// Rows of several tokens beside those of one.
void add_suffixes(ReplayRequest& request) {
  const int length = static_cast<int>(request.ids.size());
  request.series.push_back({{length - 2, length - 1}, {0, 3}, {}, all_windows(kLayers)});
  request.series.push_back({{length - 3, length - 1}, {1, length - 2}, {}, all_windows(kLayers)});
  if (length <= 60) request.series.push_back({{0, 1, 2, 3}, {0}, {}, {{0, 2}, {1, 3}}});
}

std::vector<std::vector<ReplayRequest>> lists_of_requests() {
  std::vector<ReplayRequest> last, suffixes;
  for (const int length : {1, 2, 3, 5, 9, 17, 33, 60}) last.push_back(into_last(length));
  for (const int length : {5, 17, 60}) add_suffixes(suffixes.emplace_back(into_last(length, 3)));
  ReplayRequest longest = into_last(300, 12);
  add_suffixes(longest);
  return {last, suffixes, {longest, into_last(9)}};
}

class CudaPublished : public testing::TestWithParam<Published> {
 protected:
  void SetUp() override {
    if (!choose_device("auto").is_cuda()) GTEST_SKIP() << "needs a CUDA device";
  }
};

TEST_P(CudaPublished, AnswersAreThoseOfTheCpu) {
  const json& config = GetParam().config;
  CudaComparison(config, wide_tensors(config), 0).compare(lists_of_requests(), 150);
}

INSTANTIATE_TEST_SUITE_P(Models, CudaPublished, testing::ValuesIn(published()),
                         [](const auto& of) { return of.param.name; });

// A sweep as the paper asks for it: windows of nine layers, four edges into the last token, prompts
// of COUNTERFACT's lengths.
TEST(CudaSweep, Mamba2OfPublishedDepthIsThatOfTheCpu) {
  if (!choose_device("auto").is_cuda()) GTEST_SKIP() << "needs a CUDA device";
  constexpr int kDepth = 24, kWindow = 9;
  std::vector<Window> windows;
  for (int start = 0; start + kWindow <= kDepth; ++start)
    windows.push_back({start, start + kWindow});
  std::vector<ReplayRequest> requests;
  for (const int length : {7, 9, 12, 8, 15, 10}) {
    ReplayRequest& request = requests.emplace_back(prompt(length));
    std::vector<int> relation = {0};
    for (int t = 4; t < length; ++t) relation.push_back(t);
    for (const std::vector<int>& sources : {std::vector<int>{1, 2, 3}, relation, {length - 1}, {0}})
      request.series.push_back({{length - 1}, sources, {}, windows});
  }
  const json config = mamba2(768, kDepth);
  CudaComparison(config, wide_tensors(config), 0).compare({requests}, 100);
}

}  // namespace
}  // namespace factflow
