// From a configuration to what the ranks must know: every model's edges and windows, checked against its architecture.
#pragma once

#include <vector>

#include "model/architecture.hpp"
#include "pipeline/input/config.hpp"
#include "workers/job.hpp"

namespace factflow {

struct PlannedModel {
  Architecture architecture;
  std::int64_t parameters = 0;
  std::vector<std::string> skipped;  // edges that this family cannot have: "subject->last/slow"
};

struct PlannedJob {
  Job job;
  std::vector<PlannedModel> models;  // as job.models
};

// Reads every model's config.json, and with `open_checkpoints` also every tensor's name and shape and the tokenizer.
// Throws InputError for a model that cannot be used and for a window larger than a model.
PlannedJob build_job(const Config& config, bool open_checkpoints);

// fit: starts 0 .. layers - size. centred: for each layer c, layers [c - floor(size / 2), c + ceil(size / 2)) inside the model.
WindowSeries window_series(int size, Placement placement, int layers);

}  // namespace factflow
