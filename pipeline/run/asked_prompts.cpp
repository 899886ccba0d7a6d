#include "pipeline/run/asked_prompts.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <stdexcept>
#include <unordered_set>

#include <fmt/format.h>

#include "base/error.hpp"
#include "experiments/table.hpp"
#include "fields/plain_text.hpp"

namespace factflow {
namespace {

using Rule = SelectConfig::Rule;
using Ids = std::unordered_set<std::int64_t>;

Ids ids_in(const std::vector<std::int64_t>& list) {
  return {list.begin(), list.end()};
}

Ids ids_in(const Dataset& dataset) {
  Ids ids;
  for (const Prompt& prompt : dataset.prompts) ids.insert(prompt.id);
  return ids;
}

// A list of ids of the configuration, and what it is called in messages.
struct NamedIds {
  std::string name;
  const std::vector<std::int64_t>& ids;
};

std::vector<NamedIds> lists_of(const Config& config) {
  std::vector<NamedIds> lists;
  for (const SelectConfig& set : config.select)
    if (set.rule == Rule::kIds)
      lists.push_back({fmt::format("prompt set {} ({})", set.name, set.ids_file), set.ids});
  for (size_t kind = 0; kind < experiment_kinds().size(); ++kind)
    for (size_t i = 0; i < config.experiments[kind].size(); ++i)
      if (const Entry& entry = *config.experiments[kind][i]; !entry.ids.empty())
        lists.push_back(
            {fmt::format("{}[{}].ids", experiment_kinds()[kind]->section(), i), entry.ids});
  return lists;
}

// The sets that entries draw on, of those that are `wanted`.
template <class Wanted>
std::set<size_t> sets_in_use(const Config& config, Wanted wanted) {
  std::set<size_t> used;
  for (size_t kind = 0; kind < experiment_kinds().size(); ++kind)
    for (const std::shared_ptr<const Entry>& entry : config.experiments[kind])
      if (entry->ids.empty() && wanted(*entry)) used.insert(prompt_set(config, entry->select));
  return used;
}

// Prompts by the entries of the configuration that hold them: members[entry] are ascending indices
// of prompts.
std::map<std::vector<bool>, std::vector<std::uint32_t>> by_entries(
    const std::vector<std::vector<std::uint32_t>>& members) {
  std::map<std::uint32_t, std::vector<bool>> entries;
  for (size_t entry = 0; entry < members.size(); ++entry)
    for (const std::uint32_t prompt : members[entry]) {
      std::vector<bool>& of_prompt = entries[prompt];
      of_prompt.resize(members.size());
      of_prompt[entry] = true;
    }
  std::map<std::vector<bool>, std::vector<std::uint32_t>> groups;
  for (const auto& [prompt, of_prompt] : entries) groups[of_prompt].push_back(prompt);
  return groups;
}

Asked asked_together(const std::vector<Asked>& entries, const std::vector<bool>& which) {
  std::vector<Asked> asked;
  for (size_t i = 0; i < entries.size(); ++i)
    if (which[i]) asked.push_back(entries[i]);
  return together(asked);
}

// Where only lists of ids are asked for, no other prompts are read.
Dataset read_wanted(const Config& config) {
  if (!config.experiments.any()) return read_dataset(config.dataset);
  Ids wanted;
  for (const size_t set : sets_in_use(config, [](const Entry&) { return true; })) {
    if (config.select[set].rule != Rule::kIds) return read_dataset(config.dataset);
    wanted.merge(ids_in(config.select[set].ids));
  }
  for (const Entries& entries : config.experiments.of_kind)
    for (const std::shared_ptr<const Entry>& entry : entries)
      wanted.insert(entry->ids.begin(), entry->ids.end());
  return read_dataset(config.dataset, wanted);
}

// Groups of prompts of which different entries ask the same become one part.
AskedPrompts in_parts(std::map<Asked, std::vector<std::uint32_t>> groups) {
  AskedPrompts all;
  for (auto& [asked, prompts] : groups) {
    if (asked.empty()) continue;
    std::sort(prompts.begin(), prompts.end());
    all.parts.push_back({static_cast<std::uint32_t>(all.prompts.size()),
                         static_cast<std::uint32_t>(prompts.size()), asked});
    all.prompts.insert(all.prompts.end(), prompts.begin(), prompts.end());
  }
  return all;
}

AskedPrompts every_prompt(const Dataset& dataset) {
  AskedPrompts all;
  all.prompts.resize(dataset.prompts.size());
  std::iota(all.prompts.begin(), all.prompts.end(), 0U);
  all.parts = {{0, static_cast<std::uint32_t>(all.prompts.size()), {}}};
  return all;
}

// The prompts that an entry is for, in dataset order.
std::vector<std::uint32_t> prompts_of(const Entry& entry, const Config& config,
                                      const Dataset& dataset, std::uint32_t model,
                                      const CleanRanks& ranks) {
  if (entry.ids.empty()) {
    std::vector<std::uint32_t> prompts =
        select_prompts(config, prompt_set(config, entry.select), dataset, model, ranks);
    if (entry.prompts > 0)
      prompts.resize(std::min(prompts.size(), static_cast<size_t>(entry.prompts)));
    return prompts;
  }
  const Ids ids = ids_in(entry.ids);
  std::vector<std::uint32_t> prompts;
  for (std::uint32_t p = 0; p < dataset.prompts.size(); ++p)
    if (ranks[model][p] != 0 && ids.contains(dataset.prompts[p].id)) prompts.push_back(p);
  return prompts;
}

void append(std::vector<std::uint32_t>& list, const std::vector<std::uint32_t>& more) {
  list.insert(list.end(), more.begin(), more.end());
}

}  // namespace

bool judges(const SelectConfig& set, const std::string& judge, const std::string& model) {
  switch (set.rule) {
    case Rule::kAllModels:
      return true;
    case Rule::kSelf:
      return judge == model;
    case Rule::kTheseModels:
      return std::find(set.models.begin(), set.models.end(), judge) != set.models.end();
    case Rule::kNone:
    case Rule::kIds:
      return false;
  }
  return false;
}

const AskedPart& AskedPrompts::part_of(std::uint32_t position) const {
  for (const AskedPart& part : parts)
    if (position >= part.begin && position < part.begin + part.count) return part;
  throw std::out_of_range("no part of the plan holds this prompt");
}

std::vector<std::uint32_t> select_prompts(const Config& config, size_t set, const Dataset& dataset,
                                          std::uint32_t model, const CleanRanks& ranks) {
  const SelectConfig& select = config.select.at(set);
  std::vector<std::uint32_t> judging;
  for (std::uint32_t m = 0; m < config.models.size(); ++m)
    if (judges(select, config.models[m].name, config.models[model].name)) judging.push_back(m);
  const Ids ids = ids_in(select.ids);
  const auto right = [&](std::uint32_t m, std::uint32_t p) {
    return ranks[m][p] >= 1 && ranks[m][p] <= select.rank;
  };
  std::vector<std::uint32_t> selected;
  for (std::uint32_t p = 0; p < dataset.prompts.size(); ++p) {
    if (ranks[model][p] == 0) continue;  // nothing to compare a knockout with
    if (select.rule == Rule::kIds && !ids.contains(dataset.prompts[p].id)) continue;
    if (std::all_of(judging.begin(), judging.end(), [&](std::uint32_t m) { return right(m, p); }))
      selected.push_back(p);
  }
  return selected;
}

AskedPrompts asked_prompts(const Config& config, size_t kind, const Dataset& dataset,
                           const PlannedModel& planned, std::uint32_t model,
                           const CleanRanks& ranks) {
  if (experiment_kinds()[kind]->offers_ranks()) return every_prompt(dataset);
  const std::vector<Asked>& asked = planned.experiments[kind].asked;
  std::vector<std::vector<std::uint32_t>> members;
  for (size_t i = 0; i < asked.size(); ++i) {
    members.emplace_back();
    if (!asked[i].empty())
      members[i] = prompts_of(*config.experiments[kind][i], config, dataset, model, ranks);
  }
  std::map<Asked, std::vector<std::uint32_t>> groups;
  for (const auto& [which, prompts] : by_entries(members))
    append(groups[asked_together(asked, which)], prompts);
  return in_parts(std::move(groups));
}

std::vector<size_t> sets_of_kind(const Config& config, size_t kind) {
  std::set<size_t> sets;
  for (const std::shared_ptr<const Entry>& entry : config.experiments[kind])
    if (entry->ids.empty()) sets.insert(prompt_set(config, entry->select));
  return {sets.begin(), sets.end()};
}

std::vector<std::uint32_t> judges_of(const Config& config, std::uint32_t model) {
  const std::string& name = config.models[model].name;
  const std::set<size_t> used =
      sets_in_use(config, [&](const Entry& entry) { return is_for(entry, name); });
  std::vector<std::uint32_t> needed;
  for (std::uint32_t m = 0; m < config.models.size(); ++m)
    if (m == model || std::any_of(used.begin(), used.end(), [&](size_t set) {
          return judges(config.select[set], config.models[m].name, name);
        }))
      needed.push_back(m);
  return needed;
}

void read_lists(Config& config) {
  for (SelectConfig& set : config.select) {
    if (set.rule != Rule::kIds) continue;
    require_path(config, set.ids_file);
    set.ids = read_ids(set.ids_file);
  }
}

Dataset read_prompts(Config& config) {
  read_lists(config);
  require_path(config, config.dataset.path);
  const Dataset dataset = read_wanted(config);
  const Ids here = ids_in(dataset), left_out = ids_in(dataset.left_out);
  for (const NamedIds& list : lists_of(config)) {
    const bool any = std::any_of(list.ids.begin(), list.ids.end(), [&](std::int64_t id) {
      return here.contains(id) || left_out.contains(id);
    });
    if (!any)
      throw InputError(
          config.file.string(),
          fmt::format("{}: none of its {} belongs to a usable prompt of {}: {}", list.name,
                      counted(list.ids.size(), "id"), config.dataset.path, some_of(list.ids)));
  }
  return dataset;
}

std::vector<std::string> shortfalls(const Config& config, const Dataset& dataset) {
  std::vector<std::string> sentences;
  const Ids here = ids_in(dataset), left_out = ids_in(dataset.left_out);
  for (const NamedIds& list : lists_of(config)) {
    std::vector<std::int64_t> unknown, filtered;
    for (const std::int64_t id : list.ids)
      if (!here.contains(id)) (left_out.contains(id) ? filtered : unknown).push_back(id);
    if (!unknown.empty())
      sentences.push_back(fmt::format("{}: {} of {} belong{} to no usable prompt: {}", list.name,
                                      unknown.size(), counted(list.ids.size(), "id"),
                                      unknown.size() == 1 ? "s" : "", some_of(unknown)));
    if (!filtered.empty())
      sentences.push_back(fmt::format("{}: {} of {} {} left out by the filters of the dataset: {}",
                                      list.name, filtered.size(), counted(list.ids.size(), "id"),
                                      filtered.size() == 1 ? "is" : "are", some_of(filtered)));
  }
  const auto wanted = [&](const char* key, std::int64_t count) {
    if (count > static_cast<std::int64_t>(dataset.prompts.size()))
      sentences.push_back(
          fmt::format("dataset.{} is {}, but only {} the other filters", key, count,
                      counted(dataset.prompts.size(), "prompt passes", "prompts pass")));
  };
  const DatasetConfig& filters = config.dataset;
  // Of both, the smaller one decides.
  if (filters.sample > 0 && (filters.limit == 0 || filters.sample <= filters.limit))
    wanted("sample", filters.sample);
  else
    wanted("limit", filters.limit);
  return sentences;
}

}  // namespace factflow
