#include "model/mixers/mixture/mixture.hpp"

#include <limits>
#include <utility>

#include "model/mixers/row_table.hpp"

namespace factflow {
namespace {

// Some rows of a factor, as a factor.
Factor gathered(const Factor& factor, const at::Tensor& rows) {
  const auto some = [&](const at::Tensor& t) { return t.defined() ? t.index_select(0, rows) : t; };
  return {some(factor.numbers), some(factor.high), some(factor.parts), factor.distance};
}

// Layers in which a row's tokens go to other experts than in the clean row: one more for each row
// of which that is true here.
void count_rerouted(Step& step, const at::Tensor& experts) {
  if (!step.rerouted.defined()) return;
  const RowTable table(step);
  const at::Tensor chosen = std::get<0>(experts.sort(1));
  const at::Tensor differs =
      (chosen != chosen.index_select(0, table.clean_columns())).any(1).to(at::kInt);
  at::Tensor of_rows = at::zeros({table.rows()}, differs.options());
  of_rows.index_add_(0, table.row_of_columns(), differs);
  step.rerouted.narrow(0, 0, table.rows()).add_((of_rows > 0).to(at::kInt));
}

}  // namespace

Mixture::Mixture(const MixtureShape& shape, MixtureWeights weights)
    : Mixer(OutputProjection{}), shape_(shape), weights_(std::move(weights)) {}

Routes routes_of(const at::Tensor& logits, const Routing& routing, const at::Tensor& choice) {
  const std::int64_t chosen = routing.chosen;
  if (routing.weights == Routing::Weights::kChosen) {
    const auto [best, experts] = logits.topk(chosen, -1);
    return {experts, best.softmax(-1)};
  }
  const bool sigmoids = routing.weights == Routing::Weights::kScores;
  const at::Tensor scores = sigmoids ? logits.sigmoid() : logits.softmax(-1);
  at::Tensor ranked = choice.defined() ? scores + choice : scores;
  if (routing.groups > 1) {
    const at::Tensor grouped = ranked.unflatten(-1, {routing.groups, -1});
    const at::Tensor best = std::get<0>(grouped.topk(2, -1)).sum(-1);
    const at::Tensor open = std::get<1>(best.topk(routing.chosen_groups, -1));
    const at::Tensor closed = at::ones_like(best, at::kBool).scatter(-1, open, false);
    ranked = grouped.masked_fill(closed.unsqueeze(-1), -std::numeric_limits<double>::infinity())
                 .flatten(-2);
  }
  const at::Tensor experts = std::get<1>(ranked.topk(chosen, -1));
  at::Tensor weights = scores.gather(-1, experts);
  if (routing.normalised)
    weights = weights / (weights.sum(-1, /*keepdim=*/true) + (sigmoids ? 1e-20 : 0));
  return {experts, routing.scale == 1 ? weights : weights * routing.scale};
}

at::Tensor Mixture::through(Step& step, const Expert& expert, const Factor& rows) const {
  const std::int64_t count = rows.rows(), width = expert.down.inputs();
  const at::Tensor inner = step.workspace.matrix("expert", count, expert.in.outputs());
  multiply(rows, expert.in, {}, inner);
  const at::Tensor gate = inner.narrow(1, 0, width);
  const at::Tensor up = shape_.gated     ? inner.narrow(1, width, width)
                        : shape_.squared ? gate
                                         : at::Tensor();
  const Factor hidden = step.workspace.factor("expert activated", count, width);
  activate(step.rows, shape_.activation, gate, up, hidden);
  const at::Tensor out = at::empty({count, expert.down.outputs()}, step.hidden.options());
  multiply(hidden, expert.down, {}, out);
  return out;
}

// Rows of one expert after the other, in the order of columns.
at::Tensor Mixture::through_experts(Step& step, const Routes& routes, const Factor& input) const {
  const std::int64_t chosen = shape_.routing.chosen, experts = shape_.routing.experts;
  const at::Tensor flat = routes.experts.flatten();
  const at::Tensor order = std::get<1>(flat.sort(/*stable=*/true, /*dim=*/0, /*descending=*/false));
  const at::Tensor counts = flat.bincount({}, experts).to(at::kCPU);
  const at::Tensor columns = at::floor_divide(order, chosen);
  const at::Tensor weights = routes.weights.flatten().index_select(0, order).unsqueeze(1);
  const std::int64_t width = weights_.experts.front().down.outputs();
  at::Tensor sum = at::zeros({step.columns(), width}, step.hidden.options());
  std::int64_t begin = 0;
  for (std::int64_t e = 0; e < experts; ++e) {
    const std::int64_t count = counts[e].item<std::int64_t>();
    if (count == 0) continue;
    const at::Tensor rows = columns.narrow(0, begin, count);
    const at::Tensor out =
        through(step, weights_.experts[static_cast<size_t>(e)], gathered(input, rows));
    sum.index_add_(0, rows, out.mul_(weights.narrow(0, begin, count)));
    begin += count;
  }
  return sum;
}

Factor Mixture::mix(Step& step, const Factor& input) const {
  step.at(Site::kMlpIn, input);
  const auto product = [&](const Factor& of, const Projection& projection) {
    const at::Tensor out = at::empty({of.rows(), projection.outputs()}, step.hidden.options());
    multiply(of, projection, {}, out);
    return out;
  };
  const Routes routes = routes_of(product(input, weights_.router), shape_.routing, weights_.choice);
  count_rerouted(step, routes.experts);
  const auto factor = [&](const at::Tensor& wide) {
    const at::Tensor numbers = wide.to(activation_type(weights_.router.precision()));
    return factor_of(step.rows, step.workspace, numbers);
  };
  at::Tensor added =
      shape_.latent == 0
          ? through_experts(step, routes, input)
          : product(
                factor(through_experts(step, routes, factor(product(input, weights_.into_latent)))),
                weights_.out_of_latent);
  if (shape_.shared_inner > 0) {
    const at::Tensor shared = through(step, weights_.shared, input);
    added.add_(shape_.shared_gate ? shared.mul_(product(input, weights_.shared_gate).sigmoid())
                                  : shared);
  }
  return {added};
}

std::vector<LayerProduct> Mixture::products() const {
  std::vector<LayerProduct> products = {{&weights_.router, LayerProduct::Into::kWide}};
  const auto add = [&](const Expert& expert) {
    products.push_back({&expert.in});
    products.push_back({&expert.down, LayerProduct::Into::kWide});
  };
  for (int i = 0; i < shape_.routing.chosen; ++i) add(weights_.experts[static_cast<size_t>(i)]);
  if (shape_.shared_inner > 0) add(weights_.shared);
  for (const Projection* latent : {&weights_.into_latent, &weights_.out_of_latent})
    if (latent->defined()) products.push_back({latent, LayerProduct::Into::kWide});
  return products;
}

}  // namespace factflow
