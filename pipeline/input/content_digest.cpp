#include "pipeline/input/content_digest.hpp"

#include <fmt/format.h>
#include <xxhash.h>

namespace factflow {

// XXH3 wants its state aligned to 64 bytes, which only its own function promises.
struct ContentDigest::State {
  XXH3_state_t* const xxh3 = XXH3_createState();
  ~State() { XXH3_freeState(xxh3); }
};

ContentDigest::ContentDigest() : state_(std::make_unique<State>()) {
  XXH3_128bits_reset(state_->xxh3);
}
ContentDigest::~ContentDigest() = default;

void ContentDigest::add(std::string_view bytes) {
  XXH3_128bits_update(state_->xxh3, bytes.data(), bytes.size());
}

std::string ContentDigest::hex() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(state_->xxh3);
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

}  // namespace factflow
