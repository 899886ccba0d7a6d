#include "model/edit/memit.hpp"

#include <algorithm>
#include <functional>
#include <memory>
#include <stdexcept>

#include "model/edit/optimise.hpp"

namespace factflow {
namespace {

// What a matrix adds must be what the stream gains: residuals of the stream are spread over it.
bool adds_to_the_stream(const LayerShape& layer) {
  return std::none_of(layer.begin(), layer.end(), [](const BlockShape& block) {
    return block.norm_behind || block.norm_of_stream || block.scale != 1;
  });
}

void check(const Architecture& architecture, const MemitPlan& plan,
           const std::vector<EditRequest>& requests) {
  if (requests.empty()) throw std::invalid_argument("an edit of no facts");
  if (plan.layers.empty() || std::adjacent_find(plan.layers.begin(), plan.layers.end(),
                                                std::greater_equal<>()) != plan.layers.end())
    throw std::invalid_argument("the layers of an edit must ascend");
  for (const int layer : plan.layers)
    if (!adds_to_the_stream(architecture.blocks.at(static_cast<size_t>(layer))))
      throw std::invalid_argument(
          "MEMIT spreads over a matrix what the stream lacks, and in this family a norm or a "
          "factor "
          "stands between the two; use ROME");
}

}  // namespace

MemitEdit memit_edit(Network& network, const MemitPlan& plan,
                     const std::vector<EditRequest>& requests, const EditSettings& settings) {
  check(network.architecture(), plan, requests);
  const ReferenceRows forward(network);
  const SiteAt top{Site::kH, plan.layers.back() + 1};
  const auto stream = [&](const std::vector<PromptToken>& places) {
    return forward.values_at(places, {&top, 1})[0].to(at::kDouble);
  };
  const EditedValue value{top, stream, [](const at::Tensor& h) { return h; }};
  MemitEdit edit;
  std::vector<at::Tensor> starts, wanted;
  for (const OptimisedValue& found : optimise(network, value, requests, settings)) {
    starts.push_back(found.start);
    wanted.push_back(found.start + found.delta);
    edit.traces.push_back(found.trace);
  }
  edit.start = at::stack(starts);
  edit.z = at::stack(wanted);

  std::vector<MatrixAt> places;
  for (const int layer : plan.layers) places.push_back({plan.matrix, layer});
  const std::vector<at::Tensor> covariances =  // of the unedited model
      key_covariances(network, places, plan.runs, plan.shrinkage);
  std::vector<PromptToken> bare;
  for (const EditRequest& request : requests)
    bare.push_back({request.prompt, request.subject_last});
  std::vector<std::unique_ptr<AppliedEdit>> applied;
  for (size_t i = 0; i < places.size(); ++i) {
    const EditSlot slot(network, plan.matrix, plan.layers[i]);
    MemitStep step{plan.layers[i], mean_keys(slot, requests), {}, {}};
    step.resid = (edit.z - stream(bare)) / static_cast<double>(places.size() - i);
    step.adj_k =
        solved(plan.weight * covariances[i] + step.keys.t().matmul(step.keys), step.keys.t()).t();
    applied.push_back(std::make_unique<AppliedEdit>(network, slot, step.delta()));
    edit.steps.push_back(step);
  }
  return edit;
}

}  // namespace factflow
