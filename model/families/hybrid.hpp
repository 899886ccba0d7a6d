// What the configurations of hybrids share: kinds of layers under their old and new names,
// attention whose keys have defaults of the family, and the Mamba-2 block that five of them have.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "model/architecture.hpp"
#include "model/config_reader.hpp"
#include "model/mixers/attention/attention_shape.hpp"
#include "model/mixers/mamba2/mamba2_shape.hpp"
#include "model/mixers/mlp/mlp_shape.hpp"

namespace factflow {

enum class LayerKind { kAttention, kRecurrent, kMlp, kExperts };

// The kind of each layer by the list under `key`, whose words are "attention" or "full_attention",
// "mamba" or "linear_attention", "mlp", "moe". Nullopt: the key is absent or null. `layers`: how
// many there must be; 0 = any number.
std::optional<std::vector<LayerKind>> read_layer_kinds(ConfigReader& config, const std::string& key,
                                                       int layers);

// hidden_size, num_hidden_layers, vocab_size, rms_norm_eps and tie_word_embeddings.
struct StreamDefaults {
  int hidden = 4096, layers = 32, vocabulary = 32000;
  double epsilon = 1e-5;
  bool tied = false;
};
Architecture read_stream(ConfigReader& config, const StreamDefaults& defaults);

// num_attention_heads, num_key_value_heads (`key_heads`; 0: as many as heads) and head_dim
// (`head_size`; 0: hidden / heads), and the usual scale of scores.
struct AttentionDefaults {
  int heads = 32, key_heads = 8, head_size = 0;
  bool null_key_heads = false;  // null is as many as heads, not an error
  bool null_head_size = false;  // null is as good as absence, not an error
};
AttentionShape read_attention(ConfigReader& config, int hidden, const AttentionDefaults& defaults);

// rope_theta and partial_rotary_factor inside rope_parameters or rope_scaling, or at the top level,
// or at both with one value. Other rope types than default are refused.
// `share`: of a head that is rotated; nullopt: the family rotates all of it and knows no other.
Rotary read_plain_rotary(ConfigReader& config, int head_size, double theta,
                         std::optional<double> share = {});
// The same keys where nothing turns: they are not read.
void ignore_rotary(ConfigReader& config);

// mamba_n_heads, mamba_d_head, mamba_d_state, mamba_n_groups, mamba_d_conv, mamba_conv_bias,
// mamba_proj_bias and time_step_limit (Granite-4, Bamba, Falcon-H1), for so many inner channels.
Mamba2Shape read_mamba2_block(ConfigReader& config, int inner);
// Heads, groups and limits of dt that fit one another.
void check_mamba2(ConfigReader& config, const std::string& key, const Mamba2Shape& shape);
// Two numbers, or null.
void read_time_step_limit(ConfigReader& config, const std::string& key, Mamba2Shape& shape);

// hidden_act or the like, which must say silu.
void expect_silu(ConfigReader& config, const std::string& key);

}  // namespace factflow
