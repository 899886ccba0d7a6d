#include "model/edit/rome.hpp"

#include "model/edit/optimise.hpp"

namespace factflow {
namespace {

RomeEdit one_edit(const Network& network, const EditSlot& slot, const EditRequest& request,
                  const at::Tensor& covariance, const EditSettings& settings) {
  const EditedValue value{
      [&](const std::vector<int>& ids) { return slot.outputs(ids); },
      [&](int token, const at::Tensor& output) { return slot.write(token, output); }};
  const OptimisedValue found = optimise(ReferenceForward(network), request, value, settings);
  RomeEdit edit;
  edit.k0 = slot.keys(request.prompt)[request.subject_last];
  edit.c0 = slot.outputs(request.prompt)[request.subject_last];
  edit.k_bar = mean_key(slot, request);
  const at::Tensor direction =
      covariance.defined() ? at::linalg_solve(covariance, edit.k_bar) : edit.k_bar;
  edit.u = direction / direction.norm();
  edit.v0 = found.start;
  edit.v_star = found.start + found.delta;
  edit.first_gradient = found.first_gradient;
  edit.r = (edit.v_star - edit.c0) / edit.u.dot(edit.k0);
  edit.trace = found.trace;
  return edit;
}

}  // namespace

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
  const EditSlot slot(network, matrix, layer);
  std::vector<RomeEdit> edits;
  for (const EditRequest& request : requests)
    edits.push_back(one_edit(network, slot, request, covariance, settings));
  return edits;
}

}  // namespace factflow
