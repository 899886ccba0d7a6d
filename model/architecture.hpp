// What a config.json says about a model: family and shapes. No weights, no devices.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include "model/checkpoint_choices.hpp"
#include "model/kernels/kernels.hpp"

namespace factflow {

// Rotary position embeddings: inverse frequencies are theta^(-2i / rotary), then scaled.
struct Rotary {
  int dimensions = 0;  // rotated dimensions of a head; 0 = none
  double theta = 10000;
  enum class Scaling { kNone, kLinear, kLlama3 } scaling = Scaling::kNone;
  double factor = 1;                     // kLinear, kLlama3
  double low_frequency_factor = 1;       // kLlama3
  double high_frequency_factor = 4;      // kLlama3
  double original_max_positions = 8192;  // kLlama3
  bool operator==(const Rotary&) const = default;
};

// Decoder-only transformers: GPT-2, Llama, Mistral, Qwen2, GPT-NeoX.
struct TransformerShape {
  int heads = 0;
  int key_heads = 0;  // grouped-query attention; == heads without
  int head_size = 0;
  int mlp_size = 0;
  Rotary rotary;
  int learned_positions = 0;       // rows of the position embedding; 0 = none
  bool gated_mlp = false;          // down(act(gate x) * up x), else down(act(up x))
  bool layer_norm = false;         // LayerNorm with bias, else RMSNorm
  bool parallel_residual = false;  // x + attention(norm1 x) + mlp(norm2 x)
  // Attention scores divided by layer + 1 as well (GPT-2 option).
  bool scale_by_layer = false;
  bool query_key_value_bias = false;
  bool attention_output_bias = false;
  bool mlp_bias = false;
  kernels::Activation activation = kernels::Activation::kSilu;
  std::vector<std::int32_t> sliding_windows;  // per layer; 0 = the whole past
};

// Mamba-1 and Falcon-Mamba.
struct MambaShape {
  int inner = 0;    // channels of the scan
  int states = 16;  // states per channel
  int time_step_rank = 0;
  int conv_kernel = 4;
  bool bias = false;
  bool conv_bias = true;
  bool normalise_parameters = false;  // weightless RMS norm on dt, B and C (Falcon-Mamba)
  double parameter_epsilon = 1e-6;
};

struct Mamba2Shape {
  int inner = 0;  // heads * head_size
  int heads = 0, head_size = 0, groups = 1, states = 128;
  // D_mlp: channels of the gated MLP inside in_proj (mamba_ssm with d_ssm < d_inner).
  int mlp_size = 0;
  int conv_kernel = 4;
  bool bias = false;
  bool conv_bias = true;
  bool gated_norm = true;
  bool norm_before_gate = false;
  int norm_group = 0;  // channels normalised together
  double dt_min = 0;
  double dt_max = std::numeric_limits<double>::infinity();
};

struct Architecture {
  std::string family;      // gpt2, llama, mistral, qwen2, gpt_neox, mamba, falcon_mamba, mamba2
  bool mamba_ssm = false;  // tensors carry the mamba_ssm library's names
  int layers = 0;
  int hidden = 0;
  int vocabulary = 0;  // rows of the embedding, padding included
  double norm_epsilon = 1e-5;
  bool tied_head = true;           // the head is the input embedding
  bool head_chosen = false;        // by the user, against the files if need be
  std::int64_t max_positions = 0;  // 0 = no limit
  // Sizes that config.json leaves to its class's defaults: "hidden_size (4096)".
  std::vector<std::string> assumed;
  std::variant<TransformerShape, MambaShape, Mamba2Shape> shape;

  const TransformerShape& transformer() const { return std::get<TransformerShape>(shape); }
  const MambaShape& mamba() const { return std::get<MambaShape>(shape); }
  const Mamba2Shape& mamba2() const { return std::get<Mamba2Shape>(shape); }
  bool is_state_space() const { return !std::holds_alternative<TransformerShape>(shape); }
  // What channel sets choose among: channels (Mamba-1), heads (Mamba-2), 0 for transformers.
  int channels() const;
  // How tokens are mixed: "mamba", "mamba2" or "attention".
  std::string mixing() const;
};

// Throws InputError naming `file` and the key for a family that is not known, a missing or
// misshapen value, every key that could change the mathematics and is not supported, and a choice
// that the model does not have.
Architecture read_architecture(const nlohmann::json& config, const std::filesystem::path& file,
                               const CheckpointChoices& choices = {});

}  // namespace factflow
