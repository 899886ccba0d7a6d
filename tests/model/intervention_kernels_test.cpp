// The kernels of interventions on CUDA, in the emulation, against those on the CPU.
#include <cmath>
#include <limits>
#include <random>

#include <gtest/gtest.h>

#include "model/kernels/interventions.hpp"
#include "model/replay/replay_plan.hpp"

namespace factflow::kernels {

template <class T>
const InterventionTable<T>& emulated_interventions();

namespace {

constexpr int kTokens = 9, kWidth = 133, kHeads = 7, kHeadSize = 19, kStates = 5;

std::vector<float> random_numbers(std::int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> numbers(static_cast<size_t>(count));
  for (float& number : numbers) number = normal(random);
  return numbers;
}

// A clean row of some tokens and a replay of its last three.
struct Scene {
  std::vector<Row> row_list = {{0, 0, kTokens, 0, -1, 0, 0, 0, -1, -1},
                               {kTokens, kTokens - 3, 3, 0, -1, 0, 0, 0, -1, -1}};
  std::vector<std::int32_t> row_of, position;
  std::vector<std::uint8_t> flags = std::vector<std::uint8_t>(2 * kTokens, 0);
  unsigned long long blocked = 0;
  // Into the last token: sources 2 and 7 on mask 0, and in layer 1 source 8 on mask 1; into the
  // one before it a source without D x.
  std::vector<CutTerm> terms = {
      {0, 2, 0, 0}, {1, 2, kTokens, 1}, {0, 2, 0, 1}, {0, 2, kWithoutSkip, 0}, {3, 4, 0, 0}};
  std::vector<CutTarget> targets = {{kTokens + 1, 2, 4}, {kTokens + 2, 0, 2}, {kTokens, 4, 5}};
  std::vector<std::uint8_t> masks;

