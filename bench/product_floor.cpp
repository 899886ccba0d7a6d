#include "bench/product_floor.hpp"

#include <algorithm>

#include "model/ops.hpp"

namespace factflow {
namespace {

void fill(const Factor& factor) {
  for (at::Tensor part : {factor.numbers, factor.high, factor.parts})
    if (part.defined()) part.normal_();
}

}  // namespace

ProductFloor::ProductFloor(const Network& network, const ReplayCost& cost, std::int64_t logits_rows)
    : network_(network),
      cost_(cost),
      logits_rows_(logits_rows),
      workspace_(network.device(), network.precision()) {
  const at::InferenceMode inference;
  for (const ReplayCost::Pass& pass : cost.passes)
    most_ = std::max<std::int64_t>(most_, pass.columns_alive.back());
  // Layers of several kinds differ in what their products read.
  for (int l = 0; l < network.architecture().layers; ++l)
    for (const LayerProduct& product : network.products(l)) prepare(*product.projection);
  head_factor_ = workspace_.head_factor("states", logits_rows, network.head().inputs());
  fill(head_factor_);
  residual_ = workspace_.wide_matrix("residual", most_, network.architecture().hidden);
  residual_.zero_();
  allow_tf32(network.precision() == Precision::kTf32 || network.precision() == Precision::kTf32x3);
}

void ProductFloor::multiply_all() {
  const at::InferenceMode inference;
  for (const ReplayCost::Pass& pass : cost_.passes) {
    for (int l = 0; l < network_.architecture().layers; ++l)
      for (const LayerProduct& product : network_.products(l))
        multiply_one(product, pass.columns_alive[static_cast<size_t>(l)]);
    for (std::int64_t done = 0; done < pass.rows; done += logits_rows_)
      network_.logits(head_factor_.some_rows(0, std::min(logits_rows_, pass.rows - done)),
                      workspace_);
  }
}

void ProductFloor::prepare(const Projection& product) {
  if (factors_.count(product.inputs()) > 0) return;
  Factor factor =
      workspace_.factor("factor " + std::to_string(product.inputs()), most_, product.inputs());
  fill(factor);
  factors_[product.inputs()] = factor;
}

void ProductFloor::multiply_one(const LayerProduct& product, std::int64_t columns) {
  using Into = LayerProduct::Into;
  const Projection& projection = *product.projection;
  const Factor factor = factors_.at(projection.inputs()).some_rows(0, columns);
  if (product.into == Into::kResidual)
    return multiply_into(factor, projection, {}, residual_.narrow(0, 0, columns));
  const std::int64_t padded = padded_vocabulary(projection.outputs());
  const at::Tensor out = product.into == Into::kWide
                             ? workspace_.wide_matrix("wide out", columns, padded)
                             : workspace_.matrix("out", columns, padded);
  multiply(factor, projection, {}, out.narrow(1, 0, projection.outputs()));
}

double flops_of(const Network& network, const ReplayCost& cost) {
  double flops = 0;
  const auto product = [](const Projection& p) {
    return 2.0 * static_cast<double>(p.inputs()) * static_cast<double>(p.outputs());
  };
  for (const ReplayCost::Pass& pass : cost.passes) {
    for (int l = 0; l < network.architecture().layers; ++l)
      for (const LayerProduct& p : network.products(l))
        flops += product(*p.projection) * pass.columns_alive[static_cast<size_t>(l)];
    flops += product(network.head()) * static_cast<double>(pass.rows);
  }
  return flops;
}

}  // namespace factflow
