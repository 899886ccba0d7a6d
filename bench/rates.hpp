// Rates from which `factflow plan` estimates times (pipeline/run/rate_table.hpp).
#pragma once

#include <string>

#include "model/network.hpp"

namespace factflow {

// Appends a line to a CSV file. `rows`: how many tokens a replayed row computes, "one" or
// "several". Throws RunError if it cannot be written.
void append_rate(const std::string& file, const Network& network, double flops_per_second,
                 const char* rows);

}  // namespace factflow
