#include "model/families/old_buffers.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "model/checkpoint/checkpoint.hpp"

namespace factflow {
namespace {

// The first versions wrote -1e4, which bfloat16 rounds to this, later ones -1e9, which is -inf in
// float16: each takes all weight from a masked place.
constexpr double kMaskedScore = -9984;

bool is_set(const StoredTensor& tensor, std::int64_t index) {
  if (is_float(tensor.type)) return element(tensor, index) != 0;
  const size_t size = size_of(tensor.type);
  const auto bytes = tensor.bytes.subspan(static_cast<size_t>(index) * size, size);
  return std::any_of(bytes.begin(), bytes.end(), [](std::byte b) { return b != std::byte{0}; });
}

std::string problem_of_mask(const StoredTensor& mask) {
  const size_t rank = mask.shape.size();
  const std::int64_t n = rank < 2 ? 0 : mask.shape[rank - 1];
  if (n == 0 || mask.shape[rank - 2] != n || mask.count() % n != 0 || mask.count() / n != n)
    return "expected a causal mask [1, 1, n, n]";
  for (std::int64_t row = 0; row < n; ++row)
    for (std::int64_t column = 0; column < n; ++column)
      if (is_set(mask, row * n + column) != (column <= row))
        return "is no causal mask, and no other is supported";
  return "";
}

std::string problem_of_masked_score(const StoredTensor& score) {
  if (is_float(score.type) && score.count() == 1 && element(score, 0) <= kMaskedScore) return "";
  return "expected one number of -10000 or less, the score of masked places";
}

double tolerance_of(StoredType type, double value) {
  constexpr double kSmallestHalf = 0x1p-24;
  return value * (type == StoredType::kBF16 ? 0x1p-7 : 0x1p-10) + kSmallestHalf;
}

bool agrees(const StoredTensor& stored, const Rotary& rotary) {
  if (!is_float(stored.type) || stored.count() != (rotary.dimensions + 1) / 2) return false;
  std::int64_t index = 0;
  for (const double frequency : inverse_frequencies(rotary))
    if (!(std::abs(element(stored, index++) - frequency) <= tolerance_of(stored.type, frequency)))
      return false;
  return true;
}

}  // namespace

void add_causal_masks(TensorTable& table, const std::string& attention) {
  table.old_buffers.push_back({attention + "bias", problem_of_mask});
  table.old_buffers.push_back({attention + "masked_bias", problem_of_masked_score});
}

void add_inverse_frequencies(TensorTable& table, const std::string& parent, const Rotary& rotary) {
  table.old_buffers.push_back(
      {parent + "rotary_emb.inv_freq", [rotary](const StoredTensor& stored) -> std::string {
         Rotary unscaled = rotary;
         unscaled.scaling = Rotary::Scaling::kNone;
         return agrees(stored, rotary) || agrees(stored, unscaled)
                    ? ""
                    : "differs from the frequencies that config.json asks for";
       }});
}

}  // namespace factflow
