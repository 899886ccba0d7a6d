#include "model/replay/pass_actions.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "model/device.hpp"
#include "model/kernel_tables.hpp"

namespace factflow {
namespace {

template <class Item>
const Item* items(const at::Tensor& bytes) {
  return bytes.defined() ? reinterpret_cast<const Item*>(bytes.data_ptr<std::uint8_t>()) : nullptr;
}

template <class Item>
std::int32_t count(const std::vector<Item>& list) {
  return static_cast<std::int32_t>(list.size());
}

}  // namespace

template <class Item>
at::Tensor PassActions::upload(const std::vector<Item>& list) const {
  if (list.empty()) return {};
  const auto bytes = static_cast<std::int64_t>(list.size() * sizeof(Item));
  const at::Tensor staged = at::empty({bytes}, at::TensorOptions().dtype(at::kByte));
  std::memcpy(staged.data_ptr<std::uint8_t>(), list.data(), static_cast<size_t>(bytes));
  return staged.to(wide_.device());
}

std::vector<at::Tensor> PassActions::upload(
    const std::vector<std::vector<std::int64_t>>& layers) const {
  std::vector<std::int64_t> together;
  for (const std::vector<std::int64_t>& layer : layers)
    together.insert(together.end(), layer.begin(), layer.end());
  std::vector<at::Tensor> columns(layers.size());
  if (together.empty()) return columns;
  const at::Tensor all = at::tensor(together, at::kLong).to(wide_.device());
  std::int64_t begin = 0;
  for (size_t l = 0; l < layers.size(); ++l) {
    const auto count = static_cast<std::int64_t>(layers[l].size());
    if (count > 0) columns[l] = all.narrow(0, begin, count);
    begin += count;
  }
  return columns;
}

PassActions::DeviceCuts PassActions::upload(const CutPlan& cuts) const {
  return {upload(cuts.targets), upload(cuts.terms)};
}

PassActions::PassActions(const ReplayPlan& plan, at::Device device, at::ScalarType wide)
    : plan_(plan), wide_(at::TensorOptions().device(device).dtype(wide)) {
  for (size_t s = 0; s < kSites; ++s) {
    const SitePlan& from = plan.sites[s];
    sites_[s] = {upload(from.targets), upload(from.writes), upload(from.means),
                 upload(from.mean_columns)};
  }
  std::vector<std::int32_t> channels(plan.listed_channels.begin(), plan.listed_channels.end());
  channels_ = upload(channels);
  if (!plan.constants.empty()) constants_ = at::tensor(plan.constants, at::kDouble).to(wide_);
  for (const Path path : kMixerPaths)
    state_[static_cast<size_t>(path)] = upload(plan.state_cuts[static_cast<size_t>(path)]);
  taps_ = upload(plan.tap_cuts);
  before_gate_ = upload(plan.before_gate);
  without_skip_ = upload(plan.without_skip);
}

bool PassActions::touches(SiteAt at) const {
  const SitePlan& here = site(at.site);
  if (!here.written.empty() && here.written[static_cast<size_t>(at.layer)] != 0) return true;
  return !reads_at(at).empty();
}

std::span<const SitePlan::Read> PassActions::reads_at(SiteAt at) const {
  const std::vector<SitePlan::Read>& all = site(at.site).reads;  // by layer
  const auto before = [](const SitePlan::Read& a, const SitePlan::Read& b) {
    return a.layer < b.layer;
  };
  const auto [begin, end] =
      std::equal_range(all.begin(), all.end(), SitePlan::Read{at.layer, 0, 0, 0}, before);
  return {begin, end};
}

void PassActions::check_width(SiteAt at, std::int64_t width) const {
  const SitePlan& here = site(at.site);
  if (here.widest > width)
    throw std::invalid_argument(fmt::format("channel {} of site {}, which has {}", here.widest - 1,
                                            to_string(at.site), width));
  if (here.vector != 0 && here.vector != width)
    throw std::invalid_argument(fmt::format("a vector of {} numbers for {} channels of site {}",
                                            here.vector, width, to_string(at.site)));
}

void PassActions::apply(SiteAt at, const kernels::Rows& rows, const Factor& value,
                        const at::Tensor& offset) {
  check_width(at, value.width());
  with_factor_type(value, [&](auto type) {
    using T = decltype(type);
    apply<T>(at, rows, site_kernels<T>(wide_.device()),
             {output<T>(value), pointer<kernels::Wide<T>>(offset), value.width()});
  });
}

template <class T>
void PassActions::apply(SiteAt at, const kernels::Rows& rows,
                        const kernels::SiteKernels<T>& kernels,
                        const kernels::SiteValue<T>& value) {
  using W = kernels::Wide<T>;
  const SitePlan& here = site(at.site);
  const DeviceSite& lists = sites_[static_cast<size_t>(at.site)];
  if (!here.written.empty() && here.written[static_cast<size_t>(at.layer)] != 0) {
    at::Tensor means;
    if (!here.means.empty()) {
      means = at::empty({count(here.means), value.width}, wide_);
      kernels.mean(
          rows, {value, items<kernels::SiteMean>(lists.means),
                 items<std::int32_t>(lists.mean_columns), means.data_ptr<W>(), count(here.means)});
    }
    kernels.write(rows, {value, items<kernels::SiteTarget>(lists.targets),
                         items<kernels::SiteWrite>(lists.writes), items<std::int32_t>(channels_),
                         constants_.defined() ? constants_.data_ptr<W>() : nullptr,
                         means.defined() ? means.data_ptr<W>() : nullptr, count(here.targets)});
  }
  const std::span<const SitePlan::Read> reads = reads_at(at);
  if (reads.empty()) return;
  std::vector<std::int32_t> columns;
  for (const SitePlan::Read& read : reads) columns.push_back(read.column);
  const at::Tensor on_device = upload(columns);
  const at::Tensor out = at::empty({count(columns), value.width}, wide_);
  kernels.read(rows, {value, items<std::int32_t>(on_device), out.data_ptr<W>(), count(columns)});
  values_.push_back({{reads.begin(), reads.end()}, out});
}

std::optional<kernels::CutArgs> PassActions::cut(const CutPlan& plan, const DeviceCuts& cuts,
                                                 int layer, const at::Tensor& masks) const {
  if (plan.on.empty() || plan.on[static_cast<size_t>(layer)] == 0) return std::nullopt;
  return kernels::CutArgs{items<kernels::CutTarget>(cuts.targets),
                          items<kernels::CutTerm>(cuts.terms),
                          masks.defined() ? masks.data_ptr<std::uint8_t>() : nullptr,
                          masks.defined() ? masks.size(1) : 0, count(plan.targets)};
}

std::optional<kernels::CutArgs> PassActions::state_cut(int layer, Path path,
                                                       const at::Tensor& masks) const {
  const auto p = static_cast<size_t>(path);
  return cut(plan_.state_cuts[p], state_[p], layer, masks);
}

std::optional<kernels::CutArgs> PassActions::tap_cut(int layer, const at::Tensor& masks) const {
  return cut(plan_.tap_cuts, taps_, layer, masks);
}

}  // namespace factflow
