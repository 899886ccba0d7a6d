// The selective scan of Mamba-1 (Gu & Dao 2023), and of Falcon-Mamba and Jamba, which normalise dt,
// B and C.
#pragma once

#include "model/mixers/mixer_shape.hpp"

namespace factflow {

// An edge through the state is the entry of the token-mixing matrix, through the convolution its
// tap; either can be restricted to channels.
struct MambaShape final : MixerShape {
  int inner = 0;    // channels of the scan
  int states = 16;  // states per channel
  int time_step_rank = 0;
  int conv_kernel = 4;
  bool bias = false;
  bool conv_bias = true;
  bool normalise_parameters = false;  // RMS norm on dt, B and C, weightless in Falcon-Mamba
  bool parameter_weights = false;     // these norms have weights (Jamba)
  double parameter_epsilon = 1e-6;

  std::string name() const override { return "mamba"; }
  std::string in_words() const override;
  std::string edges_in_words() const override;
  int channels() const override { return inner; }
  int taps() const override { return conv_kernel; }
  bool keeps_states() const override { return true; }
  std::int64_t bytes_per_state(Precision precision) const override;
  std::vector<ColumnBuffer> buffers(Precision precision) const override;
  void check_cuda(const CudaLimits& limits, const std::string& model) const override;
  std::vector<Site> sites() const override;
  std::int64_t site_width(Site site) const override;
  std::vector<MatrixShape> matrices() const override {
    return {{EditedMatrix::kWa, {}, Site::kA},
            {EditedMatrix::kWg, {}, Site::kG},
            {EditedMatrix::kWo, Site::kY, Site::kO}};
  }
  void check_block(const Block& block) const override;
};

}  // namespace factflow
