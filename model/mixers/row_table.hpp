// The rows of a step (model/kernels/rows.hpp) as tensors on their device, for mixers that are
// computed by libtorch operations.
#pragma once

#include <cstdint>

#include <ATen/ATen.h>

#include "model/ops.hpp"

namespace factflow {

// Views of the plan's memory, or made of it. All indices are int64, of alive rows and columns; the
// step must outlive it.
class RowTable {
 public:
  explicit RowTable(const Step& step);

  std::int64_t rows() const { return step_.rows.count; }

  // Per row; see kernels::Row.
  at::Tensor column() const { return field(0); }
  at::Tensor first_token() const { return field(1); }
  at::Tensor clean_column() const { return field(3); }
  at::Tensor flags() const { return field(4); }
  at::Tensor cut_is_on() const;  // bool: whether the row's own cut is on in this layer

  // Per column: its row, its token position, and the clean row's column of the same token.
  at::Tensor row_of_columns() const;
  at::Tensor positions() const;
  at::Tensor clean_columns() const;
  // The column of the token so many tokens before, as each column's row sees it; -1: there is none.
  at::Tensor columns_back(std::int64_t back) const;

  // kTarget | kSource | kErase of all cuts, uint8.
  at::Tensor all_flags() const;

  // Adds to the number of blocked edges. count: a number of any integer type.
  void count_blocked(const at::Tensor& count) const;

 private:
  at::Tensor field(std::int64_t index) const;
  at::Tensor integers(const void* data, std::int64_t rows, std::int64_t width) const;

  const Step& step_;
  at::Tensor table_;  // int64 [rows, fields of a row]
};

}  // namespace factflow
