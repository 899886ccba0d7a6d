#include "model/edit/rome.hpp"

#include "model/edit/optimise.hpp"

namespace factflow {

RomeEdit rome_edit(const Network& network, EditedMatrix matrix, int layer,
                   const EditRequest& request, const KeyStatistics& statistics,
                   const EditSettings& settings) {
  at::Tensor covariance;
  if (statistics.runs)
    covariance =
        key_covariance(EditSlot(network, matrix, layer), *statistics.runs, statistics.shrinkage);
  return rome_edits(network, matrix, layer, {&request, 1}, covariance, settings).front();
}

std::vector<RomeEdit> rome_edits(const Network& network, EditedMatrix matrix, int layer,
                                 std::span<const EditRequest> requests,
                                 const at::Tensor& covariance, const EditSettings& settings) {
  if (requests.empty()) return {};
  const EditSlot slot(network, matrix, layer);
  const std::vector<OptimisedValue> found = optimise(network, slot.edited(), requests, settings);
  std::vector<PromptToken> bare;
  for (const EditRequest& request : requests)
    bare.push_back({request.prompt, request.subject_last});
  const SlotValues values = slot.values(bare);
  const at::Tensor k_bar = mean_keys(slot, requests);
  const at::Tensor directions =
      covariance.defined() ? solved(covariance.to(k_bar.device()), k_bar.t()).t() : k_bar;
  std::vector<RomeEdit> edits;
  for (size_t i = 0; i < requests.size(); ++i) {
    const auto row = static_cast<std::int64_t>(i);
    RomeEdit& edit = edits.emplace_back();
    edit.k0 = values.keys[row];
    edit.c0 = values.outputs[row];
    edit.k_bar = k_bar[row];
    edit.u = directions[row] / directions[row].norm();
    edit.v0 = found[i].start;
    edit.v_star = found[i].start + found[i].delta;
    edit.first_gradient = found[i].first_gradient;
    edit.r = (edit.v_star - edit.c0) / edit.u.dot(edit.k0);
    edit.trace = found[i].trace;
  }
  return edits;
}

}  // namespace factflow
