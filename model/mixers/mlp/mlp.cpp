#include "model/mixers/mlp/mlp.hpp"

#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "model/reference/reference_ops.hpp"

namespace factflow {

std::string MlpShape::in_words() const {
  return fmt::format("MLP {}{}", inner, gated ? " gated" : "");
}

std::vector<ColumnBuffer> MlpShape::buffers(Precision precision) const {
  const std::int64_t width = inner;
  std::vector<ColumnBuffer> buffers = {
      {"mlp", width * (gated ? 2 : 1) * activation_bytes(precision)}};
  // In other precisions in place.
  if (precision == Precision::kTf32x3)
    buffers.push_back({"mlp activated", width * factor_bytes(precision)});
  return buffers;
}

void MlpShape::check_block(const Block&) const {
  throw std::invalid_argument("an MLP has no edges");
}

Mlp::Mlp(const MlpShape& shape, MlpWeights weights)
    : Mixer(std::move(weights.output)),
      shape_(shape),
      in_(std::move(weights.in)),
      in_bias_(std::move(weights.in_bias)) {
  if (in_bias_.defined()) in_bias_ = in_bias_.to(activation_type(in_.precision()));
}

Factor Mlp::mix(Step& step, const Factor& input) const {
  step.at(Site::kMlpIn, input);
  const Factor hidden = activated(step, input);
  step.at(Site::kMlpHidden, hidden);
  return hidden;
}

Factor Mlp::activated(Step& step, const Factor& input) const {
  const std::int64_t width = shape_.inner;
  const at::Tensor inner = step.matrix("mlp", in_.outputs());
  if (!shape_.gated && !shape_.squared && shape_.activation == kernels::Activation::kGeluTanh &&
      multiply_gelu(input, in_, in_bias_, inner))
    return {inner};
  multiply(input, in_, in_bias_, inner);
  const at::Tensor gate = inner.narrow(1, 0, width);
  const Factor out = step.workspace.factor_over("mlp activated", gate);
  const at::Tensor up = shape_.gated     ? inner.narrow(1, width, width)
                        : shape_.squared ? gate
                                         : at::Tensor();
  activate(step.rows, shape_.activation, gate, up, out);
  return out;
}

at::Tensor Mlp::reference_mix(ReferencePass& pass, int layer, const at::Tensor& x) const {
  const at::Tensor in = pass.at(Site::kMlpIn, layer, x);
  at::Tensor hidden = reference::projected(in, in_, in_bias_);
  if (shape_.gated) {
    const auto parts = hidden.split(shape_.inner, -1);
    hidden = reference::activated(parts[0], shape_.activation) * parts[1];
  } else {
    const at::Tensor act = reference::activated(hidden, shape_.activation);
    hidden = shape_.squared ? act * hidden : act;
  }
  return pass.at(Site::kMlpHidden, layer, hidden);
}

std::vector<EditableMatrix> Mlp::editable() const {
  return {whole_output(EditedMatrix::kWdown, Site::kMlpHidden, Site::kMlp)};
}

}  // namespace factflow
