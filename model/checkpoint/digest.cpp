#include "model/checkpoint/digest.hpp"

#include <memory>
#include <new>

#include <fmt/format.h>
#include <xxhash.h>

namespace factflow {
namespace {

class DigestStream {
 public:
  DigestStream() : state_(XXH3_createState(), XXH3_freeState) {
    if (!state_) throw std::bad_alloc();
    XXH3_128bits_reset(state_.get());
  }
  void add(const void* data, size_t bytes) {
    const std::uint64_t length = bytes;
    XXH3_128bits_update(state_.get(), &length, sizeof(length));
    if (bytes > 0) XXH3_128bits_update(state_.get(), data, bytes);
  }
  void add(std::string_view text) { add(text.data(), text.size()); }
  std::string hex() const {
    const XXH128_hash_t hash = XXH3_128bits_digest(state_.get());
    return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
  }

 private:
  std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> state_;
};

}  // namespace

std::string digest_of(std::string_view config, const std::map<std::string, StoredTensor>& tensors) {
  DigestStream stream;
  stream.add(config);
  for (const auto& [name, tensor] : tensors) {
    stream.add(name);
    stream.add(to_string(tensor.type));
    stream.add(tensor.shape.data(), tensor.shape.size() * sizeof(std::int64_t));
    stream.add(tensor.bytes.data(), tensor.bytes.size());
  }
  return stream.hex();
}

}  // namespace factflow
