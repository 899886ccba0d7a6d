// Units of work and their results, as they travel between ranks and lie in the journal.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/experiment.hpp"
#include "model/prompt.hpp"

namespace factflow {

// Prompts of which one kind of experiment is asked the same, of one model.
struct Unit {
  std::uint32_t kind = 0;   // ExperimentKind::number()
  std::uint32_t model = 0;  // index in Job::models
  std::vector<Prompt> prompts;
  Asked asked;
};

// What every result says about itself first.
struct UnitReport {
  double seconds = 0;        // of computing
  std::uint32_t failed = 0;  // prompts with a failure
  std::string model_digest;  // of the checkpoint and the tokenizer that were loaded
};

struct UnitResult {
  UnitReport report;
  ModelFacts facts;
  std::vector<Finding> prompts;  // [prompt of the unit]
};

std::string encode(const Unit& unit);
std::string encode(const UnitResult& result);
// Throw RunError for bytes that encode() did not make.
Unit decode_unit(const std::string& bytes);
UnitResult decode_result(const std::string& bytes);
UnitReport report_of(const std::string& result);  // without reading the rest

}  // namespace factflow
