#include "analysis/relation_claims.hpp"

#include <cmath>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "analysis/number_text.hpp"
#include "analysis/statistics.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

constexpr const char* kSource = "Sharma et al. (arXiv 2404.03646), section 6, figure 6";
constexpr double kLinear = 0.5;  // faithfulness of a relation that is called linear

// Of the relations with numbers, at the best layer of each.
struct RelationNumbers {
  std::vector<double> faithfulness, above_drawn;  // [relation]
  std::size_t linear = 0;
};

RelationNumbers numbers_of(const ModelRelations& model) {
  RelationNumbers numbers;
  for (const RelationScore& relation : model.relations) {
    if (relation.layers.empty()) continue;
    const double faithfulness = relation.best_layer().faithfulness();
    if (std::isnan(faithfulness)) continue;
    numbers.faithfulness.push_back(faithfulness);
    numbers.above_drawn.push_back(faithfulness - relation.squared_shares);
    numbers.linear += faithfulness > kLinear ? 1 : 0;
  }
  return numbers;
}

// Whether the share of linear relations lies between none and all.
Judged judge_share(const Interval& share, std::size_t linear, std::size_t relations) {
  if (linear == 0) return {Verdict::kDoesNotHold, "no relation is linear"};
  if (linear == relations) return {Verdict::kDoesNotHold, "every relation is linear"};
  return {Verdict::kHolds, fmt::format("the interval of the share, {:.2f} to {:.2f}, lies between "
                                       "none and all",
                                       share.low, share.high)};
}

ModelVerdict judge(const ModelRelations& model, double level) {
  const RelationNumbers numbers = numbers_of(model);
  const std::size_t count = numbers.faithfulness.size();
  ModelVerdict verdict{model.model, Verdict::kCannotTell, "", ""};
  if (count < kFewestClusters) {
    verdict.reason =
        fmt::format("{} with numbers, asked are {}", counted(count, "relation"), kFewestClusters);
    return verdict;
  }
  std::vector<std::size_t> each(count);
  std::iota(each.begin(), each.end(), std::size_t{0});
  const Interval above = t_interval(numbers.above_drawn, each, level);
  const Interval share =
      wilson_interval(static_cast<double>(numbers.linear) / static_cast<double>(count),
                      static_cast<double>(count), level);
  const Judged judged = judge_parts({{"against drawn answers", judge_above(above, 0)},
                                     {"some", judge_share(share, numbers.linear, count)}});
  verdict.verdict = judged.verdict;
  verdict.reason = judged.reason;
  verdict.evidence = fmt::format(
      "mean faithfulness {}, {} {} more than drawn answers get right; above {} in {} of {}",
      fixed(mean(numbers.faithfulness), 2), signed_number(mean(numbers.above_drawn), 2),
      interval_text(above, "no interval", 2), kLinear, numbers.linear, counted(count, "relation"));
  return verdict;
}

}  // namespace

std::vector<Claim> judge_relation_claims(const std::vector<ModelRelations>& models, double level) {
  if (models.empty()) return {};
  std::vector<ModelVerdict> verdicts;
  for (const ModelRelations& model : models) verdicts.push_back(judge(model, level));
  Claim claim = decide(
      "Some relations are linear in the stream, and others are not",
      fmt::format("Faithfulness at the best layer of each relation, picked on the facts that are "
                  "tested (published means over 25 relations: Mamba-2.8b 0.41, Pythia-2.8b 0.36; "
                  "above {0} in 10 and 8): over relations it is higher than what answers drawn by "
                  "their shares get right (95 % t interval over relations), and above {0} in some "
                  "of them but not in all.",
                  kLinear),
      std::move(verdicts));
  claim.source = kSource;
  return {claim};
}

}  // namespace factflow
