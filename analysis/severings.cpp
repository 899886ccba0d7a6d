#include "analysis/severings.hpp"

#include <algorithm>
#include <cmath>

#include "analysis/load_runs.hpp"

namespace factflow {
namespace {

SeveredPoint point_of(const SeveredPaths& paths, const std::vector<TracedFact>& facts,
                      std::size_t at, std::size_t severed, std::size_t layer, double level) {
  std::vector<double> effects;
  std::vector<std::size_t> clusters;
  for (std::size_t i = 0; i < facts.size(); ++i) {
    const TracedFact& fact = facts[i];
    const auto p = static_cast<double>(paths.probability[paths.cell(at, severed, i) + layer]);
    if (fact.use != FactUse::kUsed || std::isnan(p)) continue;
    effects.push_back(indirect_effect(TraceDirection::kRestore, p, fact.low, fact.high));
    clusters.push_back(fact.fact);
  }
  return {effects.size(), count_clusters(clusters), mean(effects),
          standard_error(effects, clusters), t_interval(effects, clusters, level)};
}

bool any_value(const SeveredPaths& paths, std::size_t at, std::size_t severed) {
  const auto first = paths.rank.begin() + static_cast<std::ptrdiff_t>(paths.cell(at, severed, 0));
  const auto count = static_cast<std::ptrdiff_t>(paths.prompts.size() * paths.layers.size());
  return std::any_of(first, first + count, [](std::int32_t rank) { return rank > 0; });
}

ModelSevering severing_of(const ModelData& model, const PromptTable& prompts,
                          const CleanLimits& limits, double level) {
  const SeveredPaths paths = load_severed_paths(model);
  ModelSevering severing{model.info.name,   model.info.family,
                         model.info.layers, facts_of(load_severed_facts(model), prompts, limits),
                         paths.layers,      {}};
  for (std::size_t at = 0; at < paths.at.size(); ++at)
    for (std::size_t severed = 0; severed < paths.severed.size(); ++severed) {
      if (!any_value(paths, at, severed)) continue;
      SeveredCurve& curve =
          severing.curves.emplace_back(SeveredCurve{paths.at[at], paths.severed[severed], {}});
      for (std::size_t layer = 0; layer < paths.layers.size(); ++layer)
        curve.points.push_back(point_of(paths, severing.facts, at, severed, layer, level));
    }
  return severing;
}

}  // namespace

const SeveredCurve* ModelSevering::curve(const std::string& at, const std::string& severed) const {
  const auto found = std::find_if(curves.begin(), curves.end(), [&](const SeveredCurve& one) {
    return one.at == at && one.severed == severed;
  });
  return found == curves.end() ? nullptr : &*found;
}

std::vector<ModelSevering> study_severings(const RunData& run, const CleanLimits& limits,
                                           double level) {
  std::vector<ModelSevering> all;
  for (const ModelData& model : run.models)
    if (model.reader != nullptr && has_severed_paths(*model.reader, model.stored_name))
      all.push_back(severing_of(model, run.prompts, limits, level));
  return all;
}

}  // namespace factflow
