// Any bytes as model.safetensors: tensors inside the bytes, or an InputError.
#include <cstdlib>
#include <vector>

#include "base/error.hpp"
#include "model/checkpoint/safetensors.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, size_t size) {
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  try {
    for (const auto& [name, tensor] : factflow::read_safetensors(bytes, "fuzz.safetensors")) {
      if (static_cast<size_t>(tensor.count()) * factflow::size_of(tensor.type) !=
          tensor.bytes.size())
        std::abort();
      factflow::count_non_finite(tensor);  // reads every byte, under the address sanitizer
    }
  } catch (const factflow::InputError&) {
  }
  return 0;
}
