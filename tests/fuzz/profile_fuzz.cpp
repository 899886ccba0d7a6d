// Any text as a SLURM profile: a profile, or an InputError.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/error.hpp"
#include "jobs/profile.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, size_t size) {
  try {
    factflow::parse_profile({reinterpret_cast<const char*>(data), size}, "fuzz.yaml");
  } catch (const factflow::InputError&) {
  }
  return 0;
}
