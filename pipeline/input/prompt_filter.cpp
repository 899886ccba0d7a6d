#include "pipeline/input/prompt_filter.hpp"

#include <algorithm>
#include <numeric>
#include <random>
#include <set>
#include <unordered_set>
#include <utility>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "fields/plain_text.hpp"

namespace factflow {
namespace {

// Uniform in 0 .. range-1. std::uniform_int_distribution would differ between standard libraries.
std::uint64_t draw_below(std::mt19937_64& generator, std::uint64_t range) {
  const std::uint64_t incomplete =
      (0 - range) % range;  // 2^64 mod range: that many values would be drawn too often
  std::uint64_t value = generator();
  while (value < incomplete) value = generator();
  return value % range;
}

void check_relations(const std::vector<Prompt>& prompts, const DatasetConfig& config) {
  std::set<std::string> known;
  for (const Prompt& prompt : prompts) known.insert(prompt.relation);
  for (const std::string& relation : config.relations) {
    if (known.contains(relation)) continue;
    if (known.size() == 1 && known.contains(""))
      throw InputError(config.path, "dataset.relations is set, but no prompt names its relation");
    throw InputError(config.path,
                     unknown_word("relation", excerpt(relation), {known.begin(), known.end()}));
  }
}

void check_ids(const std::vector<Prompt>& prompts, const DatasetConfig& config) {
  std::unordered_set<std::int64_t> known;
  for (const Prompt& prompt : prompts) known.insert(prompt.id);
  std::vector<std::int64_t> unknown;
  for (const std::int64_t id : config.ids)
    if (!known.contains(id)) unknown.push_back(id);
  if (!unknown.empty())
    throw InputError(config.path,
                     fmt::format("no usable prompt has the id{} {} of dataset.ids",
                                 unknown.size() == 1 ? "" : "s", some_of(unknown)),
                     unknown.size() == 1 ? "remove it" : "remove them");
}

template <class Keep>
void keep_if(std::vector<size_t>& positions, Keep keep) {
  std::erase_if(positions, [&](size_t i) { return !keep(i); });
}

}  // namespace

std::vector<size_t> sample_positions(size_t total, size_t count, std::uint64_t seed) {
  std::vector<size_t> positions(total);
  std::iota(positions.begin(), positions.end(), size_t{0});
  if (count >= total) return positions;
  std::mt19937_64 generator(seed);
  for (size_t i = 0; i < count; ++i)
    std::swap(positions[i], positions[i + draw_below(generator, total - i)]);
  positions.resize(count);
  std::sort(positions.begin(), positions.end());
  return positions;
}

std::vector<size_t> filter_prompts(const std::vector<Prompt>& prompts, const DatasetConfig& config,
                                   const WantedIds& wanted) {
  check_relations(prompts, config);
  check_ids(prompts, config);
  std::vector<size_t> kept(prompts.size());
  std::iota(kept.begin(), kept.end(), size_t{0});
  if (!config.relations.empty()) {
    const std::set<std::string> relations(config.relations.begin(), config.relations.end());
    keep_if(kept, [&](size_t i) { return relations.contains(prompts[i].relation); });
  }
  if (!config.ids.empty()) {
    const std::unordered_set<std::int64_t> ids(config.ids.begin(), config.ids.end());
    keep_if(kept, [&](size_t i) { return ids.contains(prompts[i].id); });
  }
  if (wanted) keep_if(kept, [&](size_t i) { return wanted->contains(prompts[i].id); });
  if (config.sample > 0) {
    std::vector<size_t> sampled;
    for (const size_t i :
         sample_positions(kept.size(), static_cast<size_t>(config.sample), config.seed))
      sampled.push_back(kept[i]);
    kept = std::move(sampled);
  }
  if (config.limit > 0 && kept.size() > static_cast<size_t>(config.limit))
    kept.resize(static_cast<size_t>(config.limit));
  if (kept.empty())
    throw InputError(config.path, "no prompt is left",
                     wanted ? fmt::format("no prompt that passes the filters of the dataset has an "
                                          "id that select or heatmaps list ({})",
                                          some_of({wanted->begin(), wanted->end()}))
                            : "no prompt has both a wanted relation and a wanted id");
  return kept;
}

}  // namespace factflow
