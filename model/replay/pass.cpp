#include "model/replay/pass.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <stdexcept>
#include <utility>

#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include "model/mixers/mixer_roles.hpp"

namespace factflow {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr std::int32_t kUnanswered = 0;  // no rank: the kernels have not written this row's answer
constexpr std::int64_t kAlignment = 64;  // bytes, of each array in the buffer

// Where each array of a plan lies in the buffer.
class Layout {
 public:
  template <class T>
  std::int64_t add(const std::vector<T>& values) {
    const std::int64_t at = size_;
    parts_.push_back({at, values.data(), values.size() * sizeof(T)});
    size_ += (static_cast<std::int64_t>(values.size() * sizeof(T)) + kAlignment - 1) / kAlignment *
             kAlignment;
    return at;
  }
  std::int64_t size() const { return std::max(size_, kAlignment); }
  void copy_to(std::uint8_t* buffer) const {
    for (const auto& [at, data, bytes] : parts_)
      if (bytes > 0) std::memcpy(buffer + at, data, bytes);
  }

 private:
  struct Part {
    std::int64_t at;
    const void* data;
    size_t bytes;
  };
  std::vector<Part> parts_;
  std::int64_t size_ = 0;
};

std::vector<std::int32_t> last_columns(const ReplayPlan& plan) {
  std::vector<std::int32_t> columns;
  columns.reserve(plan.rows.size());
  for (const kernels::Row& row : plan.rows) columns.push_back(row.column + row.count - 1);
  return columns;
}

std::vector<std::int32_t> answer_tokens(const ReplayPlan& plan,
                                        std::span<const ReplayRequest> requests) {
  std::vector<std::int32_t> answers;
  answers.reserve(plan.rows.size());
  for (const std::int32_t request : plan.request_of)
    // Nobody asks for the answer of a run that only lends values.
    answers.push_back(request < 0 ? 0 : requests[static_cast<size_t>(request)].answer);
  return answers;
}

// Of `rows` rows, on the device.
AnswerStatistics unwritten_statistics(std::int64_t rows, at::Device device) {
  const auto integers = at::TensorOptions().dtype(at::kInt).device(device);
  return {at::full({rows}, kNaN, integers.dtype(at::kDouble)),
          at::full({rows}, kUnanswered, integers), at::full({rows}, kUnanswered, integers)};
}

AnswerStatistics some_rows(const AnswerStatistics& all, std::int64_t begin, std::int64_t count) {
  return {all.log_probability.narrow(0, begin, count), all.rank.narrow(0, begin, count),
          all.tied.narrow(0, begin, count)};
}

// The rows and replays of a plan without the cuts that are of the other path: their windows are
// empty.
struct PathPlan {
  std::vector<kernels::Row> rows;
  std::vector<kernels::LastToken> replays;

  PathPlan() = default;
  PathPlan(const ReplayPlan& plan, Path path) : rows(plan.rows), replays(plan.replays) {
    const auto concerned = [&](size_t row) {
      return row >= plan.path_of.size() || covers(plan.path_of[row], path);
    };
    for (size_t r = 0; r < rows.size(); ++r)
      if (!concerned(r)) rows[r].window_begin = rows[r].window_end = 0;
    for (kernels::LastToken& replay : replays)
      if (!concerned(static_cast<size_t>(plan.row_of[static_cast<size_t>(replay.column)])))
        replay.window_begin = replay.window_end = 0;
  }
};

}  // namespace

