#include "model/mixers/row_scan.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "model/device.hpp"
#include "model/mixers/row_table.hpp"

namespace factflow {
namespace {

constexpr std::int64_t kStateBytes = std::int64_t{64} << 20;  // of the states that exist at a time

// int64 [..]: bits of a cut's flags at some tokens; 0 where `flags` is negative.
at::Tensor flags_at(const at::Tensor& all, const at::Tensor& flags, const at::Tensor& tokens) {
  const at::Tensor index = (flags + tokens).clamp(0, all.size(0) - 1);
  return all.index_select(0, index.flatten()).view(index.sizes()).to(at::kLong) *
         (flags >= 0).to(at::kLong);
}

at::Tensor has(const at::Tensor& flags, std::uint8_t bit) {
  return flags.bitwise_and(static_cast<std::int64_t>(bit)) != 0;
}

at::Tensor integers(const void* data, std::int64_t rows, std::int64_t width, at::Device device) {
  return at::from_blob(const_cast<void*>(data), {rows, width},
                       at::TensorOptions().device(device).dtype(at::kInt))
      .to(at::kLong);
}

// What columns lose beside their row's cut: a column and a term of it that is on, one after the
// other.
struct Losses {
  at::Tensor columns;  // [lanes]
  at::Tensor lane;     // [losses] which of them
  at::Tensor sources;  // [losses] where its source flags begin
  at::Tensor loses;    // [losses, channels] bool
};

// Of alive columns; nothing: no term is on in this layer.
std::optional<Losses> losses_of(const Step& step, const kernels::CutArgs& cut) {
  constexpr std::int64_t kTargetFields = sizeof(kernels::CutTarget) / sizeof(std::int32_t);
  constexpr std::int64_t kTermFields = sizeof(kernels::CutTerm) / sizeof(std::int32_t);
  const at::Device device = step.hidden.device();
  const at::Tensor targets = integers(cut.targets, cut.target_count, kTargetFields, device);
  const at::Tensor alive = (targets.select(1, 0) < step.columns()).nonzero().select(1, 0);
  if (alive.numel() == 0) return std::nullopt;
  const at::Tensor mine = targets.index_select(0, alive);
  const at::Tensor begin = mine.select(1, 1), length = mine.select(1, 2) - begin;
  const at::Tensor terms =
      integers(cut.terms, targets.select(1, 2).max().item<std::int64_t>(), kTermFields, device);
  const at::Tensor owner = at::repeat_interleave(length);
  const at::Tensor within = at::arange(owner.size(0), owner.options()) -
                            (length.cumsum(0) - length).index_select(0, owner);
  const at::Tensor term = terms.index_select(0, begin.index_select(0, owner) + within);
  const at::Tensor on = (term.select(1, 0) <= step.layer) & (term.select(1, 1) > step.layer) &
                        (term.select(1, 2) >= 0);
  const at::Tensor kept = on.nonzero().select(1, 0);
  if (kept.numel() == 0) return std::nullopt;
  const at::Tensor of_loss = term.index_select(0, kept);
  const at::Tensor masks =
      at::from_blob(const_cast<std::uint8_t*>(cut.masks),
                    {of_loss.select(1, 3).max().item<std::int64_t>() + 1, cut.mask_width},
                    at::TensorOptions().device(device).dtype(at::kByte))
          .to(at::kBool);
  const auto [lanes, lane] =
      at::_unique(owner.index_select(0, kept), /*sorted=*/true, /*return_inverse=*/true);
  return Losses{mine.select(1, 0).index_select(0, lanes), lane, of_loss.select(1, 2),
                masks.index_select(0, of_loss.select(1, 3))};
}

class Scan {
 public:
  // out [columns, channels, width]
  Scan(Step& step, const Recurrence& recurrence, at::Tensor out)
      : step_(step),
        recurrence_(recurrence),
        table_(step),
        all_flags_(table_.all_flags()),
        out_(std::move(out)) {}

  // Columns that lose edges beside their row's cut: from their first token on.
  void recompute(const kernels::CutArgs& cut) {
    const std::optional<Losses> losses = losses_of(step_, cut);
    if (!losses) return;
    count_losses(*losses);
    for (std::int64_t first = 0; first < losses->columns.size(0); first += at_once())
      scan_anew(*losses, first, std::min(at_once(), losses->columns.size(0) - first));
  }

 private:
  std::int64_t at_once() const {
    const at::Tensor one = recurrence_.initial(1);
    return std::max<std::int64_t>(1, kStateBytes / static_cast<std::int64_t>(one.nbytes()));
  }

  // Where `active` is false, the old state.
  at::Tensor advanced(const at::Tensor& state, const at::Tensor& columns, const at::Tensor& active,
                      const at::Tensor& writes, const at::Tensor& erases) const {
    std::vector<std::int64_t> shape(static_cast<size_t>(state.dim()), 1);
    shape[0] = state.size(0);
    return at::where(active.view(shape), recurrence_.after(state, columns, writes, erases), state);
  }

  void put(const at::Tensor& columns, const at::Tensor& active, const at::Tensor& values) {
    const at::Tensor some = active.nonzero().select(1, 0);
    out_.index_copy_(0, columns.index_select(0, some),
                     values.index_select(0, some).to(out_.scalar_type()));
  }

  void count_losses(const Losses& losses) const {
    const at::Tensor position =
        table_.positions().index_select(0, losses.columns).index_select(0, losses.lane);
    at::Tensor sum = at::zeros({}, position.options());
    for (std::int64_t s = 0; s < step_.rows.longest; ++s)
      sum = sum + (has(flags_at(all_flags_, losses.sources, at::full_like(position, s)),
                       kernels::kSource) &
                   (position >= s))
                      .sum();
    table_.count_blocked(sum);
  }

