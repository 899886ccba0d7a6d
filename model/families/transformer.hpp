// The decoder layer that GPT-2, the Llama family and GPT-NeoX share; their files say how it is put
// together.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include <ATen/ATen.h>

#include "model/config_reader.hpp"
#include "model/network.hpp"

namespace factflow {

class Weights;

struct TransformerLayer {
  Norm attention_norm, mlp_norm;
  Projection query_key_value;   // [(heads + 2 key_heads) head_size, hidden]: queries, keys, values
  Projection attention_output;  // [hidden, heads head_size]
  Projection mlp_in;            // [mlp, hidden], or gate above up: [2 mlp, hidden]
  Projection mlp_out;           // [hidden, mlp]
  at::Tensor query_key_value_bias, mlp_in_bias;  // or undefined; in the type of activations
  // Likewise; of the residual stream, see fold_biases.
  at::Tensor attention_output_bias, mlp_out_bias;
};

class Transformer final : public Network {
 public:
  Transformer(const Architecture& architecture, Weights& weights, const std::string& embedding,
              const std::string& head, const std::string& position_embedding, Norm final_norm,
              std::vector<TransformerLayer> layers);

  void layer(Step& step) const override;
  std::int64_t bytes_per_column() const override;
  std::vector<LayerProduct> products(int layer) const override;

 private:
  void attend_to_past(Step& step, const TransformerLayer& layer, const Factor& input) const;
  void feed_forward(Step& step, const TransformerLayer& layer, const Factor& input) const;
  Factor activated(Step& step, const TransformerLayer& layer, const Factor& input) const;
  std::pair<at::Tensor, at::Tensor> rotary_tables(std::int32_t positions) const;

  std::vector<TransformerLayer> layers_;
  mutable std::mutex mutex_;          // guards the tables, which grow with the longest prompt seen
  mutable at::Tensor cosine_, sine_;  // [positions, rotated / 2]
};

// Inverse frequencies, [ceil(dimensions / 2)], scaled as the checkpoint asks. Llama-3's rule:
// Llama 3.1 model card and transformers' modeling_rope_utils.
std::vector<double> inverse_frequencies(const Rotary& rotary);

// The rope_theta / rope_scaling / rope_parameters keys of all versions of transformers. `share`:
// rotated part of a head.
Rotary read_rotary(ConfigReader& config, int head_size, double share);

kernels::Activation read_activation(ConfigReader& config, const std::string& key,
                                    const std::string& fallback);

}  // namespace factflow
