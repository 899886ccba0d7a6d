#include "model/replay.hpp"

#include <algorithm>
#include <deque>
#include <future>
#include <iterator>
#include <limits>
#include <stdexcept>
#include <utility>

#include <c10/core/StreamGuard.h>
#include <fmt/format.h>

#include "base/text.hpp"
#include "model/device.hpp"

namespace factflow {
namespace {

constexpr std::int64_t kLogitsBytes = std::int64_t{256} << 20;  // of one chunk of logits
constexpr std::int64_t kRowsPerPass = 16384;  // on a GPU; bench/RESULTS.md has the others tried
constexpr int kLanesOnGpu = 2;
// Parameters, below which planning takes long beside a pass.
constexpr std::int64_t kQuickModel = 1'000'000'000;

// Indices that would otherwise be read from outside a tensor.
void check_tokens(const ReplayRequest& request, const Architecture& architecture) {
  const auto known = [&](int id) { return id >= 0 && id < architecture.vocabulary; };
  if (!std::all_of(request.ids.begin(), request.ids.end(), known) || !known(request.answer))
    throw std::invalid_argument(
        fmt::format("a token outside the vocabulary of {}", architecture.vocabulary));
  if (architecture.max_positions > 0 &&
      static_cast<std::int64_t>(request.ids.size()) > architecture.max_positions)
    throw std::invalid_argument(fmt::format("a prompt of {} tokens in a model of {} positions",
                                            request.ids.size(), architecture.max_positions));
}

// How many requests have about `rows` rows together; at least one.
size_t count_front(std::span<const ReplayRequest> requests, std::int64_t rows) {
  std::int64_t sum = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    sum += 1;
    for (const EdgeCut& cut : requests[i].cuts)
      sum += static_cast<std::int64_t>(cut.windows.size());
    if (sum > rows) return std::max<size_t>(i, 1);
  }
  return requests.size();
}

}  // namespace

ReplayEngine::ReplayEngine(const Network& network, std::int64_t memory_limit,
                           std::int64_t rows_per_pass, int lanes)
    : network_(network), memory_limit_(memory_limit), rows_per_pass_(rows_per_pass) {
  const bool cpu = network.device().is_cpu();
  if (lanes <= 0) lanes = cpu ? 1 : kLanesOnGpu;
  for (int i = 0; i < lanes; ++i)
    lanes_.push_back({{network.device(), network.precision()}, another_stream(network.device())});
  synchronise(network.device());  // lanes do not wait for the stream that brings the weights
  if (memory_limit_ <= 0)
    memory_limit_ = activation_memory(network.device(),
                                      network.parameters() * weight_bytes(network.precision()));
  if (rows_per_pass_ <= 0)
    rows_per_pass_ = cpu ? std::numeric_limits<std::int64_t>::max() : kRowsPerPass;
}

// Of one row.
std::int64_t ReplayEngine::logits_bytes() const {
  return static_cast<std::int64_t>(c10::elementSize(head_type(network_.precision()))) *
         padded_vocabulary(network_.architecture().vocabulary);
}

std::int64_t ReplayEngine::logits_rows() const {
  return std::max<std::int64_t>(1, std::min(kLogitsBytes, share() / 8) / logits_bytes());
}

std::int64_t ReplayEngine::bytes_needed(const ReplayPlan& plan) const {
  const auto element = static_cast<std::int64_t>(c10::elementSize(network_.type()));
  const std::int64_t hidden = network_.architecture().hidden;
  const std::int64_t column = hidden * element + network_.bytes_per_column() + 32;
  const auto rows = static_cast<std::int64_t>(plan.rows.size());
  const std::int64_t slots = states_stored(network_.device(), plan.suffixes)
                                 ? static_cast<std::int64_t>(plan.slots.size())
                                 : 0;
  const std::int64_t scratch =
      network_.bytes_per_state() == 0
          ? 0
          : scan_scratch_bytes(network_.device(), static_cast<std::int64_t>(plan.parts.size()),
                               static_cast<std::int64_t>(plan.replays.size()), plan.part_tokens);
  const std::int64_t head = std::min(logits_rows(), rows) * logits_bytes() +
                            rows * hidden * (element + factor_bytes(network_.precision()));
  return (plan.columns() * column + slots * network_.bytes_per_state() + scratch + head) / 8 *
         9;  // buffers are made an eighth larger than asked for
}

// Nothing runs while the first pass is planned, so quick models begin with short ones.
std::int64_t ReplayEngine::rows_of_pass(int index) const {
  const bool short_ones = index < 2 && network_.parameters() < kQuickModel;
  return short_ones ? rows_per_pass_ >> (2 - index) : rows_per_pass_;
}

// Plans a pass of the first requests: as many as have about `rows` rows, or fewer if they do not
// fit a lane's share of the memory.
ReplayEngine::Planned ReplayEngine::plan_front(std::span<const ReplayRequest> requests,
                                               std::int64_t rows) const {
  const Architecture& architecture = network_.architecture();
  const bool keep_states = std::holds_alternative<MambaShape>(architecture.shape);
  for (size_t count = count_front(requests, rows);; count = (count + 1) / 2) {
    ReplayPlan plan = plan_replay(requests.first(count), architecture.layers,
                                  architecture.channels(), keep_states);
    const std::int64_t bytes = bytes_needed(plan);
    if (count == 1 || bytes <= share()) return {std::move(plan), count, bytes};
  }
}