DevicePlan::DevicePlan(const ReplayPlan& plan, const std::vector<std::int32_t>& answer_of_row,
                       at::Device device) {
  const std::vector<std::int32_t> columns = last_columns(plan);
  std::array<PathPlan, 2> of_paths;
  if (!plan.path_of.empty())
    for (const Path path : kMixerPaths) of_paths[static_cast<size_t>(path)] = {plan, path};
  Layout layout;
  std::array<std::int64_t, 2> path_rows_at{}, path_replays_at{};
  for (size_t p = 0; p < of_paths.size(); ++p) {
    path_rows_at[p] = layout.add(of_paths[p].rows);
    path_replays_at[p] = layout.add(of_paths[p].replays);
  }
  const std::int64_t rows_at = layout.add(plan.rows), slots_at = layout.add(plan.slots),
                     flags_at = layout.add(plan.flags), groups_at = layout.add(plan.groups),
                     parts_at = layout.add(plan.parts), replays_at = layout.add(plan.replays),
                     group_rows_at = layout.add(plan.group_rows),
                     before_at = layout.add(plan.before), position_at = layout.add(plan.position),
                     row_of_at = layout.add(plan.row_of),
                     slot_begin_at = layout.add(plan.slot_begin),
                     parent_at = layout.add(plan.parent), tokens_at = layout.add(plan.tokens),
                     last_column_at = layout.add(columns), answers_at = layout.add(answer_of_row);
  staged_ = host_tensor(layout.size(), at::kByte, device);
  layout.copy_to(staged_.data_ptr<std::uint8_t>());
  buffer_ = staged_.to(device, /*non_blocking=*/true);
  const auto integers = [&](std::int64_t at, size_t count) {
    const auto bytes = static_cast<std::int64_t>(count * sizeof(std::int32_t));
    return buffer_.narrow(0, at, bytes).view(at::kInt);
  };
  tokens = integers(tokens_at, plan.tokens.size());
  position = integers(position_at, plan.position.size());
  parent = integers(parent_at, plan.parent.size());
  last_column = integers(last_column_at, columns.size());
  answers = integers(answers_at, answer_of_row.size());
  blocked = at::zeros({1}, at::TensorOptions().dtype(at::kLong).device(device));

  const auto* base = buffer_.data_ptr<std::uint8_t>();
  view.rows = reinterpret_cast<const kernels::Row*>(base + rows_at);
  view.slots = reinterpret_cast<const kernels::StateSlot*>(base + slots_at);
  view.flags = base + flags_at;
  view.groups = reinterpret_cast<const kernels::RowGroup*>(base + groups_at);
  view.replays = reinterpret_cast<const kernels::LastToken*>(base + replays_at);
  for (size_t p = 0; p < of_path.size(); ++p)
    of_path[p] =
        plan.path_of.empty()
            ? PathRows{view.rows, view.replays}
            : PathRows{reinterpret_cast<const kernels::Row*>(base + path_rows_at[p]),
                       reinterpret_cast<const kernels::LastToken*>(base + path_replays_at[p])};
  view.parts = reinterpret_cast<const kernels::PromptPart*>(base + parts_at);
  view.group_rows = reinterpret_cast<const std::int32_t*>(base + group_rows_at);
  view.before = reinterpret_cast<const kernels::TokensBefore*>(base + before_at);
  view.position = reinterpret_cast<const std::int32_t*>(base + position_at);
  view.row_of = reinterpret_cast<const std::int32_t*>(base + row_of_at);
  view.slot_begin = reinterpret_cast<const std::int32_t*>(base + slot_begin_at);
  view.group_count = static_cast<std::int32_t>(plan.groups.size());
  view.part_count = static_cast<std::int32_t>(plan.parts.size());
  view.replay_count = static_cast<std::int32_t>(plan.replays.size());
  view.part_tokens = plan.part_tokens;
  view.every_channel = plan.every_channel;
  view.clean_count = static_cast<std::int32_t>(plan.slot_begin.size()) - 1;
  view.slot_count = static_cast<std::int32_t>(plan.slots.size());
  view.longest = plan.longest;
  view.suffixes = plan.suffixes;
  view.blocked = reinterpret_cast<unsigned long long*>(blocked.data_ptr());
  view.stream = current_stream(device);
}

Pass::Pass(const Network& network, const Masks& masks, Workspace& workspace, ReplayPlan plan,
           std::span<const ReplayRequest> requests, int top_tokens, std::int64_t logits_rows)
    : plan_(std::move(plan)),
      requests_(requests),
      device_(plan_, answer_tokens(plan_, requests), network.device()) {
  const c10::InferenceMode inference;
  allow_tf32(network.precision() == Precision::kTf32 || network.precision() == Precision::kTf32x3);
  std::optional<PassActions> actions;
  if (plan_.has_actions()) actions.emplace(plan_, network.device(), network.type());
  PassActions* const asked = actions ? &*actions : nullptr;
  const at::Tensor hidden = climb(network, masks, workspace, asked);
  read_answers(network, last_states(network, hidden, workspace, asked), workspace, top_tokens,
               logits_rows);
  if (actions) values_ = actions->take_values();
  blocked_ = host_tensor(1, at::kLong, network.device());
  blocked_.copy_(device_.blocked, /*non_blocking=*/true);
  done_.record(network.device());
}

// Columns [alive, columns) begin as copies of others.
void Pass::give_birth(const at::Tensor& hidden, std::int64_t alive, std::int64_t columns) {
  if (columns == alive) return;
  gather_rows(device_.view, hidden,
              device_.parent.narrow(0, alive - plan_.clean_columns, columns - alive),
              hidden.narrow(0, alive, columns - alive));
}

// Rows [alive, rows) begin with what the rows that they leave have counted.
void Pass::inherit_routing(std::int64_t alive, std::int64_t rows) {
  if (!rerouted_.defined() || rows == alive) return;
  std::vector<std::int64_t> left;
  for (std::int64_t r = alive; r < rows; ++r) {
    const std::int32_t first = plan_.rows[static_cast<size_t>(r)].column - plan_.clean_columns;
    left.push_back(plan_.row_of[static_cast<size_t>(plan_.parent[static_cast<size_t>(first)])]);
  }
  const at::Tensor from = at::tensor(left, at::kLong).to(rerouted_.device());
  rerouted_.narrow(0, alive, rows - alive).copy_(rerouted_.index_select(0, from));
}

