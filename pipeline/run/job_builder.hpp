// From a configuration to what the ranks must know: what is done with every model, checked against
// its architecture.
#pragma once

#include <vector>

#include "model/architecture.hpp"
#include "pipeline/input/config.hpp"
#include "workers/job.hpp"

namespace factflow {

struct PlannedModel {
  Architecture architecture;
  std::int64_t parameters = 0;
  std::int64_t kept = 0;                 // numbers in memory: numbers_kept()
  std::vector<std::string> missing;      // "weights", "a tokenizer"; only with kConfigOnly
  std::vector<PlannedWork> experiments;  // as experiment_kinds()
  double tokens = 0;  // of a prompt, on average; 0: not measured (measure_tokens())
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

// `prompts`: of the dataset. Reads every model's config.json, every tensor's name and shape, and
// the tokenizer. Throws InputError for a model that cannot be used or cannot have what is asked,
// and for what would do nothing in any model and prompt;
// models that are not there are all named at once, with the commands that download them.
PlannedJob build_job(const Config& config, const std::vector<Prompt>& prompts,
                     Completeness completeness);

// What all kinds of experiment do with the model `job.name`, whose planned.architecture is known:
// fills in the rest of `planned` and job.work. Throws InputError for what the model cannot have.
void plan_experiments(const Config& config, const std::vector<Prompt>& prompts,
                      PlannedModel& planned, ModelJob& job);

}  // namespace factflow
