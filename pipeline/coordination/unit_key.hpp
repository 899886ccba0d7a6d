// How the journal and the claims know a unit.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace factflow {

// `unit` is the number by which a plan knows it, `selection` a digest of what else decides what it
// computes: a list of prompts that depends on results (0 = nothing does). A record counts for a
// unit only if both agree.
struct UnitKey {
  std::uint64_t unit = 0;
  std::uint64_t selection = 0;

  UnitKey() = default;
  // NOLINTNEXTLINE: a number alone is a key.
  UnitKey(std::uint64_t number, std::uint64_t digest = 0) : unit(number), selection(digest) {}
  auto operator<=>(const UnitKey&) const = default;
};

}  // namespace factflow

template <>
struct std::hash<factflow::UnitKey> {
  std::size_t operator()(const factflow::UnitKey& key) const noexcept {
    // The digest is spread over all bits already, numbers are not.
    return std::hash<std::uint64_t>()((key.unit * 0x9E3779B97F4A7C15ULL) ^ key.selection);
  }
};
