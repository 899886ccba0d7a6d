// The decoder layer that GPT-2, the Llama family and GPT-NeoX share; their files say how it is put
// together.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
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

// Cosines and sines by position, which grow with the longest prompt seen. None that was handed out
// is freed before the model: another stream's kernels may still read it.
class RotaryTables {
 public:
  // `options`: the tables' type and device.
  RotaryTables(std::vector<double> inverse_frequencies, at::TensorOptions options)
      : frequencies_(std::move(inverse_frequencies)), options_(options) {}

  // Cosine and sine, [at least `positions`, frequencies]. Safe for several threads; complete on the
  // device.
  std::pair<at::Tensor, at::Tensor> up_to(std::int32_t positions);

 private:
  at::Tensor angles(std::int64_t positions) const;

  std::vector<double> frequencies_;
  at::TensorOptions options_;
  std::mutex mutex_;
  // Each at least twice as long as the one before, so all take at most twice the last one's memory.
  std::vector<std::pair<at::Tensor, at::Tensor>> tables_;
};

class Transformer final : public Network {
 public:
  Transformer(const Architecture& architecture, Weights& weights, const std::string& embedding,
              const std::string& head, const std::string& position_embedding, Norm final_norm,
              std::vector<TransformerLayer> layers);

  void layer(Step& step) const override;
  std::int64_t bytes_per_column() const override;
  std::vector<LayerProduct> products(int layer) const override;

  std::vector<Site> sites() const override;
  void check_block(const Block& block) const override;
  at::Tensor reference_layer(ReferencePass& pass, int layer, const at::Tensor& h) const override;

 private:
  void attend_to_past(Step& step, const TransformerLayer& layer, const Factor& input) const;
  void feed_forward(Step& step, const TransformerLayer& layer, const Factor& input) const;
  Factor activated(Step& step, const TransformerLayer& layer, const Factor& input) const;

  std::vector<TransformerLayer> layers_;
  mutable RotaryTables rotary_tables_;
};

// Inverse frequencies, [ceil(dimensions / 2)], scaled as the checkpoint asks. Llama-3's rule:
// Llama 3.1 model card and transformers' modeling_rope_utils.
std::vector<double> inverse_frequencies(const Rotary& rotary);

kernels::Activation read_activation(ConfigReader& config, const std::string& key,
                                    const std::string& fallback);

}  // namespace factflow
