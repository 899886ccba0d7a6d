#include "model/mixers/mamba/mamba_shape.hpp"

#include <stdexcept>
#include <variant>

#include <fmt/format.h>

#include "model/limits.hpp"

namespace factflow {
namespace {

std::int64_t wide_bytes(Precision precision) {
  return static_cast<std::int64_t>(c10::elementSize(wide_type(precision)));
}

}  // namespace

std::string MambaShape::in_words() const {
  return fmt::format("{} channels x {} states, dt rank {}, convolution {}{}", inner, states,
                     time_step_rank, conv_kernel,
                     normalise_parameters ? ", dt B C normalised" : "");
}

std::string MambaShape::edges_in_words() const {
  return "state, convolution: of all channels, of a set by decay, or of a list";
}

std::int64_t MambaShape::bytes_per_state(Precision precision) const {
  return static_cast<std::int64_t>(states) * inner * wide_bytes(precision);
}

std::vector<ColumnBuffer> MambaShape::buffers(Precision precision) const {
  const std::int64_t activation = activation_bytes(precision), factor = factor_bytes(precision);
  const std::int64_t width = inner,
                     parameters = time_step_rank + 2 * static_cast<std::int64_t>(states);
  return {{"xz", 2 * width * activation},
          {"dt", width * activation},
          {"x", width * (activation + factor)},
          {"parameters", parameters * (activation + wide_bytes(precision))},
          {"low rank", time_step_rank * factor},
          {"mixed", width * factor}};
}

void MambaShape::check_cuda(const CudaLimits& limits, const std::string& model) const {
  expect_at_most(limits.states, states, "states per channel", model);
}

std::vector<Site> MambaShape::sites() const {
  return {Site::kA, Site::kConv, Site::kSkip, Site::kS, Site::kG, Site::kY, Site::kO};
}

std::int64_t MambaShape::site_width(Site site) const {
  return site == Site::kO ? 0 : inner;
}

void MambaShape::check_block(const Block& block) const {
  if (std::holds_alternative<Heads>(block.selection) || block.parts)
    throw std::invalid_argument("mamba has channels, not heads or parts");
  if (const auto* channels = std::get_if<Channels>(&block.selection))
    check_indices(channels->indices, inner, "channels");
}

}  // namespace factflow
