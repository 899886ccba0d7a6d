// Rotary position embeddings (Su et al. 2021), with the scalings of Llama's long contexts.
#pragma once

#include <cstdint>
#include <vector>

namespace factflow {

// Inverse frequencies are theta^(-2i / dimensions), then scaled.
struct Rotary {
  int dimensions = 0;  // rotated dimensions of a head; 0 = none
  double theta = 10000;
  enum class Scaling { kNone, kLinear, kLlama3, kYarn, kLongrope } scaling = Scaling::kNone;
  double factor = 1;                     // kLinear, kLlama3, kYarn
  double low_frequency_factor = 1;       // kLlama3
  double high_frequency_factor = 4;      // kLlama3
  double original_max_positions = 8192;  // kLlama3, kYarn, kLongrope
  double fast_turns = 32;                // kYarn's beta_fast
  double slow_turns = 1;                 // kYarn's beta_slow
  bool whole_dimensions = true;          // kYarn: where the ramp begins and ends is rounded
  double magnitude = 1;                  // of cosines and sines: kYarn, kLongrope
  // kLongrope: what divides each frequency in prompts of up to original_max_positions tokens, and
  // in longer ones.
  std::vector<double> short_factors = {}, long_factors = {};
  bool operator==(const Rotary&) const = default;
};

// [ceil(dimensions / 2)], scaled as the checkpoint asks, for a prompt of so many tokens (kLongrope
// alone asks). Llama-3's rule: Llama 3.1 model card and transformers' modeling_rope_utils; YaRN:
// Peng et al. 2023, section 3.2; LongRoPE: Ding et al. 2024.
std::vector<double> inverse_frequencies(const Rotary& rotary, std::int64_t tokens = 1);

}  // namespace factflow
