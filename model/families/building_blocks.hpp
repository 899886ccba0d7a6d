// What families of several kinds of mixers are made of: the tensors of each kind under the names
// that transformers gives them almost everywhere, as entries of a table and as mixers with weights.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "model/families/decoder.hpp"
#include "model/mixers/attention/attention.hpp"
#include "model/mixers/gated_delta/gated_delta.hpp"
#include "model/mixers/mamba/mamba.hpp"
#include "model/mixers/mamba2/mamba2.hpp"
#include "model/mixers/mixture/mixture.hpp"
#include "model/mixers/mlp/mlp.hpp"
#include "model/network.hpp"
#include "model/tensor_table.hpp"

namespace factflow {

class Weights;

// Names of the matrices of attention and of a gated MLP.
struct AttentionNames {
  const char* query = "q_proj";
  const char* key = "k_proj";
  const char* value = "v_proj";
  const char* output = "o_proj";
  const char* query_norm = "q_norm";
  const char* key_norm = "k_norm";
};
struct MlpNames {
  const char* gate = "gate_proj";  // not of a plain MLP
  const char* up = "up_proj";
  const char* down = "down_proj";
};
// Likewise of a mixture; experts in files one by one are `experts` + "N." + MlpNames.
struct MixtureNames {
  const char* router = "gate";
  const char* experts = "experts.";
  MlpNames matrices = {};
  const char* shared = "shared_experts.";
  const char* shared_gate = "shared_expert_gate";
  const char* choice = "gate.e_score_correction_bias";
};

// Where the mixers of a layer are, behind the layer's own prefix, and the norms in front of them in
// the order of the blocks.
struct LayerNames {
  std::string embedding = "model.embed_tokens.weight";
  std::string layers = "model.layers.";
  std::string final_norm = "model.final_layernorm";
  std::vector<std::string> norms = {"input_layernorm", "pre_ff_layernorm"};
  std::string attention = "self_attn.";
  AttentionNames matrices = {};
  std::string recurrent = "mamba.";
  std::string mlp = "feed_forward.";
  MlpNames mlp_matrices = {};
  MixtureNames mixture = {};
  bool one_plus =
      false;  // norms of the stream, and of queries and keys, store w and multiply by 1 + w
};

// Adds entries to a table. `prefix` ends in a dot.
class TableBuilder {
 public:
  TableBuilder(TensorTable& table, std::int64_t hidden) : table_(table), hidden_(hidden) {}

  void norm(const std::string& name) { tensor(name + ".weight", {hidden_}); }
  void tensor(const std::string& name, std::vector<std::int64_t> shape) {
    table_.entries.push_back({name, std::move(shape)});
  }
  void matrix(const std::string& name, std::int64_t out, std::int64_t in, bool bias = false);
  // `inputs`: of queries, keys and values; 0 = the stream's width.
  void attention(const std::string& prefix, const AttentionShape& shape,
                 const AttentionNames& names = {}, std::int64_t inputs = 0);
  void mlp(const std::string& prefix, const MlpShape& shape, const MlpNames& names = {});
  void mamba(const std::string& prefix, const MambaShape& shape);
  void mamba2(const std::string& prefix, const Mamba2Shape& shape);
  // With experts one by one, as files have them.
  void mixture(const std::string& prefix, const MixtureShape& shape,
               const MixtureNames& names = {});
  void head_norms(const std::string& prefix, const AttentionShape& shape,
                  const AttentionNames& names);
  // A_log, dt_bias and the norm of a gated delta rule; its projections have names of their own.
  void delta(const std::string& prefix, const GatedDeltaShape& shape, const std::string& norm,
             const std::string& output);
  // Whatever it is. `layer`: the layer's prefix.
  void mixer(const std::string& layer, const MixerShape& shape, const LayerNames& names);

 private:
  TensorTable& table_;
  std::int64_t hidden_;
};

// Makes mixers of what Weights hold under the same names. Factors that stand in front of or behind
// a projection in the configuration (Falcon-H1's) are put into it, so it is not the checkpoint's.
class BlockLoader {
 public:
  // `one_plus`: as LayerNames.
  BlockLoader(Weights& weights, double epsilon, bool one_plus = false)
      : weights_(weights), epsilon_(epsilon), one_plus_(one_plus), rotations_(weights) {}

  Norm norm(const std::string& name);
  OutputProjection output(const std::string& name);
  std::unique_ptr<Mixer> attention(const std::string& prefix, const AttentionShape& shape,
                                   const AttentionNames& names = {});
  std::unique_ptr<Mixer> mlp(const std::string& prefix, const MlpShape& shape,
                             const MlpNames& names = {});
  std::unique_ptr<Mixer> mamba(const std::string& prefix, const MambaShape& shape);
  // `epsilon`: of the gated norm.
  std::unique_ptr<Mixer> mamba2(const std::string& prefix, const Mamba2Shape& shape,
                                double epsilon);
  std::unique_ptr<Mixer> mixture(const std::string& prefix, const MixtureShape& shape,
                                 const MixtureNames& names = {});
  // `in` [shape.projected(), hidden] in the order of the mixer; taps [conv channels, 1, kernel].
  std::unique_ptr<Mixer> delta(const std::string& prefix, const GatedDeltaShape& shape,
                               const std::string& norm, double norm_epsilon,
                               const std::string& output, const at::Tensor& in,
                               const at::Tensor& taps);
  std::unique_ptr<Mixer> mixer(const std::string& layer, const MixerShape& shape,
                               const LayerNames& names);

 private:
  Expert expert(const std::string& prefix, bool gated, const MlpNames& names);

  Weights& weights_;
  double epsilon_;
  bool one_plus_;
  RotationCache rotations_;
};

// Mixers whose tensors have names of the family's own. Both are asked about every mixer; `layer`:
// the layer's prefix. Whether its tensors were added, and the mixer or null.
using OwnTensors =
    std::function<bool(TableBuilder& builder, const std::string& layer, const MixerShape& shape)>;
using OwnMixer = std::function<std::unique_ptr<Mixer>(BlockLoader& loader, const std::string& layer,
                                                      const MixerShape& shape)>;

// All of an architecture whose layers are blocks one after the other, each behind a norm of its
// own.
TensorTable tensors_in_turn(const Architecture& architecture, const LayerNames& names,
                            const OwnTensors& own = {});
NetworkParts parts_in_turn(const Architecture& architecture, Weights& weights,
                           const LayerNames& names, const OwnMixer& own = {});

}  // namespace factflow