  explicit Scene(int mask_width) {
    for (int t = 0; t < kTokens; ++t) row_of.push_back(0), position.push_back(t);
    for (int t = kTokens - 3; t < kTokens; ++t) row_of.push_back(1), position.push_back(t);
    flags[2] = flags[7] = flags[kTokens + 8] = kSource;
    for (int i = 0; i < mask_width; ++i) masks.push_back(i % 3 == 0 ? 1 : 0);
    for (int i = 0; i < mask_width; ++i) masks.push_back(1);
  }
  Rows rows() {
    Rows rows;
    rows.rows = row_list.data();
    rows.count = 2;
    rows.clean_count = 1;
    rows.column_count = columns();
    rows.longest = kTokens;
    rows.position = position.data();
    rows.row_of = row_of.data();
    rows.flags = flags.data();
    rows.layer = 1;
    rows.blocked = &blocked;
    return rows;
  }
  CutArgs cut() const {
    return {targets.data(), terms.data(), masks.data(), static_cast<std::int64_t>(masks.size() / 2),
            static_cast<std::int32_t>(targets.size())};
  }
  std::int32_t columns() const { return static_cast<std::int32_t>(position.size()); }
};

// run(table) gives a kernel's output; both tables give the same, and count the same edges.
template <class Run>
void expect_alike(Scene& scene, Run run) {
  scene.blocked = 0;
  const std::vector<float> expected = run(cpu_interventions<float>());
  const unsigned long long blocked = scene.blocked;
  scene.blocked = 0;
  const std::vector<float> found = run(emulated_interventions<float>());
  EXPECT_EQ(scene.blocked, blocked);
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i)
    ASSERT_NEAR(found[i], expected[i], 2e-5 * (1 + std::abs(expected[i]))) << i;
}

Matrix<const float> in(const std::vector<float>& numbers, std::int64_t width) {
  return {numbers.data(), width};
}
Factor<float> out(std::vector<float>& numbers, std::int64_t width) {
  Factor<float> factor;
  factor.data = numbers.data();
  factor.stride = width;
  return factor;
}

TEST(InterventionKernels, TapsThatAreCut) {
  Scene scene(kWidth);
  const auto x = random_numbers(scene.columns() * kWidth, 1), w = random_numbers(4 * kWidth, 2),
             bias = random_numbers(kWidth, 3);
  expect_alike(scene, [&](const InterventionTable<float>& table) {
    auto result = random_numbers(scene.columns() * kWidth, 4);
    table.cut.conv(scene.rows(),
                   {in(x, kWidth), out(result, kWidth), w.data(), bias.data(), kWidth, 4},
                   scene.cut());
    return result;
  });
  EXPECT_EQ(scene.blocked, 3u);  // 7 -> 8 and 8 -> 8; 7 -> 7, and 2 is out of reach
}

TEST(InterventionKernels, StatesScannedAnew) {
  Scene scene(kWidth);
  const auto x = random_numbers(scene.columns() * kWidth, 1),
             z = random_numbers(scene.columns() * kWidth, 2),
             dt = random_numbers(scene.columns() * kWidth, 3),
             b = random_numbers(scene.columns() * kStates, 4),
             c = random_numbers(scene.columns() * kStates, 5), bias = random_numbers(kWidth, 6),
             d = random_numbers(kWidth, 7);
  auto a = random_numbers(kStates * kWidth, 8);
  for (float& number : a) number = -std::abs(number);
  expect_alike(scene, [&](const InterventionTable<float>& table) {
    auto result = random_numbers(scene.columns() * kWidth, 9);
    ScanArgs<float> args{in(x, kWidth),  in(z, kWidth),  in(dt, kWidth),
                         in(b, kStates), in(c, kStates), out(result, kWidth)};
    args.dt_bias = bias.data();
    args.a = a.data();
    args.d = d.data();
    args.channels = kWidth;
    args.state_count = kStates;
    table.cut.scan(scene.rows(), args, scene.cut());
    return result;
  });
  EXPECT_EQ(scene.blocked, 2u + 1u + 2u);
}

TEST(InterventionKernels, DualFormAnew) {
  Scene scene(kHeads);
  constexpr int kInner = kHeads * kHeadSize;
  const auto x = random_numbers(scene.columns() * kInner, 1),
             b = random_numbers(scene.columns() * kStates, 2),
             c = random_numbers(scene.columns() * kStates, 3),
             dt = random_numbers(scene.columns() * kHeads, 4), bias = random_numbers(kHeads, 5),
             d = random_numbers(kHeads, 6);
  auto a = random_numbers(kHeads, 7);
  for (float& number : a) number = -std::abs(number);
  expect_alike(scene, [&](const InterventionTable<float>& table) {
    auto result = random_numbers(scene.columns() * kInner, 8);
    DualArgs<float> args{
        in(x, kInner), in(b, kStates), in(c, kStates), in(dt, kHeads), {result.data(), kInner}};
    args.dt_bias = bias.data();
    args.a = a.data();
    args.d = d.data();
    args.dt_max = std::numeric_limits<double>::infinity();
    args.heads = kHeads;
    args.head_size = kHeadSize;
    args.states = kStates;
    table.cut.dual(scene.rows(), args, scene.cut());
    return result;
  });
}

TEST(InterventionKernels, AttentionAnew) {
  Scene scene(kHeads);
  scene.terms[3] = {0, 2, 0, 0};
  constexpr int kInner = kHeads * kHeadSize;
  const auto q = random_numbers(scene.columns() * kInner, 1),
             k = random_numbers(scene.columns() * kHeadSize, 2),
             v = random_numbers(scene.columns() * kHeadSize, 3);
  for (const int window : {0, 4, 1})
    for (const double cap : {0.0, 1.5})
      expect_alike(scene, [&](const InterventionTable<float>& table) {
        auto result = random_numbers(scene.columns() * kInner, 4);
        table.cut.attention(scene.rows(),
                            {in(q, kInner), in(k, kHeadSize), in(v, kHeadSize), out(result, kInner),
                             kHeads, 1, kHeadSize, 0.3, window, cap},
                            scene.cut());
        return result;
      });
  EXPECT_EQ(scene.blocked, 3u);  // in a window of one token: 7 -> 7, asked for twice, and 8 -> 8
}

TEST(InterventionKernels, SitesAreWrittenAveragedAndRead) {
  Scene scene(kWidth);
  const auto offset = random_numbers(kWidth, 2), constants = random_numbers(2 * kWidth, 3);
  const std::vector<std::int32_t> channels = {5, 0, 132}, mean_columns = {0, 1, 4},
                                  read_columns = {10, 3};
  const std::vector<SiteWrite> writes = {
      {0, 2, SiteWrite::kColumn, 3, -1, 0, 0, 1}, {1, 2, SiteWrite::kVector, 7, 0, 3, 1, -0.5},
      {0, 1, SiteWrite::kZero, 0, -1, 0, 0, 1},   {0, 2, SiteWrite::kMean, 0, 0, 2, 1, 2},
      {0, 2, SiteWrite::kVector, 1, -1, 0, 0, 1}, {1, 9, SiteWrite::kZero, 0, 1, 2, 0, 1},
      {1, 2, SiteWrite::kMean, 0, -1, 0, 0, 1}};
  const std::vector<SiteTarget> targets = {{9, 0, 3}, {10, 3, 6}, {11, 6, 7}, {500, 0, 7}};
  const std::vector<SiteMean> means = {{0, 3}};
  for (const bool shifted : {false, true})
    expect_alike(scene, [&](const InterventionTable<float>& table) {
      auto value = random_numbers(scene.columns() * kWidth, 1);
      std::vector<float> mean(kWidth), read(2 * kWidth);
      const SiteValue<float> site{out(value, kWidth), shifted ? offset.data() : nullptr, kWidth};
      table.site.mean(scene.rows(), {site, means.data(), mean_columns.data(), mean.data(), 1});
      table.site.write(scene.rows(), {site, targets.data(), writes.data(), channels.data(),
                                      constants.data(), mean.data(), 4});
      table.site.read(scene.rows(), {site, read_columns.data(), read.data(), 2});
      value.insert(value.end(), mean.begin(), mean.end());
      value.insert(value.end(), read.begin(), read.end());
      return value;
    });
}

TEST(InterventionKernels, TheGateApart) {
  Scene scene(kWidth);
  const std::vector<std::int64_t> columns = {1, 8, 11};
  expect_alike(scene, [&](const InterventionTable<float>& table) {
    auto z = random_numbers(scene.columns() * kWidth, 1), g = random_numbers(std::ssize(z), 2),
         s = random_numbers(std::ssize(z), 3), y = random_numbers(std::ssize(z), 4);
    const GateArgs<float> args{columns.data(), 3, kWidth, {g.data(), kWidth}, {s.data(), kWidth}};
    table.gate.open(scene.rows(), args, {z.data(), kWidth});
    table.gate.take(scene.rows(), args, out(y, kWidth));
    table.gate.close(scene.rows(), args, out(y, kWidth));
    for (const auto* more : {&g, &s, &y}) z.insert(z.end(), more->begin(), more->end());
    return z;
  });
}

}  // namespace
}  // namespace factflow::kernels
