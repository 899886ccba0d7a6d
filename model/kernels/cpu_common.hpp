// What the parts of the CPU table share. Compiled once per instruction set, as they are: keep
// templates of the standard library out of here.
#pragma once

#include "model/kernels/kernels.hpp"
#include "model/kernels/vector_math.hpp"

namespace factflow::kernels::FACTFLOW_ISA {
namespace {

bool in_window(const Row& row, int layer) {
  return row.flags >= 0 && layer >= row.window_begin && layer < row.window_end;
}

std::int32_t column_of(const Row& row, std::int32_t token) {
  return token < row.first_token ? row.clean_column + token : row.column + token - row.first_token;
}

// Counts the edges into the row's targets, where they are blocked and nowhere else.
void count_blocked(const Rows& rows, std::int64_t edges) {
  if (edges == 0 || rows.blocked == nullptr) return;
  const auto add = static_cast<unsigned long long>(edges);
#pragma omp atomic
  *rows.blocked += add;
}

// Edges that a row's targets do not see, from flags alone: what its kept state leaves out.
std::int64_t edges_read_from_kept_state(const Rows& rows, const Row& row) {
  std::int64_t edges = 0, skipped = 0;
  for (std::int32_t t = 0; t < row.first_token + row.count; ++t) {
    const std::uint8_t flag = rows.flags[row.flags + t];
    if ((flag & kSource) != 0) ++skipped;
    if ((flag & kTarget) != 0) edges += skipped;
  }
  return edges;
}

template <class T>
T dot(const T* a, const T* b, int size) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int i = 0; i < size; ++i) sum += a[i] * b[i];
  return sum;
}

}  // namespace
}  // namespace factflow::kernels::FACTFLOW_ISA
