// The replay engine: clean runs and knockouts of many prompts, together up the layers.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "model/check_intervention.hpp"
#include "model/network.hpp"
#include "model/replay/pass.hpp"
#include "model/replay/pass_memory.hpp"
#include "model/replay/replay_plan.hpp"
#include "model/replay/replay_result.hpp"

namespace factflow {

// One prompt with one window does not fit the memory that the engine may use.
class MemoryError : public RunError {
 public:
  using RunError::RunError;
};

struct ReplayCost {
  // Per pass: columns alive in each layer, and the rows that went through the head.
  struct Pass {
    std::vector<std::int32_t> columns_alive;
    std::int64_t rows = 0;
  };
  std::vector<Pass> passes;
  std::int64_t column_layers = 0;  // columns x layers that went through the matrix products
  std::int64_t knockouts = 0;      // answers given, no-edge ones aside
};

// Not safe for several threads at once; one engine per device.
class ReplayEngine {
 public:
  // memory_limit: bytes for activations; 0 = activation_memory() of the device. rows_per_pass:
  // about how many rows go up the layers together at most; 0 = enough to keep the device busy while
  // the next pass is planned. lanes: how many passes are under way together; 0 = two on a GPU,
  // where one's kernels fill the gaps between the other's, and one on a CPU.
  explicit ReplayEngine(const Network& network, std::int64_t memory_limit = 0,
                        std::int64_t rows_per_pass = 0, int lanes = 0);

  // One result per request, in order; independent of how requests are split into passes up to
  // rounding. Rank kernels::kNoRank and a NaN log-probability, in `clean` or in a knockout, mean
  // that the model's output was not finite there. Throws std::invalid_argument for impossible
  // tokens, positions, windows, sites or edges, MemoryError if a single prompt does not fit, and
  // std::logic_error if the kernels blocked another number of edges than the plan expects.
  std::vector<ReplayResult> run(std::span<const ReplayRequest> requests, int top_tokens = 0,
                                ReadsOn reads = ReadsOn::kHost);

  // Since the last reset_cost().
  const ReplayCost& cost() const { return cost_; }
  void reset_cost() { cost_ = {}; }
  std::int64_t memory_limit() const { return memory_limit_; }
  std::int64_t logits_rows() const;   // how many rows of logits exist at a time
  std::int64_t buffer_bytes() const;  // of all buffers as they are now

 private:
  struct Lane {  // passes take turns in them
    Workspace workspace;
    c10::Stream stream;
  };
  std::int64_t rows_of_pass(int index) const;
  Pass launch(Lane& lane, PlannedPass planned, std::span<const ReplayRequest> requests,
              int top_tokens);
  std::vector<ReplayResult> run_alone(PlannedPass planned, const ReplayRequest& request,
                                      int top_tokens, ReadsOn reads);
  std::vector<ReplayResult> run_in_two(const ReplayRequest& request, int top_tokens, ReadsOn reads,
                                       std::int64_t needed);
  void run_half(const ReplayRequest& request, int middle, bool upper, int top_tokens, ReadsOn reads,
                ReplayResult& whole);
  std::int64_t share() const { return memory_limit_ / static_cast<std::int64_t>(lanes_.size()); }
  void free_lanes();
  void record_cost(const ReplayPlan& plan);
  const Masks& masks_of(const ReplayPlan& plan);
  void check(const ReplayRequest& request) const;

  const Network& network_;
  PassShape shape_;
  std::int64_t memory_limit_;
  std::int64_t rows_per_pass_;
  InterventionCheck possible_;
  std::vector<StateSelection> masked_selections_;  // what the masks below are of
  std::vector<TapSelection> masked_taps_;
  Masks masks_;
  std::vector<Lane> lanes_;
  ReplayCost cost_;
};

}  // namespace factflow
