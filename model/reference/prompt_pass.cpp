#include "model/reference/prompt_pass.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

namespace factflow {
namespace {

bool contains(const std::vector<int>& list, int value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

at::Tensor indices_on(const std::vector<int>& indices, at::Device device) {
  return at::tensor(indices, at::kLong).to(device);
}

}  // namespace

PromptPass::PromptPass(std::int64_t tokens, std::span<const Intervention> interventions,
                       std::span<const TensorWrite> tensors, std::span<const SiteAt> reads,
                       CleanValue clean_value)
    : tokens_(tokens),
      interventions_(interventions),
      tensors_(tensors),
      reads_(reads.begin(), reads.end()),
      clean_value_(std::move(clean_value)) {}

at::Tensor PromptPass::new_value(const Write& write, SiteAt at, const at::Tensor& channels) const {
  const std::int64_t count = channels.numel();
  if (const auto* vector = std::get_if<Vector>(&write.value)) {
    if (static_cast<std::int64_t>(vector->values.size()) != count)
      throw std::invalid_argument(fmt::format("a vector of {} numbers for {} channels of site {}",
                                              vector->values.size(), count, to_string(at.site)));
    return at::tensor(vector->values, at::kDouble).to(channels.device()).unsqueeze(0);
  }
  if (const auto* other = std::get_if<OtherRun>(&write.value)) {
    if (other->tokens.size() != write.tokens.size())
      throw std::invalid_argument(fmt::format("{} tokens of another run for {} tokens",
                                              other->tokens.size(), write.tokens.size()));
    return clean_value_(other->ids, at)
        .index_select(0, indices_on(other->tokens, channels.device()))
        .index_select(1, channels);
  }
  if (const auto* mean = std::get_if<MeanOfRuns>(&write.value)) {
    std::vector<at::Tensor> all;
    for (const std::vector<int>& ids : mean->runs) all.push_back(clean_value_(ids, at));
    if (all.empty()) throw std::invalid_argument("a mean of no runs");
    return at::cat(all, 0).mean(0, /*keepdim=*/true).index_select(1, channels);
  }
  return at::zeros({1, count}, channels.options().dtype(at::kDouble));
}

at::Tensor PromptPass::after_write(const Write& write, SiteAt at, const at::Tensor& value) const {
  const std::int64_t width = value.size(1);
  if (write.channels)
    for (const int channel : *write.channels)
      if (channel < 0 || channel >= width)
        throw std::invalid_argument(
            fmt::format("channel {} of site {}, which has {}", channel, to_string(at.site), width));
  const at::Tensor channels = write.channels ? indices_on(*write.channels, value.device())
                                             : at::arange(width, value.options().dtype(at::kLong));
  const at::Tensor rows = indices_on(write.tokens, value.device()).unsqueeze(1);
  const at::Tensor written =
      new_value(write, at, channels)
          .to(value.scalar_type())
          .expand({static_cast<std::int64_t>(write.tokens.size()), channels.numel()});
  const at::Tensor before = value.index({rows, channels.unsqueeze(0)});
  return value.index_put({rows, channels.unsqueeze(0)},
                         write.add ? before + write.scale * written : written);
}

at::Tensor PromptPass::after_write(const TensorWrite& write, const at::Tensor& value) const {
  if (write.value.dim() != 1 || write.value.size(0) != value.size(1))
    throw std::invalid_argument(fmt::format("a tensor of {} numbers for site {}, which has {}",
                                            write.value.numel(), to_string(write.at.site),
                                            value.size(1)));
  const at::Tensor written = write.value.to(value.options());
  return value.index_put({indices_on({write.token}, value.device())},
                         write.add ? value[write.token] + written : written);
}

at::Tensor PromptPass::visited(SiteAt here, at::Tensor value) {
  for (const Intervention& intervention : interventions_) {
    const auto* write = std::get_if<Write>(&intervention);
    if (write == nullptr || write->site != here.site || !contains(write->layers, here.layer))
      continue;
    value = after_write(*write, here, value);
  }
  for (const TensorWrite& write : tensors_)
    if (write.at == here) value = after_write(write, value);
  if (std::find(reads_.begin(), reads_.end(), here) == reads_.end()) return value;
  // The graph begins at the first value that somebody may want a gradient of.
  if (at::GradMode::is_enabled() && !value.requires_grad())
    value = value.detach().requires_grad_(true);
  values_[here] = value;
  return value;
}

at::Tensor PromptPass::cut(Block::Through through, int layer, std::int64_t width, at::Device device,
                           const Losing& losing) const {
  return edges(layer, width, device, losing, [&](const Block& block) {
    return block.through == through || block.through == Block::Through::kMixer;
  });
}

at::Tensor PromptPass::unerased(int layer, std::int64_t width, at::Device device,
                                const Losing& losing) const {
  return edges(layer, width, device, losing, [](const Block& block) {
    return block.erase && block.through != Block::Through::kConvolution;
  });
}

at::Tensor PromptPass::edges(int layer, std::int64_t width, at::Device device, const Losing& losing,
                             const std::function<bool(const Block&)>& concerned) const {
  at::Tensor cut = at::zeros({tokens_, tokens_, width}, at::TensorOptions(device).dtype(at::kBool));
  for (const Intervention& intervention : interventions_) {
    const auto* block = std::get_if<Block>(&intervention);
    if (block == nullptr || !contains(block->layers, layer)) continue;
    if (!covers(block->path, path()) || !concerned(*block)) continue;
    const at::Tensor pairs = chosen(block->targets, tokens_, device).unsqueeze(1) &
                             chosen(block->sources, tokens_, device).unsqueeze(0);
    cut |= pairs.unsqueeze(2) & losing(*block);
  }
  return cut;
}

}  // namespace factflow
