#include "model/replay/replay.hpp"

#include <algorithm>
#include <deque>
#include <future>
#include <iterator>
#include <limits>
#include <optional>
#include <stdexcept>
#include <utility>

#include <c10/core/StreamGuard.h>
#include <fmt/format.h>

#include "base/text.hpp"
#include "model/check_intervention.hpp"
#include "model/device.hpp"
#include "model/kept_numbers.hpp"

namespace factflow {
namespace {

// Parameters, below which planning takes long beside a pass.
constexpr std::int64_t kQuickModel = 1'000'000'000;
// How many passes of such a model are short, each twice as long as the one before.
constexpr int kShortPasses = 4;

// Indices that would otherwise be read from outside a tensor.
void check_ids(const std::vector<int>& ids, const Architecture& architecture) {
  const auto known = [&](int id) { return id >= 0 && id < architecture.vocabulary; };
  if (!std::all_of(ids.begin(), ids.end(), known))
    throw std::invalid_argument(
        fmt::format("a token outside the vocabulary of {}", architecture.vocabulary));
  if (architecture.max_positions > 0 &&
      static_cast<std::int64_t>(ids.size()) > architecture.max_positions)
    throw std::invalid_argument(fmt::format("a prompt of {} tokens in a model of {} positions",
                                            ids.size(), architecture.max_positions));
}

// A knockout of a channel set that a model does not have blocks nothing, so that sweeps can ask the
// same of all models; whatever else a model does not have is refused.
bool is_knockout(const Series& series) {
  const auto* block = series.interventions.size() == 1
                          ? std::get_if<Block>(&series.interventions.front())
                          : nullptr;
  return block != nullptr && block->through == Block::Through::kState && !block->parts &&
         !block->erase && std::holds_alternative<ChannelSet>(block->selection);
}

int first_layer(const Series& series, size_t run) {
  if (series.windows) return (*series.windows)[run].begin;
  int first = std::numeric_limits<int>::max();
  for (const Intervention& intervention : series.interventions)
    for (const int layer : std::visit([](const auto& one) { return one.layers; }, intervention))
      first = std::min(first, layer);
  return first;
}

}  // namespace

ReplayEngine::ReplayEngine(const Network& network, std::int64_t memory_limit,
                           std::int64_t rows_per_pass, int lanes)
    : network_(network),
      shape_(pass_shape(network.architecture(), network.precision(), network.device())),
      memory_limit_(memory_limit),
      rows_per_pass_(rows_per_pass),
      possible_(network.architecture()) {
  const EngineDefaults defaults = engine_defaults(network.device());
  if (lanes <= 0) lanes = defaults.lanes;
  for (int i = 0; i < lanes; ++i)
    lanes_.push_back({{network.device(), network.precision()}, another_stream(network.device())});
  synchronise(network.device());  // lanes do not wait for the stream that brings the weights
  if (memory_limit_ <= 0)
    memory_limit_ = activation_memory(network.device(),
                                      numbers_kept(network.architecture(), network.parameters()) *
                                          weight_bytes(network.precision()));
  if (rows_per_pass_ <= 0) rows_per_pass_ = defaults.rows_per_pass;
}

std::int64_t ReplayEngine::logits_rows() const {
  return factflow::logits_rows(shape_, share());
}

// Nothing runs while the first pass is planned, so quick models begin with short ones.
std::int64_t ReplayEngine::rows_of_pass(int index) const {
  const bool short_ones = index < kShortPasses && network_.parameters() < kQuickModel;
  return short_ones ? rows_per_pass_ >> (kShortPasses - index) : rows_per_pass_;
}

std::vector<ReplayResult> ReplayEngine::run(std::span<const ReplayRequest> requests, int top_tokens,
                                            ReadsOn reads) {
  for (const ReplayRequest& request : requests) check(request);
  std::vector<ReplayResult> results;
  results.reserve(requests.size());
  const auto append = [&](std::vector<ReplayResult> more) {
    std::move(more.begin(), more.end(), std::back_inserter(results));
  };
  // While the device works on passes, the next one is planned by a thread of its own, and the
  // answers of those before are unpacked.
  std::deque<Pass> under_way;
  const auto collect_until = [&](size_t left) {
    for (; under_way.size() > left; under_way.pop_front()) append(under_way.front().collect(reads));
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
      append(planned.bytes > memory_limit_
                 ? run_in_two(taken[0], top_tokens, reads, planned.bytes)
                 : run_alone(std::move(planned), taken[0], top_tokens, reads));
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
  const Masks& masks = masks_of(planned.plan);
  const c10::StreamGuard guard(lane.stream);
  return {network_, masks,      lane.workspace, std::move(planned.plan),
          requests, top_tokens, logits_rows()};
}

// A request that needs more than a lane's share takes the memory of all.
std::vector<ReplayResult> ReplayEngine::run_alone(PlannedPass planned, const ReplayRequest& request,
                                                  int top_tokens, ReadsOn reads) {
  free_lanes();
  std::vector<ReplayResult> results =
      launch(lanes_.front(), std::move(planned), {&request, 1}, top_tokens).collect(reads);
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

// Halves the runs of a single prompt by their first layers, so that trajectories stay whole.
std::vector<ReplayResult> ReplayEngine::run_in_two(const ReplayRequest& request, int top_tokens,
                                                   ReadsOn reads, std::int64_t needed) {
  std::vector<int> starts;
  for (const Series& series : request.series)
    for (size_t i = 0; i < series.runs(); ++i) starts.push_back(first_layer(series, i));
  std::sort(starts.begin(), starts.end());
  starts.erase(std::unique(starts.begin(), starts.end()), starts.end());
  if (starts.size() < 2)
    throw MemoryError(fmt::format("one prompt of {} tokens needs {} of memory, {} may be used",
                                  request.ids.size(), format_bytes(static_cast<double>(needed)),
                                  format_bytes(static_cast<double>(memory_limit_))));
  const int middle = starts[starts.size() / 2];
  ReplayResult whole;
  whole.knockouts.resize(request.series.size());
  for (size_t i = 0; i < request.series.size(); ++i)
    whole.knockouts[i].resize(request.series[i].runs());
  whole.reads.resize(request.reads.size());
  for (const bool upper : {false, true}) run_half(request, middle, upper, top_tokens, reads, whole);
  return {std::move(whole)};
}

// The runs whose first layer is `upper` or not, and what is read under them; clean runs are read in
// the lower half.
void ReplayEngine::run_half(const ReplayRequest& request, int middle, bool upper, int top_tokens,
                            ReadsOn place_of_reads, ReplayResult& whole) {
  ReplayRequest half{request.ids, request.answer};
  std::vector<std::vector<std::optional<ReadAt::Run>>> place(request.series.size());
  std::vector<std::vector<size_t>> runs_of;
  std::vector<size_t> series_of;
  for (size_t i = 0; i < request.series.size(); ++i) {
    const Series& series = request.series[i];
    place[i].resize(series.runs());
    std::vector<size_t> chosen;
    for (size_t run = 0; run < series.runs(); ++run) {
      if ((first_layer(series, run) >= middle) != upper) continue;
      place[i][run] = ReadAt::Run{half.series.size(), chosen.size()};
      chosen.push_back(run);
    }
    if (chosen.empty()) continue;
    Series part = series;
    if (series.windows) {
      part.windows->clear();
      for (const size_t run : chosen) part.windows->push_back((*series.windows)[run]);
    }
    half.series.push_back(std::move(part));
    series_of.push_back(i);
    runs_of.push_back(std::move(chosen));
  }
  std::vector<size_t> reads;
  for (size_t k = 0; k < request.reads.size(); ++k) {
    ReadAt read = request.reads[k];
    if (read.under) read.under = place[read.under->series][read.under->run];
    if (request.reads[k].under ? !read.under : upper) continue;
    half.reads.push_back(read);
    reads.push_back(k);
  }
  ReplayResult part = std::move(run({&half, 1}, top_tokens, place_of_reads)[0]);
  for (size_t i = 0; i < half.series.size(); ++i)
    for (size_t run = 0; run < runs_of[i].size(); ++run)
      whole.knockouts[series_of[i]][runs_of[i][run]] = part.knockouts[i][run];
  for (size_t k = 0; k < reads.size(); ++k) whole.reads[reads[k]] = part.reads[k];
  whole.clean = part.clean;
  whole.top = std::move(part.top);
}

void ReplayEngine::check(const ReplayRequest& request) const {
  check_ids(request.ids, network_.architecture());
  check_ids({request.answer}, network_.architecture());
  for (const Series& series : request.series) {
    if (is_knockout(series)) continue;
    possible_.series(series);
    for (const Intervention& intervention : series.interventions) {
      const auto* write = std::get_if<Write>(&intervention);
      if (write == nullptr) continue;
      if (const auto* other = std::get_if<OtherRun>(&write->value))
        check_ids(other->ids, network_.architecture());
      if (const auto* mean = std::get_if<MeanOfRuns>(&write->value))
        for (const std::vector<int>& ids : mean->runs) check_ids(ids, network_.architecture());
    }
  }
  for (const ReadAt& read : request.reads) possible_.site(read.at);
}

// Made once for all passes with the same selections: ranking channels and uploading masks would
// interrupt every layer. They are the one thing that lanes share and that changes.
const Masks& ReplayEngine::masks_of(const ReplayPlan& plan) {
  if (masks_.empty() || masked_selections_ != plan.selections ||
      masked_taps_ != plan.tap_selections) {
    synchronise(network_.device());
    masks_.clear();
    for (int l = 0; l < network_.architecture().layers; ++l)
      masks_.push_back(network_.masks(l, plan.selections, plan.tap_selections));
    synchronise(network_.device());
    masked_selections_ = plan.selections;
    masked_taps_ = plan.tap_selections;
  }
  return masks_;
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
