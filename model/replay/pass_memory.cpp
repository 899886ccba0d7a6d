#include "model/replay/pass_memory.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "model/ops.hpp"

namespace factflow {
namespace {

constexpr std::int64_t kLogitsBytes = std::int64_t{256} << 20;  // of one chunk of logits
constexpr std::int64_t kRowsPerPass = 16384;  // on a GPU; bench/RESULTS.md has the others tried
constexpr int kLanesOnGpu = 2;

// How many requests have about `rows` rows together; at least one.
size_t count_front(std::span<const ReplayRequest> requests, std::int64_t rows) {
  std::int64_t sum = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    sum += 1;
    for (const Series& series : requests[i].series) sum += static_cast<std::int64_t>(series.runs());
    if (sum > rows) return std::max<size_t>(i, 1);
  }
  return requests.size();
}

}  // namespace

PassShape pass_shape(const Architecture& architecture, Precision precision, at::Device device) {
  const LayerMemory memory = memory_of(architecture.blocks, architecture.hidden, precision);
  return {architecture.hidden, architecture.vocabulary, memory.per_column, memory.per_state,
          memory.per_slot,     traits_of(architecture), precision,         device};
}

std::int64_t logits_bytes(const PassShape& shape) {
  return static_cast<std::int64_t>(c10::elementSize(head_type(shape.precision))) *
         padded_vocabulary(shape.vocabulary);
}

std::int64_t logits_rows(const PassShape& shape, std::int64_t share) {
  return std::max<std::int64_t>(1, std::min(kLogitsBytes, share / 8) / logits_bytes(shape));
}

std::int64_t bytes_of_pass(const ReplayPlan& plan, const PassShape& shape, std::int64_t share) {
  const auto element = static_cast<std::int64_t>(c10::elementSize(wide_type(shape.precision)));
  std::int64_t column = shape.hidden * element + shape.bytes_per_column + 32;
  // What a mixer or an MLP adds to the stream, apart from it, and the final norm of all columns.
  if (plan.has_actions()) column += shape.hidden * (2 * element + factor_bytes(shape.precision));
  // Gate, skip and scan apart from each other: a layer's activations hold more than that.
  if (!plan.before_gate.empty()) column += 2 * shape.bytes_per_column;
  const auto rows = static_cast<std::int64_t>(plan.rows.size());
  const std::int64_t slots =
      states_stored(shape.device, plan.suffixes) ? static_cast<std::int64_t>(plan.slots.size()) : 0;
  const std::int64_t scratch =
      shape.bytes_per_state == 0
          ? 0
          : scan_scratch_bytes(shape.device, static_cast<std::int64_t>(plan.parts.size()),
                               static_cast<std::int64_t>(plan.replays.size()), plan.part_tokens);
  const std::int64_t head = std::min(logits_rows(shape, share), rows) * logits_bytes(shape) +
                            rows * shape.hidden * (element + factor_bytes(shape.precision));
  const std::int64_t states =
      slots * shape.bytes_per_state +
      static_cast<std::int64_t>(plan.slots.size()) *
          (shape.per_slot.own + shape.per_slot.per_token * std::int64_t{plan.longest});
  return (plan.columns() * column + states + scratch + head) / 8 *
         9;  // buffers are made an eighth larger than asked for
}

PlannedPass plan_pass(std::span<const ReplayRequest> requests, const PassShape& shape,
                      std::int64_t rows, std::int64_t share) {
  for (size_t count = count_front(requests, rows);; count = (count + 1) / 2) {
    ReplayPlan plan = plan_replay(requests.first(count), shape.mixers);
    const std::int64_t bytes = bytes_of_pass(plan, shape, share);
    if (count == 1 || bytes <= share) return {std::move(plan), count, bytes};
  }
}

EngineDefaults engine_defaults(at::Device device) {
  if (device.is_cpu()) return {std::numeric_limits<std::int64_t>::max(), 1};
  return {kRowsPerPass, kLanesOnGpu};
}

std::int64_t bytes_of_requests(std::span<const ReplayRequest> requests, const PassShape& shape,
                               std::int64_t memory_limit) {
  const EngineDefaults engine = engine_defaults(shape.device);
  const std::int64_t share = memory_limit / engine.lanes;
  std::int64_t largest = 0;
  size_t passes = 0;
  for (size_t done = 0; done < requests.size(); ++passes) {
    const PlannedPass pass = plan_pass(requests.subspan(done), shape, engine.rows_per_pass, share);
    done += pass.requests;
    largest = std::max(largest, pass.bytes);
  }
  // A single request beyond a lane's share takes the memory of all.
  const std::int64_t lanes =
      std::min<std::int64_t>(engine.lanes, static_cast<std::int64_t>(passes));
  return std::min(largest > share ? largest : largest * lanes, memory_limit);
}

}  // namespace factflow
