// What kernels are tried with: all tables, passes over prompts with cuts of every form, and random
// matrices.
#pragma once

#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "model/kernels/kernels.hpp"
#include "model/replay/replay_plan.hpp"

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

// The CUDA tables, as plain C++.
template <class T>
const KernelTable<T>& emulated_kernels();
template <class T>
void emulated_factor(const Rows& rows, const Matrix<const float>& x, const Factor<T>& out,
                     std::int64_t count, std::int64_t width);

}  // namespace kernels

}  // namespace factflow

namespace emulation {  // tests/model/cuda_emulation
void copy_late(bool late);
void draw_orders_from(unsigned seed);
}  // namespace emulation

namespace factflow {
namespace {

using kernels::Bfloat16;
using kernels::Float16;
using kernels::Head;
using kernels::Wide;

using kernels::KernelTable;
using kernels::Matrix;
using kernels::Row;

// What the kernels are tried with: widths that no vector divides and cuts of some channels, or what
// the fast ones take.
struct Sizes {
  int channels, states;
  bool channel_sets;
  int dual_head, dual_states, attention_head;  // dimensions
  bool suffixes;                               // replays of several tokens too
};
constexpr Sizes kOdd = {67, 5, true, 7, 5, 7, true};  // less than a block of channels
constexpr Sizes kEven = {136, 16, false, 8, 12, 64, true};
constexpr Sizes kLastTokens = {136, 16, false, 256, 132, 64, false};
constexpr Sizes kManyWarps = {136, 16, false, 128,
                              12,  64, false};  // four to a block of the dual form

// A one-layer pass over three prompts with cuts of every form, or of given requests.
class Pass {
 public:
  explicit Pass(const std::vector<ReplayRequest>& requests, int layers = 1, int channels = 8,
                bool keep_states = false)
      : plan_(plan_replay(requests, {layers, channels, keep_states})),
        every_channel_(keep_states) {}
  explicit Pass(const Sizes& sizes = kOdd) {
    const std::vector<Window> on = {{0, 1}};
    const ChannelSet slow = sizes.channel_sets ? parse_channel_set("slow") : ChannelSet{},
                     quantile =
                         sizes.channel_sets ? parse_channel_set("quantile 2/3") : ChannelSet{};
    std::vector<ReplayRequest> requests = {
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
        {{1}, 0, {{{0}, {0}, {}, on}}},
        // Longer than what the CUDA scan has of a prompt at a time.
        {{1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2},
         0,
         {{{19}, {0}, {}, on},
          {{19}, {1, 17}, slow, on},
          {{19}, {2}, {}, on},
          {{19}, {3}, {}, on},
          {{19}, {16, 18}, {}, on}}}};
    if (!sizes.suffixes)
      for (ReplayRequest& request : requests)
        std::erase_if(request.series, [&](const Series& cut) {
          return cut.block().targets.front() + 1 < static_cast<int>(request.ids.size());
        });
    plan_ = plan_replay(requests, {1, sizes.channels, true});
    every_channel_ = !sizes.channel_sets;
  }

  // Every second token of the cuts' flags, if it is a source, does not erase either.
  void erase_some() {
    for (size_t i = 0; i < plan_.flags.size(); i += 2)
      if ((plan_.flags[i] & kernels::kSource) != 0) plan_.flags[i] |= kernels::kErase;
  }

  const ReplayPlan& plan() const { return plan_; }
  std::uint64_t blocked() const { return blocked_; }
  kernels::Rows rows(int layer = 0) {
    kernels::Rows rows;
    rows.layer = layer;
    rows.rows = plan_.rows.data();
    rows.clean_count = static_cast<std::int32_t>(plan_.slot_begin.size()) - 1;
    rows.count = plan_.rows_alive[static_cast<size_t>(layer)];
    rows.column_count = plan_.columns_alive[static_cast<size_t>(layer)];
    rows.longest = plan_.longest;
    rows.slot_count = static_cast<std::int32_t>(plan_.slots.size());
    rows.before = plan_.before.data();
    rows.position = plan_.position.data();
    rows.row_of = plan_.row_of.data();
    rows.flags = plan_.flags.data();
    rows.slots = plan_.slots.data();
    rows.slot_begin = plan_.slot_begin.data();
    rows.groups = plan_.groups.data();
    rows.group_rows = plan_.group_rows.data();
    rows.group_count = static_cast<std::int32_t>(plan_.groups.size());
    rows.parts = plan_.parts.data();
    rows.replays = plan_.replays.data();
    rows.part_count = static_cast<std::int32_t>(plan_.parts.size());
    rows.replay_count = static_cast<std::int32_t>(plan_.replays.size());
    rows.part_tokens = plan_.part_tokens;
    rows.suffixes = plan_.suffixes;
    rows.every_channel = every_channel_;
    rows.blocked = &blocked_;
    return rows;
  }
  std::uint8_t flag(const Row& row, std::int32_t token) const {
    return row.flags < 0 ? std::uint8_t{0} : plan_.flags[static_cast<size_t>(row.flags + token)];
  }
  bool loses_edge(const Row& row, std::int32_t target, std::int32_t source) const {
    if (row.flags < 0) return false;
    return (plan_.flags[static_cast<size_t>(row.flags + target)] & kernels::kTarget) != 0 &&
           (plan_.flags[static_cast<size_t>(row.flags + source)] & kernels::kSource) != 0;
  }

