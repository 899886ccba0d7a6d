// What mixers read off a row's token flags beside what model/kernels/rows.hpp says.
#pragma once

#include <cstdint>

#include "model/kernels/rows.hpp"

namespace factflow {

constexpr std::uint8_t source_flags(bool erase) {
  return erase ? kernels::kSource | kernels::kErase : kernels::kSource;
}

}  // namespace factflow