  // [lanes, channels] 1 unless some loss concerns the token and has the bit.
  at::Tensor kept_of(const Losses& losses, std::int64_t token, std::uint8_t bit,
                     std::int64_t lanes) const {
    const at::Tensor flags =
        flags_at(all_flags_, losses.sources, at::full_like(losses.sources, token));
    const at::Tensor lost = (has(flags, bit).unsqueeze(1) & losses.loses).to(at::kInt);
    return (at::zeros({lanes, lost.size(1)}, lost.options()).index_add_(0, losses.lane, lost) == 0)
        .to(step_.hidden.scalar_type());
  }

  void scan_anew(const Losses& all, std::int64_t begin, std::int64_t lanes) {
    const at::Tensor mine =
        ((all.lane >= begin) & (all.lane < begin + lanes)).nonzero().select(1, 0);
    const at::Tensor own = all.columns.narrow(0, begin, lanes);
    const Losses losses{own, all.lane.index_select(0, mine) - begin,
                        all.sources.index_select(0, mine), all.loses.index_select(0, mine)};
    const at::Tensor position = table_.positions().index_select(0, own);
    const at::Tensor row = table_.row_of_columns().index_select(0, own);
    const auto of_row = [&](const at::Tensor& field) { return field.index_select(0, row); };
    const at::Tensor first = of_row(table_.first_token());
    at::Tensor state = recurrence_.initial(lanes);
    for (std::int64_t t = 0; t < step_.rows.longest; ++t) {
      const at::Tensor active = position >= t, token = position.clamp_max(t);
      const at::Tensor seen = at::where(token < first, of_row(table_.clean_column()) + token,
                                        of_row(table_.column()) + token - first);
      state = advanced(state, seen, active, kept_of(losses, t, kernels::kSource, lanes),
                       kept_of(losses, t, kernels::kErase, lanes));
      put(own, position == t, recurrence_.read(state, own));
    }
  }

  Step& step_;
  const Recurrence& recurrence_;
  RowTable table_;
  at::Tensor all_flags_;
  at::Tensor out_;
};

}  // namespace

at::Tensor Recurrence::part(const at::Tensor& share, const at::Tensor& value) {
  if (!share.defined()) return value;
  return value * (share.dim() < value.dim() ? share.unsqueeze(-1) : share);
}

at::Tensor filtered(const Step& step, const Convolution& convolution, const at::Tensor& x,
                    const std::function<at::Tensor(std::int64_t back)>& lost) {
  const RowTable table(step);
  at::Tensor sum = at::zeros_like(x);
  for (std::int64_t back = 0; back < convolution.weight.size(0); ++back) {
    const at::Tensor seen = table.columns_back(back);
    at::Tensor read = x.index_select(0, seen.clamp_min(0)) * convolution.weight[back] *
                      (seen >= 0).to(x.scalar_type()).unsqueeze(1);
    if (const at::Tensor without = lost(back); without.defined())
      read = read.masked_fill(without, 0);
    sum.add_(read);
  }
  return convolution.bias.defined() ? sum.add_(convolution.bias) : sum;
}

at::Tensor lost_edges(const Step& step, std::int64_t back) {
  const RowTable table(step);
  const at::Tensor all_flags = table.all_flags(), position = table.positions();
  const at::Tensor row = table.row_of_columns(), source = position - back;
  const auto of_row = [&](const at::Tensor& field) { return field.index_select(0, row); };
  const at::Tensor flags =
      at::where(of_row(table.cut_is_on()), of_row(table.flags()), at::full_like(position, -1));
  at::Tensor lost = has(flags_at(all_flags, flags, position), kernels::kTarget) &
                    has(flags_at(all_flags, flags, source.clamp_min(0)), kernels::kSource) &
                    (source >= 0);
  table.count_blocked(lost.sum());
  const Cut cut = step.state_cut();
  const std::optional<Losses> losses = cut ? losses_of(step, *cut) : std::nullopt;
  if (!losses) return lost;
  const at::Tensor column = losses->columns.index_select(0, losses->lane);
  const at::Tensor of_loss = source.index_select(0, column);
  const at::Tensor beside =
      has(flags_at(all_flags, losses->sources, of_loss.clamp_min(0)), kernels::kSource) &
      (of_loss >= 0);
  table.count_blocked(beside.sum());
  at::Tensor count = at::zeros({step.columns()}, position.options());
  count.index_add_(0, column, beside.to(at::kLong));
  return lost | (count > 0);
}

at::Tensor lost_taps(const Step& step, std::int64_t back) {
  const Cut cut = step.tap_cut();
  const std::optional<Losses> losses = cut ? losses_of(step, *cut) : std::nullopt;
  if (!losses) return {};
  const RowTable table(step);
  const at::Tensor column = losses->columns.index_select(0, losses->lane);
  const at::Tensor source = table.positions().index_select(0, column) - back;
  const at::Tensor cuts =
      has(flags_at(table.all_flags(), losses->sources, source.clamp_min(0)), kernels::kSource) &
      (source >= 0);
  table.count_blocked(cuts.sum());
  const at::Tensor lost = (cuts.unsqueeze(1) & losses->loses).to(at::kInt);
  return at::zeros({step.columns(), lost.size(1)}, lost.options()).index_add_(0, column, lost) > 0;
}

void recompute_cut(Step& step, const Recurrence& recurrence, const at::Tensor& out) {
  const FullProducts full;
  if (const Cut cut = step.state_cut()) Scan(step, recurrence, out).recompute(*cut);
}

}  // namespace factflow
