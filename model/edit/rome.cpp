#include "model/edit/rome.hpp"

#include "model/edit/optimise.hpp"

namespace factflow {

RomeEdit rome_edit(const Network& network, EditedMatrix matrix, int layer,
                   const EditRequest& request, const KeyStatistics& statistics,
                   const EditSettings& settings) {
  const EditSlot slot(network, matrix, layer);
  const EditedValue value{
      [&](const std::vector<int>& ids) { return slot.outputs(ids); },
      [&](int token, const at::Tensor& output) { return slot.write(token, output); }};
  const OptimisedValue found = optimise(ReferenceForward(network), request, value, settings);
  RomeEdit edit;
  edit.k0 = slot.keys(request.prompt)[request.subject_last];
  edit.c0 = slot.outputs(request.prompt)[request.subject_last];
  edit.k_bar = mean_key(slot, request);
  const at::Tensor direction =
      statistics.runs
          ? at::linalg_solve(key_covariance(slot, *statistics.runs, statistics.shrinkage),
                             edit.k_bar)
          : edit.k_bar;
  edit.u = direction / direction.norm();
  edit.v0 = found.start;
  edit.v_star = found.start + found.delta;
  edit.first_gradient = found.first_gradient;
  edit.r = (edit.v_star - edit.c0) / edit.u.dot(edit.k0);
  edit.trace = found.trace;
  return edit;
}

}  // namespace factflow
