#include "model/mixers/rwkv7/rwkv7.hpp"

#include <cmath>
#include <utility>

#include "model/mixers/row_scan.hpp"
#include "model/mixers/token_shift.hpp"

namespace factflow {
namespace {

constexpr double kShortestKey = 1e-12;
const double kFastestDecay = std::exp(-0.5);  // of the logarithm of a token's decay

// States [sequences, heads, values, keys].
class Rwkv7Recurrence final : public Recurrence {
 public:
  Rwkv7Recurrence(const Rwkv7Shape& shape, const Rwkv7Tokens& tokens)
      : shape_(shape), tokens_(tokens) {}

  at::Tensor initial(std::int64_t sequences) const override {
    return at::zeros({sequences, shape_.heads, shape_.head_size, shape_.head_size},
                     tokens_.values.options());
  }
  at::Tensor after(const at::Tensor& state, const at::Tensor& columns, const at::Tensor& writes,
                   const at::Tensor& erases) const override {
    const auto of = [&](const at::Tensor& all) { return all.index_select(0, columns); };
    const at::Tensor found =
        part(erases, state.matmul(of(tokens_.erased).unsqueeze(-1)).squeeze(-1));
    return state * of(tokens_.decay).unsqueeze(-2) -
           found.unsqueeze(-1) * of(tokens_.erasing).unsqueeze(-2) +
           part(writes, of(tokens_.values)).unsqueeze(-1) * of(tokens_.keys).unsqueeze(-2);
  }
  at::Tensor read(const at::Tensor& state, const at::Tensor& columns) const override {
    return state.matmul(tokens_.receptance.index_select(0, columns).unsqueeze(-1)).squeeze(-1);
  }

 private:
  const Rwkv7Shape& shape_;
  const Rwkv7Tokens& tokens_;
};

}  // namespace

Rwkv7::Rwkv7(const Rwkv7Shape& shape, Rwkv7Weights weights)
    : Mixer(std::move(weights.output)), shape_(shape), weights_(std::move(weights)) {}

// [heads] true: a block takes them all.
at::Tensor Rwkv7::losing_state(const Block&, at::Device device) const {
  return at::ones({shape_.heads}, at::TensorOptions(device).dtype(at::kBool));
}

Rwkv7Tokens Rwkv7::tokens(const at::Tensor& x, const at::Tensor& before, const at::Tensor& first,
                          const Product& product) const {
  const at::Tensor change = before - x;
  const auto mixed = [&](std::int64_t part) { return x + change * weights_.mix[part]; };
  const auto low_rank = [&](const at::Tensor& of, const LowRank& pair, auto activation) {
    const at::Tensor out = product(activation(product(of, pair.down)), pair.up);
    return pair.bias.defined() ? out + pair.bias : out;
  };
  const auto itself = [](const at::Tensor& t) { return t; };
  const auto by_head = [&](const at::Tensor& t) {
    return t.unflatten(-1, {shape_.heads, shape_.head_size});
  };
  const at::Tensor values_input = mixed(3);
  const at::Tensor key = product(mixed(2), weights_.key);
  const at::Tensor rate = low_rank(mixed(4), weights_.rate, itself).sigmoid();
  at::Tensor values = product(values_input, weights_.value);
  if (first.defined())
    values =
        values + (first - values) * low_rank(values_input, weights_.first_share, itself).sigmoid();
  const at::Tensor removal = by_head(key * weights_.removal);
  const at::Tensor erased =
      removal / removal.square().sum(-1, /*keepdim=*/true).sqrt().clamp_min(kShortestKey);
  const at::Tensor decay =
      low_rank(mixed(1), weights_.decay, [](const at::Tensor& t) { return t.tanh(); }).sigmoid();
  return {by_head(product(mixed(0), weights_.receptance)),
          by_head((decay * -kFastestDecay).exp()),
          by_head(key * (1 + (rate - 1) * weights_.key_rate)),
          by_head(values),
          erased,
          erased * by_head(rate),
          low_rank(mixed(5), weights_.gate, [](const at::Tensor& t) { return t.sigmoid(); })};
}

at::Tensor Rwkv7::gated(const at::Tensor& s, const Rwkv7Tokens& of, const at::Tensor& g) const {
  const at::Tensor heads = s.unflatten(-1, {shape_.heads, shape_.head_size});
  const at::Tensor centred = heads - heads.mean(-1, /*keepdim=*/true);
  const at::Tensor spread =
      (centred.square().mean(-1, /*keepdim=*/true) + weights_.norm.epsilon).sqrt();
  const at::Tensor bonus =
      (of.receptance * of.keys * weights_.bonus).sum(-1, /*keepdim=*/true) * of.values;
  return ((centred / spread).flatten(-2) * weights_.norm.weight + weights_.norm.bias +
          bonus.flatten(-2)) *
         g;
}

at::Tensor Rwkv7::mixed_tokens(Step& step, const Rwkv7Tokens& of) const {
  const auto side_by_side = [](const at::Tensor& heads) { return heads.flatten(1).contiguous(); };
  const std::int64_t hidden = shape_.hidden();
  const at::Tensor s = step.wide_matrix("s", hidden);
  dplr_delta(
      step.rows,
      {side_by_side(of.receptance), side_by_side(of.decay), side_by_side(of.keys),
       side_by_side(of.values), side_by_side(of.erased), side_by_side(of.erasing), shape_.heads},
      step.channel_masks,
      {step.wide_matrix("changes", hidden), step.wide_matrix("kept changes", hidden),
       step.workspace.wide_matrix("slot changes", step.rows.slot_count,
                                  step.rows.longest * hidden)},
      s);
  recompute_cut(step, Rwkv7Recurrence(shape_, of),
                s.unflatten(1, {shape_.heads, shape_.head_size}));
  return s;
}

Factor Rwkv7::mix(Step& step, const Factor& input) const {
  const at::Tensor x = wide_input(step, input);
  const Rwkv7Tokens of =
      tokens(x, token_before(step, x), shape_.first ? at::Tensor() : step.carried,
             [&](const at::Tensor& values, const Projection& matrix) {
               return wide_product(step, values, matrix);
             });
  if (shape_.first) step.carried.copy_(of.values.flatten(-2));
  const at::Tensor s = mixed_tokens(step, of);
  step.at(Site::kS, {s});
  step.at(Site::kG, {of.gate});
  const Factor y = factor_of(step.rows, step.workspace,
                             gated(s, of, of.gate).to(activation_type(step.workspace.precision())));
  step.at(Site::kY, y);
  return y;
}

std::vector<LayerProduct> Rwkv7::products() const {
  std::vector<LayerProduct> products;
  for (const Projection* one : {&weights_.receptance, &weights_.key, &weights_.value})
    products.push_back({one, LayerProduct::Into::kWide});
  for (const LowRank* pair :
       {&weights_.decay, &weights_.rate, &weights_.gate, &weights_.first_share})
    if (pair->down.defined())
      for (const Projection* one : {&pair->down, &pair->up})
        products.push_back({one, LayerProduct::Into::kWide});
  return products;
}

}  // namespace factflow
