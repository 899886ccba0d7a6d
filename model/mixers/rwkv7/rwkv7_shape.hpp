// RWKV-7's time mixing (Peng et al. 2025, "Goose"): a delta rule with a decay for each key channel,
// between two token shifts.
#pragma once

#include <cstdint>

#include "model/mixers/mixer_roles.hpp"
#include "model/mixers/mixer_shape.hpp"

namespace factflow {

// S <- S (diag(w) - kk (a * kk)^T) + v k^T and o = S r, for each head, S [values, keys]. Fixed r,
// w, k, kk and a, o is linear in the values, so an edge is the share of a source's value in a
// target's o. A block with `erase` also leaves out what its sources take away, and not their decay.
// The values of the first layer are carried to those above, which mix them into their own.
struct Rwkv7Shape final : MixerShape, Carries {
  int heads = 0, head_size = 0;
  bool first = false;  // keeps its values for the layers above
  // Of the low-rank pairs of matrices: decay, rate of erasure a, share of the first layer's values,
  // gate.
  int decay_rank = 0, rate_rank = 0, value_rank = 0, gate_rank = 0;

  std::int64_t hidden() const { return static_cast<std::int64_t>(heads) * head_size; }

  std::string name() const override { return "rwkv7"; }
  std::string in_words() const override;
  std::string edges_in_words() const override {
    return "state: of all heads, with or without what sources erase";
  }
  bool erases() const override { return true; }
  bool keeps_states() const override { return true; }
  SlotBytes slot_bytes(Precision precision) const override;
  std::vector<ColumnBuffer> buffers(Precision precision) const override;
  void check_cuda(const CudaLimits& limits, const std::string& model) const override;
  std::vector<Site> sites() const override { return {Site::kS, Site::kG, Site::kY, Site::kO}; }
  std::vector<MatrixShape> matrices() const override {
    return {{EditedMatrix::kWo, Site::kY, Site::kO}};
  }
  void check_block(const Block& block) const override;
};

}  // namespace factflow
