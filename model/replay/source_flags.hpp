// The token flags of a cut's sources, as the plan writes them (model/kernels/rows.hpp).
#pragma once

#include <cstdint>

#include "model/kernels/rows.hpp"

namespace factflow {

constexpr std::uint8_t source_flags(bool erase) {
  return erase ? kernels::kSource | kernels::kErase : kernels::kSource;
}

}  // namespace factflow
