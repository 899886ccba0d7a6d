// Rotary position embeddings (Su et al. 2021), with the scalings of Llama's long contexts.
#pragma once

#include <vector>

namespace factflow {

// Inverse frequencies are theta^(-2i / dimensions), then scaled.
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

// [ceil(dimensions / 2)], scaled as the checkpoint asks. Llama-3's rule: Llama 3.1 model card and
// transformers' modeling_rope_utils.
std::vector<double> inverse_frequencies(const Rotary& rotary);

}  // namespace factflow
