// What each file of this folder offers to the list in families.cpp.
#pragma once

#include <memory>

#include "model/architecture.hpp"
#include "model/config_reader.hpp"
#include "model/precision.hpp"
#include "model/tensor_table.hpp"

namespace factflow {

class Network;
class Weights;

#define FACTFLOW_FAMILY(name)                            \
  TensorTable name##_tensors(const Architecture& shape); \
  std::unique_ptr<Network> build_##name(const Architecture& shape, Weights& weights);

FACTFLOW_FAMILY(gpt2)
FACTFLOW_FAMILY(llama)
FACTFLOW_FAMILY(gpt_neox)
FACTFLOW_FAMILY(mamba)
FACTFLOW_FAMILY(mamba2)
#undef FACTFLOW_FAMILY

struct LayerMemory;
LayerMemory transformer_memory(const Architecture& shape, Precision precision);
LayerMemory mamba_memory(const Architecture& shape, Precision precision);
LayerMemory mamba2_memory(const Architecture& shape, Precision precision);

Architecture read_gpt2(ConfigReader& config);
Architecture read_llama(ConfigReader& config);
Architecture read_mistral(ConfigReader& config);
Architecture read_qwen2(ConfigReader& config);
Architecture read_gpt_neox(ConfigReader& config);
Architecture read_mamba(ConfigReader& config);
Architecture read_falcon_mamba(ConfigReader& config);
Architecture read_mamba2(ConfigReader& config);

}  // namespace factflow
