// What mixers read off a row's token flags beside what model/kernels/rows.hpp says.
#pragma once

#include <cstdint>

#include "model/kernels/rows.hpp"

namespace factflow {

// Of a source (kernels::kSource), to mixers that erase as they write: it does not erase either.
inline constexpr std::uint8_t kErase = 4;

constexpr std::uint8_t source_flags(bool erase) {
  return erase ? kernels::kSource | kErase : kernels::kSource;
}

}  // namespace factflow
