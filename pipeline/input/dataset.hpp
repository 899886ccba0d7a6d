// Prompt files: COUNTERFACT and its relatives, read into one form.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <unordered_set>
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
  // What was detected, e.g. "counterfact-tracing, JSON lines".
  std::string format;
  std::string digest;                       // XXH3-128 of the file, hex
  std::vector<Prompt> prompts;              // in file order; ids unique
  std::vector<std::int64_t> reference_ids;  // one per prompt if asked for, else empty (specs: D3)
  std::vector<BadRecord> bad;
  std::vector<std::int64_t> left_out = {};  // ids of prompts that did not pass the filters
};

// The values of `format:` besides "auto": "counterfact", "counterfact-tracing", "counterfact-flat",
// "known-1000", "relations", "minimal". docs/datasets.md shows each.
const std::vector<std::string>& dataset_format_names();

// Prompts that are wanted by id; nothing = all. Ids that the dataset does not have are no error.
using WantedIds = std::optional<std::unordered_set<std::int64_t>>;

// Throws InputError if the file cannot be read, its format is unknown, or no prompt is left.
Dataset read_dataset(const DatasetConfig& config, const WantedIds& wanted = std::nullopt);

// The file of `select: {ids: FILE}`: a JSON list of whole numbers, or one per line; blank lines and
// lines that start with # do not count. In file order; throws InputError for anything else, a
// duplicate, or an empty list.
std::vector<std::int64_t> read_ids(const std::filesystem::path& file);

}  // namespace factflow
