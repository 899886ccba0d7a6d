// Any bytes as GPT-2's vocab.json, merges.txt and a text, with a byte 0xFF between them: tokens
// within the text, or an InputError.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/files.hpp"
#include "tests/fuzz/tokenizer_fuzz.hpp"

namespace {

// In memory, so that no run touches a disk; removed when the process ends.
struct Folder {
  Folder() {
    std::string name = "/dev/shm/factflow_fuzz.XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    path = name;
    std::ofstream(path / "tokenizer_config.json") << R"({"tokenizer_class": "GPT2Tokenizer"})";
  }
  ~Folder() { factflow::remove_tree(path); }
  std::filesystem::path path;
};

std::string_view next_part(std::string_view& input) {
  const std::string_view part = input.substr(0, input.find('\xff'));
  input.remove_prefix(std::min(input.size(), part.size() + 1));
  return part;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Folder folder;
  std::string_view input(reinterpret_cast<const char*>(data), size);
  std::ofstream(folder.path / "vocab.json", std::ios::binary) << next_part(input);
  std::ofstream(folder.path / "merges.txt", std::ios::binary) << next_part(input);
  try {
    factflow::encode_and_check(factflow::Tokenizer::load(folder.path), input);
  } catch (const factflow::InputError&) {
  }
  return 0;
}
