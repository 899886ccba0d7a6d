// The kernels by themselves: Mamba-1's kept state against the materialised matrix, and the instruction sets
// against each other.
#include "model/kernels/kernels.hpp"

#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <string>

#include <gtest/gtest.h>

#include "model/network.hpp"
#include "model/replay_plan.hpp"

namespace factflow {
namespace kernels {

// The tables that cpu_kernels() chooses from.
#define FACTFLOW_DECLARE(isa)                \
  namespace isa {                            \
  const KernelTable<float>& float_table();   \
  const KernelTable<double>& double_table(); \
  }
FACTFLOW_DECLARE(generic)
#ifdef __x86_64__
FACTFLOW_DECLARE(avx2)
FACTFLOW_DECLARE(avx512)
#endif

}  // namespace kernels

namespace {

using kernels::KernelTable;
using kernels::Matrix;
using kernels::Row;

// A one-layer pass over two prompts with cuts of every form.
class Pass {
 public:
  Pass() {
    const std::vector<Window> on = {{0, 1}};
    const ChannelSet slow = parse_channel_set("slow"), quantile = parse_channel_set("quantile 2/3");
    const std::vector<ReplayRequest> requests = {
        {{1, 2, 3, 4, 5, 6, 7},
         0,
         {{{6}, {1, 2}, {}, on},
          {{6}, {6}, slow, on},
          {{6}, {0, 6}, quantile, on},
          {{6}, {0, 1, 2, 3, 4, 5, 6}, {}, on},
          {{2, 3}, {1, 2, 3}, {}, on},
          {{3, 6}, {0, 4}, slow, on},
          {{0, 1, 2, 3, 4, 5, 6}, {0, 3}, quantile, on}}},
        {{1, 2, 3}, 0, {{{2}, {0}, quantile, on}, {{1}, {0, 1}, {}, on}}},
        {{1}, 0, {{{0}, {0}, {}, on}}}};
    plan_ = plan_replay(requests, 1, kChannels, true);
  }

  const ReplayPlan& plan() const { return plan_; }
  std::uint64_t blocked() const { return blocked_; }
  kernels::Rows rows() {
    kernels::Rows rows;
    rows.rows = plan_.rows.data();
    rows.clean_count = static_cast<std::int32_t>(plan_.slot_begin.size()) - 1;
    rows.count = static_cast<std::int32_t>(plan_.rows.size());
    rows.column_count = plan_.columns();
    rows.longest = plan_.longest;
    rows.slot_count = static_cast<std::int32_t>(plan_.slots.size());
    rows.previous = plan_.previous.data();
    rows.position = plan_.position.data();
    rows.row_of = plan_.row_of.data();
    rows.flags = plan_.flags.data();
    rows.slots = plan_.slots.data();
    rows.slot_begin = plan_.slot_begin.data();
    rows.blocked = &blocked_;
    return rows;
  }
  bool loses_edge(const Row& row, std::int32_t target, std::int32_t source) const {
    if (row.flags < 0) return false;
    return (plan_.flags[static_cast<size_t>(row.flags + target)] & kernels::kTarget) != 0 &&
           (plan_.flags[static_cast<size_t>(row.flags + source)] & kernels::kSource) != 0;
  }

  static constexpr int kChannels = 67;  // two blocks, the second of three channels

 private:
  ReplayPlan plan_;
  unsigned long long blocked_ = 0;
};

// Random values that float32 holds exactly, as T.
template <class T>
class Values {
 public:
  Values(std::int64_t rows, std::int64_t columns, unsigned seed, float scale = 1)
      : width_(columns), values_(static_cast<size_t>(rows * columns)) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0, scale);
    for (T& value : values_) value = static_cast<T>(normal(random));
  }
  Matrix<const T> in() const { return {values_.data(), width_}; }
  Matrix<T> out() { return {values_.data(), width_}; }
  kernels::Factor<T> factor() { return {out()}; }
  const T* data() const { return values_.data(); }
  T* data() { return values_.data(); }
  T at(std::int64_t row, std::int64_t column) const {
    return values_[static_cast<size_t>(row * width_ + column)];
  }
  std::vector<double> all() const { return {values_.begin(), values_.end()}; }

 private:
  std::int64_t width_;
  std::vector<T> values_;
};

constexpr int kStates = 5;

