// The dual form of Mamba-2 (Dao & Gu 2024).
#pragma once

#include <cstdint>
#include <limits>

#include "model/mixers/mixer_shape.hpp"

namespace factflow {

// Of the parts of in_proj's output, and of its input, which its bias has not; put into the weights
// at loading (Falcon-H1).
struct Mamba2Factors {
  double z = 1, x = 1, b = 1, c = 1, dt = 1;
  double input = 1;
  bool operator==(const Mamba2Factors&) const = default;
};

// An edge through the state is the entry of the token-mixing matrix, and can be restricted to
// heads; through the convolution it is its tap, which can be restricted to channels of x, to heads,
// or to x, B or C. Tokens are mixed in the quadratic form, so there are no states to keep: prompts
// are far shorter than the state, and it costs less than the recurrence (docs/replay.md).
struct Mamba2Shape final : MixerShape {
  int inner = 0;  // heads * head_size
  int heads = 0, head_size = 0, groups = 1, states = 128;
  // D_mlp: channels of the gated MLP inside in_proj (mamba_ssm with d_ssm < d_inner).
  int mlp_size = 0;
  int conv_kernel = 4;
  bool bias = false;         // of in_proj
  bool output_bias = false;  // of out_proj
  bool conv_bias = true;
  bool gated_norm = true;
  bool norm_before_gate = false;
  int norm_group = 0;  // channels normalised together
  Mamba2Factors factors = {};
  double dt_min = 0;
  double dt_max = std::numeric_limits<double>::infinity();

  // Of B or C, of all groups.
  std::int64_t group_states() const { return static_cast<std::int64_t>(groups) * states; }
  std::int64_t conv_channels() const { return inner + 2 * group_states(); }  // x, B and C
  // Rows of in_proj: mlp gate, mlp, z, x, B, C, dt.
  std::int64_t projected() const {
    return 2 * static_cast<std::int64_t>(mlp_size) + inner + conv_channels() + heads;
  }

  std::string name() const override { return "mamba2"; }
  std::string in_words() const override;
  std::string edges_in_words() const override;
  std::shared_ptr<const MixerShape> chosen(const CheckpointChoices& choices) const override;
  int channels() const override { return heads; }
  int taps() const override { return conv_kernel; }
  std::vector<ColumnBuffer> buffers(Precision precision) const override;
  void check_cuda(const CudaLimits& limits, const std::string& model) const override;
  std::vector<Site> sites() const override;
  std::int64_t site_width(Site site) const override;
  std::vector<MatrixShape> matrices() const override {
    return {{EditedMatrix::kWa, {}, Site::kA},
            {EditedMatrix::kWxbc, {}, Site::kXbc},
            {EditedMatrix::kWg, {}, Site::kG},
            {EditedMatrix::kWo, Site::kY, Site::kO}};
  }
  void check_block(const Block& block) const override;
};

}  // namespace factflow
