// The list of model families. A new one is a file in this folder and a line in families.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "model/architecture.hpp"
#include "model/config_reader.hpp"
#include "model/precision.hpp"
#include "model/tensor_table.hpp"

namespace factflow {

class Network;
class Weights;

// Bytes of activations and factors that a layer needs for one column, and of one state slot.
struct LayerMemory {
  std::int64_t per_column = 0;
  std::int64_t per_state = 0;
};

struct Family {
  const char* model_type;  // config.json's model_type
  // Family and model-independent checks; finish() is the caller's.
  Architecture (*read)(ConfigReader& config);
  TensorTable (*tensors)(const Architecture& architecture);
  std::unique_ptr<Network> (*build)(const Architecture& architecture, Weights& weights);
  LayerMemory (*memory)(const Architecture& architecture, Precision precision);
};

const std::vector<Family>& families();
const Family& family_named(const std::string& model_type);  // throws std::out_of_range

// config.json of the mamba_ssm library, which names no model_type: mamba or mamba2.
Architecture read_mamba_ssm(ConfigReader& config);

}  // namespace factflow
