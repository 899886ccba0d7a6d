#include "model/mixers/mamba2/mamba2_shape.hpp"

#include <stdexcept>
#include <variant>

#include <fmt/format.h>

#include "model/checkpoint_choices.hpp"
#include "model/limits.hpp"

namespace factflow {

std::string Mamba2Shape::in_words() const {
  std::string norm;
  if (gated_norm && groups > 1)
    norm = fmt::format(", gated norm over {}", norm_group == inner ? "all channels" : "each group");
  return fmt::format("{} heads of {} x {} states, {} groups, convolution {}{}", heads, head_size,
                     states, groups, conv_kernel, norm);
}

std::string Mamba2Shape::edges_in_words() const {
  return "state: of all heads, of a set by decay, or of a list; convolution: the same, of a list "
         "of channels of x, or of x, B or C alone";
}

std::shared_ptr<const MixerShape> Mamba2Shape::chosen(const CheckpointChoices& choices) const {
  if (!gated_norm || choices.gated_norm != GatedNormChoice::kAllChannels) return nullptr;
  auto changed = std::make_shared<Mamba2Shape>(*this);
  changed->norm_group = inner;
  return changed;
}

std::vector<ColumnBuffer> Mamba2Shape::buffers(Precision precision) const {
  const std::int64_t activation = activation_bytes(precision);
  std::vector<ColumnBuffer> buffers = {
      {"projected", projected() * activation},
      {"xbc", conv_channels() * activation},
      {"mixed", (static_cast<std::int64_t>(mlp_size) + inner) * factor_bytes(precision)}};
  // In other precisions in place.
  if (precision == Precision::kTf32x3) buffers.push_back({"y", inner * activation});
  return buffers;
}

void Mamba2Shape::check_cuda(const CudaLimits& limits, const std::string& model) const {
  expect_shared(limits.shared_bytes, heads / groups, model);
}

std::vector<Site> Mamba2Shape::sites() const {
  return {Site::kA, Site::kXbc, Site::kConv, Site::kSkip, Site::kS, Site::kG, Site::kY, Site::kO};
}

std::int64_t Mamba2Shape::site_width(Site site) const {
  if (site == Site::kO) return 0;
  return site == Site::kXbc || site == Site::kConv ? conv_channels() : inner;
}

void Mamba2Shape::check_block(const Block& block) const {
  const bool convolution = block.through == Block::Through::kConvolution;
  const auto* set = std::get_if<ChannelSet>(&block.selection);
  if (std::holds_alternative<Channels>(block.selection) && !convolution)
    throw std::invalid_argument(
        "mamba2: a list of channels goes through the convolution only; choose heads");
  const bool some = set == nullptr || set->kind != ChannelSet::Kind::kAll;
  if (some && block.parts && (block.parts->b || block.parts->c || !block.parts->x))
    throw std::invalid_argument(
        "mamba2: B and C have no heads or channels: with a selection of them parts is x alone");
  if (const auto* one = std::get_if<Heads>(&block.selection))
    check_indices(one->indices, heads, "heads");
  if (const auto* channels = std::get_if<Channels>(&block.selection))
    check_indices(channels->indices, inner, "channels of x");
}

}  // namespace factflow
