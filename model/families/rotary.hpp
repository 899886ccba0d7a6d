// The keys of config.json about rotary embeddings, in the spellings of all versions of
// transformers.
#pragma once

#include "model/config_reader.hpp"
#include "model/mixers/attention/rotary.hpp"

namespace factflow {

// Llama, Mistral, Qwen2: whole heads; rope_theta, and rope_scaling (transformers 4) or
// rope_parameters (5). Keys that stand at two places must say the same. `positions`: the class's
// default of max_position_embeddings, which an absent original_max_position_embeddings is.
Rotary read_rotary(ConfigReader& config, int head_size, int positions);

// GPT-NeoX: rotary_emb_base and rotary_pct beside or inside them.
Rotary read_gpt_neox_rotary(ConfigReader& config, int head_size);

}  // namespace factflow
