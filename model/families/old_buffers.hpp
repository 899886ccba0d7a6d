// Buffers that early versions of transformers saved beside the weights, and that no version reads
// any more. One that says something else than what is computed belongs to another model.
#pragma once

#include <string>

#include "model/mixers/attention/rotary.hpp"
#include "model/tensor_table.hpp"

namespace factflow {

// What attention saved in each layer: `bias` [1, 1, n, n], true where a token may look, and
// `masked_bias` [], the score of the places where it may not.
void add_causal_masks(TensorTable& table, const std::string& attention);  // "h.0.attn."

// `rotary_emb.inv_freq` [frequencies], scaled or, where linear scaling divided the positions
// instead, not; up to the rounding of its type and of float16, in which models were kept before.
void add_inverse_frequencies(TensorTable& table, const std::string& parent, const Rotary& rotary);

}  // namespace factflow
