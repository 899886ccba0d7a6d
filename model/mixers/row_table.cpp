#include "model/mixers/row_table.hpp"

namespace factflow {
namespace {

constexpr std::int64_t kFields = sizeof(kernels::Row) / sizeof(std::int32_t);
static_assert(sizeof(kernels::Row) == kFields * sizeof(std::int32_t));

}  // namespace

RowTable::RowTable(const Step& step)
    : step_(step), table_(integers(step.rows.rows, step.rows.count, kFields)) {}

at::Tensor RowTable::integers(const void* data, std::int64_t rows, std::int64_t width) const {
  const auto options = at::TensorOptions().device(step_.hidden.device()).dtype(at::kInt);
  if (rows == 0) return at::empty({0, width}, options.dtype(at::kLong));
  return at::from_blob(const_cast<void*>(data), {rows, width}, options).to(at::kLong);
}

at::Tensor RowTable::field(std::int64_t index) const {
  return table_.select(1, index);
}

at::Tensor RowTable::cut_is_on() const {
  return (flags() >= 0) & (field(5) <= step_.layer) & (field(6) > step_.layer);
}

at::Tensor RowTable::row_of_columns() const {
  return integers(step_.rows.row_of, step_.columns(), 1).select(1, 0);
}

at::Tensor RowTable::positions() const {
  return integers(step_.rows.position, step_.columns(), 1).select(1, 0);
}

at::Tensor RowTable::clean_columns() const {
  return clean_column().index_select(0, row_of_columns()) + positions();
}

at::Tensor RowTable::columns_back(std::int64_t back) const {
  const at::Tensor row = row_of_columns(), token = positions() - back;
  const auto of_row = [&](const at::Tensor& field) { return field.index_select(0, row); };
  const at::Tensor first = of_row(first_token());
  const at::Tensor seen =
      at::where(token < first, of_row(clean_column()) + token, of_row(column()) + token - first);
  return at::where(token < 0, at::full_like(seen, -1), seen);
}

at::Tensor RowTable::all_flags() const {
  const auto options = at::TensorOptions().device(step_.hidden.device()).dtype(at::kByte);
  if (step_.flag_count == 0) return at::zeros({1}, options);
  return at::from_blob(const_cast<std::uint8_t*>(step_.rows.flags), {step_.flag_count}, options);
}

void RowTable::count_blocked(const at::Tensor& count) const {
  if (step_.rows.blocked == nullptr) return;
  const auto options = at::TensorOptions().device(step_.hidden.device()).dtype(at::kLong);
  at::from_blob(step_.rows.blocked, {1}, options).add_(count.to(at::kLong));
}

}  // namespace factflow
