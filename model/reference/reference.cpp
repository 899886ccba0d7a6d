#include "model/reference/reference.hpp"

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include "model/check_intervention.hpp"
#include "model/reference/prompt_pass.hpp"
#include "model/reference/reference_ops.hpp"

namespace factflow {

void ReferenceForward::check(const Intervention& intervention, int tokens) const {
  const auto inside = [&](const std::vector<int>& positions) {
    for (const int token : positions)
      if (token < 0 || token >= tokens)
        throw std::invalid_argument(fmt::format("token {} of a prompt of {}", token, tokens));
  };
  if (const auto* write = std::get_if<Write>(&intervention)) {
    inside(write->tokens);
  } else {
    inside(std::get<Block>(intervention).targets);
    inside(std::get<Block>(intervention).sources);
  }
  check_intervention(network_.architecture(), intervention);
}

void ReferenceForward::check(const TensorWrite& write, int tokens) const {
  if (write.token < 0 || write.token >= tokens)
    throw std::invalid_argument(fmt::format("token {} of a prompt of {}", write.token, tokens));
  check_site(network_.architecture(), write.at);
}

ReferenceForward::Result ReferenceForward::run(const std::vector<int>& ids,
                                               std::span<const Intervention> interventions,
                                               std::span<const SiteAt> reads,
                                               std::span<const TensorWrite> tensors) const {
  if (ids.empty()) throw std::invalid_argument("a prompt without tokens");
  for (const Intervention& intervention : interventions)
    check(intervention, static_cast<int>(ids.size()));
  for (const TensorWrite& write : tensors) check(write, static_cast<int>(ids.size()));
  for (const SiteAt at : reads) check_site(network_.architecture(), at);

  // Clean runs of other prompts, each run once, for all that is written from it.
  std::vector<SiteAt> borrowed;
  for (const Intervention& intervention : interventions)
    if (const auto* write = std::get_if<Write>(&intervention))
      for (const int layer : write->layers) borrowed.push_back({write->site, layer});
  std::map<std::vector<int>, std::map<SiteAt, at::Tensor>> clean;
  const auto clean_value = [&](const std::vector<int>& other, SiteAt at) {
    auto found = clean.find(other);
    if (found == clean.end()) {
      const at::NoGradGuard no_graph;
      found = clean.emplace(other, run(other, {}, borrowed).values).first;
    }
    return found->second.at(at);
  };
  PromptPass pass(static_cast<std::int64_t>(ids.size()), interventions, tensors, reads,
                  clean_value);
  return forward(ids, pass);
}

ReferenceForward::Result ReferenceForward::forward(const std::vector<int>& ids,
                                                   PromptPass& pass) const {
  const int layers = network_.architecture().layers;
  at::Tensor h = network_.embedded(ids);
  pass.carry(h);
  for (int layer = 0; layer < layers; ++layer)
    h = network_.reference_layer(pass, layer, pass.at(Site::kH, layer, h));
  h = pass.at(Site::kH, layers, h);
  h = pass.at(Site::kNorm, layers, reference::normalised(h, network_.final_norm()));
  return {network_.reference_logits(h), pass.values()};
}

at::Tensor ReferenceForward::log_probabilities(const std::vector<int>& ids,
                                               std::span<const Intervention> interventions) const {
  const at::Tensor logits = run(ids, interventions).logits;
  return logits[logits.size(0) - 1].to(at::kDouble).log_softmax(0);
}

}  // namespace factflow
