#include "model/mixers/attention/rotary.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace factflow {

namespace {

// The dimension whose frequency makes so many turns in the original context; Peng et al. 2023, eq.
// 19 of YaRN's appendix and transformers' find_correction_dim.
double dimension_of(const Rotary& rotary, double turns) {
  return rotary.dimensions *
         std::log(rotary.original_max_positions / (turns * 2 * std::numbers::pi)) /
         (2 * std::log(rotary.theta));
}

// The share of frequency number i that is divided by the factor.
double interpolated_share(const Rotary& rotary, int i) {
  double low = dimension_of(rotary, rotary.fast_turns),
         high = dimension_of(rotary, rotary.slow_turns);
  if (rotary.whole_dimensions) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, rotary.dimensions - 1.0);
  if (low == high) high += 0.001;
  return std::clamp((i - low) / (high - low), 0.0, 1.0);
}

}  // namespace

std::vector<double> inverse_frequencies(const Rotary& rotary, std::int64_t tokens) {
  const bool is_long = static_cast<double>(tokens) > rotary.original_max_positions;
  const std::vector<double>& stretch = is_long ? rotary.long_factors : rotary.short_factors;
  std::vector<double> frequencies;
  for (int i = 0; i < rotary.dimensions; i += 2) {
    double frequency = std::pow(rotary.theta, -static_cast<double>(i) / rotary.dimensions);
    if (rotary.scaling == Rotary::Scaling::kLinear) frequency /= rotary.factor;
    if (rotary.scaling == Rotary::Scaling::kYarn) {
      const double share = interpolated_share(rotary, i / 2);
      frequency = share * frequency / rotary.factor + (1 - share) * frequency;
    }
    if (rotary.scaling == Rotary::Scaling::kLongrope)
      frequency /= stretch.at(static_cast<size_t>(i / 2));
    if (rotary.scaling == Rotary::Scaling::kLlama3) {
      const double wavelength = 2 * std::numbers::pi / frequency;
      const double longest = rotary.original_max_positions / rotary.low_frequency_factor;
      const double shortest = rotary.original_max_positions / rotary.high_frequency_factor;
      if (wavelength > longest) {
        frequency /= rotary.factor;
      } else if (wavelength >= shortest) {
        const double smooth =
            (rotary.original_max_positions / wavelength - rotary.low_frequency_factor) /
            (rotary.high_frequency_factor - rotary.low_frequency_factor);
        frequency = (1 - smooth) * frequency / rotary.factor + smooth * frequency;
      }
    }
    frequencies.push_back(frequency);
  }
  return frequencies;
}

}  // namespace factflow
