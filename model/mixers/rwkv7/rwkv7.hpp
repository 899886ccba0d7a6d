#pragma once

#include <functional>
#include <vector>

#include "model/mixers/mixer.hpp"
#include "model/mixers/rwkv7/rwkv7_shape.hpp"

namespace factflow {

// up(activation(down(x))) + bias.
struct LowRank {
  Projection down, up;   // [rank, hidden], [hidden, rank]
  at::Tensor bias = {};  // [hidden], or undefined
};

struct Rwkv7Weights {
  at::Tensor mix;                     // [6, hidden]: of r, w, k, v, a and g with the token before
  Projection receptance, key, value;  // [hidden, hidden]
  LowRank decay, rate, gate;
  LowRank first_share = {};  // of the first layer's values; undefined in that layer
  at::Tensor removal;        // [hidden] k_k: keys as they erase
  at::Tensor key_rate;       // [hidden] k_a: how the rate of erasure acts on keys as they write
  at::Tensor bonus;          // [heads, head size] r_k
  Norm norm;                 // of each head's output: weight and bias [hidden]
  OutputProjection output;   // [hidden, hidden]
};

// What time mixing takes of some tokens, wide, [.., heads, head size].
struct Rwkv7Tokens {
  at::Tensor receptance, decay, keys, values;
  at::Tensor erased, erasing;  // kk, and a kk
  at::Tensor gate;             // [.., hidden]
};

// The recurrence is a kernel; what stands around it is computed by libtorch operations.
class Rwkv7 final : public Mixer {
 public:
  Rwkv7(const Rwkv7Shape& shape, Rwkv7Weights weights);

  const Rwkv7Shape& shape() const override { return shape_; }
  Factor mix(Step& step, const Factor& input) const override;
  at::Tensor reference_mix(ReferencePass& pass, int layer, const at::Tensor& x) const override;
  std::vector<LayerProduct> products() const override;
  std::vector<EditableMatrix> editable() const override {
    return {whole_output(EditedMatrix::kWo, Site::kY, Site::kO)};
  }
  at::Tensor losing_state(const Block& block, at::Device device) const override;

 private:
  using Product = std::function<at::Tensor(const at::Tensor& x, const Projection& matrix)>;
  // x, before [.., hidden]; first [.., hidden]: the first layer's values, undefined in that layer.
  Rwkv7Tokens tokens(const at::Tensor& x, const at::Tensor& before, const at::Tensor& first,
                     const Product& product) const;
  // [columns, hidden] o of all heads, without the edges that columns lose.
  at::Tensor mixed_tokens(Step& step, const Rwkv7Tokens& of) const;
  // [.., hidden] what the output projection multiplies: norm of each head, bonus and gate.
  at::Tensor gated(const at::Tensor& s, const Rwkv7Tokens& of, const at::Tensor& g) const;

  Rwkv7Shape shape_;
  Rwkv7Weights weights_;  // but the output's
};

}  // namespace factflow
