#include "model/mixers/state_space.hpp"

#include "model/network.hpp"

namespace factflow {

at::Tensor causal_taps(const at::Tensor& weight) {
  return weight.squeeze(1).flip(1).t().contiguous();
}

std::vector<double> decay_norms_of(const at::Tensor& a_log) {
  const at::Tensor decay = a_log.to(at::kCPU, at::kDouble).exp().neg().exp();
  const at::Tensor norms = (decay.dim() == 2 ? decay.sum(1) : decay).contiguous();
  const double* data = norms.data_ptr<double>();
  return {data, data + norms.numel()};
}

at::Tensor losing_by_decay(const ChannelSet& set, const std::vector<double>& decay_norms,
                           at::Device device) {
  const std::vector<bool> loses = channels_of(set, decay_norms);
  at::Tensor mask = at::empty({static_cast<std::int64_t>(loses.size())}, at::kBool);
  for (size_t c = 0; c < loses.size(); ++c) mask.data_ptr<bool>()[c] = loses[c];
  return mask.to(device);
}

}  // namespace factflow
