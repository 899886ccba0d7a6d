// From a configuration to what the ranks must know: every model's edges and windows, checked
// against its architecture.
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
  std::vector<std::string> missing;  // "weights", "a tokenizer"; only with kConfigOnly
  // [Config::sweep]; none where the sweep is not for this model.
  std::vector<std::vector<AskedEdge>> sweeps;
  // [Config::heatmaps] indices into ModelJob::heatmaps, likewise.
  std::vector<std::vector<std::uint32_t>> heatmaps;
};

struct PlannedJob {
  Job job;
  std::vector<PlannedModel> models;  // as job.models
};

// What may be missing of a model.
enum class Completeness {
  kWhole,      // nothing
  kConfigOnly  // weights and tokenizer: what is there of them is checked all the same
};

// Reads every model's config.json, every tensor's name and shape, and the tokenizer. Throws
// InputError for a model that cannot be used and for a window larger than a model; models that are
// not there are all named at once, with the commands that download them.
PlannedJob build_job(const Config& config, Completeness completeness);

// The edges and windows of all sweeps and heat maps that are for the model `job.name`, whose
// planned.architecture is known: fills in the rest of `planned` and the axes of `job`. Throws
// InputError for a window larger than the model.
void add_knockouts(const Config& config, PlannedModel& planned, ModelJob& job);

// fit: starts 0 .. layers - size. centred: for each layer c, layers [c - floor(size / 2), c +
// ceil(size / 2)) inside the model.
WindowSeries window_series(int size, Placement placement, int layers);

}  // namespace factflow
