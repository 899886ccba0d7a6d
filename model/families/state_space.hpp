// What the two Mambas share: names, the convolution's layout, the decay norms, and mamba_ssm's
// configuration.
#pragma once

#include <vector>

#include <ATen/ATen.h>

#include "model/architecture.hpp"
#include "model/config_reader.hpp"
#include "model/intervention.hpp"
#include "model/tensor_table.hpp"

namespace factflow {

// Embedding, final norm and head under both libraries' names.
TensorTable state_space_table(const Architecture& architecture);

// conv1d.weight [channels, 1, kernel] -> [kernel, channels] with row k for the token k positions
// back.
at::Tensor causal_taps(const at::Tensor& weight);

// ||exp(-exp(A_log))||_1 over the states of each channel, or exp(-exp(A_log)) of each head, in
// float64.
std::vector<double> decay_norms_of(const at::Tensor& a_log);

// Those of both Mambas.
std::vector<Site> state_space_sites();

Architecture read_mamba_ssm_1(ConfigReader& ssm_cfg, Architecture architecture);
Architecture read_mamba_ssm_2(ConfigReader& ssm_cfg, Architecture architecture);

}  // namespace factflow
