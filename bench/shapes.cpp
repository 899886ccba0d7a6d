#include "bench/shapes.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

namespace factflow {

namespace {

constexpr RoundingTolerances kTransformers = {1e-7, 3e-6, 6e-6, 2e-3, 7e-3},
                             kGemma2 = {1e-7, 3e-5, 6e-5, 1e-2, 1.1e-1},
                             kSmallMambas = {2e-6, 4e-5, 7e-5, 1e-2, 3.5e-1},
                             kMamba2800M = {6e-6, 7e-5, 4.5e-4, 2e-2, 4e-1},
                             kMamba2_2700M = {1e-5, 3e-4, 3.5e-4, 4.5e-2, 6e-1},
                             kHybrids = {1e-7, 1.7e-5, 7.5e-5, 1.1e-2, 7.5e-2},
                             kRwkv7 = {1e-7, 3e-3, 3e-3, 1.3e-2, 2e-2},
                             kFalconMamba7B = {3e-5, 4.5e-3, 4.5e-3, 4.5e-1, 7e-1};

}  // namespace

const std::vector<BenchShape>& bench_shapes() {
  static const std::vector<BenchShape> shapes = {
      // The demo's models: what is narrow is bound by launches and memory, not by products.
      {"gpt2-2M", 0, kTransformers,
       R"({"model_type":"gpt2","n_embd":128,"n_layer":12,"n_head":4,"n_positions":64,"vocab_size":1024})"},
      {"mamba-2M", 0, kSmallMambas,
       R"({"model_type":"mamba","hidden_size":128,"num_hidden_layers":12,"state_size":16,"vocab_size":1024})"},
      {"mamba2-2M", 0, kSmallMambas,
       R"({"model_type":"mamba2","hidden_size":128,"num_hidden_layers":12,"num_heads":8,"head_dim":32,
         "n_groups":1,"state_size":32,"vocab_size":1024,"tie_word_embeddings":true})"},
      {"gpt2-124M", 0, kTransformers,
       R"({"model_type":"gpt2","n_embd":768,"n_layer":12,"n_head":12,"n_positions":1024,"vocab_size":50257})"},
      {"gpt2-355M", 0.0127, kTransformers,
       R"({"model_type":"gpt2","n_embd":1024,"n_layer":24,"n_head":16,"n_positions":1024,"vocab_size":50257})"},
      {"gpt2-1.5B", 0.020, kTransformers,
       R"({"model_type":"gpt2","n_embd":1600,"n_layer":48,"n_head":25,"n_positions":1024,"vocab_size":50257})"},
      {"llama-3.2-1B", 0, kTransformers,
       R"({"model_type":"llama","hidden_size":2048,"num_hidden_layers":16,"num_attention_heads":32,
         "num_key_value_heads":8,"head_dim":64,"intermediate_size":8192,"vocab_size":128256,"rope_theta":500000.0,
         "rms_norm_eps":1e-5,"tie_word_embeddings":true})"},
      {"qwen3-0.6B", 0, kTransformers,
       R"({"model_type":"qwen3","hidden_size":1024,"num_hidden_layers":28,"num_attention_heads":16,
         "num_key_value_heads":8,"head_dim":128,"intermediate_size":3072,"vocab_size":151936,"rope_theta":1000000,
         "tie_word_embeddings":true})"},
      {"gemma-2-2b", 0, kGemma2,
       R"({"model_type":"gemma2","hidden_size":2304,"num_hidden_layers":26,"num_attention_heads":8,
         "num_key_value_heads":4,"head_dim":256,"intermediate_size":9216,"vocab_size":256000})"},
      {"olmo-2-1b", 0, kTransformers,
       R"({"model_type":"olmo2","hidden_size":2048,"num_hidden_layers":16,"num_attention_heads":16,
         "num_key_value_heads":16,"intermediate_size":8192,"vocab_size":100352,"rope_theta":500000,
         "rms_norm_eps":1e-6})"},
      // Hybrids. Where the published configuration was not at hand, sizes are those of the class.
      {"qwen3.5-0.8B", 0, kHybrids,
       R"({"model_type":"qwen3_5_text","hidden_size":1024,"num_hidden_layers":24,"num_attention_heads":8,
         "num_key_value_heads":2,"head_dim":256,"intermediate_size":3584,"linear_num_key_heads":16,
         "linear_num_value_heads":16,"linear_key_head_dim":128,"linear_value_head_dim":128,"vocab_size":248320,
         "tie_word_embeddings":true})"},
      {"granite-4-h-micro", 0, kHybrids,
       R"({"model_type":"granitemoehybrid","hidden_size":2048,"num_hidden_layers":40,"num_attention_heads":32,
         "num_key_value_heads":8,"mamba_n_heads":64,"mamba_d_head":64,"mamba_d_state":128,"mamba_n_groups":1,
         "shared_intermediate_size":8192,"num_local_experts":0,"embedding_multiplier":12,"attention_multiplier":0.015625,
         "logits_scaling":8,"residual_multiplier":0.22,"vocab_size":100352,"tie_word_embeddings":true,
         "layer_types":["mamba","mamba","mamba","mamba","mamba","attention","mamba","mamba","mamba","mamba",
           "mamba","mamba","mamba","mamba","mamba","attention","mamba","mamba","mamba","mamba",
           "mamba","mamba","mamba","mamba","mamba","attention","mamba","mamba","mamba","mamba",
           "mamba","mamba","mamba","mamba","mamba","attention","mamba","mamba","mamba","mamba"]})"},
      {"falcon-h1-1.5B", 0, kHybrids,
       R"({"model_type":"falcon_h1","hidden_size":2048,"num_hidden_layers":24,"num_attention_heads":8,
         "num_key_value_heads":2,"head_dim":128,"mamba_d_ssm":3072,"mamba_n_heads":48,"mamba_d_head":64,
         "mamba_d_state":256,"mamba_n_groups":1,"intermediate_size":4096,"vocab_size":65537})"},
      {"rwkv7-0.4B", 0, kRwkv7,
       R"({"model_type":"rwkv7","hidden_size":1024,"head_dim":64,"num_hidden_layers":24,"intermediate_size":4096,
         "decay_low_rank_dim":64,"a_low_rank_dim":64,"v_low_rank_dim":32,"gate_low_rank_dim":128,"vocab_size":65536})"},
      {"mamba-130M", 0.057, kSmallMambas,
       R"({"model_type":"mamba","hidden_size":768,"num_hidden_layers":24,"state_size":16,"vocab_size":50280})"},
      {"mamba-2.8B", 0.150, kMamba2800M,
       R"({"model_type":"mamba","hidden_size":2560,"num_hidden_layers":64,"state_size":16,"vocab_size":50280})"},
      {"falcon-mamba-7b", 0, kFalconMamba7B,
       R"({"model_type":"falcon_mamba","hidden_size":4096,"num_hidden_layers":64,"state_size":16,
         "time_step_rank":256,"vocab_size":65024,"tie_word_embeddings":false})"},
      {"mamba2-130M", 0.022, kSmallMambas,
       R"({"model_type":"mamba2","hidden_size":768,"num_hidden_layers":24,"num_heads":24,"head_dim":64,
         "n_groups":1,"state_size":128,"vocab_size":50288,"tie_word_embeddings":true})"},
      {"mamba2-2.7B", 0.069, kMamba2_2700M,
       R"({"model_type":"mamba2","hidden_size":2560,"num_hidden_layers":64,"num_heads":80,"head_dim":64,
         "n_groups":1,"state_size":128,"vocab_size":50288,"tie_word_embeddings":true})"},
  };
  return shapes;
}

std::vector<std::string> shape_names() {
  std::vector<std::string> names;
  for (const BenchShape& shape : bench_shapes()) names.emplace_back(shape.name);
  return names;
}

const BenchShape& shape_named(const std::string& name, const std::string& program) {
  for (const BenchShape& shape : bench_shapes())
    if (name == shape.name) return shape;
  throw InputError(program, unknown_word("shape", name, shape_names()));
}

Architecture bench_architecture(const BenchShape& shape) {
  return read_architecture(nlohmann::json::parse(shape.config),
                           std::string("bench shape ") + shape.name);
}

}  // namespace factflow
