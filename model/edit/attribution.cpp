#include "model/edit/attribution.hpp"

#include <stdexcept>

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

#include "model/reference/reference.hpp"

namespace factflow {
namespace {

std::vector<SiteAt> every_layer(const Network& network, Site site) {
  std::vector<SiteAt> all;
  const int layers = network.architecture().layers + (site == Site::kH ? 1 : 0);
  for (int layer = 0; layer < layers; ++layer) all.push_back({site, layer});
  return all;
}

// [layers, tokens, width] of a clean run.
at::Tensor values_of(const ReferenceForward& reference, const std::vector<int>& ids,
                     const std::vector<SiteAt>& places) {
  const at::NoGradGuard no_graph;
  const auto values = reference.run(ids, {}, places).values;
  std::vector<at::Tensor> all;
  for (const SiteAt at : places) all.push_back(values.at(at));
  return at::stack(all);
}

at::Tensor probability(const at::Tensor& logits, int answer) {
  return logits[logits.size(0) - 1].softmax(0)[answer];
}

void check(const PromptPair& pair) {
  if (pair.clean.size() != pair.corrupted.size())
    throw std::invalid_argument(fmt::format("a clean prompt of {} tokens, a corrupted one of {}",
                                            pair.clean.size(), pair.corrupted.size()));
}

}  // namespace

at::Tensor gradient_map(const Network& network, const PromptPair& pair, Site site) {
  check(pair);
  const ReferenceForward reference(network);
  const std::vector<SiteAt> places = every_layer(network, site);
  const at::Tensor clean = values_of(reference, pair.clean, places);
  const at::AutoGradMode graph(true);
  const ReferenceForward::Result run = reference.run(pair.corrupted, {}, places);
  std::vector<at::Tensor> values;
  for (const SiteAt at : places) values.push_back(run.values.at(at));
  const std::vector<at::Tensor> gradients =
      torch::autograd::grad({probability(run.logits, pair.answer)}, values);
  return ((clean - at::stack(values).detach()) * at::stack(gradients)).sum(2).t();
}

at::Tensor integrated_map(const Network& network, const PromptPair& pair, Site site, int steps) {
  check(pair);
  const ReferenceForward reference(network);
  const std::vector<SiteAt> places = every_layer(network, site);
  const at::Tensor corrupted = values_of(reference, pair.corrupted, places),
                   way = values_of(reference, pair.clean, places) - corrupted;
  const at::AutoGradMode graph(true);
  // The mean of the gradient along the way, times the way.
  const auto estimate = [&](SiteAt at, int token) {
    const at::Tensor from = corrupted[at.layer][token], move = way[at.layer][token];
    double sum = 0;
    for (int k = 0; k < steps; ++k) {
      const at::Tensor value = (from + (k + 0.5) / steps * move).requires_grad_(true);
      const TensorWrite writes[] = {{at, token, value}};
      const at::Tensor p =
          probability(reference.run(pair.corrupted, {}, {}, writes).logits, pair.answer);
      sum += torch::autograd::grad({p}, {value})[0].dot(move).item<double>();
    }
    return sum / steps;
  };
  at::Tensor map = at::zeros({way.size(1), way.size(0)}, at::kDouble);
  for (const SiteAt at : places)
    for (int token = 0; token < static_cast<int>(map.size(0)); ++token)
      map[token][at.layer] = estimate(at, token);
  return map;
}

}  // namespace factflow
