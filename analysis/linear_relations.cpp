#include "analysis/linear_relations.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include <fmt/format.h>

#include "analysis/statistics.hpp"
#include "base/text.hpp"
#include "experiments/lre/lre_arrays.hpp"

namespace factflow {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// The tests of one relation: places of known facts in the arrays [prompt, trial].
using Known = std::vector<std::vector<std::size_t>>;  // [trial]

class Scorer {
 public:
  Scorer(const RelationResults& results, const CleanLimits& limits)
      : results_(results), limits_(limits), trials_(static_cast<std::size_t>(results.trials)) {}

  RelationScore score(std::size_t relation, ModelRelations& model) const {
    RelationScore score;
    score.relation = results_.relations[relation];
    score.words = results_.words[relation];
    score.facts = static_cast<std::size_t>(results_.facts[relation]);
    score.largest_share = results_.largest_share[relation];
    score.squared_shares = results_.squared_shares[relation];
    std::size_t tested = 0;
    Known known = known_of(relation, score, tested, model);
    for (const auto& trial : known)
      score.known += static_cast<double>(trial.size()) / static_cast<double>(trials_);
    std::erase_if(known, [](const auto& trial) { return trial.size() < kFewestKnown; });
    score.trials = known.size();
    score.left_out = reason(relation, score, tested);
    if (!score.left_out.empty()) return score;
    for (std::size_t k = 0; k < results_.layers.size(); ++k)
      score.layers.push_back(layer_of(k, known));
    for (std::size_t k = 0; k < score.layers.size(); ++k) {
      const auto better = [&](double one, double best) { return one > best || std::isnan(best); };
      if (better(score.layers[k].faithfulness(), score.best_layer().faithfulness())) score.best = k;
      if (better(score.layers[k].causality.value, score.most_causal().causality.value))
        score.best_edited = k;
    }
    return score;
  }

 private:
  Known known_of(std::size_t relation, RelationScore& score, std::size_t& tested,
                 ModelRelations& model) const {
    Known known(trials_);
    for (std::size_t prompt = 0; prompt < results_.prompts.size(); ++prompt) {
      if (results_.relation_of[prompt] != static_cast<std::int32_t>(relation)) continue;
      ++score.prompts;
      for (std::size_t trial = 0; trial < trials_; ++trial) {
        const std::size_t cell = prompt * trials_ + trial;
        if (results_.role[cell] != static_cast<std::int32_t>(TrialRole::kTested)) continue;
        ++tested;
        ++model.of;
        if (!limits_.admit(static_cast<double>(results_.answer_probability[cell]))) continue;
        ++model.kept;
        if (results_.answer_rank[cell] == 1) known[trial].push_back(cell);
      }
    }
    return known;
  }

  std::string reason(std::size_t relation, const RelationScore& score, std::size_t tested) const {
    const auto at = relation * trials_ * static_cast<std::size_t>(results_.training_count);
    if (results_.training.at(at) < 0) return "too few subjects in the dataset to fit and test";
    if (tested == 0) return "no prompt computed";
    if (score.trials == 0)
      return fmt::format("fewer than {} known facts in every trial", kFewestKnown);
    return "";
  }

  std::size_t cell(std::size_t test, std::size_t layer, std::size_t column,
                   std::size_t columns) const {
    return (test * results_.layers.size() + layer) * columns + column;
  }

  // The share of known facts whose answer is among the first `most` at this beta.
  double recall(const std::vector<std::size_t>& tests, std::size_t layer, std::size_t beta,
                std::int32_t most) const {
    std::size_t right = 0;
    for (const std::size_t test : tests)
      right += results_.predicted_rank[cell(test, layer, beta, results_.betas.size())] <= most;
    return static_cast<double>(right) / static_cast<double>(tests.size());
  }

  // NaN if none of the facts was edited.
  double success(const std::vector<std::size_t>& tests, std::size_t layer, std::size_t rank) const {
    std::size_t edited = 0, right = 0;
    for (const std::size_t test : tests) {
      const std::int32_t found =
          results_.edited_rank[cell(test, layer, rank, results_.ranks.size())];
      edited += found > 0;
      right += found == 1;
    }
    return edited == 0 ? kNan : static_cast<double>(right) / static_cast<double>(edited);
  }

