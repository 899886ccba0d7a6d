#include "pipeline/run/checked_run.hpp"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "experiments/table.hpp"
#include "model/device.hpp"
#include "model/precision.hpp"
#include "pipeline/run/asked_prompts.hpp"
#include "pipeline/run/run_plan.hpp"

namespace factflow {
namespace {

constexpr std::int64_t kSmallestMemory = std::int64_t{1} << 20;

bool ends_with_space(const Prompt& prompt) {
  return !prompt.text.empty() && std::isspace(static_cast<unsigned char>(prompt.text.back())) != 0;
}

void remark_on_spaces(const Dataset& dataset, std::vector<std::string>& remarks) {
  const auto count = std::count_if(dataset.prompts.begin(), dataset.prompts.end(), ends_with_space);
  if (count == 0) return;
  const auto first = std::find_if(dataset.prompts.begin(), dataset.prompts.end(), ends_with_space);
  remarks.push_back(fmt::format(
      "warning: {} of {} end{} with white space, behind which the answer comes after a second "
      "space: leave it out (the first: prompt {}, {})",
      count, counted(dataset.prompts.size(), "prompt"), count == 1 ? "s" : "", first->id,
      in_quotes(first->text)));
}

// How many prompts a set can hold at most.
std::size_t most_prompts(const Config& config, const Dataset& dataset, const std::string& select) {
  const SelectConfig& set = config.select[prompt_set(config, select)];
  if (set.rule != SelectConfig::Rule::kIds) return dataset.prompts.size();
  return static_cast<std::size_t>(
      std::count_if(dataset.prompts.begin(), dataset.prompts.end(), [&](const Prompt& prompt) {
        return std::find(set.ids.begin(), set.ids.end(), prompt.id) != set.ids.end();
      }));
}

void remark_on_counts(const Config& config, const Dataset& dataset,
                      std::vector<std::string>& remarks) {
  for (size_t kind = 0; kind < experiment_kinds().size(); ++kind)
    for (const std::shared_ptr<const Entry>& entry : config.experiments[kind]) {
      const std::size_t most = most_prompts(config, dataset, entry->select);
      if (entry->prompts > static_cast<std::int64_t>(most))
        remarks.push_back(fmt::format("warning: {}.prompts is {}, but there {} only {}",
                                      experiment_kinds()[kind]->section(), entry->prompts,
                                      most == 1 ? "is" : "are", counted(most, "prompt")));
    }
}

void remark_on_memory(const Config& config, std::vector<std::string>& remarks) {
  const std::int64_t limit = config.run.memory_limit;
  if (limit == 0 || limit >= kSmallestMemory) return;
  remarks.push_back(
      fmt::format("warning: run.memory_limit is {}, in which hardly any prompt can be computed; a "
                  "number without a unit is in bytes: write {} GiB if that is meant",
                  format_bytes(static_cast<double>(limit)), limit));
}

}  // namespace

CheckedRun check_run(const std::filesystem::path& config, const ConfigOverrides& overrides,
                     Completeness completeness) {
  CheckedRun run;
  run.config = read_config(config, overrides.set);
  apply(overrides, run.config);
  run.dataset = read_prompts(run.config);
  run.planned = build_job(run.config, run.dataset.prompts, completeness);
  const RunPlan plan(run.config, run.dataset,
                     run.planned);  // throws for too many models or prompts
  return run;
}

std::vector<std::string> remarks_on(const Config& config, const Dataset& dataset) {
  std::vector<std::string> remarks = shortfalls(config, dataset);
  remark_on_spaces(dataset, remarks);
  remark_on_counts(config, dataset, remarks);
  remark_on_memory(config, remarks);
  return remarks;
}

std::string machine_problem(const RunConfig& run) {
  try {
    check_precision(choose_device(run.device), parse_precision(run.precision));
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

}  // namespace factflow
