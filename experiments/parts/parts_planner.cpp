#include "experiments/parts/parts_planner.hpp"

#include <algorithm>
#include <set>
#include <stdexcept>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "experiments/drawn_prompts.hpp"
#include "experiments/parts/ranking.hpp"

namespace factflow {
namespace {

// Whether a model of its kind has such parts at all: others are passed over, as sweeps do.
bool can_have(const Division& division, const Divisible& among) {
  if (division.kind == Division::Kind::kHead) return among.what == PartOf::kHeads;
  return !division.by_decay() || among.by_decay;
}

bool needs_ranking(const PartsConfig& entry) {
  return std::any_of(entry.channels.begin(), entry.channels.end(), [](const Division& division) {
    return division.kind == Division::Kind::kHappened;
  });
}

void add_once(std::string name, std::vector<std::string>& names) {
  if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(std::move(name));
}

}  // namespace

void refuse_impossible_divisions(const Entries& entries, std::span<const ModelOfRun> models) {
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const auto& entry = static_cast<const PartsConfig&>(*entries[i]);
    for (const Division& division : entry.channels) {
      const ModelToPlan* one = nullptr;
      bool any = false;
      for (const ModelOfRun& of : models)
        if (is_for(entry, of.model.name)) {
          one = &of.model;
          any = any || can_have(division, divisible_of(of.model.architecture));
        }
      if (one != nullptr && !any)
        throw InputError(
            one->file.string(),
            fmt::format("key {}: {} knocks nothing out: no model that it is for has {}",
                        key_in_entry("parts", i, entries.size(), "channels"), to_string(division),
                        division.by_decay() ? "heads or channels with a decay" : "heads"),
            "leave it out; `factflow check MODEL` says what a model has");
    }
  }
}

Asked PartsPlanner::add(std::size_t index, const PartsConfig& entry,
                        std::vector<std::string>& skipped) {
  const auto key = [&](const char* name) { return key_in_entry("parts", index, entries_, name); };
  check_sizes(model_, key("windows.sizes"), entry.windows.sizes);
  const Divisible among = divisible(key("channels"));
  plan_.what = among.what;
  plan_.routes = model_.architecture.routes();
  if (entry.ranking != RankingConfig{} && !needs_ranking(entry))
    throw InputError(
        model_.file.string(),
        fmt::format("key {}: no division of the entry is by exp(A dt)", key("ranking")),
        "leave it out, or write for instance 'each quantile of 12 by exp(A dt)'");
  if (among.by_decay && needs_ranking(entry)) take_ranking(entry.ranking, key("ranking"));
  if (entry.cumulate.prompts > 0) take_ordering(entry.cumulate, key("cumulate"));
  const std::vector<std::uint32_t> series = add_series(
      plan_.series, entry.windows.sizes, entry.windows.placement, model_.architecture.layers);
  std::set<AskedItem> asked;
  for (const TokenRole to : entry.to)
    for (const TokenRole from : entry.from)
      for (const Division& division : entry.channels) {
        if (!can_have(division, among)) {
          add_once(fmt::format("{}->{}/{}", to_string(from), to_string(to), to_string(division)),
                   skipped);
          continue;
        }
        for (const std::uint32_t item : items_of(from, to, parts(division, among, key("channels")),
                                                 entry.cumulate.prompts > 0, division))
          asked.insert({item, series});
      }
  return {asked.begin(), asked.end()};
}

Divisible PartsPlanner::divisible(const std::string& key) const {
  try {
    return divisible_of(model_.architecture);
  } catch (const std::invalid_argument& error) {
    throw InputError(model_.file.string(),
                     fmt::format("key {}: model {} {}", key, model_.name, error.what()),
                     "leave it out by an entry with models: [...]");
  }
}

std::vector<EdgePart> PartsPlanner::parts(const Division& division, const Divisible& among,
                                          const std::string& key) const {
  try {
    return parts_of(division, among);
  } catch (const std::invalid_argument& error) {
    throw InputError(model_.file.string(),
                     fmt::format("key {}: model {} cannot be divided into {}: {}", key, model_.name,
                                 to_string(division), error.what()),
                     "ask for fewer parts");
  }
}

// The whole edge, its parts, and what cumulates them.
std::vector<std::uint32_t> PartsPlanner::items_of(TokenRole from, TokenRole to,
                                                  std::vector<EdgePart> edge_parts, bool cumulate,
                                                  const Division& division) {
  const std::string edge = fmt::format("{}->{}", to_string(from), to_string(to));
  std::vector<std::uint32_t> items = {place_of({edge, from, to})};
  for (EdgePart& part : edge_parts) {
    const std::string name = edge + "/" + part.name;
    items.push_back(place_of({name, from, to, std::move(part)}));
  }
  if (!cumulate) return items;
  PartItem all{fmt::format("{} by {}", edge, to_string(division)), from, to};
  all.division = to_string(division);
  all.whole = items.front();
  all.parts.assign(items.begin() + 1, items.end());
  items.push_back(place_of(std::move(all)));
  return items;
}

std::uint32_t PartsPlanner::place_of(PartItem item) {
  const auto found = std::find_if(plan_.items.begin(), plan_.items.end(),
                                  [&](const PartItem& one) { return one.name == item.name; });
  const auto index = static_cast<std::uint32_t>(found - plan_.items.begin());
  if (found == plan_.items.end()) plan_.items.push_back(std::move(item));
  return index;
}

void PartsPlanner::require_prompts(int prompts, const std::string& key) const {
  const std::size_t there = model_.prompts.size();
  if (static_cast<std::size_t>(prompts) > there)
    throw InputError(
        model_.file.string(),
        fmt::format("key {}.prompts: the dataset has only {}", key, counted(there, "prompt")),
        "ask for fewer");
}

void PartsPlanner::take_ordering(const CumulateConfig& config, const std::string& key) {
  require_prompts(config.prompts, key);
  if (ordering_ && *ordering_ != config) refuse_other("ordering", key);
  ordering_ = config;
  plan_.ordering =
      drawn_prompts(model_.prompts, static_cast<std::size_t>(config.prompts), config.seed);
  plan_.seed = config.seed;
}

void PartsPlanner::take_ranking(const RankingConfig& config, const std::string& key) {
  require_prompts(config.prompts, key);
  if (ranking_ && *ranking_ != config) refuse_other("ranking", key);
  ranking_ = config;
  plan_.ranking = ranking_prompts(config, model_.prompts);
}

void PartsPlanner::refuse_other(const char* what, const std::string& key) const {
  throw InputError(model_.file.string(),
                   fmt::format("key {}: model {} has other {} prompts in an earlier entry", key,
                               model_.name, what),
                   "give both entries the same");
}

}  // namespace factflow
