// The keys of config.json about rotary embeddings, in the spellings of all versions of
// transformers.
#pragma once

#include "model/config_reader.hpp"
#include "model/mixers/attention/rotary.hpp"

namespace factflow {

// Llama, Mistral, Qwen2: whole heads; rope_theta, and rope_scaling (transformers 4) or
// rope_parameters (5). Keys that stand at two places must say the same. `positions`: the class's
// default of max_position_embeddings, which an absent original_max_position_embeddings is.
// `theta`: the class's default.
Rotary read_rotary(ConfigReader& config, int head_size, int positions, double theta = 10000);

// Phi-3: a part of a head may turn, and the original context stands beside the scaling.
Rotary read_phi3_rotary(ConfigReader& config, int head_size, int positions);

// OLMo-3, Gemma-3: a dictionary for each kind of layer, or rope_theta and rope_scaling, which
// belong to the full layers.
struct RotaryByKind {
  Rotary full, sliding;
};
struct RotaryDefaults {
  int positions;
  double full_theta, sliding_theta;
  const char* sliding_key;  // beside the dictionaries; null: there is none, and rope_theta must be
                            // full_theta, since versions of transformers disagree whose it is
};
RotaryByKind read_rotary_by_kind(ConfigReader& config, int head_size,
                                 const RotaryDefaults& defaults);

// GPT-NeoX: rotary_emb_base and rotary_pct beside or inside them.
Rotary read_gpt_neox_rotary(ConfigReader& config, int head_size);

}  // namespace factflow
