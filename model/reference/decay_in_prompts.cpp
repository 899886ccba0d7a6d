#include "model/reference/decay_in_prompts.hpp"

#include <stdexcept>

#include <ATen/core/grad_mode.h>

#include "model/reference/prompt_pass.hpp"

namespace factflow {

DecayInPrompts decay_in_prompts(const Network& network,
                                const std::vector<std::vector<int>>& prompts) {
  const at::NoGradGuard no_graph;
  const int layers = network.architecture().layers;
  std::vector<at::Tensor> sums(static_cast<size_t>(layers));
  DecayInPrompts decay;
  for (const std::vector<int>& ids : prompts) {
    const auto tokens = static_cast<std::int64_t>(ids.size());
    if (tokens < 2) continue;
    PromptPass pass(tokens, {}, {}, {}, {});
    pass.listen_to_decay([&](int layer, const at::Tensor& left) {
      const at::Tensor sum = left.narrow(0, 1, tokens - 1).to(at::kDouble).sum(0).to(at::kCPU);
      at::Tensor& all = sums[static_cast<size_t>(layer)];
      all = all.defined() ? all + sum : sum;
    });
    at::Tensor h = network.embedded(ids);
    for (int layer = 0; layer < layers; ++layer) h = network.reference_layer(pass, layer, h);
    decay.tokens += tokens - 1;
  }
  if (decay.tokens == 0) throw std::invalid_argument("no prompt has two tokens");
  for (const at::Tensor& sum : sums) {
    std::vector<float>& mean = decay.mean.emplace_back();
    if (!sum.defined()) continue;
    const at::Tensor means = (sum / static_cast<double>(decay.tokens)).to(at::kFloat).contiguous();
    mean.assign(means.data_ptr<float>(), means.data_ptr<float>() + means.numel());
  }
  return decay;
}

}  // namespace factflow
