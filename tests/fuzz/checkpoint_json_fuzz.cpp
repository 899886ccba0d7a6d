// Any text as config.json and as the index of shards: a value, or an InputError.
#include "base/error.hpp"
#include "model/checkpoint/config_file.hpp"
#include "model/checkpoint/shard_index.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    factflow::parse_config(text, "config.json");
  } catch (const factflow::InputError&) {
  }
  try {
    factflow::shards_of(factflow::parse_weight_map(text, "index.json"));
  } catch (const factflow::InputError&) {
  }
  return 0;
}
