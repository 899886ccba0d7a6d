#include "model/edit/edit_slot.hpp"

#include <stdexcept>
#include <utility>

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include "base/error.hpp"
#include "model/edit/optimise.hpp"
#include "model/reference/reference_ops.hpp"

namespace factflow {

EditSlot::EditSlot(const Network& network, EditedMatrix matrix, int layer)
    : network_(network),
      reference_(network),
      place_(network.editable(layer, matrix)),
      layer_(layer) {
  if (network.precision() != Precision::kFp64)
    throw InputError("precision", fmt::format("edits are computed in fp64, and the model is in {}",
                                              to_string(network.precision())));
}

at::Tensor EditSlot::value_at(const std::vector<int>& ids, Site site) const {
  const at::NoGradGuard no_graph;
  const SiteAt reads[] = {{site, layer_}};
  return reference_.run(ids, {}, reads).values.at(reads[0]);
}

at::Tensor EditSlot::keys(const std::vector<int>& ids) const {
  if (place_.matrix.key) return value_at(ids, *place_.matrix.key);
  return reference::normalised(value_at(ids, Site::kH), *place_.norm);
}

at::Tensor EditSlot::outputs(const std::vector<int>& ids) const {
  if (place_.matrix.activated) return applied(keys(ids));
  return value_at(ids, place_.matrix.value) / place_.scale;
}

TensorWrite EditSlot::write(int token, const at::Tensor& output) const {
  const at::Tensor value = place_.matrix.activated
                               ? reference::activated(output, kernels::Activation::kSilu)
                               : output * place_.scale;
  return {{place_.matrix.value, layer_}, token, value};
}

at::Tensor EditSlot::applied(const at::Tensor& keys) const {
  const EditableMatrix& matrix = place_.matrix;
  const at::Tensor y = keys.matmul(weight().t());
  return matrix.bias.defined() ? y + matrix.bias.narrow(0, matrix.first_row, matrix.rows) : y;
}

at::Tensor EditSlot::weight() const {
  const EditableMatrix& matrix = place_.matrix;
  return matrix.projection->weight()
      .narrow(0, matrix.first_row, matrix.rows)
      .narrow(1, matrix.first_column, matrix.columns);
}

AppliedEdit::AppliedEdit(Network&, const EditSlot& slot, const at::Tensor& delta)
    : weight_(slot.weight()), kept_(weight_.clone()) {
  if (delta.sizes() != weight_.sizes())
    throw std::invalid_argument(fmt::format("an edit of {} x {} for a matrix of {} x {}",
                                            delta.size(0), delta.size(1), weight_.size(0),
                                            weight_.size(1)));
  const at::NoGradGuard no_graph;
  weight_.add_(delta);
}

AppliedEdit::~AppliedEdit() {
  const at::NoGradGuard no_graph;
  weight_.copy_(kept_);
}

at::Tensor key_covariance(const EditSlot& slot, const std::vector<std::vector<int>>& runs,
                          double shrinkage) {
  std::vector<at::Tensor> all;
  for (const std::vector<int>& ids : runs) all.push_back(slot.keys(ids));
  if (all.empty()) throw std::invalid_argument("a covariance of no runs");
  const at::Tensor keys = at::cat(all);
  const at::Tensor c = keys.t().matmul(keys) / keys.size(0);
  const double mean = c.trace().item<double>() / static_cast<double>(c.size(0));
  return (1 - shrinkage) * c + shrinkage * mean * at::eye(c.size(0), c.options());
}

at::Tensor mean_key(const EditSlot& slot, const EditRequest& request) {
  std::vector<at::Tensor> keys;
  for (const std::vector<int>& context : request.contexts)
    keys.push_back(
        slot.keys(joined(context, request.prompt))[place_after(context, request.subject_last)]);
  return at::stack(keys).mean(0);
}

std::vector<PromptOutcome> outcomes(const Network& network, const EditRequest& request) {
  const at::NoGradGuard no_graph;
  const ReferenceForward reference(network);
  std::vector<std::vector<int>> prompts = {request.prompt};
  prompts.insert(prompts.end(), request.neighbours.begin(), request.neighbours.end());
  std::vector<PromptOutcome> all;
  for (const std::vector<int>& prompt : prompts) {
    const at::Tensor logits = reference.run(joined(prompt, all_but_last(request.target))).logits;
    const std::int64_t last = static_cast<std::int64_t>(prompt.size()) - 1;
    const at::Tensor next = logits[last].log_softmax(0);
    all.push_back({next[request.target.at(0)].item<double>(), next[request.answer].item<double>(),
                   target_nll(logits, last, request.target).item<double>()});
  }
  return all;
}

}  // namespace factflow
