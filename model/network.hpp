// A loaded model: embedding in, one layer after the other, logits out. Knows columns, not prompts.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "model/architecture.hpp"
#include "model/checkpoint/checkpoint.hpp"
#include "model/intervention.hpp"
#include "model/knockout.hpp"
#include "model/ops.hpp"
#include "model/precision.hpp"

namespace factflow {

class ReferencePass;
class Weights;

class Network {
 public:
  // Throws InputError for whatever is wrong with the checkpoint, RunError if the device has too
  // little memory.
  static std::unique_ptr<Network> load(std::shared_ptr<const Checkpoint> checkpoint,
                                       at::Device device, Precision precision,
                                       const CheckpointChoices& choices = {});
  // The same architecture with random weights, for benchmarks.
  static std::unique_ptr<Network> random(const Architecture& architecture, at::Device device,
                                         Precision precision, std::uint64_t seed);

  virtual ~Network() = default;
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  const Architecture& architecture() const { return architecture_; }
  at::Device device() const { return embedding_.device(); }
  at::ScalarType type() const {
    return embedding_.scalar_type();
  }  // of wide numbers (model/precision.hpp)
  Precision precision() const { return head_.precision(); }
  std::int64_t parameters() const { return parameters_; }

  // hidden [columns, hidden] = what enters layer 0. tokens int32 [columns]; positions are those of
  // `rows`.
  void embed(const kernels::Rows& rows, const at::Tensor& tokens, const at::Tensor& positions,
             at::Tensor hidden) const;
  // step.hidden += the layer's output.
  virtual void layer(Step& step) const = 0;
  // The final norm of hidden states [rows, hidden], in a buffer of the workspace.
  Factor final_states(const kernels::Rows& rows, const at::Tensor& hidden,
                      Workspace& workspace) const;
  // logits [rows, vocabulary] of some of them, of head_type, in a buffer of the workspace. Rows
  // start at multiples of eight numbers, whatever the vocabulary: wide loads, and faster products.
  at::Tensor logits(const Factor& states, Workspace& workspace) const;

  // [sets, channels] uint8 on the network's device: 1 where the set loses the edge in this layer.
  // State-space models only.
  at::Tensor channel_masks(int layer, const std::vector<ChannelSet>& sets) const;
  // L1 norm of exp(-exp(A_log)) per channel (Mamba-1) or head (Mamba-2) of a layer, in float64;
  // section 3.3 of the paper.
  virtual std::vector<double> decay_norms(int layer) const;

  // Bytes of activations and factors that a layer needs for one column, and of one state slot, for
  // planning.
  virtual std::int64_t bytes_per_column() const = 0;
  virtual std::int64_t bytes_per_state() const { return 0; }
  // The products with every column of a layer, in order. For cost models and benchmarks.
  virtual std::vector<LayerProduct> products(int layer) const = 0;
  const Projection& head() const { return head_; }

  // Where values can be read and written, in the order of the computation.
  virtual std::vector<Site> sites() const = 0;
  // Throws std::invalid_argument if the model has no such edges (targets, sources and layers
  // aside).
  virtual void check_block(const Block& block) const = 0;
  // For the reference forward (model/reference/), in wide numbers: what enters layer 0, [tokens,
  // hidden]; the stream after a layer; the final norm; logits [rows, vocabulary] of its outputs.
  at::Tensor embedded(const std::vector<int>& ids) const;
  virtual at::Tensor reference_layer(ReferencePass& pass, int layer, const at::Tensor& h) const = 0;
  const Norm& final_norm() const { return final_norm_; }
  at::Tensor reference_logits(const at::Tensor& states) const;

 protected:
  Network(Architecture architecture, Weights& weights, const std::string& embedding,
          const std::string& head, const std::string& position_embedding, Norm final_norm);

  Architecture architecture_;

 private:
  static std::unique_ptr<Network> build(const Architecture& architecture, Weights& weights);

  at::Tensor embedding_;           // [vocabulary, hidden]
  at::Tensor position_embedding_;  // [positions, hidden] or undefined
  Projection head_;                // [vocabulary, hidden], on a GPU padded with rows of zeros
  Norm final_norm_;
  std::int64_t parameters_ = 0;
};

// The channels of a set by rank of `norms`, largest first, ties in channel order. True = loses the
// edge.
std::vector<bool> channels_of(const ChannelSet& set, const std::vector<double>& norms);
// Whether a set of a model with `channels` channels is empty (and so blocks nothing).
bool is_empty(const ChannelSet& set, int channels);

}  // namespace factflow
