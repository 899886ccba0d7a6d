// The gated delta rule (Yang et al. 2024): a state of keys and values from which each token erases
// what its key has, before it writes.
#pragma once

#include <cstdint>

#include "model/mixers/mixer_shape.hpp"

namespace factflow {

// S <- g S, then S <- S + k (beta (v - S^T k))^T, and o = S^T q, for each value head. Fixed q, k,
// beta and g, o is linear in the values, so an edge is the share of a source's value in a target's
// o; it can be restricted to value heads. A block with `erase` also leaves out what its sources
// take away. Through the convolution an edge is its tap, of q, k and v at once.
struct GatedDeltaShape final : MixerShape {
  int key_heads = 0, key_size = 0;
  int value_heads = 0,
      value_size = 0;  // value head j has the keys of key head j key_heads / value_heads
  int conv_kernel = 4;
  double largest_beta = 1;  // beta = largest_beta sigmoid(b)

  std::int64_t keys() const { return static_cast<std::int64_t>(key_heads) * key_size; }
  std::int64_t values() const { return static_cast<std::int64_t>(value_heads) * value_size; }
  std::int64_t conv_channels() const { return 2 * keys() + values(); }  // q, k and v
  // Rows of the input projection: q, k, v, z, b, a.
  std::int64_t projected() const {
    return conv_channels() + values() + 2 * std::int64_t{value_heads};
  }

  std::string name() const override { return "gated_delta"; }
  std::string in_words() const override;
  std::string edges_in_words() const override;
  bool erases() const override { return true; }
  int channels() const override { return value_heads; }
  int taps() const override { return conv_kernel; }
  bool keeps_states() const override { return true; }
  SlotBytes slot_bytes(Precision precision) const override;
  std::vector<ColumnBuffer> buffers(Precision precision) const override;
  std::vector<Site> sites() const override {
    return {Site::kQkv, Site::kConv, Site::kS, Site::kG, Site::kY, Site::kO};
  }
  std::int64_t site_width(Site site) const override;
  std::vector<MatrixShape> matrices() const override {
    return {{EditedMatrix::kWo, Site::kY, Site::kO}};
  }
  void check_block(const Block& block) const override;
};

}  // namespace factflow
