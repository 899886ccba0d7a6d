// Numbers for people.
#pragma once

#include <string>

#include "analysis/statistics.hpp"

namespace factflow {

// "+1.5", "-0.3"; what is rounded to zero has no sign: "0.0". NaN is "-".
std::string signed_number(double value, int digits);
// "[-1.5, +2.0]", with so many digits; `none` where there is no interval.
std::string interval_text(const Interval& interval, const std::string& none, int digits = 1);

}  // namespace factflow
