#include "model/ops.hpp"

#include <stdexcept>

#include "model/kernel_tables.hpp"
#include "model/kernel_views.hpp"

namespace factflow {
namespace {

using kernels::Head;
using kernels::Wide;

template <class T>
kernels::NormArgs<T> norm_args(const Norm& norm, const at::Tensor& x, const Factor& out) {
  return {input<Wide<T>>(x),
          output<T>(out),
          pointer<Wide<T>>(norm.weight),
          pointer<Wide<T>>(norm.bias),
          x.size(0),
          x.size(1),
          norm.epsilon,
          norm.subtract_mean,
          pointer<Wide<T>>(norm.offset)};
}

// x itself in all the forms of a factor.
void copy_into(const kernels::Rows& rows, const at::Tensor& x, const Factor& out) {
  if (out.numbers.defined()) out.numbers.copy_(x);
  if (!out.high.defined()) return;
  Workspace workspace(x.device(), Precision::kTf32x3);
  const Factor parts = factor_of(rows, workspace, x.contiguous());
  out.high.copy_(parts.high);
  out.parts.copy_(parts.parts);
}

}  // namespace

void apply_norm(const kernels::Rows& rows, const Norm& norm, const at::Tensor& x,
                const Factor& out) {
  if (norm.identity) return copy_into(rows, x, out);
  with_factor_type(out, [&](auto type) {
    using T = decltype(type);
    if constexpr (std::is_same_v<T, kernels::Float16>)
      table_for<kernels::Bfloat16>(x.device()).final_norm(rows, norm_args<T>(norm, x, out));
    else
      table_for<T>(x.device()).norm(rows, norm_args<T>(norm, x, out));
  });
}

void add_norm(const kernels::Rows& rows, const Norm& norm, const at::Tensor& x,
              at::Tensor residual) {
  with_type(x.scalar_type(), [&](auto type) {
    using T = decltype(type);
    if constexpr (std::is_floating_point_v<T>) {
      kernels::NormArgs<T> args = norm_args<T>(norm, x, {residual});
      args.residual = output<T>(residual);
      table_for<T>(x.device()).norm(rows, args);
    }
  });
}

void convolve(const kernels::Rows& rows, const Convolution& convolution, const at::Tensor& x,
              const Factor& out, const Cut& cut) {
  with_type(x.scalar_type(), [&](auto type) {
    using T = decltype(type);
    const kernels::ConvArgs<T> args{input<T>(x),
                                    output<T>(out),
                                    pointer<Wide<T>>(convolution.weight),
                                    pointer<Wide<T>>(convolution.bias),
                                    x.size(1),
                                    static_cast<int>(convolution.weight.size(0))};
    table_for<T>(x.device()).conv(rows, args);
    if (cut) interventions_for<T>(x.device()).cut.conv(rows, args, *cut);
  });
}

void selective_scan(const kernels::Rows& rows, const SelectiveScan& scan, const at::Tensor& x,
                    const at::Tensor& z, const at::Tensor& dt, const at::Tensor& b,
                    const at::Tensor& c, const at::Tensor& channel_masks, at::Tensor states,
                    at::Tensor scratch, const Factor& out, const Cut& cut) {
  with_type(x.scalar_type(), [&](auto type) {
    using T = decltype(type);
    kernels::ScanArgs<T> args{input<T>(x), input<T>(z), input<T>(dt),
                              input<T>(b), input<T>(c), output<T>(out)};
    args.dt_bias = pointer<Wide<T>>(scan.dt_bias);
    args.a = pointer<Wide<T>>(scan.a);
    args.d = pointer<Wide<T>>(scan.d);
    args.lose = pointer<std::uint8_t>(channel_masks);
    args.states = states.defined() ? states.data_ptr<Wide<T>>() : nullptr;
    args.scratch = scratch.data_ptr();
    args.channels = x.size(1);
    args.state_count = static_cast<int>(scan.a.size(0));
    table_for<T>(x.device()).scan(rows, args);
    if (cut) interventions_for<T>(x.device()).cut.scan(rows, args, *cut);
  });
}

void state_space_dual(const kernels::Rows& rows, const StateSpaceDual& dual, const at::Tensor& x,
                      const at::Tensor& b, const at::Tensor& c, const at::Tensor& dt,
                      const at::Tensor& channel_masks, at::Tensor out, const Cut& cut) {
  with_type(x.scalar_type(), [&](auto type) {
    using T = decltype(type);
    kernels::DualArgs<T> args{input<T>(x), input<T>(b), input<T>(c), input<T>(dt), output<T>(out)};
    args.dt_bias = pointer<Wide<T>>(dual.dt_bias);
    args.a = pointer<Wide<T>>(dual.a);
    args.d = pointer<Wide<T>>(dual.d);
    args.lose = pointer<std::uint8_t>(channel_masks);
    args.dt_min = dual.dt_min;
    args.dt_max = dual.dt_max;
    args.heads = dual.heads;
    args.head_size = dual.head_size;
    args.groups = dual.groups;
    args.states = dual.states;
    table_for<T>(x.device()).dual(rows, args);
    if (cut) interventions_for<T>(x.device()).cut.dual(rows, args, *cut);
  });
}

void delta_rule(const kernels::Rows& rows, const DeltaRule& rule, const at::Tensor& qkv,
                const at::Tensor& b, const at::Tensor& a, const at::Tensor& channel_masks,
                const DeltaScratch& scratch, at::Tensor out) {
  const std::int64_t keys = static_cast<std::int64_t>(rule.key_heads) * rule.key_size,
                     values = static_cast<std::int64_t>(rule.heads) * rule.value_size;
  with_type(qkv.scalar_type(), [&](auto type) {
    using T = decltype(type);
    kernels::DeltaArgs<T> args;
    args.q = input<T>(qkv.narrow(1, 0, keys));
    args.k = input<T>(qkv.narrow(1, keys, keys));
    args.v = input<T>(qkv.narrow(1, 2 * keys, values));
    args.b = input<T>(b);
    args.a = input<T>(a);
    args.out = output<T>(out);
    args.changes = output<Wide<T>>(scratch.changes);
    args.kept_changes = output<Wide<T>>(scratch.kept_changes);
    args.slot_changes = data_of<Wide<T>>(scratch.slot_changes);
    args.dt_bias = pointer<Wide<T>>(rule.dt_bias);
    args.rate = pointer<Wide<T>>(rule.rate);
    args.lose = pointer<std::uint8_t>(channel_masks);
    args.key_heads = rule.key_heads;
    args.key_size = rule.key_size;
    args.heads = rule.heads;
    args.value_size = rule.value_size;
    args.largest_beta = rule.largest_beta;
    args.norm_floor = rule.norm_floor;
    table_for<T>(qkv.device()).delta(rows, args);
  });
}

void dplr_delta(const kernels::Rows& rows, const DplrDelta& of, const at::Tensor& channel_masks,
                const DeltaScratch& scratch, at::Tensor out) {
  with_type(out.scalar_type(), [&](auto type) {
    using T = decltype(type);
    kernels::DplrDeltaArgs<Wide<T>> args;
    args.receptance = input<Wide<T>>(of.receptance);
    args.decay = input<Wide<T>>(of.decay);
    args.keys = input<Wide<T>>(of.keys);
    args.values = input<Wide<T>>(of.values);
    args.erased = input<Wide<T>>(of.erased);
    args.erasing = input<Wide<T>>(of.erasing);
    args.out = output<Wide<T>>(out);
    args.removed = output<Wide<T>>(scratch.changes);
    args.kept_removed = output<Wide<T>>(scratch.kept_changes);
    args.slot_removed = data_of<Wide<T>>(scratch.slot_changes);
    args.lose = pointer<std::uint8_t>(channel_masks);
    args.heads = of.heads;
    args.head_size = static_cast<int>(out.size(1) / of.heads);
    table_for<T>(out.device()).dplr_delta(rows, args);
  });
}

void linear_scan(const kernels::Rows& rows, const at::Tensor& in, const at::Tensor& decay,
                 const at::Tensor& channel_masks, at::Tensor states, at::Tensor out) {
  with_type(in.scalar_type(), [&](auto type) {
    using T = decltype(type);
    table_for<T>(in.device())
        .linear_scan(rows,
                     {input<Wide<T>>(in), input<Wide<T>>(decay), output<Wide<T>>(out),
                      data_of<Wide<T>>(states), pointer<std::uint8_t>(channel_masks), in.size(1)});
  });
}

void filter(const kernels::Rows& rows, const Convolution& convolution, bool cuts,
            const at::Tensor& x, at::Tensor out) {
  with_type(x.scalar_type(), [&](auto type) {
    using T = decltype(type);
    table_for<T>(x.device())
        .filter(rows, {input<Wide<T>>(x), output<Wide<T>>(out),
                       pointer<Wide<T>>(convolution.weight), pointer<Wide<T>>(convolution.bias),
                       x.size(1), static_cast<int>(convolution.weight.size(0)), cuts});
  });
}

void apply_gated_norm(const kernels::Rows& rows, const GatedNorm& norm, const at::Tensor& y,
                      const at::Tensor& z, const Factor& out) {
  with_type(y.scalar_type(), [&](auto type) {
    using T = decltype(type);
    const kernels::Matrix<const T> gate = z.defined() ? input<T>(z) : kernels::Matrix<const T>{};
    table_for<T>(y.device())
        .gated_norm(rows, {input<T>(y), gate, output<T>(out), pointer<Wide<T>>(norm.weight),
                           y.size(0), y.size(1), norm.group, norm.epsilon, norm.norm_before_gate});
  });
}

void rotate(const kernels::Rows& rows, const Rotations& rotations, int head_size,
            at::Tensor heads) {
  with_type(heads.scalar_type(), [&](auto type) {
    using T = decltype(type);
    table_for<T>(heads.device())
        .rotary(rows,
                {output<T>(heads), pointer<Wide<T>>(rotations.cosine),
                 pointer<Wide<T>>(rotations.sine), static_cast<int>(heads.size(1)) / head_size,
                 head_size, 2 * static_cast<int>(rotations.cosine.size(1)),
                 pointer<Wide<T>>(rotations.long_cosine), pointer<Wide<T>>(rotations.long_sine),
                 rotations.short_tokens});
  });
}

void attend(const kernels::Rows& rows, const Attention& attention,
            const at::Tensor& query_key_value, const Factor& out, const Cut& cut) {
  const std::int64_t queries = static_cast<std::int64_t>(attention.heads) * attention.head_size;
  const std::int64_t keys = static_cast<std::int64_t>(attention.key_heads) * attention.head_size;
  with_type(query_key_value.scalar_type(), [&](auto type) {
    using T = decltype(type);
    const auto part = [&](std::int64_t begin, std::int64_t count) {
      return input<T>(query_key_value.narrow(1, begin, count));
    };
    const kernels::AttentionArgs<T> args{
        part(0, queries),         part(queries, keys), part(queries + keys, keys), output<T>(out),
        attention.heads,          attention.key_heads, attention.head_size,        attention.scale,
        attention.sliding_window, attention.score_cap};
    table_for<T>(query_key_value.device()).attention(rows, args);
    if (cut) interventions_for<T>(query_key_value.device()).cut.attention(rows, args, *cut);
  });
}

void activate(const kernels::Rows& rows, kernels::Activation activation, const at::Tensor& gate,
              const at::Tensor& up, const Factor& out) {
  with_type(gate.scalar_type(), [&](auto type) {
    using T = decltype(type);
    const kernels::Matrix<const T> second =
        up.defined() ? input<T>(up) : kernels::Matrix<const T>{};
    table_for<T>(gate.device())
        .activation(
            rows, {input<T>(gate), second, output<T>(out), gate.size(0), gate.size(1), activation});
  });
}

void gather_rows(const kernels::Rows& rows, const at::Tensor& x, const at::Tensor& index,
                 at::Tensor out) {
  with_type(x.scalar_type(), [&](auto type) {
    using T = Wide<decltype(type)>;
    table_for<T>(x.device())
        .gather(rows, {input<T>(x), output<T>(out), pointer<std::int32_t>(index), index.size(0),
                       x.size(1)});
  });
}

void answer_statistics(const kernels::Rows& rows, const at::Tensor& logits,
                       const at::Tensor& answer, const LogitScaling& scaling,
                       const AnswerStatistics& out) {
  const auto read = [&](auto activation) {
    using T = decltype(activation);
    table_for<T>(logits.device())
        .answer(rows, {input<Head<T>>(logits), pointer<std::int32_t>(answer),
                       out.log_probability.data_ptr<double>(), out.rank.data_ptr<std::int32_t>(),
                       out.tied.data_ptr<std::int32_t>(), logits.size(0), logits.size(1),
                       scaling.factor, scaling.cap});
  };
  if (logits.scalar_type() == at::kHalf) return read(kernels::Bfloat16{});
  with_type(logits.scalar_type(), read);
}

namespace {

template <class T>
kernels::GateArgs<T> gate_args(const GateColumns& gate) {
  return {gate.columns.data_ptr<std::int64_t>(), static_cast<std::int32_t>(gate.columns.size(0)),
          gate.g.size(1), output<Wide<T>>(gate.g), output<Wide<T>>(gate.s)};
}

}  // namespace

void open_gate(const kernels::Rows& rows, const GateColumns& gate, at::Tensor z) {
  with_type(z.scalar_type(), [&](auto type) {
    using T = decltype(type);
    interventions_for<T>(z.device()).gate.open(rows, gate_args<T>(gate), output<T>(z));
  });
}

void take_scan(const kernels::Rows& rows, const GateColumns& gate, const Factor& out) {
  with_factor_type(out, [&](auto type) {
    using T = decltype(type);
    if constexpr (!std::is_same_v<T, kernels::Float16>)
      interventions_for<T>(gate.g.device()).gate.take(rows, gate_args<T>(gate), output<T>(out));
  });
}

void close_gate(const kernels::Rows& rows, const GateColumns& gate, const Factor& out) {
  with_factor_type(out, [&](auto type) {
    using T = decltype(type);
    if constexpr (!std::is_same_v<T, kernels::Float16>)
      interventions_for<T>(gate.g.device()).gate.close(rows, gate_args<T>(gate), output<T>(out));
  });
}

at::Tensor read_rows(const Factor& factor, const at::Tensor& rows, at::ScalarType type) {
  if (factor.numbers.defined()) return factor.numbers.index_select(0, rows).to(type);
  const at::Tensor low = factor.parts.narrow(1, 0, factor.width()).index_select(0, rows);
  return factor.high.index_select(0, rows).to(type) + low.to(type);
}

void write_rows(const kernels::Rows& plan, Workspace& workspace, const Factor& factor,
                const at::Tensor& rows, const at::Tensor& values) {
  const auto copy = [&](const at::Tensor& to, const at::Tensor& from) {
    to.index_copy_(0, rows, from.to(to.scalar_type()));
  };
  if (factor.numbers.defined()) copy(factor.numbers, values);
  if (!factor.high.defined()) return;
  const Factor parts = factor_of(plan, workspace, values);
  const std::int64_t width = factor.width();
  copy(factor.high, parts.high);
  copy(factor.parts.narrow(1, 0, width), parts.parts.narrow(1, 0, width));
  copy(factor.parts.narrow(1, factor.distance, width),
       parts.parts.narrow(1, parts.distance, width));
}

Site Step::named(Site site) const {
  const bool branched = (branched_sites >> static_cast<unsigned>(site) & 1U) != 0;
  return branched ? branch_site(site, path) : site;
}

bool Step::touches(Site site) const {
  return actions != nullptr && actions->touches({named(site), layer});
}

void Step::at(Site site, const Factor& value, const at::Tensor& offset) {
  if (touches(site)) actions->apply({named(site), layer}, rows, value, offset);
}

void Step::enter(Path of_block) {
  path = of_block;
  const PathRows& seen = of_path[static_cast<size_t>(path)];
  rows.rows = seen.rows;
  rows.replays = seen.replays;
}

Cut Step::state_cut() const {
  return actions == nullptr ? std::nullopt : actions->state_cut(layer, path, channel_masks);
}

Cut Step::tap_cut() const {
  return actions == nullptr ? std::nullopt : actions->tap_cut(layer, tap_masks);
}

at::Tensor Step::before_gate() const {
  return actions == nullptr ? at::Tensor() : actions->before_gate(layer);
}

at::Tensor Step::without_skip() const {
  return actions == nullptr ? at::Tensor() : actions->without_skip(layer);
}

void add_to_stream(Step& step, Site site, const Factor& factor, const Projection& projection,
                   const at::Tensor& bias, const at::Tensor& folded_bias, double scale) {
  if (!step.touches(site)) return multiply_into(factor, projection, bias, step.hidden, scale);
  const at::Tensor added = step.wide_matrix("added", step.hidden.size(1));
  multiply(factor, projection, bias, added);
  if (scale != 1) added.mul_(scale);
  step.at(site, {added}, scale != 1 && folded_bias.defined() ? folded_bias * scale : folded_bias);
  step.hidden.add_(added);
}

}  // namespace factflow