std::vector<ReplayResult> ReplayEngine::run(std::span<const ReplayRequest> requests,
                                            int top_tokens) {
  for (const ReplayRequest& request : requests) check_tokens(request, network_.architecture());
  std::vector<ReplayResult> results;
  results.reserve(requests.size());
  const auto append = [&](std::vector<ReplayResult> more) {
    std::move(more.begin(), more.end(), std::back_inserter(results));
  };
  // While the device works on passes, the next one is planned by a thread of its own, and the
  // answers of those before are unpacked.
  std::deque<Pass> under_way;
  const auto collect_until = [&](size_t left) {
    for (; under_way.size() > left; under_way.pop_front()) append(under_way.front().collect());
  };
  std::future<Planned> planning;
  size_t done = 0;
  for (int index = 0; done < requests.size(); ++index) {
    Planned planned = index == 0 ? plan_front(requests, rows_of_pass(0)) : planning.get();
    const auto taken = requests.subspan(done, planned.requests);
    done += planned.requests;
    if (done < requests.size())
      planning = std::async(std::launch::async, [this, rest = requests.subspan(done), index] {
        return plan_front(rest, rows_of_pass(index + 1));
      });
    if (planned.bytes > share()) {
      collect_until(0);
      append(planned.bytes > memory_limit_ ? run_in_two(taken[0], top_tokens, planned.bytes)
                                           : run_alone(std::move(planned), taken[0], top_tokens));
    } else {
      Lane& lane = lanes_[static_cast<size_t>(index) % lanes_.size()];
      under_way.push_back(launch(lane, std::move(planned), taken, top_tokens));
      collect_until(lanes_.size());
    }
  }
  collect_until(0);
  return results;
}

Pass ReplayEngine::launch(Lane& lane, Planned planned, std::span<const ReplayRequest> requests,
                          int top_tokens) {
  record_cost(planned.plan);
  const std::vector<at::Tensor>& masks = channel_masks(planned.plan.channel_sets);
  const c10::StreamGuard guard(lane.stream);
  return {network_, masks,      lane.workspace, std::move(planned.plan),
          requests, top_tokens, logits_rows()};
}

// A request that needs more than a lane's share takes the memory of all.
std::vector<ReplayResult> ReplayEngine::run_alone(Planned planned, const ReplayRequest& request,
                                                  int top_tokens) {
  free_lanes();
  std::vector<ReplayResult> results =
      launch(lanes_.front(), std::move(planned), {&request, 1}, top_tokens).collect();
  free_lanes();
  return results;
}

void ReplayEngine::free_lanes() {
  for (Lane& lane : lanes_) lane.workspace.clear();
  release_cached_memory(network_.device());
}

// Halves the windows of a single prompt by their starts, so that trajectories stay whole.
std::vector<ReplayResult> ReplayEngine::run_in_two(const ReplayRequest& request, int top_tokens,
                                                   std::int64_t needed) {
  std::vector<int> starts;
  for (const EdgeCut& cut : request.cuts)
    for (const Window& window : cut.windows) starts.push_back(window.begin);
  std::sort(starts.begin(), starts.end());
  starts.erase(std::unique(starts.begin(), starts.end()), starts.end());
  if (starts.size() < 2)
    throw MemoryError(fmt::format("one prompt of {} tokens needs {} of memory, {} may be used",
                                  request.ids.size(), format_bytes(static_cast<double>(needed)),
                                  format_bytes(static_cast<double>(memory_limit_))));
  const int middle = starts[starts.size() / 2];
  ReplayResult whole;
  whole.knockouts.resize(request.cuts.size());
  for (size_t i = 0; i < request.cuts.size(); ++i)
    whole.knockouts[i].resize(request.cuts[i].windows.size());
  for (const bool upper : {false, true}) {
    ReplayRequest half = request;
    for (EdgeCut& cut : half.cuts)
      std::erase_if(cut.windows, [&](const Window& w) { return (w.begin >= middle) != upper; });
    ReplayResult part = std::move(run({&half, 1}, top_tokens)[0]);
    for (size_t i = 0; i < half.cuts.size(); ++i) {
      size_t next = 0;
      const std::vector<Window>& windows = request.cuts[i].windows;
      for (size_t w = 0; w < windows.size(); ++w)
        if ((windows[w].begin >= middle) == upper)
          whole.knockouts[i][w] = part.knockouts[i][next++];
    }
    whole.clean = part.clean;
    whole.top = std::move(part.top);
  }
  return {std::move(whole)};
}

// Made once for all passes with the same sets: ranking channels and uploading masks would interrupt
// every layer. They are the one thing that lanes share and that changes.
const std::vector<at::Tensor>& ReplayEngine::channel_masks(const std::vector<ChannelSet>& sets) {
  if (channel_masks_.empty() || masked_sets_ != sets) {
    synchronise(network_.device());
    channel_masks_.clear();
    for (int l = 0; l < network_.architecture().layers; ++l)
      channel_masks_.push_back(network_.channel_masks(l, sets));
    synchronise(network_.device());
    masked_sets_ = sets;
  }
  return channel_masks_;
}

void ReplayEngine::record_cost(const ReplayPlan& plan) {
  cost_.passes.push_back({plan.columns_alive, static_cast<std::int64_t>(plan.rows.size())});
  cost_.column_layers += column_layers(plan);
  for (const auto& request : plan.answer_row)
    for (const auto& cut : request)
      cost_.knockouts += std::count_if(cut.begin(), cut.end(),
                                       [](std::int32_t row) { return row != ReplayPlan::kNoEdge; });
}

}  // namespace factflow
