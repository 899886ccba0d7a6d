// libFuzzer harness: tokenizer.json files and texts. Seeds: tests/fuzz/tokenizer_inputs.
#include "tests/fuzz/tokenizer_fuzz.hpp"

#include <cstddef>
#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  factflow::load_and_encode({reinterpret_cast<const char*>(data), size});
  return 0;
}