// Carries the alive columns through all layers; returns the residual stream [columns, hidden] after
// the last one.
at::Tensor Pass::climb(const Network& network, const Masks& masks, Workspace& workspace,
                       PassActions* actions) {
  at::Tensor hidden =
      workspace.wide_matrix("hidden", plan_.columns(), network.architecture().hidden);
  device_.view.column_count = plan_.clean_columns;
  network.embed(device_.view, device_.tokens, device_.position.narrow(0, 0, plan_.clean_columns),
                hidden.narrow(0, 0, plan_.clean_columns));
  // What columns carry is the embedding, until a mixer writes something else there.
  at::Tensor carried;
  if (carries(network.architecture())) {
    carried = workspace.wide_matrix("carried", plan_.columns(), network.architecture().hidden);
    carried.narrow(0, 0, plan_.clean_columns).copy_(hidden.narrow(0, 0, plan_.clean_columns));
  }
  if (network.architecture().routes())
    rerouted_ = at::zeros({static_cast<std::int64_t>(plan_.rows.size())},
                          at::TensorOptions().dtype(at::kInt).device(network.device()));
  std::int64_t alive = plan_.clean_columns, rows = device_.view.clean_count;
  for (int l = 0; l < plan_.layers; ++l) {
    const std::int64_t columns = plan_.columns_alive[static_cast<size_t>(l)];
    give_birth(hidden, alive, columns);
    if (carried.defined()) give_birth(carried, alive, columns);
    alive = columns;
    inherit_routing(rows, plan_.rows_alive[static_cast<size_t>(l)]);
    rows = plan_.rows_alive[static_cast<size_t>(l)];
    device_.view.layer = l;
    device_.view.count = plan_.rows_alive[static_cast<size_t>(l)];
    device_.view.column_count = static_cast<std::int32_t>(columns);
    Step step{device_.view, l, hidden.narrow(0, 0, columns), workspace,
              masks[static_cast<size_t>(l)]};
    step.actions = actions;
    step.of_path = device_.of_path;
    step.flag_count = static_cast<std::int64_t>(plan_.flags.size());
    step.rerouted = rerouted_;
    if (carried.defined()) step.carried = carried.narrow(0, 0, columns);
    step.at(Site::kH, {step.hidden}, network.stream_offset(l));
    network.layer(step);
  }
  give_birth(hidden, alive, plan_.columns());
  inherit_routing(rows, static_cast<std::int64_t>(plan_.rows.size()));
  device_.view.layer = plan_.layers;
  device_.view.count = static_cast<std::int32_t>(plan_.rows.size());
  device_.view.column_count = plan_.columns();
  if (actions != nullptr && actions->touches({Site::kH, plan_.layers}))
    actions->apply({Site::kH, plan_.layers}, device_.view, {hidden},
                   network.stream_offset(plan_.layers));
  return hidden;
}

// The final norm of every row's last column; of all columns only if somebody asks for them.
Factor Pass::last_states(const Network& network, const at::Tensor& hidden, Workspace& workspace,
                         PassActions* actions) {
  const SiteAt norm{Site::kNorm, plan_.layers};
  if (actions == nullptr || !actions->touches(norm)) {
    const at::Tensor last = workspace.wide_matrix(
        "last", static_cast<std::int64_t>(plan_.rows.size()), network.architecture().hidden);
    gather_rows(device_.view, hidden, device_.last_column, last);
    return network.final_states(device_.view, last, workspace);
  }
  const Factor all = network.final_states(device_.view, hidden, workspace);
  actions->apply(norm, device_.view, all, {});
  const auto last = [&](const at::Tensor& of) {
    return of.defined() ? of.index_select(0, device_.last_column) : of;
  };
  return {last(all.numbers), last(all.high), last(all.parts), all.distance};
}

