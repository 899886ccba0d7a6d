// XXH3-128 of what was read, so that results can name their input.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace factflow {

class ContentDigest {
 public:
  ContentDigest();
  ~ContentDigest();
  ContentDigest(const ContentDigest&) = delete;
  ContentDigest& operator=(const ContentDigest&) = delete;

  void add(std::string_view bytes);
  std::string hex() const;  // 32 digits, most significant byte first, as xxhsum -H2 prints

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace factflow
