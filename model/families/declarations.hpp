// What each file of this folder offers to the list in families.cpp.
#pragma once

#include "model/families/family.hpp"

namespace factflow {

#define FACTFLOW_FAMILY(name)                                   \
  TensorTable name##_tensors(const Architecture& architecture); \
  NetworkParts name##_parts(const Architecture& architecture, Weights& weights);

FACTFLOW_FAMILY(gpt2)
FACTFLOW_FAMILY(llama)
FACTFLOW_FAMILY(gpt_neox)
FACTFLOW_FAMILY(mamba)
FACTFLOW_FAMILY(mamba2)
#undef FACTFLOW_FAMILY

Architecture read_gpt2(ConfigReader& config);
Architecture read_llama(ConfigReader& config);
Architecture read_mistral(ConfigReader& config);
Architecture read_qwen2(ConfigReader& config);
Architecture read_gpt_neox(ConfigReader& config);
Architecture read_mamba(ConfigReader& config);
Architecture read_falcon_mamba(ConfigReader& config);
Architecture read_mamba2(ConfigReader& config);

}  // namespace factflow
