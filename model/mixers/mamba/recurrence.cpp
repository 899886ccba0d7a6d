#include "model/mixers/mamba/recurrence.hpp"

#include <vector>

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

namespace factflow {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// A token of all rows, [rows, width].
at::Tensor token(const at::Tensor& of, std::int64_t t) {
  return of.select(1, t);
}

// Sums over states, and over channels, of products with [rows, states, channels].
at::Tensor over_states(const at::Tensor& weights, const at::Tensor& all) {
  return at::bmm(weights.unsqueeze(1), all).squeeze(1);
}
at::Tensor over_channels(const at::Tensor& all, const at::Tensor& weights) {
  return at::bmm(all, weights.unsqueeze(2)).squeeze(2);
}

at::Tensor decay(const at::Tensor& dt, const at::Tensor& a) {
  return (dt.unsqueeze(1) * a).exp_();
}

// The states after each token, each [rows, states, channels], go to `states` if it is not null.
at::Tensor scan(const ScanInputs& in, const at::Tensor& a, std::vector<at::Tensor>* states) {
  std::vector<at::Tensor> y;
  at::Tensor state;
  for (std::int64_t t = 0; t < in.dt.size(1); ++t) {
    const at::Tensor b = token(in.b, t).unsqueeze(2), written = token(in.written, t).unsqueeze(1);
    state =
        state.defined() ? decay(token(in.dt, t), a).mul_(state).addcmul_(b, written) : b * written;
    y.push_back(over_states(token(in.c, t), state));
    if (states != nullptr) states->push_back(state);
  }
  return at::stack(y, 1);
}

// With the states kept instead of every intermediate result.
struct Recurrence : torch::autograd::Function<Recurrence> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& written,
                            const at::Tensor& dt, const at::Tensor& b, const at::Tensor& c,
                            const at::Tensor& a) {
    std::vector<at::Tensor> kept;
    const at::Tensor y = scan({written, dt, b, c}, a, &kept);
    kept.insert(kept.end(), {written, dt, b, c, a});
    context->save_for_backward(std::move(kept));
    return y;
  }

  // From the last token to the first: `later` is the gradient with respect to a state from what
  // comes after its token.
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list kept = context->get_saved_variables();
    const at::Tensor& gradient = gradients[0];
    const auto tokens = gradient.size(1);
    const at::Tensor *inputs = &kept[static_cast<size_t>(tokens)], &a = inputs[4];
    std::vector<at::Tensor> written(tokens), dt(tokens), b(tokens), c(tokens);
    at::Tensor later;
    for (std::int64_t t = tokens - 1; t >= 0; --t) {
      const auto i = static_cast<size_t>(t);
      const at::Tensor y = token(gradient, t);
      at::Tensor state = token(inputs[3], t).unsqueeze(2) * y.unsqueeze(1);
      if (later.defined()) state.add_(later);
      c[i] = over_channels(kept[i], y);
      b[i] = over_channels(state, token(inputs[0], t));
      written[i] = over_states(token(inputs[2], t), state);
      if (t == 0) {
        dt[i] = at::zeros_like(written[i]);
        break;
      }
      later = state.mul_(decay(token(inputs[1], t), a));
      dt[i] = (later * kept[i - 1]).mul_(a).sum(1);
    }
    return {at::stack(written, 1), at::stack(dt, 1), at::stack(b, 1), at::stack(c, 1), {}};
  }
};

}  // namespace

at::Tensor recurred(const ScanInputs& inputs, const at::Tensor& a) {
  if (!at::GradMode::is_enabled()) return scan(inputs, a, nullptr);
  return Recurrence::apply(inputs.written, inputs.dt, inputs.b, inputs.c, a);
}

}  // namespace factflow
