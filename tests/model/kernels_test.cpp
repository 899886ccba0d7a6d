// The kernels by themselves: Mamba-1's kept state against the materialised matrix, the instruction
// sets against each other, and the CUDA kernels, emulated (cuda_emulation/), against them.
#include <cmath>
#include <limits>
#include <string>

#include <gtest/gtest.h>

#include "kernel_passes.hpp"
#include "model/network.hpp"

namespace factflow {
namespace {

template <class T>
struct ScanInputs {
  explicit ScanInputs(const ReplayPlan& plan, const Sizes& of = kOdd)
      : sizes(of),
        x(plan.columns(), of.channels, 1),
        z(plan.columns(), of.channels, 2),
        dt(plan.columns(), of.channels, 3),
        b(plan.columns(), of.states, 4),
        c(plan.columns(), of.states, 5),
        bias(1, of.channels, 6),
        a(of.states, of.channels, 7),
        d(1, of.channels, 8),
        out(Values<T>::unwritten(plan.columns(), of.channels)),
        states(Values<Wide<T>>::unwritten(static_cast<std::int64_t>(plan.slots.size()) * of.states,
                                          of.channels)),
        scratch(static_cast<size_t>(kernels::scan_scratch_bytes(
                    static_cast<std::int64_t>(plan.parts.size()),
                    static_cast<std::int64_t>(plan.replays.size()), plan.part_tokens)),
                std::byte{0xff}) {
    make_negative(a, std::int64_t{of.states} * of.channels);
    std::vector<double> norms;
    for (int i = 0; i < of.channels; ++i) norms.push_back((i * 29) % of.channels);
    for (const auto& [selection, path] : plan.selections)
      for (const bool loses : channels_of(std::get<ChannelSet>(selection), norms))
        lose.push_back(loses ? 1 : 0);
  }
  kernels::ScanArgs<T> args() {
    kernels::ScanArgs<T> args{x.in(), z.in(), dt.in(), b.in(), c.in(), out.factor()};
    args.dt_bias = bias.data();
    args.a = a.data();
    args.d = d.data();
    args.lose = lose.data();
    args.states = states.data();
    args.scratch = scratch.data();
    args.channels = sizes.channels;
    args.state_count = sizes.states;
    return args;
  }
  Sizes sizes;
  Values<T> x, z, dt, b, c;
  Values<Wide<T>> bias, a, d;
  Values<T> out;
  Values<Wide<T>> states;
  std::vector<std::byte> scratch;
  std::vector<std::uint8_t> lose;
};

// y[t] = sum_s M[t, s] x[s] with the blocked entries of M left out, then D, then the gate.
double materialised(const Pass& pass, const ScanInputs<double>& in, const Row& row, std::int32_t t,
                    int channel) {
  const auto column = [&](std::int32_t s) {
    return s < row.first_token ? row.clean_column + s : row.column + s - row.first_token;
  };
  const auto delta = [&](std::int32_t s) {
    return std::log1p(std::exp(in.dt.at(column(s), channel) + in.bias.at(0, channel)));
  };
  const bool loses =
      row.flags >= 0 && in.lose[static_cast<size_t>(row.channels * kOdd.channels + channel)] != 0;
  double y = in.d.at(0, channel) * in.x.at(column(t), channel);
  for (std::int32_t s = 0; s <= t; ++s) {
    if (loses && pass.loses_edge(row, t, s)) continue;
    double span = 0, entry = 0;
    for (std::int32_t i = s + 1; i <= t; ++i) span += delta(i);
    for (int n = 0; n < kOdd.states; ++n)
      entry += in.c.at(column(t), n) * in.b.at(column(s), n) * std::exp(span * in.a.at(n, channel));
    y += entry * delta(s) * in.x.at(column(s), channel);
  }
  const double z = in.z.at(column(t), channel);
  return y * z / (1 + std::exp(-z));
}

TEST(Scan, TheKeptStateIsTheMatrixWithItsBlockedEntriesZeroed) {
  Pass pass;
  ScanInputs<double> in(pass.plan());
  kernels::cpu_kernels<double>().scan(pass.rows(), in.args());
  ASSERT_GT(pass.plan().slots.size(), 5u);
  for (const Row& row : pass.plan().rows)
    for (std::int32_t i = 0; i < row.count; ++i)
      for (int channel = 0; channel < kOdd.channels; ++channel)
        ASSERT_NEAR(in.out.at(row.column + i, channel),
                    materialised(pass, in, row, row.first_token + i, channel), 1e-12)
            << "row of " << row.count << " tokens from " << row.first_token << ", token " << i
            << ", channel " << channel;
  EXPECT_EQ(pass.blocked(), pass.plan().blocked_edges);
}

// The dual form of eight heads in two groups, of which each channel set has some, for the columns
// alive in a layer.
template <class T>
std::vector<double> dual_of(const KernelTable<T>& table, Pass& pass, const Sizes& sizes,
                            int layer = 0) {
  const std::int64_t columns = pass.plan().columns();
  std::vector<std::uint8_t> lose;
  for (size_t i = 0; i < 8 * pass.plan().selections.size(); ++i)
    lose.push_back(i * i % 3 == 1 ? 1 : 0);
  const int dual_width = 8 * sizes.dual_head;
  const Values<T> x(columns, dual_width, 21), b(columns, 2 * sizes.dual_states, 22),
      c(columns, 2 * sizes.dual_states, 23), dt(columns, 8, 24);
  const Values<Wide<T>> bias(1, 8, 25), d(1, 8, 26);
  Values<Wide<T>> a(1, 8, 27);
  Values<T> y = Values<T>::unwritten(columns, dual_width);
  make_negative(a, 8);
  kernels::DualArgs<T> dual{x.in(),      b.in(),   c.in(),          dt.in(),     y.out(),
                            bias.data(), a.data(), d.data(),        lose.data(), 0.01,
                            2.0,         8,        sizes.dual_head, 2,           sizes.dual_states};
  const kernels::Rows rows = pass.rows(layer);
  table.dual(rows, dual);
  return y.first(rows.column_count);
}

template <class T>
void run_token_mixers(const KernelTable<T>& table, const Sizes& sizes, Outputs& outputs) {
  Pass pass(sizes);
  const std::int64_t columns = pass.plan().columns();
  ScanInputs<T> scan(pass.plan(), sizes);
  table.scan(pass.rows(), scan.args());
  outputs["scan"] = scan.out.all();
  outputs["dual"] = dual_of(table, pass, sizes);
  const int head = sizes.attention_head;
  const Values<T> q(columns, 4 * head, 31), k(columns, 2 * head, 32), v(columns, 2 * head, 33);
  for (const std::int32_t window : {0, 3})
    for (const double cap : {0.0, 1.5}) {
      Values<T> mixed = Values<T>::unwritten(columns, 4 * head);
      table.attention(pass.rows(),
                      {q.in(), k.in(), v.in(), mixed.factor(), 4, 2, head, 0.37, window, cap});
      outputs["attention " + std::to_string(window) + (cap > 0 ? " capped" : "")] = mixed.all();
    }
  const Values<Wide<T>> taps(5, sizes.channels, 41), conv_bias(1, sizes.channels, 42);
  for (const int width : {1, 2, 4, 5}) {
    Values<T> convolved = Values<T>::unwritten(columns, sizes.channels);
    table.conv(pass.rows(), {scan.x.in(), convolved.factor(), taps.data(), conv_bias.data(),
                             sizes.channels, width});
    outputs["conv " + std::to_string(width)] = convolved.all();
  }
  outputs["blocked"] = {static_cast<double>(pass.blocked())};
}

// `width` is divided by two groups and by heads of `head_size` dimensions.
template <class T>
void run_elementwise(const KernelTable<T>& table, std::int64_t width, int head_size,
                     Outputs& outputs) {
  Pass pass;
  const kernels::Rows rows = pass.rows();
  const std::int64_t columns = pass.plan().columns(), group = width / 2;
  const Values<T> x(columns, width, 51), up(columns, width, 52);
  const Values<Wide<T>> residual(columns, width, 51), weight(1, width, 53), bias(1, width, 54),
      offset(1, width, 60);
  Values<T> out = Values<T>::unwritten(columns, width);
  const auto keep = [&](const std::string& name) {
    outputs[name + " " + std::to_string(width)] = out.all();
    out.forget();
  };
  table.norm(rows, {residual.in(), out.factor(), weight.data(), nullptr, columns, width, 1e-5,
                    false, nullptr});
  keep("rms norm");
  table.norm(rows,
             {residual.in(), out.factor(), nullptr, nullptr, columns, width, 1e-5, false, nullptr});
  keep("weightless norm");
  table.norm(rows, {residual.in(), out.factor(), weight.data(), bias.data(), columns, width, 1e-5,
                    true, offset.data()});
  keep("layer norm");
  Values<Head<T>> final = Values<Head<T>>::unwritten(columns, width);
  table.final_norm(rows, {residual.in(), final.factor(), weight.data(), bias.data(), columns, width,
                          1e-5, true, offset.data()});
  outputs["final norm " + std::to_string(width)] = final.all();
  for (const bool subtract_mean : {false, true}) {
    Values<Wide<T>> sum(columns, width, 61);
    kernels::NormArgs<T> args{residual.in(), {},    weight.data(), bias.data(),
                              columns,       width, 1e-5,          subtract_mean};
    args.residual = sum.out();
    table.norm(rows, args);
    outputs["norm added " + std::to_string(subtract_mean) + " " + std::to_string(width)] =
        sum.all();
  }
  for (const std::int64_t of_group : {std::int64_t{head_size}, width / 2, width / 4}) {
    if (width % of_group != 0) continue;
    Values<T> heads(columns, width, 56);  // in place
    table.gated_norm(
        rows,
        {heads.in(), {}, heads.factor(), weight.data(), columns, width, of_group, 1e-5, false});
    outputs["group norm " + std::to_string(width) + " " + std::to_string(of_group)] = heads.all();
  }
  for (const bool before : {false, true}) {
    table.gated_norm(
        rows, {x.in(), up.in(), out.factor(), weight.data(), columns, width, group, 1e-5, before});
    keep(before ? "norm before gate" : "gated norm");
  }
  using kernels::Activation;
  for (const Activation activation :
       {Activation::kSilu, Activation::kGeluTanh, Activation::kGelu, Activation::kRelu}) {
    table.activation(rows, {x.in(), up.in(), out.factor(), columns, width, activation});
    keep("activation " + std::to_string(static_cast<int>(activation)));
  }
  const Values<Wide<T>> cosine(pass.plan().longest, 3, 57), sine(pass.plan().longest, 3, 58),
      long_cosine(pass.plan().longest, 3, 62), long_sine(pass.plan().longest, 3, 63);
  for (const std::int32_t short_tokens : {0, 3}) {
    Values<T> heads(columns, width, 56);
    kernels::RotaryArgs<T> args{
        heads.out(), cosine.data(), sine.data(), static_cast<int>(width) / head_size, head_size, 6};
    if (short_tokens > 0) {
      args.long_cosine = long_cosine.data();
      args.long_sine = long_sine.data();
      args.short_tokens = short_tokens;
    }
    table.rotary(rows, args);
    outputs["rotary " + std::to_string(short_tokens) + " " + std::to_string(width)] = heads.all();
  }
}

template <class T>
void run_answers(const KernelTable<T>& table, std::int64_t vocabulary, Outputs& outputs) {
  Pass pass;
  const Values<Wide<T>> x(5, vocabulary, 51);
  const Values<Head<T>> logits(3, vocabulary, 59, 4);
  Values<Wide<T>> gathered = Values<Wide<T>>::unwritten(3, vocabulary);
  const std::vector<std::int32_t> index = {4, 0, 4};
  table.gather(pass.rows(), {x.in(), gathered.out(), index.data(), 3, vocabulary});
  std::vector<double> log_probability(3, std::numeric_limits<double>::quiet_NaN());
  std::vector<std::int32_t> rank(3), tied(3);
  const std::vector<std::int32_t> answer = {7, static_cast<std::int32_t>(vocabulary) - 1, 1023};
  const std::string width = " " + std::to_string(vocabulary);
  outputs["gather" + width] = gathered.all();
  for (const auto& [factor, cap] : {std::pair{1.0, 0.0}, {0.7, 0.0}, {0.7, 3.0}}) {
    table.answer(pass.rows(), {logits.in(), answer.data(), log_probability.data(), rank.data(),
                               tied.data(), 3, vocabulary, factor, cap});
    const std::string of = width + " " + std::to_string(factor) + " " + std::to_string(cap);
    outputs["answer" + of] = log_probability;
    outputs["rank" + of] = {rank.begin(), rank.end()};
    outputs["tied" + of] = {tied.begin(), tied.end()};
  }
}

template <class T>
Outputs outputs_of(const KernelTable<T>& table, const Sizes& sizes = kOdd) {
  Outputs outputs;
  run_token_mixers(table, sizes, outputs);
  if (sizes.channel_sets) {
    run_elementwise(table, 70, 10, outputs);
    run_answers(table, 1501, outputs);
  } else {
    run_elementwise(table, 72, 8, outputs);    // a warp's norm
    run_elementwise(table, 2304, 8, outputs);  // a block's, but a warp's of its groups
    run_elementwise(table, 3200, 8, outputs);
    run_answers(table, 1504, outputs);
    run_answers(table, 1500, outputs);
  }
  return outputs;
}

TEST(InstructionSets, GenericFloatAgreesWithGenericDouble) {
  expect_near(outputs_of(kernels::generic::float_table()),
              outputs_of(kernels::generic::double_table()), 2e-5);
}

#ifdef __x86_64__
TEST(InstructionSets, Avx2AgreesWithGeneric) {
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
    GTEST_SKIP() << "this processor has no AVX2";
  expect_near(outputs_of(kernels::avx2::float_table()), outputs_of(kernels::generic::float_table()),
              2e-5);
  expect_near(outputs_of(kernels::avx2::double_table()),
              outputs_of(kernels::generic::double_table()), 1e-12);
}

TEST(InstructionSets, Avx512AgreesWithGeneric) {
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512dq") ||
      !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vl"))
    GTEST_SKIP() << "this processor has no AVX-512";
  expect_near(outputs_of(kernels::avx512::float_table()),
              outputs_of(kernels::generic::float_table()), 2e-5);
  expect_near(outputs_of(kernels::avx512::double_table()),
              outputs_of(kernels::generic::double_table()), 1e-12);
}
#endif

INSTANTIATE_TEST_SUITE_P(Seeds, Emulation, testing::Range(1u, 5u));

TEST_P(Emulation, CudaKernelsAgreeWithGeneric) {
  for (const Sizes& sizes : {kOdd, kEven, kLastTokens})
    expect_near(outputs_of(kernels::emulated_kernels<float>(), sizes),
                outputs_of(kernels::generic::float_table(), sizes), 2e-5);
}

// Outputs are rounded to eight bits, and the convolution's and the gate's before the next step too.
TEST_P(Emulation, Bfloat16KernelsAgreeWithGeneric) {
  for (const Sizes& sizes : {kOdd, kEven, kLastTokens})
    expect_near(outputs_of(kernels::emulated_kernels<Bfloat16>(), sizes),
                outputs_of(kernels::generic::float_table(), sizes), 1.0 / 256);
}

// Prompts with so many replays of their last token that several warps of a block, and several
// parts, have some, which are born in every layer.
std::vector<ReplayRequest> many_replays(int layers) {
  std::vector<Window> windows;
  for (int begin = 0; begin < layers; ++begin)
    for (int end = begin + 1; end <= layers; ++end) windows.push_back({begin, end});
  std::vector<ReplayRequest> requests;
  for (const int tokens : {9, 5}) {
    ReplayRequest& request = requests.emplace_back();
    request.ids.assign(static_cast<size_t>(tokens), 1);
    const int last = tokens - 1;
    for (int source = 0; source < tokens; ++source)
      request.series.push_back({{last}, {source}, {}, windows});
    for (int source = 1; source < last; ++source)
      request.series.push_back({{last}, {0, source}, {}, windows});
  }
  return requests;
}

TEST_P(Emulation, ManyReplaysOfTheDualFormAgreeWithGeneric) {
  constexpr int kLayers = 6;
  Pass pass(many_replays(kLayers), kLayers), expected_pass(many_replays(kLayers), kLayers);
  for (const int layer : {0, kLayers - 1})
    expect_near(
        {{"dual", dual_of(kernels::emulated_kernels<float>(), pass, kManyWarps, layer)}},
        {{"dual", dual_of(kernels::generic::float_table(), expected_pass, kManyWarps, layer)}},
        2e-5);
  EXPECT_EQ(pass.blocked(), expected_pass.blocked());
}

TEST_P(Emulation, ManyReplaysOfTheScanAgreeWithGeneric) {
  constexpr int kLayers = 6;
  const auto scan_of = [&](const KernelTable<float>& table, int layer) {
    Pass pass(many_replays(kLayers), kLayers, kManyWarps.channels, true);
    ScanInputs<float> scan(pass.plan(), kManyWarps);
    table.scan(pass.rows(layer), scan.args());
    return scan.out.first(pass.rows(layer).column_count);
  };
  for (const int layer : {0, kLayers - 1})
    expect_near({{"scan", scan_of(kernels::emulated_kernels<float>(), layer)}},
                {{"scan", scan_of(kernels::generic::float_table(), layer)}}, 2e-5);
}

// More tokens than are handled at a time, by part and, where shared memory does not suffice, one by
// one.
TEST(LongPrompts, TheCudaDualFormAgreesWithGeneric) {
  for (const int tokens : {50, 330}) {
    const int last = tokens - 1;
    const std::vector<ReplayRequest> requests = {
        {std::vector<int>(static_cast<size_t>(tokens), 1),
         0,
         {{{last}, {0, 40, 48}, {}, {{0, 1}}}, {{last - 1, last}, {3, last - 1}, {}, {{0, 1}}}}}};
    Pass pass(requests), expected_pass(requests);
    const std::vector<double> found = dual_of(kernels::emulated_kernels<float>(), pass, kEven),
                              expected =
                                  dual_of(kernels::generic::float_table(), expected_pass, kEven);
    expect_near({{"dual", found}}, {{"dual", expected}}, 2e-5);
    EXPECT_EQ(pass.blocked(), pass.plan().blocked_edges);
    EXPECT_EQ(expected_pass.blocked(), pass.blocked());
  }
}

// What tf32x3 multiplies: 11 bits, and what they leave over in bfloat16, which together hold 19
// bits at least.
TEST_P(Emulation, FactorsInPartsAddUp) {
  for (const std::int64_t width : {30, 32}) {
    const std::int64_t rows = 3;
    std::mt19937 random(3);
    std::normal_distribution<float> normal;
    std::vector<float> x(static_cast<size_t>(rows * width)),
        high(x.size(), std::numeric_limits<float>::quiet_NaN());
    for (float& value : x) value = normal(random);
    std::vector<Bfloat16> parts(2 * x.size(),
                                from_float<Bfloat16>(std::numeric_limits<float>::quiet_NaN()));
    kernels::Factor<float> out;
    out.high = {high.data(), width};
    out.parts = {parts.data(), 2 * width};
    out.width = width;
    kernels::emulated_factor<float>({}, {x.data(), width}, out, rows, width);
    for (std::int64_t row = 0; row < rows; ++row)
      for (std::int64_t j = 0; j < width; ++j) {
        const auto at = static_cast<size_t>(row * width + j),
                   part = static_cast<size_t>(2 * row * width + j);
        EXPECT_EQ(std::bit_cast<std::uint32_t>(high[at]) & 0x1fff, 0u);
        EXPECT_NEAR(high[at] + to_double(parts[part]), x[at], std::abs(x[at]) / (1 << 19));
        EXPECT_NEAR(to_double(parts[part + static_cast<size_t>(width)]), high[at],
                    std::abs(high[at]) / 256);
      }
  }
}

}  // namespace
}  // namespace factflow
