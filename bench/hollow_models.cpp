// hollow_models PUBLISHED DIR: directories DIR/ORG/NAME with the config.json of published models
// and safetensors files that have the right header and no contents (sparse: no room on the disk).
// `factflow plan --models-dir DIR` then plans runs of models that are not there:
//   build/bench/hollow_models tests/model/published /tmp/hollow
//   build/factflow plan configs/paper/everything.yaml --models-dir /tmp/hollow --dataset
//   counterfact.json
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <numeric>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "bench/run_main.hpp"
#include "model/checkpoint/config_file.hpp"
#include "model/families/family.hpp"

namespace factflow {
namespace {

using nlohmann::json;

constexpr std::int64_t kBytesPerNumber = 2;  // float16

void write_hollow_file(const std::filesystem::path& file, const TensorTable& table) {
  json header;
  std::int64_t end = 0;
  for (const TensorEntry& entry : table.entries) {
    const std::int64_t begin = end;
    end += kBytesPerNumber * std::accumulate(entry.shape.begin(), entry.shape.end(),
                                             std::int64_t{1}, std::multiplies<>());
    header[entry.name] = {{"dtype", "F16"}, {"shape", entry.shape}, {"data_offsets", {begin, end}}};
  }
  const std::string text = header.dump();
  std::ofstream out(file, std::ios::binary);
  for (int byte = 0; byte < 8; ++byte) out.put(static_cast<char>(text.size() >> (8 * byte) & 0xff));
  out << text;
  out.close();
  std::filesystem::resize_file(file, 8 + text.size() + static_cast<std::uintmax_t>(end));
}

int write_all(const std::filesystem::path& published, const std::filesystem::path& directory) {
  for (const auto& entry : std::filesystem::directory_iterator(published)) {
    const json file = json::parse(std::ifstream(entry.path()));
    for (const auto& [name, model] : file.at("models").items()) {
      // Variants of a model, not models of a hub.
      if (name.find('/') == std::string::npos) continue;
      json config = file.at("common");
      config.update(model.at("config"));
      const std::filesystem::path folder = directory / name;
      std::filesystem::create_directories(folder);
      std::ofstream(folder / "config.json") << config.dump(2);
      const Architecture architecture = read_architecture(
          parse_config(config.dump(), folder / "config.json"), folder / "config.json");
      write_hollow_file(folder / "model.safetensors",
                        family_named(architecture.family).tensors(architecture));
      std::cout << folder.string() << '\n';
    }
  }
  return 0;
}

}  // namespace
}  // namespace factflow

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: hollow_models PUBLISHED DIR\n";
    return 2;
  }
  return factflow::run_main([&] { return factflow::write_all(argv[1], argv[2]); });
}
