#include "model/replay.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <utility>

#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include "base/text.hpp"
#include "model/device.hpp"

namespace factflow {
namespace {

constexpr std::int64_t kLogitsBytes = std::int64_t{256} << 20;  // of one chunk of logits
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

at::Tensor upload(const std::vector<std::int32_t>& values, at::Device device) {
  const at::Tensor tensor = at::empty({static_cast<std::int64_t>(values.size())}, at::TensorOptions().dtype(at::kInt));
  std::copy(values.begin(), values.end(), tensor.data_ptr<std::int32_t>());
  return tensor.to(device);
}

template <class T>
at::Tensor upload_bytes(const std::vector<T>& values, at::Device device) {
  const auto size = static_cast<std::int64_t>(values.size() * sizeof(T));
  const at::Tensor tensor = at::empty({size}, at::TensorOptions().dtype(at::kByte));
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(values.data());
  std::copy(bytes, bytes + size, tensor.data_ptr<std::uint8_t>());
  return tensor.to(device);
}

// A plan's arrays on the device, and the view of them that kernels take.
struct DevicePlan {
  DevicePlan(const ReplayPlan& plan, at::Device device)
      : rows(upload_bytes(plan.rows, device)),
        slots(upload_bytes(plan.slots, device)),
        flags(upload_bytes(plan.flags, device)),
        groups(upload_bytes(plan.groups, device)),
        group_rows(upload(plan.group_rows, device)),
        previous(upload(plan.previous, device)),
        position(upload(plan.position, device)),
        row_of(upload(plan.row_of, device)),
        slot_begin(upload(plan.slot_begin, device)),
        parent(upload(plan.parent, device)),
        blocked(at::zeros({1}, at::TensorOptions().dtype(at::kLong).device(device))) {
    view.rows = reinterpret_cast<const kernels::Row*>(rows.data_ptr());
    view.slots = reinterpret_cast<const kernels::StateSlot*>(slots.data_ptr());
    view.flags = flags.data_ptr<std::uint8_t>();
    view.groups = reinterpret_cast<const kernels::RowGroup*>(groups.data_ptr());
    view.group_rows = group_rows.data_ptr<std::int32_t>();
    view.group_count = static_cast<std::int32_t>(plan.groups.size());
    view.previous = previous.data_ptr<std::int32_t>();
    view.position = position.data_ptr<std::int32_t>();
    view.row_of = row_of.data_ptr<std::int32_t>();
    view.slot_begin = slot_begin.data_ptr<std::int32_t>();
    view.blocked = reinterpret_cast<unsigned long long*>(blocked.data_ptr());
    view.clean_count = static_cast<std::int32_t>(plan.slot_begin.size()) - 1;
    view.slot_count = static_cast<std::int32_t>(plan.slots.size());
    view.longest = plan.longest;
    view.stream = current_stream(device);
  }

