// Makes results.h5 out of the journal: the journal is the truth, the file a view of it that can be
// made again at any time.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "pipeline/coordination/journal.hpp"
#include "pipeline/run/run_plan.hpp"

namespace factflow {

// "right for all of a, b", "the ids of FILE", ...
std::string set_in_words(const Config& config, const SelectConfig& set);

struct ResultsSource {
  const Config& config;
  const Dataset& dataset;
  const PlannedJob& planned;
  const RunPlan& plan;
  const JournalIndex& journal;
  std::string created;  // UTC, when the run directory was made
  // Called between units and models, for a caller who must not fall silent.
  std::function<void()> between = [] {};
};

struct ResultsSummary {
  std::int64_t units_done = 0, units_failed = 0, units_planned = 0;
  std::int64_t failures = 0;  // lines of the table of failures
  bool complete = false;
  // "gpt2: ...": what makes a model's numbers mean something else than they seem to.
  std::vector<std::string> warnings = {};
};

// Publishes `path` with everything that is finished so far. Memory: the results of one model.
ResultsSummary build_results(const ResultsSource& source, const std::filesystem::path& path);

}  // namespace factflow
