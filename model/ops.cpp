#include "model/ops.hpp"

#include <stdexcept>

#include "model/kernel_views.hpp"

namespace factflow {
namespace {

using kernels::Head;
using kernels::Wide;

template <class T>
const kernels::KernelTable<T>& table_for(const at::Tensor& tensor) {
#ifdef FACTFLOW_CUDA
  if constexpr (!std::is_same_v<T, double>)
    if (tensor.is_cuda()) return kernels::cuda_kernels<T>();
#endif
  if constexpr (!std::is_same_v<T, kernels::Bfloat16>)
    if (tensor.is_cpu()) return kernels::cpu_kernels<T>();
  throw std::logic_error("no kernels for this device and number type");
}

// Calls function(T{}) with the number type of activations.
template <class Function>
void with_type(at::ScalarType type, Function function) {
  if (type == at::kDouble) return function(double{});
  if (type == at::kFloat) return function(float{});
  if (type == at::kBFloat16) return function(kernels::Bfloat16{});
  throw std::logic_error("no kernels for this number type");
}

// Parts are written from float32 activations.
at::ScalarType type_of(const Factor& factor) {
  return factor.numbers.defined() ? factor.numbers.scalar_type() : at::kFloat;
}

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

}  // namespace

void apply_norm(const kernels::Rows& rows, const Norm& norm, const at::Tensor& x,
                const Factor& out) {
  if (type_of(out) == at::kHalf)
    return table_for<kernels::Bfloat16>(x).final_norm(rows,
                                                      norm_args<kernels::Float16>(norm, x, out));
  with_type(type_of(out), [&](auto type) {
    using T = decltype(type);
    table_for<T>(x).norm(rows, norm_args<T>(norm, x, out));
  });
}

void convolve(const kernels::Rows& rows, const Convolution& convolution, const at::Tensor& x,
              const Factor& out) {
  with_type(x.scalar_type(), [&](auto type) {
    using T = decltype(type);
    table_for<T>(x).conv(rows, {input<T>(x), output<T>(out), pointer<Wide<T>>(convolution.weight),
                                pointer<Wide<T>>(convolution.bias), x.size(1),
                                static_cast<int>(convolution.weight.size(0))});
  });
}

void selective_scan(const kernels::Rows& rows, const SelectiveScan& scan, const at::Tensor& x,
                    const at::Tensor& z, const at::Tensor& dt, const at::Tensor& b,
                    const at::Tensor& c, const at::Tensor& channel_masks, at::Tensor states,
                    at::Tensor scratch, const Factor& out) {
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
    table_for<T>(x).scan(rows, args);
  });
}

void state_space_dual(const kernels::Rows& rows, const StateSpaceDual& dual, const at::Tensor& x,
                      const at::Tensor& b, const at::Tensor& c, const at::Tensor& dt,
                      const at::Tensor& channel_masks, at::Tensor out) {
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
    table_for<T>(x).dual(rows, args);
  });
}

void apply_gated_norm(const kernels::Rows& rows, const GatedNorm& norm, const at::Tensor& y,
                      const at::Tensor& z, const Factor& out) {
  with_type(y.scalar_type(), [&](auto type) {
    using T = decltype(type);
    table_for<T>(y).gated_norm(
        rows, {input<T>(y), input<T>(z), output<T>(out), pointer<Wide<T>>(norm.weight), y.size(0),
               y.size(1), norm.group, norm.epsilon, norm.norm_before_gate});
  });
}

void rotate(const kernels::Rows& rows, const at::Tensor& cosine, const at::Tensor& sine,
            int head_size, at::Tensor heads) {
  with_type(heads.scalar_type(), [&](auto type) {
    using T = decltype(type);
    table_for<T>(heads).rotary(rows,
                               {output<T>(heads), pointer<Wide<T>>(cosine), pointer<Wide<T>>(sine),
                                static_cast<int>(heads.size(1)) / head_size, head_size,
                                2 * static_cast<int>(cosine.size(1))});
  });
}

void attend(const kernels::Rows& rows, const Attention& attention,
            const at::Tensor& query_key_value, const Factor& out) {
  const std::int64_t queries = static_cast<std::int64_t>(attention.heads) * attention.head_size;
  const std::int64_t keys = static_cast<std::int64_t>(attention.key_heads) * attention.head_size;
  with_type(query_key_value.scalar_type(), [&](auto type) {
    using T = decltype(type);
    const auto part = [&](std::int64_t begin, std::int64_t count) {
      return input<T>(query_key_value.narrow(1, begin, count));
    };
    table_for<T>(query_key_value)
        .attention(rows, {part(0, queries), part(queries, keys), part(queries + keys, keys),
                          output<T>(out), attention.heads, attention.key_heads, attention.head_size,
                          attention.scale, attention.sliding_window});
  });
}

void activate(const kernels::Rows& rows, kernels::Activation activation, const at::Tensor& gate,
              const at::Tensor& up, const Factor& out) {
  with_type(gate.scalar_type(), [&](auto type) {
    using T = decltype(type);
    const kernels::Matrix<const T> second =
        up.defined() ? input<T>(up) : kernels::Matrix<const T>{};
    table_for<T>(gate).activation(
        rows, {input<T>(gate), second, output<T>(out), gate.size(0), gate.size(1), activation});
  });
}

void gather_rows(const kernels::Rows& rows, const at::Tensor& x, const at::Tensor& index,
                 at::Tensor out) {
  with_type(x.scalar_type(), [&](auto type) {
    using T = Wide<decltype(type)>;
    table_for<T>(x).gather(rows, {input<T>(x), output<T>(out), pointer<std::int32_t>(index),
                                  index.size(0), x.size(1)});
  });
}

void answer_statistics(const kernels::Rows& rows, const at::Tensor& logits,
                       const at::Tensor& answer, const AnswerStatistics& out) {
  const auto read = [&](auto activation) {
    using T = decltype(activation);
    table_for<T>(logits).answer(
        rows, {input<Head<T>>(logits), pointer<std::int32_t>(answer),
               out.log_probability.data_ptr<double>(), out.rank.data_ptr<std::int32_t>(),
               out.tied.data_ptr<std::int32_t>(), logits.size(0), logits.size(1)});
  };
  if (logits.scalar_type() == at::kHalf) return read(kernels::Bfloat16{});
  with_type(logits.scalar_type(), read);
}

}  // namespace factflow
