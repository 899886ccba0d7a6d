// From the entries of the section `parts` to what is asked of one model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "experiments/parts/parts.hpp"
#include "experiments/parts/parts_plan.hpp"

namespace factflow {

// Throws InputError naming the key of a division that no model of its entry can have. After each
// model was planned.
void refuse_impossible_divisions(const Entries& entries, std::span<const ModelOfRun> models);

class PartsPlanner {
 public:
  PartsPlanner(const ModelToPlan& model, std::size_t entries) : model_(model), entries_(entries) {}

  // What entry `index` asks; divisions that a model of its kind cannot have are put to `skipped`.
  // Throws InputError for what the model cannot be divided into.
  Asked add(std::size_t index, const PartsConfig& entry, std::vector<std::string>& skipped);
  PartsPlan take() { return std::move(plan_); }

 private:
  Divisible divisible(const std::string& key) const;
  std::vector<EdgePart> parts(const Division& division, const Divisible& among,
                              const std::string& key) const;
  std::vector<std::uint32_t> items_of(TokenRole from, TokenRole to,
                                      std::vector<EdgePart> edge_parts, bool cumulate,
                                      const Division& division);
  std::uint32_t place_of(PartItem item);
  void require_prompts(int prompts, const std::string& key) const;
  [[noreturn]] void refuse_other(const char* what, const std::string& key) const;
  void take_ordering(const CumulateConfig& config, const std::string& key);
  void take_ranking(const RankingConfig& config, const std::string& key);

  const ModelToPlan& model_;
  std::size_t entries_;
  std::optional<CumulateConfig> ordering_;
  std::optional<RankingConfig> ranking_;
  PartsPlan plan_;
};

}  // namespace factflow
