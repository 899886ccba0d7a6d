// A loaded model: embedding in, one layer after the other, logits out. Knows columns, not prompts.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "model/architecture.hpp"
#include "model/checkpoint/checkpoint.hpp"
#include "model/intervention.hpp"
#include "model/knockout.hpp"
#include "model/mixers/mixer.hpp"
#include "model/ops.hpp"
#include "model/precision.hpp"

namespace factflow {

class ReferencePass;
class Weights;

// A block with its weights; how it joins the stream, and which norms it has, stands in its
// BlockShape.
struct NetworkBlock {
  Norm norm;  // identity: the mixer reads the stream itself (OLMo-2)
  std::unique_ptr<const Mixer> mixer;
  Norm norm_behind = {}, norm_of_stream = {};
};

// A matrix of a layer that an edit may change, and what stands around it.
struct LayerMatrix {
  EditableMatrix matrix;
  // Of its block: what makes the input of a matrix without a key's site.
  const Norm* norm = nullptr;
};

// What a family makes of a checkpoint.
struct NetworkParts {
  std::string embedding, head;     // names of tensors; the head's is not read if it is tied
  std::string position_embedding;  // likewise; empty = none
  Norm final_norm;
  std::vector<std::vector<NetworkBlock>> layers = {};  // as Architecture::blocks
  int first_position = 0;  // row of the position embedding that token 0 has (OPT: 2)
  // Names of tensors, or empty: [vocabulary]; [hidden, embedding_width]; [embedding_width, hidden].
  std::string head_bias = {}, project_in = {}, project_out = {};
  // Of the embedding's rows, before they are anything's input; put into them (RWKV).
  std::optional<Norm> embedding_norm = {};
};

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

  Network(Architecture architecture, Weights& weights, NetworkParts parts);
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
  // Adds to step.hidden what the layer's blocks give.
  void layer(Step& step) const;
  // The final norm of hidden states [rows, hidden], in a buffer of the workspace.
  Factor final_states(const kernels::Rows& rows, const at::Tensor& hidden,
                      Workspace& workspace) const;
  // The head's outputs [rows, vocabulary] for some of them, of head_type, in a buffer of the
  // workspace: the logits before logit_scaling(). Rows start at multiples of eight numbers,
  // whatever the vocabulary: wide loads, and faster products.
  at::Tensor logits(const Factor& states, Workspace& workspace) const;
  LogitScaling logit_scaling() const;
  // What it makes of them, as plain operations.
  at::Tensor scaled_logits(const at::Tensor& logits) const;

  // Per block of the layer, on the network's device.
  std::vector<BlockMasks> masks(int layer, const std::vector<StateSelection>& selections,
                                const std::vector<TapSelection>& tap_selections) const;
  // What the stream that enters a layer lacks of the true one, [hidden]; at layer L the stream
  // before the final norm. Undefined: nothing.
  at::Tensor stream_offset(int layer) const;
  // Of all mixers of the layer, one after the other; see Mixer::decay_norms.
  std::vector<double> decay_norms(int layer) const;

  // Throws std::invalid_argument, with what there is, for a layer or a matrix that is not there.
  LayerMatrix editable(int layer, EditedMatrix name) const;

  // The products with every column of a layer, in order. For cost models and benchmarks.
  std::vector<LayerProduct> products(int layer) const;
  const Projection& head() const { return head_; }

  // For the reference forward (model/reference/), in wide numbers: what enters layer 0, [tokens,
  // hidden]; the stream after a layer; the final norm; logits [rows, vocabulary] of its outputs.
  at::Tensor embedded(const std::vector<int>& ids) const;
  at::Tensor reference_layer(ReferencePass& pass, int layer, const at::Tensor& h) const;
  const Norm& final_norm() const { return final_norm_; }
  at::Tensor reference_logits(const at::Tensor& states) const;

 private:
  static std::unique_ptr<Network> build(const Architecture& architecture, Weights& weights);
  void load_embedding(Weights& weights, const NetworkParts& parts);
  void check_folding() const;  // throws std::logic_error
  void fold_biases();
  Factor input_of(Step& step, const at::Tensor& stream, const Norm& norm,
                  const std::string& buffer) const;
  at::Tensor fed_to_next(Step& step, const NetworkBlock& block, const Factor& mixed) const;
  void add_output(Step& step, const BlockShape& shape, const NetworkBlock& block,
                  const Factor& mixed) const;

  Architecture architecture_;
  at::Tensor embedding_;           // [vocabulary, hidden]
  at::Tensor position_embedding_;  // [positions, hidden] or undefined
  Projection head_;                // [vocabulary, hidden], on a GPU padded with rows of zeros
  at::Tensor head_bias_;           // of the head's rows, in head_type, or undefined
  Norm final_norm_;
  std::vector<std::vector<NetworkBlock>> layers_;
  std::int64_t parameters_ = 0;
};

// The channels of a set by rank of `norms`, largest first, ties in channel order. True = loses the
// edge.
std::vector<bool> channels_of(const ChannelSet& set, const std::vector<double>& norms);
// Whether a set of a model with `channels` channels is empty (and so blocks nothing).
bool is_empty(const ChannelSet& set, int channels);

}  // namespace factflow
