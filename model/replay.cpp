#include "model/replay.hpp"

#include <algorithm>
#include <deque>
#include <future>
#include <iterator>
#include <stdexcept>
#include <utility>

#include <c10/core/StreamGuard.h>
#include <fmt/format.h>

#include "base/text.hpp"
#include "model/device.hpp"

namespace factflow {
namespace {

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

}  // namespace

ReplayEngine::ReplayEngine(const Network& network, std::int64_t memory_limit,
                           std::int64_t rows_per_pass, int lanes)
    : network_(network),
      shape_(pass_shape(network.architecture(), network.precision(), network.device())),
      memory_limit_(memory_limit),
      rows_per_pass_(rows_per_pass) {
  const EngineDefaults defaults = engine_defaults(network.device());
  if (lanes <= 0) lanes = defaults.lanes;
  for (int i = 0; i < lanes; ++i)
    lanes_.push_back({{network.device(), network.precision()}, another_stream(network.device())});
  synchronise(network.device());  // lanes do not wait for the stream that brings the weights
  if (memory_limit_ <= 0)
    memory_limit_ = activation_memory(network.device(),
                                      network.parameters() * weight_bytes(network.precision()));
  if (rows_per_pass_ <= 0) rows_per_pass_ = defaults.rows_per_pass;
}

std::int64_t ReplayEngine::logits_rows() const {
  return factflow::logits_rows(shape_, share());
}

// Nothing runs while the first pass is planned, so quick models begin with short ones.
std::int64_t ReplayEngine::rows_of_pass(int index) const {
  const bool short_ones = index < 2 && network_.parameters() < kQuickModel;
  return short_ones ? rows_per_pass_ >> (2 - index) : rows_per_pass_;
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
  std::future<PlannedPass> planning;
  size_t done = 0;
  for (int index = 0; done < requests.size(); ++index) {
    PlannedPass planned =
        index == 0 ? plan_pass(requests, shape_, rows_of_pass(0), share()) : planning.get();
    const auto taken = requests.subspan(done, planned.requests);
    done += planned.requests;
    if (done < requests.size())
      planning = std::async(std::launch::async, [this, rest = requests.subspan(done), index] {
        return plan_pass(rest, shape_, rows_of_pass(index + 1), share());
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

Pass ReplayEngine::launch(Lane& lane, PlannedPass planned, std::span<const ReplayRequest> requests,
                          int top_tokens) {
  record_cost(planned.plan);
  const std::vector<at::Tensor>& masks = channel_masks(planned.plan.channel_sets);
  const c10::StreamGuard guard(lane.stream);
  return {network_, masks,      lane.workspace, std::move(planned.plan),
          requests, top_tokens, logits_rows()};
}

// A request that needs more than a lane's share takes the memory of all.
std::vector<ReplayResult> ReplayEngine::run_alone(PlannedPass planned, const ReplayRequest& request,
                                                  int top_tokens) {
  free_lanes();
  std::vector<ReplayResult> results =
      launch(lanes_.front(), std::move(planned), {&request, 1}, top_tokens).collect();
  free_lanes();
  return results;
}

std::int64_t ReplayEngine::buffer_bytes() const {
  std::int64_t bytes = 0;
  for (const Lane& lane : lanes_) bytes += lane.workspace.bytes();
  return bytes;
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