  at::Tensor rows, slots, flags, groups, group_rows, previous, position, row_of, slot_begin, parent, blocked;
  kernels::Rows view;
};

// Indices that would otherwise be read from outside a tensor.
void check_tokens(const ReplayRequest& request, const Architecture& architecture) {
  const auto known = [&](int id) { return id >= 0 && id < architecture.vocabulary; };
  if (!std::all_of(request.ids.begin(), request.ids.end(), known) || !known(request.answer))
    throw std::invalid_argument(fmt::format("a token outside the vocabulary of {}", architecture.vocabulary));
  if (architecture.max_positions > 0 && static_cast<std::int64_t>(request.ids.size()) > architecture.max_positions)
    throw std::invalid_argument(fmt::format("a prompt of {} tokens in a model of {} positions", request.ids.size(), architecture.max_positions));
}

// Carries the alive columns through all layers; returns the residual stream [columns, hidden] after the last one.
at::Tensor climb(const Network& network, const ReplayPlan& plan, const std::vector<at::Tensor>& channel_masks, DevicePlan& device,
                 Workspace& workspace) {
  const std::int64_t width = network.architecture().hidden;
  at::Tensor hidden = workspace.matrix("hidden", plan.columns(), width);
  device.view.column_count = plan.clean_columns;
  network.embed(device.view, upload(plan.tokens, network.device()), device.position.narrow(0, 0, plan.clean_columns),
                hidden.narrow(0, 0, plan.clean_columns));
  std::int64_t alive = plan.clean_columns;
  for (int l = 0; l < plan.layers; ++l) {
    const std::int64_t columns = plan.columns_alive[static_cast<size_t>(l)];
    if (columns > alive)
      gather_rows(device.view, hidden, device.parent.narrow(0, alive - plan.clean_columns, columns - alive),
                  hidden.narrow(0, alive, columns - alive));
    alive = columns;
    device.view.layer = l;
    device.view.count = plan.rows_alive[static_cast<size_t>(l)];
    device.view.column_count = static_cast<std::int32_t>(columns);
    Step step{device.view, l, hidden.narrow(0, 0, columns), channel_masks[static_cast<size_t>(l)], workspace};
    network.layer(step);
  }
  return hidden;
}

}  // namespace

ReplayEngine::ReplayEngine(const Network& network, std::int64_t memory_limit)
    : network_(network), memory_limit_(memory_limit), workspace_(network.device(), network.type()) {
  if (memory_limit_ <= 0) {
    const std::int64_t free = free_memory(network.device());
    memory_limit_ = network.device().is_cpu() ? std::min(free / 2, std::int64_t{2} << 30) : free / 4 * 3;
  }
}

std::int64_t ReplayEngine::logits_rows() const {
  const auto row = static_cast<std::int64_t>(c10::elementSize(network_.type())) * network_.architecture().vocabulary;
  const std::int64_t share = std::min(kLogitsBytes, memory_limit_ / 8);
  return std::max<std::int64_t>(1, share / row);
}

std::int64_t ReplayEngine::bytes_needed(const ReplayPlan& plan) const {
  const auto element = static_cast<std::int64_t>(c10::elementSize(network_.type()));
  const std::int64_t rows = std::min<std::int64_t>(logits_rows(), static_cast<std::int64_t>(plan.rows.size()));
  const std::int64_t columns = plan.columns() * (network_.architecture().hidden * element + network_.bytes_per_column() + 20);
  const std::int64_t states = static_cast<std::int64_t>(plan.slots.size()) * network_.bytes_per_state();
  const std::int64_t head = rows * element * (network_.architecture().vocabulary + 2 * network_.architecture().hidden);
  return (columns + states + head) / 8 * 9;  // buffers are made an eighth larger than asked for
}

std::vector<ReplayResult> ReplayEngine::run(std::span<const ReplayRequest> requests, int top_tokens) {
  if (requests.empty()) return {};
  const Architecture& architecture = network_.architecture();
  for (const ReplayRequest& request : requests) check_tokens(request, architecture);
  const bool keep_states = std::holds_alternative<MambaShape>(architecture.shape);
  const ReplayPlan plan = plan_replay(requests, architecture.layers, architecture.channels(), keep_states);
  const std::int64_t needed = bytes_needed(plan);
  if (needed > memory_limit_) return run_in_two(requests, top_tokens, needed);
  const c10::InferenceMode inference;
  allow_tf32(network_.precision() == Precision::kTf32);
  return run_plan(plan, requests, top_tokens);
}

// Halves the prompts; a single prompt's windows by their starts, so that trajectories stay whole.
std::vector<ReplayResult> ReplayEngine::run_in_two(std::span<const ReplayRequest> requests, int top_tokens, std::int64_t needed) {
  if (requests.size() > 1) {
    std::vector<ReplayResult> results = run(requests.first(requests.size() / 2), top_tokens);
    std::vector<ReplayResult> rest = run(requests.subspan(requests.size() / 2), top_tokens);
    std::move(rest.begin(), rest.end(), std::back_inserter(results));
    return results;
  }
  std::vector<int> starts;
  for (const EdgeCut& cut : requests[0].cuts)
    for (const Window& window : cut.windows) starts.push_back(window.begin);
  std::sort(starts.begin(), starts.end());
  starts.erase(std::unique(starts.begin(), starts.end()), starts.end());
  if (starts.size() < 2)
    throw MemoryError(fmt::format("one prompt of {} tokens needs {} of memory, {} may be used", requests[0].ids.size(),
                                  format_bytes(static_cast<double>(needed)),
                                  format_bytes(static_cast<double>(memory_limit_))));
  const int middle = starts[starts.size() / 2];
  ReplayResult whole;
  whole.knockouts.resize(requests[0].cuts.size());
  for (size_t i = 0; i < requests[0].cuts.size(); ++i) whole.knockouts[i].resize(requests[0].cuts[i].windows.size());
  for (const bool upper : {false, true}) {
    ReplayRequest half = requests[0];
    for (EdgeCut& cut : half.cuts) std::erase_if(cut.windows, [&](const Window& w) { return (w.begin >= middle) != upper; });
    ReplayResult part = std::move(run({&half, 1}, top_tokens)[0]);
    for (size_t i = 0; i < half.cuts.size(); ++i) {
      size_t next = 0;
      const std::vector<Window>& windows = requests[0].cuts[i].windows;
      for (size_t w = 0; w < windows.size(); ++w)
        if ((windows[w].begin >= middle) == upper) whole.knockouts[i][w] = part.knockouts[i][next++];
    }
    whole.clean = part.clean;
    whole.top = std::move(part.top);
  }
  return {std::move(whole)};
}

// Made once for all passes with the same sets: ranking channels and uploading masks would interrupt every layer.
const std::vector<at::Tensor>& ReplayEngine::channel_masks(const std::vector<ChannelSet>& sets) {
  if (channel_masks_.empty() || masked_sets_ != sets) {
    channel_masks_.clear();
    for (int l = 0; l < network_.architecture().layers; ++l) channel_masks_.push_back(network_.channel_masks(l, sets));
    masked_sets_ = sets;
  }
  return channel_masks_;
}

std::vector<ReplayResult> ReplayEngine::run_plan(const ReplayPlan& plan, std::span<const ReplayRequest> requests, int top_tokens) {
  DevicePlan device(plan, network_.device());
  const at::Tensor hidden = climb(network_, plan, channel_masks(plan.channel_sets), device, workspace_);

  // The last column of every row through final norm and head, some rows at a time; only the answers are kept.
  const auto rows = static_cast<std::int64_t>(plan.rows.size());
  std::vector<std::int32_t> last_column, answer;
  for (size_t r = 0; r < plan.rows.size(); ++r) {
    last_column.push_back(plan.rows[r].column + plan.rows[r].count - 1);
    answer.push_back(requests[static_cast<size_t>(plan.request_of[r])].answer);
  }
  const at::Tensor columns = upload(last_column, network_.device()), answers = upload(answer, network_.device());
  const auto on_device = at::TensorOptions().device(network_.device());
  const at::Tensor log_probability = at::empty({rows}, on_device.dtype(at::kDouble));
  const at::Tensor rank = at::empty({rows}, on_device.dtype(at::kInt));
  const std::int64_t clean_rows = static_cast<std::int64_t>(requests.size());
  std::vector<at::Tensor> top_ids, top_probabilities;
  for (std::int64_t begin = 0; begin < rows;) {
    // Chunks do not straddle the end of the clean rows, of which the likeliest tokens may be wanted.
    const std::int64_t end = std::min(begin + logits_rows(), begin < clean_rows ? clean_rows : rows);
    const std::int64_t count = end - begin;
    at::Tensor chunk = workspace_.matrix("last", count, network_.architecture().hidden);
    at::Tensor logits = workspace_.matrix("logits", count, network_.architecture().vocabulary);
    gather_rows(device.view, hidden, columns.narrow(0, begin, count), chunk);
    network_.logits(device.view, chunk, workspace_, logits);
    answer_statistics(device.view, logits, answers.narrow(0, begin, count), log_probability.narrow(0, begin, count),
                      rank.narrow(0, begin, count));
    if (begin < clean_rows && top_tokens > 0) {
      const std::int64_t top = std::min<std::int64_t>(top_tokens, logits.size(1));
      const auto [values, tokens] = logits.to(at::kDouble).log_softmax(1).exp().topk(top, 1);
      top_ids.push_back(tokens.cpu());
      top_probabilities.push_back(values.cpu());
    }
    begin = end;
  }

  const auto blocked = static_cast<std::uint64_t>(device.blocked.cpu().item<std::int64_t>());
  if (blocked != plan.blocked_edges)
    throw std::logic_error(fmt::format("the kernels blocked {} edges, the plan expects {}", blocked, plan.blocked_edges));
  const at::Tensor log_host = log_probability.cpu(), rank_host = rank.cpu();
  const auto answer_of = [&](std::int32_t row) {
    return Answer{log_host.data_ptr<double>()[row], rank_host.data_ptr<std::int32_t>()[row]};
  };
  std::vector<ReplayResult> results(requests.size());
  for (size_t r = 0; r < requests.size(); ++r) {
    results[r].clean = answer_of(static_cast<std::int32_t>(r));
    for (const auto& cut : plan.answer_row[r]) {
      auto& answers_of_cut = results[r].knockouts.emplace_back();
      for (const std::int32_t row : cut) {
        answers_of_cut.push_back(row == ReplayPlan::kNoEdge ? Answer{kNaN, 0} : answer_of(row));
        cost_.knockouts += row == ReplayPlan::kNoEdge ? 0 : 1;
      }
    }
  }
  if (!top_ids.empty()) {
    const at::Tensor tokens = at::cat(top_ids, 0), probabilities = at::cat(top_probabilities, 0);
    for (size_t r = 0; r < requests.size(); ++r)
      for (std::int64_t k = 0; k < tokens.size(1); ++k) {
        const std::int64_t at = static_cast<std::int64_t>(r) * tokens.size(1) + k;
        results[r].top.push_back({static_cast<std::int32_t>(tokens.data_ptr<std::int64_t>()[at]), probabilities.data_ptr<double>()[at]});
      }
  }
  cost_.passes.push_back({plan.columns_alive, rows});
  cost_.column_layers += column_layers(plan);
  return results;
}

}  // namespace factflow
