// Measured by `sweep_bench --rates`; bench/RESULTS.md has the runs.
#pragma once

#include <string_view>

namespace factflow {

inline constexpr std::string_view kMeasuredRates = R"(device,precision,kind,hidden,flops_per_second
)";

}  // namespace factflow
