// One pass of the replay engine: a plan on its way through the device. The constructor launches
// everything and does not wait for a GPU, so the next pass can be planned meanwhile; collect()
// waits.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include <ATen/ATen.h>

#include "model/device.hpp"
#include "model/network.hpp"
#include "model/replay/pass_actions.hpp"
#include "model/replay/replay_plan.hpp"
#include "model/replay/replay_result.hpp"

namespace factflow {

// A plan's arrays on the device, in one buffer, and the view of them that kernels take.
class DevicePlan {
 public:
  // `answers`: the answer token of each row.
  DevicePlan(const ReplayPlan& plan, const std::vector<std::int32_t>& answers, at::Device device);

  kernels::Rows view;
  // The rows as mixers of a path see them: with the cuts of that path alone.
  std::array<PathRows, 2> of_path;
  at::Tensor tokens, position, parent, last_column, answers;  // int32
  // Int64 [1]: edges that the kernels left out.
  at::Tensor blocked;

 private:
  at::Tensor staged_, buffer_;  // bytes, on the host and on the device
};

// [layer][block], see Network::masks.
using Masks = std::vector<std::vector<BlockMasks>>;

class Pass {
 public:
  // `requests` are those that `plan` was made of. `top_tokens`: how many of the clean runs'
  // likeliest tokens are wanted; at most `logits_rows` rows of logits exist at a time.
  Pass(const Network& network, const Masks& masks, Workspace& workspace, ReplayPlan plan,
       std::span<const ReplayRequest> requests, int top_tokens, std::int64_t logits_rows);

  // Waits for the device. Throws std::logic_error if the kernels blocked other edges than the plan
  // asks for, or left an answer unwritten.
  std::vector<ReplayResult> collect(ReadsOn reads = ReadsOn::kHost);
  const ReplayPlan& plan() const { return plan_; }

 private:
  at::Tensor climb(const Network& network, const Masks& masks, Workspace& workspace,
                   PassActions* actions);
  void give_birth(const at::Tensor& hidden, std::int64_t alive, std::int64_t columns);
  void inherit_routing(std::int64_t alive, std::int64_t rows);
  Factor last_states(const Network& network, const at::Tensor& hidden, Workspace& workspace,
                     PassActions* actions);
  void read_answers(const Network& network, const Factor& states, Workspace& workspace,
                    int top_tokens, std::int64_t logits_rows);
  void add_reads(std::vector<ReplayResult>& results, ReadsOn place) const;
  Answer answer_of(std::int64_t row) const;
  void add_top_tokens(std::vector<ReplayResult>& results) const;

  ReplayPlan plan_;
  std::span<const ReplayRequest> requests_;
  DevicePlan device_;
  // On the host, complete once done_ is reached.
  AnswerStatistics answers_;
  at::Tensor rerouted_;  // as Step::rerouted
  at::Tensor blocked_;
  std::vector<at::Tensor> top_ids_, top_probabilities_;  // on the device
  std::vector<PassActions::Values> values_;              // likewise
  DeviceEvent done_;
};

}  // namespace factflow
