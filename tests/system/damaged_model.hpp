// Copies of demo models with something wrong in them.
#pragma once

#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/files.hpp"
#include "tests/source_dir.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow::testing {

// model.safetensors in parts: 8 bytes length of the header, the header, the data.
struct Safetensors {
  nlohmann::json header;
  std::string data;

  explicit Safetensors(const std::string& file) {
    const std::string bytes = read_file(file);
    std::uint64_t length = 0;
    std::memcpy(&length, bytes.data(), sizeof(length));
    header = nlohmann::json::parse(bytes.substr(8, length));
    data = bytes.substr(8 + length);
  }
  std::string bytes() const {
    const std::string text = header.dump();
    const std::uint64_t length = text.size();
    return std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + text + data;
  }
  // The same tensor as float32 with every value equal to `value`, at the end of the data. Gap and
  // all: to be repacked.
  void fill(const std::string& tensor, const std::vector<float>& values) {
    nlohmann::json& entry = header.at(tensor);
    const std::size_t begin = entry.at("data_offsets")[0], end = entry.at("data_offsets")[1];
    data.erase(begin, end - begin);
    for (auto& [name, other] : header.items()) {
      if (name == "__metadata__" || other.at("data_offsets")[0].get<std::size_t>() < end) continue;
      for (auto& offset : other.at("data_offsets"))
        offset = offset.get<std::size_t>() - (end - begin);
    }
    entry["dtype"] = "F32";
    entry["data_offsets"] = {data.size(), data.size() + 4 * values.size()};
    data.append(reinterpret_cast<const char*>(values.data()), 4 * values.size());
  }
};

class DamagedModel {
 public:
  DamagedModel(const TemporaryDirectory& scratch, const std::string& demo_model,
               const std::string& name)
      : path_(scratch.path() / name) {
    std::filesystem::copy(std::filesystem::path(source_dir()) / "demo/models" / demo_model, path_);
  }
  std::string path() const { return path_.string(); }
  std::string weights() const { return (path_ / "model.safetensors").string(); }
  std::string file(const std::string& name) const { return (path_ / name).string(); }
  void write(const std::string& name, const std::string& bytes) const {
    std::filesystem::remove(path_ / name);
    std::ofstream(path_ / name, std::ios::binary) << bytes;
  }

 private:
  std::filesystem::path path_;
};

}  // namespace factflow::testing
