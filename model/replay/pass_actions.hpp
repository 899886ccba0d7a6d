// What one pass does to values and edges beside mixing tokens, on the device: the plan's lists
// (model/replay/replay_plan.hpp) and the kernels that carry them out
// (model/kernels/interventions.hpp).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include "model/intervention.hpp"
#include "model/kernels/interventions.hpp"
#include "model/replay/replay_plan.hpp"
#include "model/workspace.hpp"

namespace factflow {

class PassActions {
 public:
  // `wide`: the type of wide numbers (model/precision.hpp). Keeps a reference to the plan.
  PassActions(const ReplayPlan& plan, at::Device device, at::ScalarType wide);

  // Whether anything is written or read there.
  bool touches(SiteAt at) const;
  // Writes and reads what the plan says, in this order. value [columns, width], as the forward goes
  // on with it but for `offset` [width], which is added to it wherever it is used; undefined: none.
  // Throws std::invalid_argument if the site has not the channels that the plan names.
  void apply(SiteAt at, const kernels::Rows& rows, const Factor& value, const at::Tensor& offset);

  // The edges of a layer that are left out after mixing, on masks [masks, width]; nothing if there
  // are none.
  std::optional<kernels::CutArgs> state_cut(int layer, Path path, const at::Tensor& masks) const;
  std::optional<kernels::CutArgs> tap_cut(int layer, const at::Tensor& masks) const;

  // ReplayPlan::before_gate and without_skip of a layer, int64; undefined: none.
  at::Tensor before_gate(int layer) const { return columns_of(before_gate_, layer); }
  at::Tensor without_skip(int layer) const { return columns_of(without_skip_, layer); }

  // What was read, in no order.
  struct Values {
    std::vector<SitePlan::Read> reads;
    at::Tensor rows;  // [reads, width], wide, on the device
  };
  std::vector<Values> take_values() { return std::move(values_); }

 private:
  struct DeviceSite {
    at::Tensor targets, writes, means, mean_columns;  // bytes
  };
  struct DeviceCuts {
    at::Tensor targets, terms;  // bytes
  };
  DeviceCuts upload(const CutPlan& cuts) const;
  template <class Item>
  at::Tensor upload(const std::vector<Item>& items) const;
  std::optional<kernels::CutArgs> cut(const CutPlan& plan, const DeviceCuts& cuts, int layer,
                                      const at::Tensor& masks) const;
  template <class T>
  void apply(SiteAt at, const kernels::Rows& rows, const kernels::SiteKernels<T>& kernels,
             const kernels::SiteValue<T>& value);
  void check_width(SiteAt at, std::int64_t width) const;
  static at::Tensor columns_of(const std::vector<at::Tensor>& layers, int layer) {
    return layers.empty() ? at::Tensor() : layers[static_cast<size_t>(layer)];
  }
  std::vector<at::Tensor> upload(const std::vector<std::vector<std::int64_t>>& layers) const;
  std::span<const SitePlan::Read> reads_at(SiteAt at) const;
  const SitePlan& site(Site one) const { return plan_.sites[static_cast<size_t>(one)]; }

  const ReplayPlan& plan_;
  at::TensorOptions wide_;
  std::array<DeviceSite, kSites> sites_;
  at::Tensor channels_, constants_;
  std::array<DeviceCuts, 2> state_;  // by path
  DeviceCuts taps_;
  std::vector<at::Tensor> before_gate_, without_skip_;  // [layer]
  std::vector<Values> values_;
};

}  // namespace factflow