  RelationLayer layer_of(std::size_t k, const Known& known) const {
    RelationLayer layer;
    layer.layer = results_.layers[k];
    std::vector<double> recalls[kRecalls], betas;
    for (const std::vector<std::size_t>& tests : known) {
      std::size_t best = 0;
      for (std::size_t beta = 1; beta < results_.betas.size(); ++beta)
        if (recall(tests, k, beta, 1) > recall(tests, k, best, 1)) best = beta;
      betas.push_back(results_.betas[best]);
      for (std::size_t most = 0; most < kRecalls; ++most)
        recalls[most].push_back(recall(tests, k, best, static_cast<std::int32_t>(most) + 1));
    }
    for (std::size_t most = 0; most < kRecalls; ++most)
      layer.recall[most] = mean_of_trials(recalls[most]);
    layer.beta = mean(betas);
    add_causality(k, known, layer);
    return layer;
  }

  void add_causality(std::size_t k, const Known& known, RelationLayer& layer) const {
    for (std::size_t rank = 0; rank < results_.ranks.size(); ++rank) {
      std::vector<double> shares;
      for (const std::vector<std::size_t>& tests : known)
        if (const double share = success(tests, k, rank); !std::isnan(share))
          shares.push_back(share);
      const TrialMean over_trials = mean_of_trials(shares);
      if (std::isnan(over_trials.value)) continue;
      if (layer.rank >= 0 && !(over_trials.value > layer.causality.value)) continue;
      layer.causality = over_trials;
      layer.rank = results_.ranks[rank];
    }
  }

  const RelationResults& results_;
  const CleanLimits& limits_;
  std::size_t trials_;
};

// Over relations with numbers.
double mean_over(const ModelRelations& model, double (*value)(const RelationScore&)) {
  std::vector<double> values;
  for (const RelationScore& score : model.relations)
    if (score.left_out.empty() && !std::isnan(value(score))) values.push_back(value(score));
  return mean(values);
}

}  // namespace

TrialMean mean_of_trials(const std::vector<double>& values) {
  TrialMean found{mean(values), kNan};
  if (values.size() < 2) return found;
  double squares = 0;
  for (const double value : values) squares += (value - found.value) * (value - found.value);
  const auto n = static_cast<double>(values.size());
  found.error = std::sqrt(squares / (n - 1) / n);
  return found;
}

std::size_t ModelRelations::scored() const {
  return static_cast<std::size_t>(std::count_if(relations.begin(), relations.end(),
                                                [](const auto& r) { return r.left_out.empty(); }));
}

double ModelRelations::mean_faithfulness() const {
  return mean_over(*this, [](const RelationScore& r) { return r.best_layer().faithfulness(); });
}

double ModelRelations::mean_causality() const {
  return mean_over(*this, [](const RelationScore& r) { return r.most_causal().causality.value; });
}

std::size_t ModelRelations::above_half() const {
  return static_cast<std::size_t>(
      std::count_if(relations.begin(), relations.end(), [](const RelationScore& r) {
        return r.left_out.empty() && r.best_layer().faithfulness() > 0.5;
      }));
}

std::string relations_in_words(const ModelRelations& model) {
  std::map<std::string, std::size_t> left_out;
  for (const RelationScore& score : model.relations)
    if (!score.left_out.empty()) ++left_out[score.left_out];
  std::vector<std::string> reasons;
  for (const auto& [reason, count] : left_out)
    reasons.push_back(fmt::format("{} with {}", count, reason));
  return fmt::format("{} of {}{}", model.scored(), counted(model.relations.size(), "relation"),
                     reasons.empty() ? "" : "; left out: " + join(reasons));
}

std::vector<ModelRelations> study_relations(const RunData& run, const CleanLimits& limits) {
  std::vector<ModelRelations> all;
  for (const ModelData& model : run.models) {
    if (model.reader == nullptr || !has_relations(*model.reader, model.stored_name)) continue;
    const RelationResults results = read_relations(*model.reader, model.stored_name);
    ModelRelations& found = all.emplace_back();
    found.model = model.info.name;
    found.family = model.info.family;
    found.layers = model.info.layers;
    found.training = results.training_count;
    found.trials = results.trials;
    found.edited = !results.ranks.empty();
    const Scorer scorer(results, limits);
    for (std::size_t i = 0; i < results.relations.size(); ++i)
      found.relations.push_back(scorer.score(i, found));
  }
  return all;
}

}  // namespace factflow
