// What the tests of checkpoints share: a directory that cleans up, files, and errors whose text is
// checked.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "model/checkpoint/checkpoint.hpp"
#include "tests/source_dir.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow {

inline std::filesystem::path test_folder() {
  return std::filesystem::path(source_dir()) / "tests" / "checkpoint";
}
inline std::filesystem::path demo_model(const std::string& name) {
  return std::filesystem::path(source_dir()) / "demo" / "models" / name;
}
inline std::filesystem::path oracle_case(const std::string& name) {
  return std::filesystem::path(source_dir()) / ".." / "shared" / "oracle" / "cases" / name;
}

inline std::span<const std::byte> as_bytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

// "" if `action` throws no InputError.
inline std::string input_error(const std::function<void()>& action) {
  try {
    action();
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

// A safetensors file from its header and data.
inline std::string safetensors(const std::string& header, const std::string& data) {
  const std::uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + header + data;
}

// A safetensors file of these tensors, as the format wants it: in name order, without holes.
inline std::string safetensors_of(const std::map<std::string, StoredTensor>& tensors) {
  nlohmann::json header = nlohmann::json::object();
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    const size_t begin = data.size();
    data.append(reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size());
    header[name] = {{"dtype", to_string(tensor.type)},
                    {"shape", tensor.shape},
                    {"data_offsets", {begin, data.size()}}};
  }
  return safetensors(header.dump(), data);
}

// A float32 tensor over `values`, which must outlive it.
inline StoredTensor tensor_of(const std::vector<float>& values) {
  StoredTensor tensor;
  tensor.shape = {static_cast<std::int64_t>(values.size())};
  tensor.bytes = std::as_bytes(std::span(values));
  tensor.file = "memory";
  return tensor;
}

}  // namespace factflow
