// Zamba2's shared block: attention and an MLP one behind the other, without residuals, whose
// weights several layers have in common.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/mixers/attention/attention.hpp"
#include "model/mixers/mixer.hpp"
#include "model/mixers/mixer_roles.hpp"
#include "model/mixers/mlp/mlp.hpp"

namespace factflow {

// mlp(norm attention(norm (stream | embedding))), which joins the input of the layer's other mixer
// through a projection of the layer's own. Its edges are the attention's, in this layer alone.
struct SharedBlockShape final : MixerShape, Carries, FeedsNext {
  int hidden = 0;
  AttentionShape attention;  // of inputs twice as wide as the stream
  MlpShape mlp;
  int block = 0;  // which weights it has
  int use = 0;    // which adapters: the how manyth shared block of the model it is
  int adapter_rank = 0;
  bool attention_adapters = false;  // of queries, keys and values too

  std::string name() const override { return "shared_block"; }
  std::string in_words() const override;
  Path path() const override { return Path::kAttention; }
  std::string edges_in_words() const override { return attention.edges_in_words(); }
  int reach() const override { return attention.reach(); }
  std::vector<ColumnBuffer> buffers(Precision precision) const override;
  void check_cuda(const CudaLimits& limits, const std::string& model) const override {
    attention.check_cuda(limits, model);
  }
  // o: what joins the other mixer's input.
  std::vector<Site> sites() const override {
    return {Site::kS, Site::kMlpIn, Site::kMlpHidden, Site::kO};
  }
  std::int64_t site_width(Site site) const override;
  void check_block(const Block& blocked) const override { attention.check_block(blocked); }
};

struct SharedBlockWeights {
  Norm norm, mlp_norm;         // of [2 hidden] and [hidden]
  AttentionWeights attention;  // query_key_value [.., 2 hidden]; with this use's adapters
  MlpWeights mlp;              // likewise
  OutputProjection output;     // [hidden, hidden]: the layer's own
};

class SharedBlock final : public Mixer {
 public:
  SharedBlock(const SharedBlockShape& shape, SharedBlockWeights weights);

  const SharedBlockShape& shape() const override { return shape_; }
  Factor mix(Step& step, const Factor& input) const override;
  at::Tensor reference_mix(ReferencePass& pass, int layer, const at::Tensor& x) const override;
  std::vector<LayerProduct> products() const override;
  at::Tensor losing_state(const Block& block, at::Device device) const override {
    return attention_.losing_state(block, device);
  }

 private:
  SharedBlockShape shape_;
  Norm norm_, mlp_norm_;
  AttentionMixer attention_;
  Mlp mlp_;
};

}  // namespace factflow
