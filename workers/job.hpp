// What all ranks of a run must know before the first unit: models, what is done with them, how to
// compute. Sent once, as bytes, from rank 0.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/asked.hpp"
#include "experiments/loaded_model.hpp"

namespace factflow {

struct ModelJob : ModelSource {
  std::string name = {};
  // Numbers that the loaded model keeps, and how many of them cannot be used where they lie in the
  // files, as float32 can; 0 = not known.
  std::int64_t kept = 0, converted = 0;
  // What each kind of experiment does with the model, as in experiment_kinds(): Work::bytes().
  std::vector<std::string> work = {};
  std::vector<Asked> asked = {};  // of each kind: all that it asks of any prompt
};

struct Job {
  std::vector<ModelJob> models;
  std::string device = "auto";
  std::string precision = "fp32";
  int threads_per_rank = 0;
  std::int64_t memory_limit = 0;
  bool share_gpus = false;
  int heartbeat_timeout = 60;  // seconds
  // Whether each rank holds the engine against whole forwards before its first unit of a model.
  bool self_check = true;
};

std::string encode(const Job& job);
Job decode_job(const std::string& bytes);  // throws RunError for bytes that encode() did not make

}  // namespace factflow
