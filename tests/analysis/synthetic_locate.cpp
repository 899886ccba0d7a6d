#include "tests/analysis/synthetic_locate.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>

namespace factflow {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr std::size_t kTrials = 2, kTraining = 2;

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : random_(seed) {}
  double uniform() { return std::uniform_real_distribution<double>(0, 1)(random_); }

 private:
  std::mt19937_64 random_;
};

}  // namespace

AttributedEffects synthetic_effects(const TracedFacts& facts, const std::vector<std::string>& sites,
                                    std::int64_t layers, const PatchedShare& share,
                                    std::uint64_t seed) {
  Dice dice(seed);
  AttributedEffects effects;
  effects.sites = sites;
  effects.prompts = facts.prompts;
  effects.layers = layers;
  effects.steps = 5;
  for (const std::int32_t tokens : facts.token_count)
    effects.tokens = std::max<std::int64_t>(effects.tokens, tokens);
  effects.exact.assign(effects.cell(sites.size(), 0, 0), kNan);
  effects.gradient = effects.integrated = effects.exact;
  for (std::size_t site = 0; site < sites.size(); ++site)
    for (std::size_t i = 0; i < facts.prompts.size(); ++i)
      for (int token = 0; token < facts.token_count[i]; ++token)
        for (std::int64_t layer = 0; layer < layers + (sites[site] == "h" ? 1 : 0); ++layer) {
          const double depth = static_cast<double>(layer) / static_cast<double>(layers),
                       of = static_cast<double>(facts.high[i] - facts.low[i]);
          const bool patched = token >= facts.subject_begin[i];
          const double exact = patched ? of * (0.9 + 0.2 * dice.uniform()) *
                                             share(sites[site], depth, token, facts.subject_end[i],
                                                   facts.token_count[i])
                                       : 0;
          const double wrong = sites[site] == "h" ? 1.6 * (1 - depth) : 0.2;
          const auto cell = effects.cell(site, i, static_cast<std::size_t>(token)) +
                            static_cast<std::size_t>(layer);
          const auto estimate = [&](double noise) {
            return static_cast<float>(exact * (1 + noise * (2 * dice.uniform() - 1)));
          };
          effects.exact[cell] = static_cast<float>(exact);
          effects.gradient[cell] = estimate(wrong);
          effects.integrated[cell] = estimate(0.4 * wrong);
        }
  return effects;
}

namespace {

// Role, knowledge, predictions and edits of one prompt in one trial.
void add_test(RelationResults& r, Dice& dice, bool training, std::int64_t target) {
  const bool known = !training && dice.uniform() < 0.85;
  r.role.push_back(static_cast<std::int32_t>(training ? TrialRole::kTraining : TrialRole::kTested));
  r.answer_rank.push_back(training ? 0 : known ? 1 : 6);
  r.answer_probability.push_back(training ? kNan : known ? 0.6F : 0.05F);
  r.target.push_back(known ? target : -1);
  for (const std::int32_t layer : r.layers) {
    for (const double beta : r.betas) {
      const double right = std::max(0.05, 0.9 - 0.1 * std::abs(layer - 4.0) - 0.2 * (beta - 1));
      r.predicted.push_back(known ? 17 : -1);
      r.predicted_rank.push_back(!known ? 0 : dice.uniform() < right ? 1 : 3);
    }
    for (std::size_t rank = 0; rank < r.ranks.size(); ++rank) {
      r.edited_rank.push_back(!known ? 0 : dice.uniform() < 0.5 ? 1 : 4);
      r.edited_probability.push_back(known ? 0.25F : kNan);
    }
  }
}

}  // namespace

RelationResults synthetic_relations(const PromptTable& prompts, std::size_t count,
                                    std::int64_t layers, bool hostile, std::uint64_t seed) {
  Dice dice(seed);
  RelationResults r;
  r.trials = kTrials;
  r.training_count = kTraining;
  for (std::int32_t layer = 0; layer <= layers;
       layer += std::max<std::int32_t>(1, static_cast<std::int32_t>(layers) / 6))
    r.layers.push_back(layer);
  r.betas = {0.5, 1, 2};
  r.ranks = {8, 32};
  std::map<std::string, std::vector<std::size_t>> rows;
  for (std::size_t i = 0; i < std::min(count, prompts.id.size()); ++i)
    rows[prompts.relation[i]].push_back(i);
  for (const auto& [relation, of_relation] : rows) {
    const auto place = static_cast<std::int32_t>(r.relations.size());
    const bool enough = of_relation.size() >= kTraining + 6;
    r.relations.push_back(hostile ? relation + "<script>alert(7)</script>" : relation);
    r.words.push_back(hostile ? "<img src=x onerror=alert(8)> {} is" : "{} is in " + relation);
    r.facts.push_back(static_cast<std::int32_t>(of_relation.size()));
    r.largest_share.push_back(0.25);
    r.squared_shares.push_back(0.125);
    for (std::size_t trial = 0; trial < kTrials; ++trial)
      for (std::size_t t = 0; t < kTraining; ++t)
        r.training.push_back(enough ? prompts.id[of_relation[trial + t]] : -1);
    for (std::size_t i = 0; i < of_relation.size(); ++i) {
      r.prompts.push_back(prompts.id[of_relation[i]]);
      r.relation_of.push_back(place);
      for (std::size_t trial = 0; trial < kTrials; ++trial)
        add_test(r, dice, enough && i >= trial && i < trial + kTraining,
                 prompts.id[of_relation[(i + 1) % of_relation.size()]]);
    }
  }
  return r;
}

}  // namespace factflow
