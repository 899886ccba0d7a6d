// A model family, and the table of those that a program knows. A new one is a file in this folder
// and a line in families.cpp.
#pragma once

#include <string>
#include <vector>

#include "model/architecture.hpp"
#include "model/config_reader.hpp"
#include "model/tensor_table.hpp"

namespace factflow {

struct NetworkParts;
class Weights;

struct Family {
  const char* model_type;  // config.json's model_type
  // The list of blocks, and model-independent checks; finish() is the caller's.
  Architecture (*read)(ConfigReader& config);
  TensorTable (*tensors)(const Architecture& architecture);
  NetworkParts (*parts)(const Architecture& architecture, Weights& weights);
  // Where files hold the text model inside one that also sees: the model_type of text_config, which
  // alone is read. Null: there is no such file.
  const char* text_part = nullptr;
};

// In the library factflow_family_table, of family_table.cpp alone: a program that has a function of
// this name links its own instead.
const std::vector<Family>& families();
const std::vector<Family>& built_in_families();             // of this folder
const Family& family_named(const std::string& model_type);  // throws std::out_of_range

// config.json of the mamba_ssm library, which names no model_type: mamba or mamba2.
Architecture read_mamba_ssm(ConfigReader& config);

}  // namespace factflow
