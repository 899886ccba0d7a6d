// What the families of the two Mambas share: names, and mamba_ssm's configuration.
#pragma once

#include "model/architecture.hpp"
#include "model/config_reader.hpp"
#include "model/tensor_table.hpp"

namespace factflow {

// Embedding, final norm and head under both libraries' names.
TensorTable state_space_table(const Architecture& architecture);

Architecture read_mamba_ssm_1(ConfigReader& ssm_cfg, Architecture architecture);
Architecture read_mamba_ssm_2(ConfigReader& ssm_cfg, Architecture architecture);

}  // namespace factflow
