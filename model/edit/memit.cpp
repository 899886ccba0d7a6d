#include "model/edit/memit.hpp"

#include <algorithm>
#include <functional>
#include <memory>
#include <stdexcept>

#include "model/edit/optimise.hpp"

namespace factflow {
namespace {

void check(const Architecture& architecture, const std::vector<int>& layers,
           const std::vector<EditRequest>& requests) {
  if (requests.empty()) throw std::invalid_argument("an edit of no facts");
  if (layers.empty() ||
      std::adjacent_find(layers.begin(), layers.end(), std::greater_equal<>()) != layers.end())
    throw std::invalid_argument("the layers of an edit must ascend");
  for (const int layer : layers)
    if (!adds_to_the_stream(architecture.blocks.at(static_cast<size_t>(layer))))
      throw std::invalid_argument(
          "MEMIT spreads over a matrix what the stream lacks, and in this family a norm or a "
          "factor stands between the two; use ROME");
}

std::vector<MatrixAt> places_of(EditedMatrix matrix, const std::vector<int>& layers) {
  std::vector<MatrixAt> places;
  for (const int layer : layers) places.push_back({matrix, layer});
  return places;
}

// ((weight C' + K K^T)^-1 K)^T of keys K^T [facts, in].
at::Tensor adjusted(const at::Tensor& keys, const at::Tensor& covariance, double weight) {
  const at::Tensor of_text =
      covariance.defined() ? covariance.to(keys.device()) : at::eye(keys.size(1), keys.options());
  return solved(weight * of_text + keys.t().matmul(keys), keys.t()).t();
}

}  // namespace

bool adds_to_the_stream(const LayerShape& layer) {
  return std::none_of(layer.begin(), layer.end(), [](const BlockShape& block) {
    return block.norm_behind || block.norm_of_stream || block.scale != 1;
  });
}

MemitEdit memit_edit(Network& network, EditedMatrix matrix, const std::vector<int>& layers,
                     std::span<const at::Tensor> covariances, double weight,
                     const std::vector<EditRequest>& requests, const EditSettings& settings) {
  check(network.architecture(), layers, requests);
  const ReferenceRows forward(network);
  const SiteAt top{Site::kH, layers.back() + 1};
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

  std::vector<PromptToken> bare;
  for (const EditRequest& request : requests)
    bare.push_back({request.prompt, request.subject_last});
  std::vector<std::unique_ptr<AppliedEdit>> applied;
  for (size_t i = 0; i < layers.size(); ++i) {
    const EditSlot slot(network, matrix, layers[i]);
    MemitStep step{layers[i], mean_keys(slot, requests), {}, {}};
    step.resid = (edit.z - stream(bare)) / static_cast<double>(layers.size() - i);
    step.adj_k = adjusted(step.keys, covariances[i], weight);
    applied.push_back(std::make_unique<AppliedEdit>(network, slot, step.delta()));
    edit.steps.push_back(step);
  }
  return edit;
}

MemitEdit memit_edit(Network& network, const MemitPlan& plan,
                     const std::vector<EditRequest>& requests, const EditSettings& settings) {
  check(network.architecture(), plan.layers, requests);
  const std::vector<at::Tensor> covariances =  // of the unedited model
      key_covariances(network, places_of(plan.matrix, plan.layers), plan.runs, plan.shrinkage);
  return memit_edit(network, plan.matrix, plan.layers, covariances, plan.weight, requests,
                    settings);
}

}  // namespace factflow
