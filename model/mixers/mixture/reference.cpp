#include "model/mixers/mixture/mixture.hpp"
#include "model/reference/reference_ops.hpp"

namespace factflow {

at::Tensor Mixture::reference_through(const Expert& expert, const at::Tensor& x) const {
  using reference::activated;
  const at::Tensor inner = reference::projected(x, expert.in, {});
  const std::int64_t width = expert.down.inputs();
  const at::Tensor gate = activated(inner.narrow(-1, 0, width), shape_.activation);
  const at::Tensor hidden = shape_.gated     ? gate * inner.narrow(-1, width, width)
                            : shape_.squared ? gate * inner
                                             : gate;
  return reference::projected(hidden, expert.down, {});
}

// Every token through every expert; those that are not chosen weigh 0.
at::Tensor Mixture::reference_mix(ReferencePass& pass, int layer, const at::Tensor& input) const {
  const at::Tensor x = pass.at(Site::kMlpIn, layer, input);
  const at::Tensor logits = reference::projected(x, weights_.router, {});
  const Routes routes = routes_of(logits, shape_.routing, weights_.choice);
  const at::Tensor weights = at::zeros_like(logits).scatter_add(-1, routes.experts, routes.weights);
  const at::Tensor in = shape_.latent == 0 ? x : reference::projected(x, weights_.into_latent, {});
  at::Tensor sum = at::zeros_like(in);
  for (size_t e = 0; e < weights_.experts.size(); ++e)
    sum = sum + reference_through(weights_.experts[e], in) *
                    weights.narrow(-1, static_cast<std::int64_t>(e), 1);
  if (shape_.latent != 0) sum = reference::projected(sum, weights_.out_of_latent, {});
  if (shape_.shared_inner == 0) return sum;
  const at::Tensor shared = reference_through(weights_.shared, x);
  return sum + (shape_.shared_gate
                    ? shared * reference::projected(x, weights_.shared_gate, {}).sigmoid()
                    : shared);
}

}  // namespace factflow
