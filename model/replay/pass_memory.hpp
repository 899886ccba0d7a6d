// How much memory a pass of the replay engine takes: a function of its plan and of the model's
// shape, so that it is known before there is a model.
#pragma once

#include <cstdint>
#include <span>

#include <ATen/ATen.h>

#include "model/architecture.hpp"
#include "model/precision.hpp"
#include "model/replay/replay_plan.hpp"

namespace factflow {

// What of a model, its precision and its device decides that.
struct PassShape {
  std::int64_t hidden = 0, vocabulary = 0;
  std::int64_t bytes_per_column = 0;  // of a layer's activations and factors
  std::int64_t bytes_per_state = 0;   // of a selective scan's state slot; 0 = there is none
  SlotBytes per_slot;                 // of any other
  MixerTraits mixers;
  Precision precision = Precision::kFp32;
  at::Device device = at::kCPU;
};
PassShape pass_shape(const Architecture& architecture, Precision precision, at::Device device);

// Rows of logits that exist at a time in a pass that may take `share` bytes, and bytes of one.
std::int64_t logits_rows(const PassShape& shape, std::int64_t share);
std::int64_t logits_bytes(const PassShape& shape);

// Bytes of all buffers of a pass, with the reserve that they are made with (workspace.hpp).
std::int64_t bytes_of_pass(const ReplayPlan& plan, const PassShape& shape, std::int64_t share);

struct PlannedPass {
  ReplayPlan plan;
  size_t requests = 0;     // taken, from the front
  std::int64_t bytes = 0;  // needed; beyond `share` only if a single request is
};
// A pass of as many requests, from the front, as have about `rows` rows, or of fewer if they do not
// fit into `share` bytes.
PlannedPass plan_pass(std::span<const ReplayRequest> requests, const PassShape& shape,
                      std::int64_t rows, std::int64_t share);

// How an engine works on a device unless it is told otherwise.
struct EngineDefaults {
  std::int64_t rows_per_pass = 0;
  int lanes = 1;  // passes under way together, each with its share of the memory
};
EngineDefaults engine_defaults(at::Device device);

// Bytes of activations that an engine needs at most for such requests in one unit; `memory_limit`
// as in ReplayEngine, above 0.
std::int64_t bytes_of_requests(std::span<const ReplayRequest> requests, const PassShape& shape,
                               std::int64_t memory_limit);

}  // namespace factflow
