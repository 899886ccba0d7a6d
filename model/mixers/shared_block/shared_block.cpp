#include "model/mixers/shared_block/shared_block.hpp"

#include <utility>

#include <fmt/format.h>

#include "model/reference/reference_ops.hpp"

namespace factflow {

std::string SharedBlockShape::in_words() const {
  return fmt::format("shared block {} ({}, {})", block, attention.in_words(), mlp.in_words());
}

std::vector<ColumnBuffer> SharedBlockShape::buffers(Precision precision) const {
  const auto wide = static_cast<std::int64_t>(c10::elementSize(wide_type(precision)));
  const std::int64_t width = hidden;
  std::vector<ColumnBuffer> all = {{"carried", width * wide},
                                   {"fed", width * wide},
                                   {"shared input", 2 * width * (wide + factor_bytes(precision))},
                                   {"shared attention", width * wide},
                                   {"shared mlp input", width * factor_bytes(precision)},
                                   {"shared output", width * wide},
                                   {"converted", width * factor_bytes(precision)}};
  for (const std::vector<ColumnBuffer>& more :
       {attention.buffers(precision), mlp.buffers(precision)})
    all.insert(all.end(), more.begin(), more.end());
  return all;
}

std::int64_t SharedBlockShape::site_width(Site site) const {
  if (site == Site::kS) return attention.queries();
  return site == Site::kMlpHidden ? mlp.inner : 0;
}

SharedBlock::SharedBlock(const SharedBlockShape& shape, SharedBlockWeights weights)
    : Mixer(std::move(weights.output)),
      shape_(shape),
      norm_(std::move(weights.norm)),
      mlp_norm_(std::move(weights.mlp_norm)),
      attention_(shape.attention, std::move(weights.attention)),
      mlp_(shape.mlp, std::move(weights.mlp)) {}

Factor SharedBlock::mix(Step& step, const Factor&) const {
  const std::int64_t hidden = shape_.hidden;
  const Factor in = step.factor("shared input", 2 * hidden);
  apply_norm(step.rows, norm_, at::cat({step.hidden, step.carried}, 1), in);
  const Factor heads = attention_.mix(step, in);
  const at::Tensor attended = step.wide_matrix("shared attention", hidden);
  multiply(heads, attention_.output().weight, attention_.output().bias, attended);
  const Factor mlp_in = step.factor("shared mlp input", hidden);
  apply_norm(step.rows, mlp_norm_, attended, mlp_in);
  const Factor inner = mlp_.mix(step, mlp_in);
  // The bias is as wide as the stream, which bfloat16's products into bfloat16 do not take.
  const at::Tensor out = step.wide_matrix("shared output", hidden);
  multiply(inner, mlp_.output().weight, mlp_.output().bias, out);
  return factor_of(step.rows, step.workspace, out);
}

at::Tensor SharedBlock::reference_mix(ReferencePass& pass, int layer, const at::Tensor& x) const {
  const auto through = [](const at::Tensor& values, const OutputProjection& output) {
    return reference::projected(values, output.weight, output.bias);
  };
  const at::Tensor in = reference::normalised(at::cat({x, pass.carried()}, -1), norm_);
  const at::Tensor attended =
      through(attention_.reference_mix(pass, layer, in), attention_.output());
  const at::Tensor inner =
      mlp_.reference_mix(pass, layer, reference::normalised(attended, mlp_norm_));
  return through(inner, mlp_.output());
}

std::vector<LayerProduct> SharedBlock::products() const {
  std::vector<LayerProduct> products = attention_.products();
  products.push_back({&attention_.output().weight, LayerProduct::Into::kWide});
  for (const LayerProduct& product : mlp_.products()) products.push_back(product);
  products.push_back({&mlp_.output().weight, LayerProduct::Into::kWide});
  return products;
}

}  // namespace factflow
