#include "model/edit/memit.hpp"

#include <algorithm>
#include <functional>
#include <memory>
#include <stdexcept>

#include <ATen/core/grad_mode.h>

#include "model/edit/optimise.hpp"

namespace factflow {
namespace {

// The residual stream, [tokens, hidden], of a clean run.
at::Tensor stream(const ReferenceForward& reference, const std::vector<int>& ids, SiteAt at) {
  const at::NoGradGuard no_graph;
  return reference.run(ids, {}, {&at, 1}).values.at(at);
}

void check(const MemitPlan& plan, const std::vector<EditRequest>& requests) {
  if (requests.empty()) throw std::invalid_argument("an edit of no facts");
  if (plan.layers.empty() || std::adjacent_find(plan.layers.begin(), plan.layers.end(),
                                                std::greater_equal<>()) != plan.layers.end())
    throw std::invalid_argument("the layers of an edit must ascend");
}

}  // namespace

MemitEdit memit_edit(Network& network, const MemitPlan& plan,
                     const std::vector<EditRequest>& requests, const EditSettings& settings) {
  check(plan, requests);
  const ReferenceForward reference(network);
  const SiteAt top{Site::kH, plan.layers.back() + 1};
  const EditedValue value{[&](const std::vector<int>& ids) { return stream(reference, ids, top); },
                          [&](int token, const at::Tensor& h) {
                            return TensorWrite{top, token, h};
                          }};
  MemitEdit edit;
  std::vector<at::Tensor> starts, wanted;
  for (const EditRequest& request : requests) {
    const OptimisedValue found = optimise(reference, request, value, settings);
    starts.push_back(found.start);
    wanted.push_back(found.start + found.delta);
    edit.traces.push_back(found.trace);
  }
  edit.start = at::stack(starts);
  edit.z = at::stack(wanted);

  std::vector<EditSlot> slots;
  std::vector<at::Tensor> covariances;  // of the unedited model
  for (const int layer : plan.layers) {
    slots.emplace_back(network, plan.matrix, layer);
    covariances.push_back(key_covariance(slots.back(), plan.runs, plan.shrinkage));
  }
  std::vector<std::unique_ptr<AppliedEdit>> applied;
  for (size_t i = 0; i < slots.size(); ++i) {
    std::vector<at::Tensor> keys, now;
    for (const EditRequest& request : requests) {
      keys.push_back(mean_key(slots[i], request));
      now.push_back(stream(reference, request.prompt, top)[request.subject_last]);
    }
    MemitStep step{plan.layers[i], at::stack(keys), {}, {}};
    step.resid = (edit.z - at::stack(now)) / static_cast<double>(slots.size() - i);
    step.adj_k = at::linalg_solve(plan.weight * covariances[i] + step.keys.t().matmul(step.keys),
                                  step.keys.t())
                     .t();
    applied.push_back(std::make_unique<AppliedEdit>(network, slots[i], step.delta()));
    edit.steps.push_back(step);
  }
  return edit;
}

}  // namespace factflow
