// The kernels of the hybrids' mixers by themselves: the delta rules against the recurrences that
// they unroll, diagonal recurrences and convolutions against their definitions, the instruction
// sets against each other, and the CUDA kernels, emulated (cuda_emulation/), against them.
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernel_passes.hpp"

namespace factflow {
namespace {

// Sizes of the delta rule: what no warp divides, and more dimensions than a block has threads.
struct DeltaSizes {
  int key_heads, key_size, heads, value_size;
};
constexpr DeltaSizes kNarrow = {2, 5, 6, 7}, kWide = {1, 72, 2, 150};

template <class T>
struct DeltaInputs {
  DeltaInputs(const ReplayPlan& plan, const DeltaSizes& of)
      : sizes(of),
        q(plan.columns(), of.key_heads * of.key_size, 71),
        k(plan.columns(), of.key_heads * of.key_size, 72),
        v(plan.columns(), of.heads * of.value_size, 73),
        b(plan.columns(), of.heads, 74),
        a(plan.columns(), of.heads, 75),
        dt_bias(1, of.heads, 76),
        rate(1, of.heads, 77),
        out(Values<T>::unwritten(plan.columns(), of.heads * of.value_size)),
        changes(Values<Wide<T>>::unwritten(plan.columns(), of.heads * of.value_size)),
        kept_changes(Values<Wide<T>>::unwritten(plan.columns(), of.heads * of.value_size)),
        slot_changes(
            Values<Wide<T>>::unwritten(static_cast<std::int64_t>(plan.slots.size()) * plan.longest,
                                       of.heads * of.value_size)) {
    make_negative(rate, of.heads);
    for (size_t i = 0; i < plan.selections.size() * static_cast<size_t>(of.heads); ++i)
      lose.push_back(i * i % 3 == 1 ? 1 : 0);
  }
  kernels::DeltaArgs<T> args() {
    kernels::DeltaArgs<T> args;
    args.q = q.in(), args.k = k.in(), args.v = v.in(), args.b = b.in(), args.a = a.in();
    args.out = out.out();
    args.changes = changes.out(), args.kept_changes = kept_changes.out();
    args.slot_changes = slot_changes.data();
    args.dt_bias = dt_bias.data(), args.rate = rate.data(), args.lose = lose.data();
    args.key_heads = sizes.key_heads, args.key_size = sizes.key_size;
    args.heads = sizes.heads, args.value_size = sizes.value_size;
    args.largest_beta = 1.7, args.norm_floor = 1e-6;
    return args;
  }
  DeltaSizes sizes;
  Values<T> q, k, v, b, a;
  Values<Wide<T>> dt_bias, rate;
  Values<T> out;
  Values<Wide<T>> changes, kept_changes, slot_changes;
  std::vector<std::uint8_t> lose;
};

std::int32_t seen_by(const Row& row, std::int32_t token) {
  return token < row.first_token ? row.clean_column + token : row.column + token - row.first_token;
}

// Token t of a row in one value head, by the recurrence over a state [key_size][value_size].
std::vector<double> by_recurrence(const Pass& pass, const DeltaInputs<double>& in, const Row& row,
                                  std::int32_t t, int head) {
  const int keys = in.sizes.key_size, values = in.sizes.value_size;
  const int of_keys = head / (in.sizes.heads / in.sizes.key_heads) * keys;
  const bool kept = (pass.flag(row, t) & kernels::kTarget) != 0 &&
                    in.lose[static_cast<size_t>(row.channels * in.sizes.heads + head)] != 0;
  const auto unit = [&](const Values<double>& of, std::int32_t column) {
    std::vector<double> x;
    double square = 1e-6;
    for (int n = 0; n < keys; ++n) {
      x.push_back(of.at(column, of_keys + n));
      square += x.back() * x.back();
    }
    for (double& number : x) number /= std::sqrt(square);
    return x;
  };
  std::vector<std::vector<double>> state(static_cast<size_t>(keys),
                                         std::vector<double>(static_cast<size_t>(values)));
  for (std::int32_t s = 0; s <= t; ++s) {
    const std::int32_t column = seen_by(row, s);
    const std::uint8_t flag = kept ? pass.flag(row, s) : std::uint8_t{0};
    const double dt = std::log1p(std::exp(in.a.at(column, head) + in.dt_bias.at(0, head)));
    const double beta = 1.7 / (1 + std::exp(-in.b.at(column, head)));
    const std::vector<double> key = unit(in.k, column);
    for (int j = 0; j < values; ++j) {
      const auto at = [&](int n) -> double& {
        return state[static_cast<size_t>(n)][static_cast<size_t>(j)];
      };
      double found = 0;
      for (int n = 0; n < keys; ++n) {
        at(n) *= std::exp(in.rate.at(0, head) * dt);
        found += key[static_cast<size_t>(n)] * at(n);
      }
      const double v = (flag & kernels::kSource) != 0 ? 0 : in.v.at(column, head * values + j);
      const double change = beta * (v - ((flag & kernels::kErase) != 0 ? 0 : found));
      for (int n = 0; n < keys; ++n) at(n) += key[static_cast<size_t>(n)] * change;
    }
  }
  const std::vector<double> query = unit(in.q, seen_by(row, t));
  std::vector<double> read(static_cast<size_t>(values));
  for (int j = 0; j < values; ++j)
    for (int n = 0; n < keys; ++n)
      read[static_cast<size_t>(j)] += query[static_cast<size_t>(n)] *
                                      state[static_cast<size_t>(n)][static_cast<size_t>(j)] /
                                      std::sqrt(keys);
  return read;
}

TEST(DeltaRule, UnrolledItIsTheRecurrence) {
  Pass pass;
  pass.erase_some();
  for (const DeltaSizes& sizes : {kNarrow, kWide}) {
    DeltaInputs<double> in(pass.plan(), sizes);
    const std::uint64_t before = pass.blocked();
    kernels::cpu_kernels<double>().delta(pass.rows(), in.args());
    for (const Row& row : pass.plan().rows)
      for (std::int32_t i = 0; i < row.count; ++i)
        for (int head = 0; head < sizes.heads; ++head) {
          const std::vector<double> expected =
              by_recurrence(pass, in, row, row.first_token + i, head);
          for (int j = 0; j < sizes.value_size; ++j)
            ASSERT_NEAR(in.out.at(row.column + i, head * sizes.value_size + j),
                        expected[static_cast<size_t>(j)], 1e-12)
                << "row of " << row.count << " tokens from " << row.first_token << ", token " << i
                << ", head " << head;
        }
    EXPECT_EQ(pass.blocked() - before, pass.plan().blocked_edges);
  }
}

// Heads and their sizes: what no warp divides, and one for every number of channels that a lane may
// have.
struct DplrSizes {
  int heads, size;
};
constexpr DplrSizes kDplrSizes[] = {{6, 7}, {2, 64}, {1, 100}, {5, 130}};

// T is wide. Decays in (1/2, 1), erased directions of length one, erasing ones a part of them.
template <class T>
struct DplrInputs {
  DplrInputs(const ReplayPlan& plan, const DplrSizes& of)
      : sizes(of),
        width(of.heads * of.size),
        r(plan.columns(), width, 61),
        w(plan.columns(), width, 62),
        k(plan.columns(), width, 63, 0.3f),
        v(plan.columns(), width, 64),
        erased(plan.columns(), width, 65),
        erasing(plan.columns(), width, 66),
        out(Values<T>::unwritten(plan.columns(), width)),
        removed(Values<T>::unwritten(plan.columns(), width)),
        kept_removed(Values<T>::unwritten(plan.columns(), width)),
        slot_removed(Values<T>::unwritten(
            static_cast<std::int64_t>(plan.slots.size()) * plan.longest, width)) {
    for (std::int64_t i = 0; i < std::int64_t{plan.columns()} * width; ++i)
      w.data()[i] = T(0.5) + T(0.5) / (T(1) + std::abs(w.data()[i]));
    for (std::int64_t begin = 0; begin < std::int64_t{plan.columns()} * width; begin += of.size) {
      T square = 0;
      for (int n = 0; n < of.size; ++n)
        square += erased.data()[begin + n] * erased.data()[begin + n];
      for (int n = 0; n < of.size; ++n) {
        T &direction = erased.data()[begin + n], &other = erasing.data()[begin + n];
        direction /= std::sqrt(square);
        other = direction / (T(1) + std::abs(other));
      }
    }
    for (size_t i = 0; i < plan.selections.size() * static_cast<size_t>(of.heads); ++i)
      lose.push_back(of.heads == 1 || i * i % 3 == 1 ? 1 : 0);
  }
  kernels::DplrDeltaArgs<T> args() {
    kernels::DplrDeltaArgs<T> args{r.in(),    w.in(),        k.in(),
                                   v.in(),    erased.in(),   erasing.in(),
                                   out.out(), removed.out(), kept_removed.out()};
    args.slot_removed = slot_removed.data(), args.lose = lose.data();
    args.heads = sizes.heads, args.head_size = sizes.size;
    return args;
  }
  DplrSizes sizes;
  int width;
  Values<T> r, w, k, v, erased, erasing;
  Values<T> out, removed, kept_removed, slot_removed;
  std::vector<std::uint8_t> lose;
};

// Token t of a row in one head, by the recurrence over a state [values][keys].
std::vector<double> by_recurrence(const Pass& pass, const DplrInputs<double>& in, const Row& row,
                                  std::int32_t t, int head) {
  const int size = in.sizes.size, first = head * size;
  const bool kept = (pass.flag(row, t) & kernels::kTarget) != 0 &&
                    in.lose[static_cast<size_t>(row.channels * in.sizes.heads + head)] != 0;
  std::vector<double> read(static_cast<size_t>(size));
  for (int j = 0; j < size; ++j) {  // rows of the state know nothing of each other
    std::vector<double> state(static_cast<size_t>(size));
    for (std::int32_t s = 0; s <= t; ++s) {
      const std::int32_t column = seen_by(row, s);
      const std::uint8_t flag = kept ? pass.flag(row, s) : std::uint8_t{0};
      double found = 0;
      for (int n = 0; n < size; ++n)
        found += state[static_cast<size_t>(n)] * in.erased.at(column, first + n);
      if ((flag & kernels::kErase) != 0) found = 0;
      const double value = (flag & kernels::kSource) != 0 ? 0 : in.v.at(column, first + j);
      for (int n = 0; n < size; ++n) {
        double& at = state[static_cast<size_t>(n)];
        at = at * in.w.at(column, first + n) - found * in.erasing.at(column, first + n) +
             value * in.k.at(column, first + n);
      }
    }
    for (int n = 0; n < size; ++n)
      read[static_cast<size_t>(j)] +=
          state[static_cast<size_t>(n)] * in.r.at(seen_by(row, t), first + n);
  }
  return read;
}

TEST(DplrDelta, UnrolledItIsTheRecurrence) {
  Pass pass;
  pass.erase_some();
  for (const DplrSizes& sizes : kDplrSizes) {
    DplrInputs<double> in(pass.plan(), sizes);
    const std::uint64_t before = pass.blocked();
    kernels::cpu_kernels<double>().dplr_delta(pass.rows(), in.args());
    for (const Row& row : pass.plan().rows)
      for (std::int32_t i = 0; i < row.count; ++i)
        for (int head = 0; head < sizes.heads; ++head) {
          const std::vector<double> expected =
              by_recurrence(pass, in, row, row.first_token + i, head);
          for (int j = 0; j < sizes.size; ++j)
            ASSERT_NEAR(in.out.at(row.column + i, head * sizes.size + j),
                        expected[static_cast<size_t>(j)], 1e-12)
                << "row of " << row.count << " tokens from " << row.first_token << ", token " << i
                << ", head " << head << " of " << sizes.heads;
        }
    EXPECT_EQ(pass.blocked() - before, pass.plan().blocked_edges);
  }
}

template <class T>
struct LinearInputs {
  LinearInputs(const ReplayPlan& plan, int width)
      : channels(width),
        input(plan.columns(), width, 81),
        decay(plan.columns(), width, 82, 0.4f),
        out(Values<T>::unwritten(plan.columns(), width)),
        states(Values<T>::unwritten(static_cast<std::int64_t>(plan.slots.size()), width)) {
    for (size_t i = 0; i < plan.selections.size() * static_cast<size_t>(width); ++i)
      lose.push_back(i % 3 == 1 ? 1 : 0);
  }
  kernels::LinearScanArgs<T> args() {
    return {input.in(), decay.in(), out.out(), states.data(), lose.data(), channels};
  }
  int channels;
  Values<T> input, decay;
  Values<T> out, states;
  std::vector<std::uint8_t> lose;
};

TEST(LinearScan, TargetsReadWhatTheSourcesDidNotEnter) {
  constexpr int kChannels = 9;
  Pass pass;
  LinearInputs<double> in(pass.plan(), kChannels);
  kernels::cpu_kernels<double>().linear_scan(pass.rows(), in.args());
  for (const Row& row : pass.plan().rows)
    for (std::int32_t t = row.first_token; t < row.first_token + row.count; ++t)
      for (int j = 0; j < kChannels; ++j) {
        const bool loses =
            row.flags >= 0 && in.lose[static_cast<size_t>(row.channels * kChannels + j)] != 0;
        double h = 0;
        for (std::int32_t s = 0; s <= t; ++s) {
          const bool lost = loses && pass.loses_edge(row, t, s);
          h = in.decay.at(seen_by(row, s), j) * h + (lost ? 0 : in.input.at(seen_by(row, s), j));
        }
        ASSERT_NEAR(in.out.at(seen_by(row, t), j), h, 1e-12);
      }
  EXPECT_EQ(pass.blocked(), pass.plan().blocked_edges);
}

template <class T>
std::vector<double> filtered(const KernelTable<T>& table, Pass& pass, int taps, bool cuts,
                             bool bias) {
  constexpr int kChannels = 9;
  const Values<Wide<T>> x(pass.plan().columns(), kChannels, 91), weight(taps, kChannels, 92),
      added(1, kChannels, 93);
  Values<Wide<T>> out = Values<Wide<T>>::unwritten(pass.plan().columns(), kChannels);
  table.filter(pass.rows(), {x.in(), out.out(), weight.data(), bias ? added.data() : nullptr,
                             kChannels, taps, cuts});
  return out.all();
}

TEST(Filter, TargetsDoWithoutTheSourcesTaps) {
  constexpr int kChannels = 9, kTaps = 3;
  for (const bool cuts : {false, true}) {
    Pass pass;
    const std::vector<double> out =
        filtered(kernels::cpu_kernels<double>(), pass, kTaps, cuts, true);
    const Values<double> x(pass.plan().columns(), kChannels, 91), weight(kTaps, kChannels, 92),
        added(1, kChannels, 93);
    std::uint64_t edges = 0;
    for (const Row& row : pass.plan().rows)
      for (std::int32_t t = row.first_token; t < row.first_token + row.count; ++t)
        for (int j = 0; j < kChannels; ++j) {
          double sum = added.at(0, j);
          for (int k = 0; k < kTaps && k <= t; ++k) {
            const bool lost = cuts && pass.loses_edge(row, t, t - k);
            edges += lost && j == 0 ? 1 : 0;
            sum += lost ? 0 : weight.at(k, j) * x.at(seen_by(row, t - k), j);
          }
          ASSERT_NEAR(
              out[static_cast<size_t>(seen_by(row, t)) * kChannels + static_cast<size_t>(j)], sum,
              1e-12);
        }
    EXPECT_EQ(pass.blocked(), edges);
    EXPECT_EQ(cuts, edges > 0);
  }
}

template <class T>
Outputs outputs_of(const KernelTable<T>& table, const Sizes& sizes = kOdd) {
  Outputs outputs;
  Pass pass(sizes);
  pass.erase_some();
  for (const DeltaSizes& delta : {kNarrow, kWide}) {
    DeltaInputs<T> in(pass.plan(), delta);
    table.delta(pass.rows(), in.args());
    outputs["delta " + std::to_string(delta.heads)] = in.out.all();
  }
  for (const DplrSizes& dplr : kDplrSizes) {
    DplrInputs<Wide<T>> in(pass.plan(), dplr);
    table.dplr_delta(pass.rows(), in.args());
    outputs["dplr " + std::to_string(dplr.size)] = in.out.all();
  }
  for (const int channels : {9, 150}) {
    LinearInputs<Wide<T>> in(pass.plan(), channels);
    table.linear_scan(pass.rows(), in.args());
    outputs["linear " + std::to_string(channels)] = in.out.all();
  }
  for (const int taps : {1, 3, 5})
    for (const bool cuts : {false, true})
      outputs["filter " + std::to_string(taps) + (cuts ? " cut" : "")] =
          filtered(table, pass, taps, cuts, taps != 3);
  outputs["blocked"] = {static_cast<double>(pass.blocked())};
  return outputs;
}

TEST(RecurrencesOfInstructionSets, AgreeWithEachOther) {
  const Outputs expected = outputs_of(kernels::generic::double_table());
  expect_near(outputs_of(kernels::generic::float_table()), expected, 2e-5);
  expect_near(outputs_of(kernels::cpu_kernels<double>()), expected, 1e-12);
  expect_near(outputs_of(kernels::cpu_kernels<float>()), expected, 2e-5);
}

class RecurrencesEmulated : public Emulation {};
INSTANTIATE_TEST_SUITE_P(Seeds, RecurrencesEmulated, testing::Range(1u, 4u));

TEST_P(RecurrencesEmulated, CudaKernelsAgreeWithGeneric) {
  for (const Sizes& sizes : {kOdd, kLastTokens})
    expect_near(outputs_of(kernels::emulated_kernels<float>(), sizes),
                outputs_of(kernels::generic::float_table(), sizes), 2e-5);
}

// Outputs are rounded to eight bits.
TEST_P(RecurrencesEmulated, Bfloat16KernelsAgreeWithGeneric) {
  expect_near(outputs_of(kernels::emulated_kernels<Bfloat16>()),
              outputs_of(kernels::generic::float_table()), 1.0 / 256);
}

// More tokens than a warp has threads.
TEST_P(RecurrencesEmulated, LongPromptsAgreeWithGeneric) {
  const std::vector<ReplayRequest> requests = {
      {std::vector<int>(75, 1),
       0,
       {{{74}, {0, 40, 66}, {}, {{0, 1}}}, {{70, 74}, {3}, {}, {{0, 1}}}}}};
  const auto read = [&](const KernelTable<float>& table) {
    Pass pass(requests, 1, 8, true);
    DeltaInputs<float> in(pass.plan(), kNarrow);
    table.delta(pass.rows(), in.args());
    DplrInputs<float> dplr(pass.plan(), kDplrSizes[0]);
    table.dplr_delta(pass.rows(), dplr.args());
    return Outputs{{"delta", in.out.all()}, {"dplr", dplr.out.all()}};
  };
  expect_near(read(kernels::emulated_kernels<float>()), read(kernels::generic::float_table()),
              2e-5);
}

}  // namespace
}  // namespace factflow
