// Many prompts side by side through the reference forward, as edits of many facts need them. Every
// model is causal and counts positions from the left, so rows are padded on the right, and nothing
// changes in what comes before.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include <ATen/ATen.h>

#include "model/intervention.hpp"
#include "model/network.hpp"

namespace factflow {

// A token of a prompt.
struct PromptToken {
  std::vector<int> ids;
  int token = 0;
};

// What is written into a batch, at one token of each row.
struct RowWrite {
  SiteAt at;
  at::Tensor tokens;  // [rows] int64
  at::Tensor values;  // [rows, width of the site]
};

// Tokens of a batch at most, padding included, but for a single row that has more. A constant, so
// that what is computed together depends on the rows alone.
constexpr std::int64_t kTokensAtOnce = 2048;
// Which of rows of these lengths make a batch, the longest rows first, equally long ones in order.
// Rows on different sides of a limit of LongRoPE make none: its rotations are of the whole row, and
// padding would turn the shorter ones as the longer ones are.
std::vector<std::vector<size_t>> row_batches(const std::vector<std::int64_t>& lengths,
                                             const Architecture& architecture);

// What is passed from layer to layer, [rows, tokens, hidden] of a batch or [tokens, hidden] of one
// of its rows.
struct ReferenceStream {
  at::Tensor h;
  // What tokens carry beside it; undefined where no mixer does (model/mixers/mixer_roles.hpp).
  at::Tensor carried = {};
};

// [rows, longest, ..] of rows [length, ..], which go on with copies of their last entry.
at::Tensor padded(const std::vector<at::Tensor>& rows);
ReferenceStream padded(const std::vector<ReferenceStream>& rows);

// The gradients of a scalar with respect to `asked`, all of which come before `out`, from those
// with respect to `out`, where undefined is 0; so are they themselves.
std::vector<at::Tensor> gradients_before(const ReferenceStream& out, const ReferenceStream& of_out,
                                         const std::vector<at::Tensor>& asked);

// Streams are in the network's wide number type, on its device. What is written or asked of h is of
// h alone: what tokens carry beside it stays.
class ReferenceRows {
 public:
  // The network must outlive it.
  explicit ReferenceRows(const Network& network) : network_(network) {}

  // What enters layer 0. Throws std::invalid_argument for a row that is empty, or that the network
  // cannot read, and for rows that make no batch (row_batches()).
  ReferenceStream embedded(const std::vector<std::vector<int>>& rows) const;
  // What enters layer `end` where `stream` enters layer `begin`. `seen` is shown every site's value
  // on the way, h at `begin` and at `end` as well.
  using Seen = std::function<void(SiteAt at, const at::Tensor& value)>;
  ReferenceStream through(const ReferenceStream& stream, int begin, int end,
                          const Seen& seen = {}) const;
  // Logits [.., vocabulary] of what comes out of the last layer, [.., hidden].
  at::Tensor logits(const at::Tensor& stream) const;

  // What comes out of the last layer if `stream` enters layer write.at.layer.
  at::Tensor top(const ReferenceStream& stream, const RowWrite& write) const;
  // The gradient, [rows, width], of a scalar that is computed from top() with respect to
  // write.values. Goes back layer after layer and computes each again for that, so that no more
  // than one layer's graph exists at a time.
  using Loss = std::function<at::Tensor(const at::Tensor& top)>;
  at::Tensor gradient(const ReferenceStream& stream, const RowWrite& write, const Loss& loss) const;

  // Of clean runs, without a graph: the values of sites at tokens of prompts, [places, width] each,
  // and the prompts' whole streams at a layer. Throw std::invalid_argument
  // for what the network or a prompt does not have.
  std::vector<at::Tensor> values_at(std::span<const PromptToken> places,
                                    std::span<const SiteAt> sites) const;
  std::vector<ReferenceStream> streams(const std::vector<std::vector<int>>& prompts,
                                       int layer) const;

 private:
  ReferenceStream layer(const ReferenceStream& stream, int layer, const RowWrite* write,
                        const Seen& seen) const;

  const Network& network_;
};

// Indices as a tensor, int64.
at::Tensor indices_on(const std::vector<std::int64_t>& indices, at::Device device);

}  // namespace factflow
