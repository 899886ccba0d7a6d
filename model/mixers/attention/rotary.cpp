#include "model/mixers/attention/rotary.hpp"

#include <cmath>
#include <numbers>

namespace factflow {

std::vector<double> inverse_frequencies(const Rotary& rotary) {
  std::vector<double> frequencies;
  for (int i = 0; i < rotary.dimensions; i += 2) {
    double frequency = std::pow(rotary.theta, -static_cast<double>(i) / rotary.dimensions);
    if (rotary.scaling == Rotary::Scaling::kLinear) frequency /= rotary.factor;
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
