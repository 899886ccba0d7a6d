// A mixture of experts in place of the MLP: a router sends each token to a few of several MLPs,
// whose outputs are summed by its weights.
#pragma once

#include <cstdint>

#include "model/kernels/kernels.hpp"
#include "model/mixers/mixer_shape.hpp"

namespace factflow {

// Which experts a token goes to, and what each weighs.
struct Routing {
  enum class Weights {
    kShares,  // the best of a softmax over all experts (Mixtral, Qwen3-MoE, Jamba)
    kChosen,  // a softmax over the best alone (Granite)
    kScores   // sigmoids; the best of them plus a bias that the weights do not have (Nemotron-H)
  } weights = Weights::kShares;
  int experts = 0;
  int chosen = 0;           // of them, for each token
  bool normalised = false;  // the weights are divided by their sum
  double scale = 1;         // of the weights
  // Of so many groups of experts only the best few can be chosen from; a group is as good as its
  // two best experts together. 1: no groups.
  int groups = 1, chosen_groups = 1;
};

struct MixtureShape final : MixerShape {
  Routing routing;
  int hidden = 0;        // width of the stream
  int inner = 0;         // of an expert
  bool gated = true;     // down(act(gate x) * up x), else down(act(up x))
  bool squared = false;  // act(x) x in place of act(x): squared ReLU
  kernels::Activation activation = kernels::Activation::kSilu;
  int latent = 0;        // width that experts work on, between two projections; 0 = the stream's
  int shared_inner = 0;  // of an expert that every token goes to as well; 0 = none
  bool shared_gate = false;  // its output is weighted by a sigmoid of the token's own

  std::string name() const override { return "mixture"; }
  std::string in_words() const override;
  std::string edges_in_words() const override { return ""; }
  bool mixes_tokens() const override { return false; }
  bool routes() const override { return true; }
  std::vector<ColumnBuffer> buffers(Precision precision) const override;
  // What single experts compute is no value of a token, so there is no mlp_hidden.
  std::vector<Site> sites() const override { return {Site::kMlpIn, Site::kMlp}; }
  void check_block(const Block& block) const override;
};

}  // namespace factflow
