// Small random checkpoints of every family, written to disk as transformers and mamba_ssm lay them
// out.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "model/network.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow {

struct NamedTensor {
  std::vector<std::int64_t> shape;
  std::vector<float> values;
};

// The newer Transformers among them, with what is special about each.
const std::vector<std::string>& small_decoders();

// config.json of a small model: those, those of hybrid_configs.hpp, "gpt2", "llama", "mistral"
// (sliding window), "qwen2", "gpt_neox", "mamba", "falcon_mamba", "mamba2", "mamba_ssm" (Mamba-1),
// "mamba_ssm2" (groups, gated MLP, norm before gate).
nlohmann::json small_config(const std::string& name);

// Random values for every tensor that the family asks for, with scales that keep activations near
// one.
std::map<std::string, NamedTensor> random_tensors(const nlohmann::json& config, unsigned seed);

// Every value moved up or down to the neighbouring float32: what answers differ by then is the
// least that rounding can cost, since weights themselves are rounded.
void move_to_neighbours(std::map<std::string, NamedTensor>& tensors, unsigned seed);

// Writes model.safetensors.
void write_tensors(const std::filesystem::path& directory,
                   const std::map<std::string, NamedTensor>& tensors);
// Writes config.json and model.safetensors.
void write_checkpoint(const std::filesystem::path& directory, const nlohmann::json& config,
                      const std::map<std::string, NamedTensor>& tensors);

// A random checkpoint of small_config(name), opened; the files are gone by then, their maps are
// not.
std::shared_ptr<const Checkpoint> random_checkpoint(const std::string& name, unsigned seed);
std::unique_ptr<Network> random_network(const std::string& name, unsigned seed,
                                        Precision precision);

}  // namespace factflow
