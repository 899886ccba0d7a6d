// Any bytes as pytorch_model.bin, and as the pickle inside it: tensors inside the bytes, or an
// InputError.
#include <cstdlib>
#include <string_view>

#include "base/error.hpp"
#include "model/checkpoint/pickle.hpp"
#include "model/checkpoint/torch_archive.hpp"

namespace {

void read_archive(std::span<const std::byte> bytes) {
  factflow::OwnedBuffers owned;
  for (const auto& [name, tensor] : factflow::read_torch_archive(bytes, "fuzz.bin", owned)) {
    if (static_cast<size_t>(tensor.count()) * factflow::size_of(tensor.type) != tensor.bytes.size())
      std::abort();
    factflow::count_non_finite(tensor);  // reads every byte, under the address sanitizer
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, size_t size) {
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  try {
    if (size > 0 && data[0] == 0x80) {
      factflow::read_pickled_tensors({reinterpret_cast<const char*>(data), size}, "fuzz.pkl");
    } else {
      read_archive(bytes);
    }
  } catch (const factflow::InputError&) {
  }
  return 0;
}
