// One whole forward with its interventions: what the layers of model/reference/ ask as they go.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <vector>

#include <ATen/ATen.h>

#include "model/intervention.hpp"

namespace factflow {

// A value that autograd differentiates through, written at a site as a Write is, which is plain
// data and carries no graph.
struct TensorWrite {
  SiteAt at;
  int token = 0;
  at::Tensor value;  // [width of the site]
  bool add = false;  // to what is there
};

class ReferencePass {
 public:
  // clean_value: what a clean run of other ids has at a site, [its tokens, width]. `interventions`
  // and `tensors` stay the caller's; at a site the latter come after the former.
  using CleanValue = std::function<at::Tensor(const std::vector<int>& ids, SiteAt at)>;
  ReferencePass(std::int64_t tokens, std::span<const Intervention> interventions,
                std::span<const TensorWrite> tensors, std::span<const SiteAt> reads,
                CleanValue clean_value);

  // The value of a site, [tokens, width], as the forward goes on with it. Throws
  // std::invalid_argument for channels or a vector that do not fit the width.
  at::Tensor at(Site site, int layer, at::Tensor value);

  // [tokens, tokens, width] true = (target, source) loses the edge `through` in this layer, on the
  // columns that `losing` gives for a block, [width] bool.
  using Losing = std::function<at::Tensor(const Block& block)>;
  at::Tensor cut(Block::Through through, int layer, std::int64_t width, at::Device device,
                 const Losing& losing) const;

  std::int64_t tokens() const { return tokens_; }
  // What was read, [tokens, width].
  const std::map<SiteAt, at::Tensor>& values() const { return values_; }

 private:
  // [tokens written or 1, channels written]
  at::Tensor new_value(const Write& write, SiteAt at, const at::Tensor& channels) const;
  at::Tensor after_write(const Write& write, SiteAt at, const at::Tensor& value) const;
  at::Tensor after_write(const TensorWrite& write, const at::Tensor& value) const;

  std::int64_t tokens_;
  std::span<const Intervention> interventions_;
  std::span<const TensorWrite> tensors_;
  std::vector<SiteAt> reads_;
  CleanValue clean_value_;
  std::map<SiteAt, at::Tensor> values_;
};

// [width] true at the indices; throws std::invalid_argument for one outside.
at::Tensor chosen(const std::vector<int>& indices, std::int64_t width, at::Device device);

}  // namespace factflow
