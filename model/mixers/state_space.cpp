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

void write_scan(Step& step, const at::Tensor& columns, at::Tensor s, const Factor& x,
                const at::Tensor& d) {
  if (step.touches(Site::kSkip)) {
    const at::Tensor skip = step.wide_matrix("skip", s.size(1));
    skip.index_copy_(0, columns, read_rows(x, columns, s.scalar_type()).mul_(d));
    step.at(Site::kSkip, {skip});
    if (const at::Tensor without = step.without_skip(); without.defined())
      s.index_add_(0, without, skip.index_select(0, without));
  }
  step.at(Site::kS, {s});
}

at::Tensor losing_by_decay(const ChannelSet& set, const std::vector<double>& decay_norms,
                           at::Device device) {
  const std::vector<bool> loses = channels_of(set, decay_norms);
  at::Tensor mask = at::empty({static_cast<std::int64_t>(loses.size())}, at::kBool);
  for (size_t c = 0; c < loses.size(); ++c) mask.data_ptr<bool>()[c] = loses[c];
  return mask.to(device);
}

}  // namespace factflow
