// One prompt's forward with all its interventions; values are [tokens, width].
#pragma once

#include <functional>
#include <map>
#include <span>
#include <vector>

#include <ATen/ATen.h>

#include "model/intervention.hpp"
#include "model/reference/reference_pass.hpp"

namespace factflow {

// A value that autograd differentiates through, written at a site as a Write is, which is plain
// data and carries no graph.
struct TensorWrite {
  SiteAt at;
  int token = 0;
  at::Tensor value;  // [width of the site]
  bool add = false;  // to what is there
};

class PromptPass final : public ReferencePass {
 public:
  // clean_value: what a clean run of other ids has at a site, [its tokens, width]. `interventions`
  // and `tensors` stay the caller's; at a site the latter come after the former.
  using CleanValue = std::function<at::Tensor(const std::vector<int>& ids, SiteAt at)>;
  PromptPass(std::int64_t tokens, std::span<const Intervention> interventions,
             std::span<const TensorWrite> tensors, std::span<const SiteAt> reads,
             CleanValue clean_value);

  at::Tensor cut(Block::Through through, int layer, std::int64_t width, at::Device device,
                 const Losing& losing) const override;
  at::Tensor unerased(int layer, std::int64_t width, at::Device device,
                      const Losing& losing) const override;

  // What was read, [tokens, width].
  const std::map<SiteAt, at::Tensor>& values() const { return values_; }

 protected:
  at::Tensor visited(SiteAt at, at::Tensor value) override;

 private:
  // Of the blocks of the mixer's path in a layer that `concerned` is true of.
  at::Tensor edges(int layer, std::int64_t width, at::Device device, const Losing& losing,
                   const std::function<bool(const Block&)>& concerned) const;
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

}  // namespace factflow
