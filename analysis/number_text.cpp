#include "analysis/number_text.hpp"

#include <cmath>

#include <fmt/format.h>

#include "base/text.hpp"

namespace factflow {

std::string signed_number(double value, int digits) {
  if (std::isnan(value)) return "-";
  const std::string text = fixed(value, digits);
  const bool is_zero = text.find_first_not_of("0.") == text.npos;
  return is_zero || text.starts_with('-') ? text : "+" + text;
}

std::string interval_text(const Interval& interval, const std::string& none, int digits) {
  if (std::isnan(interval.low)) return none;
  return fmt::format("[{}, {}]", signed_number(interval.low, digits),
                     signed_number(interval.high, digits));
}

}  // namespace factflow
