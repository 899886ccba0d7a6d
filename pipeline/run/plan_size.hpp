// How much a configuration asks for, before anything is computed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pipeline/run/rate_table.hpp"
#include "pipeline/run/run_plan.hpp"

namespace factflow {

struct WorkEstimate {
  double units = 0, rows = 0;
  double flops = 0;             // of matrix products
  double flops_of_several = 0;  // of these, of rows of several tokens
  double bytes = 0;             // of results
  double journal = 0;           // bytes
  void add(const WorkEstimate& other);
};

// Every model counts as right about every prompt, and a knockout as a replay of one token.
struct WorkLine {
  size_t kind = 0;  // in experiment_kinds()
  AskedPart part;
  WorkEstimate estimate;
  // Indices of the prompts that make the largest unit if the longest ones meet in one.
  std::vector<std::uint32_t> longest;
};
// Estimated from the length of the texts, for models whose tokens are not measured; at least 1.
double tokens_per_prompt(const Dataset& dataset);
// Bytes that a rank keeps of a model beside its weights (Work::bytes_kept()).
double bytes_kept(const PlannedModel& model);
std::vector<WorkLine> work_of_model(const Config& config, const Dataset& dataset,
                                    const PlannedJob& planned, std::uint32_t model);

// The most units that can be computed side by side: those of the kind that offers ranks, or of all
// that follows.
std::int64_t units_side_by_side(const Config& config, const Dataset& dataset,
                                const PlannedJob& planned);

struct PlanSize {
  WorkEstimate total;
  std::vector<WorkEstimate> of_model;
  double kept = 0;  // bytes that a rank keeps of one model beside its weights, at most
  // Bytes that a rank needs beside the pages of mapped files, at most.
  std::int64_t host_memory = 0;
};
// `on_gpu`: weights and activations lie there, not in the memory of the host.
PlanSize size_of_plan(const Config& config, const Dataset& dataset, const PlannedJob& planned,
                      bool on_gpu);

// On one device, loading left out. 0 if the rates do not say.
double seconds_on(const std::string& device, const std::string& precision,
                  const PlannedJob& planned, const PlanSize& size, const RateTable& rates);

// The same of every device whose rates are known in the run's precision. Where a rank has another
// number of threads than the device had, its time follows from theirs, and its name says so.
struct DeviceTime {
  std::string device;
  double seconds = 0;
};
std::vector<DeviceTime> times_of(const Config& config, const PlannedJob& planned,
                                 const PlanSize& size, const RateTable& rates);

// Of so many numbers that a model keeps.
std::int64_t bytes_of_weights(const std::string& precision, std::int64_t kept);

}  // namespace factflow