template <class T>
struct ScanInputs {
  explicit ScanInputs(const ReplayPlan& plan)
      : x(plan.columns(), Pass::kChannels, 1),
        z(plan.columns(), Pass::kChannels, 2),
        dt(plan.columns(), Pass::kChannels, 3),
        b(plan.columns(), kStates, 4),
        c(plan.columns(), kStates, 5),
        bias(1, Pass::kChannels, 6),
        a(kStates, Pass::kChannels, 7),
        d(1, Pass::kChannels, 8),
        out(plan.columns(), Pass::kChannels, 9),
        states(static_cast<std::int64_t>(plan.slots.size()) * kStates, Pass::kChannels, 10) {
    for (int i = 0; i < kStates * Pass::kChannels; ++i) a.data()[i] = -std::abs(a.data()[i]);
    // What is read before it is written shows.
    for (size_t i = 0; i < plan.slots.size() * kStates * Pass::kChannels; ++i)
      states.data()[i] = std::numeric_limits<T>::quiet_NaN();
    std::vector<double> norms;
    for (int i = 0; i < Pass::kChannels; ++i) norms.push_back((i * 29) % 67);
    for (const ChannelSet& set : plan.channel_sets)
      for (const bool loses : channels_of(set, norms)) lose.push_back(loses ? 1 : 0);
  }
  kernels::ScanArgs<T> args() {
    kernels::ScanArgs<T> args{x.in(), z.in(), dt.in(), b.in(), c.in(), out.factor()};
    args.dt_bias = bias.data();
    args.a = a.data();
    args.d = d.data();
    args.lose = lose.data();
    args.states = states.data();
    args.channels = Pass::kChannels;
    args.state_count = kStates;
    return args;
  }
  Values<T> x, z, dt, b, c, bias, a, d, out, states;
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
      row.flags >= 0 && in.lose[static_cast<size_t>(row.channels * Pass::kChannels + channel)] != 0;
  double y = in.d.at(0, channel) * in.x.at(column(t), channel);
  for (std::int32_t s = 0; s <= t; ++s) {
    if (loses && pass.loses_edge(row, t, s)) continue;
    double span = 0, entry = 0;
    for (std::int32_t i = s + 1; i <= t; ++i) span += delta(i);
    for (int n = 0; n < kStates; ++n)
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
      for (int channel = 0; channel < Pass::kChannels; ++channel)
        ASSERT_NEAR(in.out.at(row.column + i, channel),
                    materialised(pass, in, row, row.first_token + i, channel), 1e-12)
            << "row of " << row.count << " tokens from " << row.first_token << ", token " << i << ", channel "
            << channel;
  EXPECT_EQ(pass.blocked(), pass.plan().blocked_edges);
}

using Outputs = std::map<std::string, std::vector<double>>;

template <class T>
void run_token_mixers(const KernelTable<T>& table, Outputs& outputs) {
  Pass pass;
  const std::int64_t columns = pass.plan().columns();
  ScanInputs<T> scan(pass.plan());
  table.scan(pass.rows(), scan.args());
  outputs["scan"] = scan.out.all();
  // Eight heads of seven, two groups; the masks are longer than they need to be.
  const Values<T> x(columns, 56, 21), b(columns, 10, 22), c(columns, 10, 23), dt(columns, 8, 24),
      bias(1, 8, 25), d(1, 8, 26);
  Values<T> a(1, 8, 27), y(columns, 56, 28);
  for (int h = 0; h < 8; ++h) a.data()[h] = -std::abs(a.data()[h]);
  kernels::DualArgs<T> dual{x.in(),   b.in(),           c.in(), dt.in(), y.out(), bias.data(), a.data(),
                            d.data(), scan.lose.data(), 0.01,   2.0,     8,       7,           2,
                            5};
  table.dual(pass.rows(), dual);
  outputs["dual"] = y.all();
  const Values<T> q(columns, 28, 31), k(columns, 14, 32), v(columns, 14, 33);
  for (const std::int32_t window : {0, 3}) {
    Values<T> mixed(columns, 28, 34);
    table.attention(pass.rows(), {q.in(), k.in(), v.in(), mixed.factor(), 4, 2, 7, 0.37, window});
    outputs["attention " + std::to_string(window)] = mixed.all();
  }
  const Values<T> taps(4, Pass::kChannels, 41), conv_bias(1, Pass::kChannels, 42);
  Values<T> convolved(columns, Pass::kChannels, 43);
  table.conv(pass.rows(),
             {scan.x.in(), convolved.factor(), taps.data(), conv_bias.data(), Pass::kChannels, 4});
  outputs["conv"] = convolved.all();
  outputs["blocked"] = {static_cast<double>(pass.blocked())};
}

template <class T>
void run_elementwise(const KernelTable<T>& table, Outputs& outputs) {
  Pass pass;
  const kernels::Rows rows = pass.rows();
  const std::int64_t columns = pass.plan().columns(), width = 70;
  const Values<T> x(columns, width, 51), up(columns, width, 52), weight(1, width, 53), bias(1, width, 54);
  Values<T> out(columns, width, 55);
  const auto keep = [&](const std::string& name) { outputs[name] = out.all(); };
  table.norm(rows, {x.in(), out.factor(), weight.data(), nullptr, columns, width, 1e-5, false});
  keep("rms norm");
  table.norm(rows, {x.in(), out.factor(), nullptr, nullptr, columns, width, 1e-5, false});
  keep("weightless norm");
  table.norm(rows, {x.in(), out.factor(), weight.data(), bias.data(), columns, width, 1e-5, true});
  keep("layer norm");
  for (const bool before : {false, true}) {
    table.gated_norm(rows, {x.in(), up.in(), out.factor(), weight.data(), columns, width, 35, 1e-5, before});
    keep(before ? "norm before gate" : "gated norm");
  }
  using kernels::Activation;
  for (const Activation activation :
       {Activation::kSilu, Activation::kGeluTanh, Activation::kGelu, Activation::kRelu}) {
    table.activation(rows, {x.in(), up.in(), out.factor(), columns, width, activation});
    keep("activation " + std::to_string(static_cast<int>(activation)));
  }
  Values<T> heads(columns, width, 56);
  const Values<T> cosine(pass.plan().longest, 3, 57), sine(pass.plan().longest, 3, 58);
  table.rotary(rows, {heads.out(), cosine.data(), sine.data(), 7, 10, 6});
  outputs["rotary"] = heads.all();
  const std::vector<std::int32_t> index = {4, 0, 4};
  table.gather(rows, {x.in(), out.out(), index.data(), 3, width});
  keep("gather");
  const Values<T> logits(3, 1500, 59, 4);
  std::vector<double> log_probability(3);
  std::vector<std::int32_t> rank(3);
  const std::vector<std::int32_t> answer = {7, 1499, 1023};
  table.answer(rows, {logits.in(), answer.data(), log_probability.data(), rank.data(), 3, 1500});
  outputs["answer"] = log_probability;
  outputs["rank"] = {rank.begin(), rank.end()};
}

template <class T>
Outputs outputs_of(const KernelTable<T>& table) {
  Outputs outputs;
  run_token_mixers(table, outputs);
  run_elementwise(table, outputs);
  return outputs;
}

void expect_near(const Outputs& outputs, const Outputs& expected, double tolerance) {
  ASSERT_EQ(outputs.size(), expected.size());
  for (const auto& [name, values] : expected)
    for (size_t i = 0; i < values.size(); ++i)
      ASSERT_NEAR(outputs.at(name)[i], values[i], tolerance * (1 + std::abs(values[i])))
          << name << ", element " << i;
}

TEST(InstructionSets, GenericFloatAgreesWithGenericDouble) {
  expect_near(outputs_of(kernels::generic::float_table()), outputs_of(kernels::generic::double_table()),
              2e-5);
}

#ifdef __x86_64__
TEST(InstructionSets, Avx2AgreesWithGeneric) {
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
    GTEST_SKIP() << "this processor has no AVX2";
  expect_near(outputs_of(kernels::avx2::float_table()), outputs_of(kernels::generic::float_table()), 2e-5);
  // Sums in another order can fall on the other side where fp64 rounds to float32 as transformers does.
  expect_near(outputs_of(kernels::avx2::double_table()), outputs_of(kernels::generic::double_table()), 3e-7);
}

TEST(InstructionSets, Avx512AgreesWithGeneric) {
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512dq") ||
      !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vl"))
    GTEST_SKIP() << "this processor has no AVX-512";
  expect_near(outputs_of(kernels::avx512::float_table()), outputs_of(kernels::generic::float_table()), 2e-5);
  expect_near(outputs_of(kernels::avx512::double_table()), outputs_of(kernels::generic::double_table()),
              3e-7);
}
#endif

TEST(Answer, LogitsThatAreNotFiniteGiveNoProbability) {
  Pass pass;
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    std::vector<float> logits(40, 0.5F);
    logits[13] = bad;
    const std::int32_t answer = 3;
    double log_probability = 0;
    std::int32_t rank = 0;
    kernels::cpu_kernels<float>().answer(pass.rows(),
                                         {{logits.data(), 40}, &answer, &log_probability, &rank, 1, 40});
    EXPECT_TRUE(std::isnan(log_probability)) << bad;
  }
}

}  // namespace
}  // namespace factflow
