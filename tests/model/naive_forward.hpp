// Whole forwards in float64 with every token-mixing matrix materialised: what a knockout means,
// with nothing clever. Shares no code with the engine but the reading of checkpoint files. One
// prompt, one knockout, all tokens, all layers.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "model/checkpoint/checkpoint.hpp"
#include "model/intervention.hpp"

namespace factflow {

class NaiveModel {
 public:
  // How a knockout is done. kCausal: what docs/knockouts.md says. kReference: what the reference
  // implementation's forward does in a window that cuts an edge (docs/paper.md): GPT-2 adds the
  // lowest finite number to masked scores; Llama, Mistral and Qwen2 get a mask that shuts nothing
  // but the cut pairs, so that causality is lost; `slow` and `fast` name the features that KEEP the
  // edge, chosen by sorting.
  enum class Masking { kCausal, kReference };
  explicit NaiveModel(const Checkpoint& checkpoint, Masking masking = Masking::kCausal);
  // Of tensors in any floating-point type, all on one device, which then computes.
  NaiveModel(nlohmann::json config, std::map<std::string, at::Tensor> tensors,
             Masking masking = Masking::kCausal);

  static bool knows(const std::string& family);

  int layers() const { return layers_; }
  // [vocabulary] float64 log-probabilities after the last token. An empty window gives the clean
  // run.
  at::Tensor log_probabilities(const std::vector<int>& ids, const factflow::Block& knockout) const;

 private:
  // Where a layer's knockout bites: [tokens, tokens] true = (target, source) loses the edge on the
  // channels.
  struct Block {
    at::Tensor pairs;
    ChannelSet channels;
  };

  at::Tensor get(const std::string& name) const { return tensors_.at(name).to(at::kDouble); }
  at::Tensor project(const at::Tensor& x,
                     const std::string& name) const;  // x weight^T + bias, if there is a bias
  at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                       const Block& block) const;
  at::Tensor rotated(const at::Tensor& heads) const;
  at::Tensor gpt2_layer(at::Tensor x, int layer, const Block& block) const;
  at::Tensor llama_layer(at::Tensor x, int layer, const Block& block) const;
  at::Tensor gpt_neox_layer(const at::Tensor& x, int layer, const Block& block) const;
  at::Tensor mamba_layer(const at::Tensor& x, int layer, const Block& block) const;
  at::Tensor mamba2_layer(const at::Tensor& x, int layer, const Block& block) const;
  at::Tensor layer_output(const at::Tensor& x, int layer, const Block& block) const;

  // [channels] true = loses the edge.
  at::Tensor losing(const ChannelSet& set, const at::Tensor& a_log) const;

  Masking masking_;
  std::string family_;
  nlohmann::json config_, ssm_;  // ssm_: ssm_cfg of the mamba_ssm library, else config_
  std::map<std::string, at::Tensor> tensors_;
  int layers_ = 0;
  double epsilon_ = 1e-5;
};

}  // namespace factflow
