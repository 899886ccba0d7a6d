#include "model/edit/lre.hpp"

#include <algorithm>
#include <stdexcept>
#include <tuple>

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include "model/reference/reference.hpp"
#include "model/reference/reference_ops.hpp"

namespace factflow {
namespace {

// Singular values that are not rounding.
std::int64_t rank_of(const at::Tensor& values) {
  constexpr double kRounding = 1e-10;  // of the largest
  return (values > kRounding * values[0]).sum().item<std::int64_t>();
}

SiteAt last_stream(const Network& network) {
  return {Site::kH, network.architecture().layers};
}

void check(const RelationPrompt& prompt) {
  if (prompt.subject_last < 0 || prompt.subject_last >= static_cast<int>(prompt.ids.size()))
    throw std::invalid_argument("the subject's last token is outside its prompt");
}

}  // namespace

RelationJacobian relation_states(const Network& network, const RelationPrompt& prompt, int layer) {
  check(prompt);
  const at::NoGradGuard no_graph;
  const SiteAt reads[] = {{Site::kH, layer}, last_stream(network)};
  const auto values = ReferenceForward(network).run(prompt.ids, {}, reads).values;
  const auto last = static_cast<std::int64_t>(prompt.ids.size()) - 1;
  return {values.at(reads[0])[prompt.subject_last], values.at(reads[1])[last], {}};
}

RelationJacobian relation_jacobian(const Network& network, const RelationPrompt& prompt,
                                   int layer) {
  RelationJacobian found = relation_states(network, prompt, layer);
  const at::AutoGradMode graph(true);
  const at::Tensor s = found.s.clone().requires_grad_(true);
  const TensorWrite writes[] = {{{Site::kH, layer}, prompt.subject_last, s}};
  const SiteAt reads[] = {last_stream(network)};
  const at::Tensor stream =
      ReferenceForward(network).run(prompt.ids, {}, reads, writes).values.at(reads[0]);
  const at::Tensor z = stream[stream.size(0) - 1];
  std::vector<at::Tensor> rows;
  for (std::int64_t i = 0; i < z.size(0); ++i)
    rows.push_back(torch::autograd::grad({z[i]}, {s}, {}, /*retain_graph=*/true)[0]);
  found.j = at::stack(rows);
  return found;
}

LinearRelation fit_relation(const Network& network, const std::vector<RelationPrompt>& prompts,
                            int layer) {
  if (prompts.empty()) throw std::invalid_argument("a relation without prompts");
  LinearRelation relation;
  relation.layer = layer;
  std::vector<at::Tensor> slopes, biases;
  for (const RelationPrompt& prompt : prompts) {
    const RelationJacobian part = relation_jacobian(network, prompt, layer);
    slopes.push_back(part.j);
    biases.push_back(part.z - part.j.mv(part.s));
    relation.parts.push_back(part);
  }
  relation.w = at::stack(slopes).mean(0);
  relation.b = at::stack(biases).mean(0);
  return relation;
}

at::Tensor read_out(const Network& network, const at::Tensor& z) {
  const at::NoGradGuard no_graph;
  return network.reference_logits(reference::normalised(z.unsqueeze(0), network.final_norm()))[0];
}

at::Tensor singular_values(const at::Tensor& w) {
  const at::Tensor values = at::linalg_svdvals(w);
  values.narrow(0, rank_of(values), values.size(0) - rank_of(values)).zero_();
  return values;
}

at::Tensor low_rank_inverse(const at::Tensor& w, int rank) {
  const auto [u, values, vh] = at::linalg_svd(w);
  const std::int64_t kept = std::min<std::int64_t>(rank, rank_of(values));
  return vh.narrow(0, 0, kept)
      .t()
      .matmul(u.narrow(1, 0, kept).t() / values.narrow(0, 0, kept).unsqueeze(1));
}

at::Tensor shifted_log_probabilities(const Network& network, const RelationPrompt& prompt,
                                     int layer, const at::Tensor& shift) {
  check(prompt);
  const at::NoGradGuard no_graph;
  const TensorWrite writes[] = {{{Site::kH, layer}, prompt.subject_last, shift, /*add=*/true}};
  const at::Tensor logits = ReferenceForward(network).run(prompt.ids, {}, {}, writes).logits;
  return logits[logits.size(0) - 1].log_softmax(0);
}

}  // namespace factflow
