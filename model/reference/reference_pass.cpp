#include "model/reference/reference_pass.hpp"

#include <stdexcept>

#include <fmt/format.h>

namespace factflow {

const at::Tensor& ReferencePass::carried() const {
  if (!carried_.defined())
    throw std::logic_error(
        "a forward from the middle of a model that carries more than its stream");
  return carried_;
}

at::Tensor chosen(const std::vector<int>& indices, std::int64_t width, at::Device device) {
  at::Tensor mask = at::zeros({width}, at::kBool);
  for (const int index : indices) {
    if (index < 0 || index >= width)
      throw std::invalid_argument(fmt::format("index {} of {}", index, width));
    mask.data_ptr<bool>()[index] = true;
  }
  return mask.to(device);
}

}  // namespace factflow
