// Any text either is a configuration whose resolved copy reads back as the same one, or an
// InputError.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/error.hpp"
#include "pipeline/input/config.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  std::string resolved;
  factflow::Config config;
  try {
    config = factflow::parse_config(text, "fuzz.yaml");
    resolved = factflow::resolved_yaml(config);
  } catch (const factflow::InputError&) {
    return 0;
  }
  if (factflow::parse_config(resolved, "fuzz.yaml") != config) std::abort();
  return 0;
}