// The head on every row's final state, some rows at a time; only the answers are kept.
void Pass::read_answers(const Network& network, const Factor& states, Workspace& workspace,
                        int top_tokens, std::int64_t logits_rows) {
  const auto rows = static_cast<std::int64_t>(plan_.rows.size());
  const auto clean_rows = static_cast<std::int64_t>(requests_.size());
  const std::int64_t vocabulary = network.architecture().vocabulary;
  const AnswerStatistics statistics = unwritten_statistics(rows, network.device());
  for (std::int64_t begin = 0; begin < rows;) {
    // Chunks do not straddle the end of the clean rows, of which the likeliest tokens may be
    // wanted.
    const std::int64_t end =
        std::min(begin + logits_rows, begin < clean_rows && top_tokens > 0 ? clean_rows : rows);
    const std::int64_t count = end - begin;
    const at::Tensor logits = network.logits(states.some_rows(begin, count), workspace);
    answer_statistics(device_.view, logits, device_.answers.narrow(0, begin, count),
                      network.logit_scaling(), some_rows(statistics, begin, count));
    if (begin < clean_rows && top_tokens > 0) {
      const std::int64_t top = std::min<std::int64_t>(top_tokens, vocabulary);
      const auto [values, tokens] =
          network.scaled_logits(logits.to(at::kDouble)).log_softmax(1).exp().topk(top, 1);
      top_ids_.push_back(tokens);
      top_probabilities_.push_back(values);
    }
    begin = end;
  }
  const auto to_host = [&](const at::Tensor& from) {
    const at::Tensor to = host_tensor(rows, from.scalar_type(), network.device());
    to.copy_(from, /*non_blocking=*/true);
    return to;
  };
  answers_ = {to_host(statistics.log_probability), to_host(statistics.rank),
              to_host(statistics.tied)};
}

Answer Pass::answer_of(std::int64_t row) const {
  return {answers_.log_probability.data_ptr<double>()[row],
          answers_.rank.data_ptr<std::int32_t>()[row], answers_.tied.data_ptr<std::int32_t>()[row],
          rerouted_.defined() ? rerouted_.data_ptr<std::int32_t>()[row] : 0,
          plan_.edges_of[static_cast<size_t>(row)]};
}

std::vector<ReplayResult> Pass::collect(ReadsOn reads) {
  const c10::InferenceMode inference;
  done_.wait();
  if (rerouted_.defined()) rerouted_ = rerouted_.to(at::kCPU);
  const auto blocked = static_cast<std::uint64_t>(*blocked_.data_ptr<std::int64_t>());
  if (blocked != plan_.blocked_edges)
    throw std::logic_error(fmt::format("the kernels blocked {} edges, the plan expects {}", blocked,
                                       plan_.blocked_edges));
  const auto* rank = answers_.rank.data_ptr<std::int32_t>();
  const auto unanswered = std::count(rank, rank + plan_.rows.size(), kUnanswered);
  if (unanswered > 0)
    throw std::logic_error(
        fmt::format("the kernels left {} of {} answers unwritten", unanswered, plan_.rows.size()));
  std::vector<ReplayResult> results(requests_.size());
  for (size_t r = 0; r < requests_.size(); ++r) {
    results[r].clean = answer_of(static_cast<std::int64_t>(r));
    results[r].knockouts.reserve(plan_.answer_row[r].size());
    for (const auto& cut : plan_.answer_row[r]) {
      std::vector<Answer>& answers = results[r].knockouts.emplace_back();
      answers.reserve(cut.size());
      for (const std::int32_t row : cut)
        answers.push_back(row == ReplayPlan::kNoEdge ? Answer{} : answer_of(row));
    }
  }
  if (!top_ids_.empty()) add_top_tokens(results);
  add_reads(results, reads);
  return results;
}

void Pass::add_reads(std::vector<ReplayResult>& results, ReadsOn place) const {
  for (size_t r = 0; r < results.size(); ++r) results[r].reads.resize(requests_[r].reads.size());
  for (const PassActions::Values& values : values_) {
    at::Tensor rows = values.rows;
    if (place == ReadsOn::kHost && rows.is_cuda()) {
      rows = host_tensor(values.rows.numel(), rows.scalar_type(), rows.device()).view(rows.sizes());
      rows.copy_(values.rows);
    }
    for (size_t i = 0; i < values.reads.size(); ++i) {
      const SitePlan::Read& read = values.reads[i];
      results[static_cast<size_t>(read.request)].reads[static_cast<size_t>(read.index)] = {
          rows, static_cast<std::int64_t>(i)};
    }
  }
  for (size_t r = 0; r < results.size(); ++r)
    for (size_t i = 0; i < results[r].reads.size(); ++i)
      if (!results[r].reads[i].rows.defined())
        throw std::logic_error("a value was not read at " +
                               to_string(requests_[r].reads[i].at.site));
}

void Pass::add_top_tokens(std::vector<ReplayResult>& results) const {
  const at::Tensor tokens = at::cat(top_ids_, 0).cpu(),
                   probabilities = at::cat(top_probabilities_, 0).cpu();
  const std::int64_t count = tokens.size(1);
  for (size_t r = 0; r < results.size(); ++r)
    for (std::int64_t k = 0; k < count; ++k) {
      const std::int64_t at = static_cast<std::int64_t>(r) * count + k;
      results[r].top.push_back({static_cast<std::int32_t>(tokens.data_ptr<std::int64_t>()[at]),
                                probabilities.data_ptr<double>()[at]});
    }
}

}  // namespace factflow
