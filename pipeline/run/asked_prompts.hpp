// Which prompts of a model are asked for what: pure functions of the configuration, the dataset and
// the clean runs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pipeline/input/config.hpp"
#include "pipeline/input/dataset.hpp"
#include "pipeline/run/job_builder.hpp"
#include "workers/unit.hpp"

namespace factflow {

// [model][prompt] rank of the answer in the clean run; 0 = that prompt failed or was not evaluated.
using CleanRanks = std::vector<std::vector<std::int32_t>>;

// Prompts of which the same is asked: a piece [begin, begin + count) of AskedPrompts::prompts.
struct AskedPart {
  std::uint32_t begin = 0, count = 0;
  Asked asked;
};

struct AskedPrompts {
  // Indices into the dataset, each once; ascending within a part.
  std::vector<std::uint32_t> prompts;
  std::vector<AskedPart> parts;  // of at least one prompt each, one after the other
  const AskedPart& part_of(std::uint32_t position) const;  // throws std::out_of_range
};

// Whether `judge` must have a prompt's answer right for the prompt to be in the set of `model`
// (names of models).
bool judges(const SelectConfig& set, const std::string& judge, const std::string& model);
// The prompts of config.select[set] for a model, in dataset order.
std::vector<std::uint32_t> select_prompts(const Config& config, size_t set, const Dataset& dataset,
                                          std::uint32_t model, const CleanRanks& ranks);

// What all entries of a kind's section together ask of a model's prompts, everything once. Of the
// kind that offers ranks, every prompt.
AskedPrompts asked_prompts(const Config& config, size_t kind, const Dataset& dataset,
                           const PlannedModel& planned, std::uint32_t model,
                           const CleanRanks& ranks);

// The prompt sets that the entries of a kind draw on, as indices into config.select, ascending.
std::vector<size_t> sets_of_kind(const Config& config, size_t kind);
// The models that must be evaluated before it is known what is asked of the prompts of `model`;
// ascending, `model` among them.
std::vector<std::uint32_t> judges_of(const Config& config, std::uint32_t model);
// Reads the files of `select: {ids: FILE}` into SelectConfig::ids, for good: a run knows no later
// content of theirs. Throws as read_ids().
void read_lists(Config& config);
// The dataset of a run, and its lists: where only lists of ids are asked for, no other prompts are
// read. Throws as read_lists() and read_dataset(), and InputError for a list of which no id belongs
// to a usable prompt.
Dataset read_prompts(Config& config);

// What the configuration asks of the dataset and does not get, as sentences for people; none if all
// is there: ids of lists that no prompt has or that filters left out, prompts that `limit` and
// `sample` would take.
std::vector<std::string> shortfalls(const Config& config, const Dataset& dataset);

}  // namespace factflow
