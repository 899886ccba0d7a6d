#include "model/mixers/token_shift.hpp"

#include "model/mixers/row_table.hpp"

namespace factflow {

at::Tensor token_before(const Step& step, const at::Tensor& values) {
  const at::Tensor seen = RowTable(step).columns_back(1);
  return values.index_select(0, seen.clamp_min(0)) *
         (seen >= 0).to(values.scalar_type()).unsqueeze(1);
}

at::Tensor token_before(const at::Tensor& values) {
  const at::Tensor first = at::zeros_like(values.narrow(-2, 0, 1));
  return at::cat({first, values.narrow(-2, 0, values.size(-2) - 1)}, -2);
}

at::Tensor wide_input(const Step& step, const Factor& input) {
  const at::Tensor every = at::arange(step.columns(), step.hidden.options().dtype(at::kLong));
  return read_rows(input, every, step.hidden.scalar_type());
}

at::Tensor wide_product(const Step& step, const at::Tensor& values, const Projection& matrix) {
  const Factor factor = factor_of(step.rows, step.workspace,
                                  values.to(activation_type(matrix.precision())).contiguous());
  const at::Tensor out = at::empty({values.size(0), matrix.outputs()}, step.hidden.options());
  multiply(factor, matrix, {}, out);
  return out;
}

}  // namespace factflow
