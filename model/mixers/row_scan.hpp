// Recurrences over the rows of a step, computed by libtorch operations on any device.
#pragma once

#include <cstdint>
#include <functional>

#include <ATen/ATen.h>

#include "model/ops.hpp"

namespace factflow {

// What a mixer with a state does with one token of each of many sequences. Channels are what loses
// edges one by one: heads, or single channels. All numbers are wide.
class Recurrence {
 public:
  virtual ~Recurrence() = default;

  // Before the first token, [sequences, channels, ..].
  virtual at::Tensor initial(std::int64_t sequences) const = 0;
  // After one token more, each sequence's being one of the step's columns, int64 [sequences]. What
  // of it enters, [sequences, channels] of 0 and 1: `writes` its value, `erases` what it takes
  // away; undefined: all of it.
  virtual at::Tensor after(const at::Tensor& state, const at::Tensor& columns,
                           const at::Tensor& writes, const at::Tensor& erases) const = 0;
  // [sequences, channels, width]: what the column reads in the state that its own token has
  // entered.
  virtual at::Tensor read(const at::Tensor& state, const at::Tensor& columns) const = 0;

 protected:
  // What of `value` [sequences, channels, ..] enters; see after().
  static at::Tensor part(const at::Tensor& share, const at::Tensor& value);
};

// What columns with cuts beside their row's read without the edges that they lose, which are
// counted, into out [columns, channels, width] of any number type: what no kernel leaves out. Each
// is scanned anew from its first token, by libtorch operations.
void recompute_cut(Step& step, const Recurrence& recurrence, const at::Tensor& out);

// [columns] whether each column loses its edge to the token so many tokens before its own, on all
// channels: by its row's cut, or beside it. Such edges are counted.
at::Tensor lost_edges(const Step& step, std::int64_t back);
// [columns, width of the taps' masks] likewise which taps it loses by `step.tap_cut()`; undefined:
// none.
at::Tensor lost_taps(const Step& step, std::int64_t back);
// [columns, width] a convolution without an activation, by libtorch operations: x [columns, width],
// wide. lost(back): true for what of that tap a column loses, [columns, 1 or width]; undefined:
// none.
at::Tensor filtered(const Step& step, const Convolution& convolution, const at::Tensor& x,
                    const std::function<at::Tensor(std::int64_t back)>& lost);

}  // namespace factflow
