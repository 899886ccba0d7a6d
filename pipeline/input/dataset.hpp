// Prompt files: COUNTERFACT and its relatives, read into one form.
#pragma once

#include <string>
#include <vector>

#include "model/prompt.hpp"
#include "pipeline/input/config.hpp"

namespace factflow {

// A record that could not become a prompt. The run goes on without it; it is listed in the results.
struct BadRecord {
  std::string where;   // "facts.jsonl:17"
  std::string reason;  // "the subject 'Paris' does not occur in the prompt"
};

struct Dataset {
  std::string format;            // what was detected, e.g. "counterfact-tracing, JSON lines"
  std::string digest;            // XXH3-128 of the file, hex
  std::vector<Prompt> prompts;   // in file order; ids unique
  std::vector<std::int64_t> reference_ids;  // one per prompt if asked for, else empty (specs: D3)
  std::vector<BadRecord> bad;
};

// Throws InputError if the file cannot be read, its format is unknown, or no prompt is left.
Dataset read_dataset(const DatasetConfig& config);

}  // namespace factflow