 private:
  ReplayPlan plan_;
  bool every_channel_ = false;
  unsigned long long blocked_ = 0;
};

template <class T>
T from_float(float value) {
  return static_cast<T>(value);
}
template <>
[[maybe_unused]] Bfloat16 from_float(float value) {
  return {static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16)};
}
template <>
[[maybe_unused]] Float16 from_float(float value) {
  return {c10::detail::fp16_ieee_from_fp32_value(value)};
}
template <class T>
[[maybe_unused]] inline double to_double(T value) {
  return static_cast<double>(value);
}
[[maybe_unused]] inline double to_double(Float16 value) {
  return c10::detail::fp16_ieee_to_fp32_value(value.bits);
}
[[maybe_unused]] inline double to_double(Bfloat16 value) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16);
}

// Random values that bfloat16 holds exactly, as T.
template <class T>
class Values {
 public:
  Values(std::int64_t rows, std::int64_t columns, unsigned seed, float scale = 1)
      : width_(columns), values_(static_cast<size_t>(rows * columns)) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0, scale);
    for (T& value : values_)
      value = from_float<T>(static_cast<float>(to_double(from_float<Bfloat16>(normal(random)))));
  }
  // An output before its kernel: what is not written, or read before it is, shows.
  static Values unwritten(std::int64_t rows, std::int64_t columns) {
    Values values(rows, columns, 0);
    values.forget();
    return values;
  }
  void forget() {
    std::fill(values_.begin(), values_.end(),
              from_float<T>(std::numeric_limits<float>::quiet_NaN()));
  }
  Matrix<const T> in() const { return {values_.data(), width_}; }
  Matrix<T> out() { return {values_.data(), width_}; }
  kernels::Factor<T> factor() { return {out()}; }
  const T* data() const { return values_.data(); }
  T* data() { return values_.data(); }
  T at(std::int64_t row, std::int64_t column) const {
    return values_[static_cast<size_t>(row * width_ + column)];
  }
  std::vector<double> all() const {
    std::vector<double> all;
    for (const T value : values_) all.push_back(to_double(value));
    return all;
  }
  std::vector<double> first(std::int64_t rows) const {
    std::vector<double> some = all();
    some.resize(static_cast<size_t>(rows * width_));
    return some;
  }

 private:
  std::int64_t width_;
  std::vector<T> values_;
};

template <class T>
void make_negative(Values<T>& values, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) values.data()[i] = -std::abs(values.data()[i]);
}

using Outputs = std::map<std::string, std::vector<double>>;
inline void expect_near(const Outputs& outputs, const Outputs& expected, double tolerance) {
  ASSERT_EQ(outputs.size(), expected.size());
  for (const auto& [name, values] : expected)
    for (size_t i = 0; i < values.size(); ++i)
      ASSERT_NEAR(outputs.at(name)[i], values[i], tolerance * (1 + std::abs(values[i])))
          << name << ", element " << i;
}

// The order in which blocks, warps and threads come is drawn from a seed; with even ones copies to
// shared memory are done as late as a kernel lets them, with odd ones at once: a GPU is in between.
class Emulation : public testing::TestWithParam<unsigned> {
 protected:
  Emulation() {
    emulation::draw_orders_from(GetParam());
    emulation::copy_late(GetParam() % 2 == 0);
  }
};

}  // namespace
}  // namespace factflow
