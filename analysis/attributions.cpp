#include "analysis/attributions.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

#include "analysis/load_runs.hpp"
#include "analysis/rank_correlation.hpp"
#include "experiments/stored_arrays.hpp"

namespace factflow {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr Interval kNone = {kNan, kNan};

// Cells with both effects, as shares of high - low.
struct Cells {
  std::vector<double> exact, estimate;
  std::vector<std::size_t> cluster;  // of facts, 0 .. clusters - 1
  std::vector<std::size_t> fact;     // place in ModelAttributions::facts
  std::vector<std::int64_t> token;
  std::vector<std::int32_t> layer;

  std::size_t size() const { return exact.size(); }
};

// Facts with a part in means, as clusters, and how often each resample draws them.
struct Resamples {
  std::vector<std::size_t> cluster;  // [fact]; of those that are used
  std::size_t clusters = 0;
  std::size_t count = 0;
  std::vector<std::uint16_t> counts;  // [resample, cluster]; empty: too few for intervals

  const std::uint16_t* of(std::size_t resample) const { return &counts[resample * clusters]; }
};

Resamples resamples_of(const std::vector<TracedFact>& facts, const BootstrapOptions& bootstrap) {
  Resamples resamples;
  std::vector<std::size_t> numbers;  // of facts, in the order of their clusters
  for (const TracedFact& fact : facts) {
    resamples.cluster.push_back(0);
    if (fact.use != FactUse::kUsed) continue;
    const auto found = std::find(numbers.begin(), numbers.end(), fact.fact);
    resamples.cluster.back() = static_cast<std::size_t>(found - numbers.begin());
    if (found == numbers.end()) numbers.push_back(fact.fact);
  }
  resamples.clusters = numbers.size();
  if (numbers.size() < kFewestClusters) return resamples;
  resamples.count = bootstrap.resamples;
  resamples.counts = bootstrap_counts(numbers.size(), bootstrap.resamples, bootstrap.seed);
  return resamples;
}

// The mean of numbers in clusters, and of every resample.
CellNumber mean_of(const std::vector<double>& values, const std::vector<std::size_t>& cluster,
                   const Resamples& resamples, double level) {
  if (values.empty()) return {kNan, kNone};
  std::vector<double> sums(resamples.clusters, 0), sizes(resamples.clusters, 0);
  for (std::size_t i = 0; i < values.size(); ++i) {
    sums[cluster[i]] += values[i];
    ++sizes[cluster[i]];
  }
  std::vector<double> replicates;
  for (std::size_t r = 0; r < resamples.count; ++r) {
    double sum = 0, size = 0;
    for (std::size_t c = 0; c < resamples.clusters; ++c) {
      sum += resamples.of(r)[c] * sums[c];
      size += resamples.of(r)[c] * sizes[c];
    }
    replicates.push_back(sum / size);
  }
  const auto with_values = static_cast<std::size_t>(
      std::count_if(sizes.begin(), sizes.end(), [](double size) { return size > 0; }));
  return {mean(values),
          with_values < kFewestClusters ? kNone : percentile_interval(replicates, level)};
}

void add_signs(const Cells& cells, const Resamples& resamples, double level, Agreement& agreement) {
  std::vector<double> same, difference;
  std::vector<std::size_t> cluster;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    difference.push_back(std::abs(cells.estimate[i] - cells.exact[i]));
    if (std::abs(cells.exact[i]) < kLeastEffect) continue;
    same.push_back(cells.exact[i] * cells.estimate[i] > 0 ? 1 : 0);
    cluster.push_back(cells.cluster[i]);
  }
  agreement.signed_cells = same.size();
  agreement.same_sign = mean_of(same, cluster, resamples, level);
  agreement.difference = mean_of(difference, cells.cluster, resamples, level);
}

std::optional<WorstCell> worst_of(const Cells& cells, const std::vector<TracedFact>& facts) {
  std::optional<std::size_t> worst;
  const auto difference = [&](std::size_t i) {
    return std::abs(cells.estimate[i] - cells.exact[i]);
  };
  for (std::size_t i = 0; i < cells.size(); ++i)
    if (!worst || difference(i) > difference(*worst)) worst = i;
  if (!worst) return std::nullopt;
  return WorstCell{cells.exact[*worst], cells.estimate[*worst], facts[cells.fact[*worst]].prompt,
                   cells.token[*worst], cells.layer[*worst]};
}

// `replicates` takes those of the correlation, if it is given.
Agreement agreement_of(const Cells& cells, const std::vector<TracedFact>& facts,
                       const Resamples& resamples, double level,
                       std::vector<double>* replicates = nullptr) {
  Agreement agreement;
  agreement.cells = cells.size();
  agreement.prompts = std::set<std::size_t>(cells.fact.begin(), cells.fact.end()).size();
  agreement.facts = count_clusters(cells.cluster);
  const RankCorrelation ranks(cells.exact, cells.estimate, cells.cluster);
  agreement.correlation = {ranks.value(), kNone};
  std::vector<double> drawn;
  for (std::size_t r = 0; r < resamples.count; ++r)
    drawn.push_back(ranks.resampled(resamples.of(r)));
  if (agreement.facts >= kFewestClusters)
    agreement.correlation.interval = percentile_interval(drawn, level);
  if (replicates != nullptr) *replicates = std::move(drawn);
  add_signs(cells, resamples, level, agreement);
  agreement.worst = worst_of(cells, facts);
  return agreement;
}

// Adds the cells of one layer.
void add_cells(const AttributedEffects& effects, EstimateMethod method, std::size_t site,
               std::int32_t layer, const std::vector<TracedFact>& facts, const Resamples& resamples,
               Cells& cells) {
  for (std::size_t i = 0; i < facts.size(); ++i) {
    const TracedFact& fact = facts[i];
    if (fact.use != FactUse::kUsed) continue;
    for (int token = fact.subject_begin; token < fact.tokens; ++token) {
      const std::size_t cell =
          effects.cell(site, i, static_cast<std::size_t>(token)) + static_cast<std::size_t>(layer);
      const auto exact = static_cast<double>(effects.exact[cell]),
                 estimate = static_cast<double>(effects.of(method)[cell]);
      if (std::isnan(exact) || (exact == 0 && estimate == 0)) continue;
      cells.exact.push_back(exact / (fact.high - fact.low));
      cells.estimate.push_back(estimate / (fact.high - fact.low));
      cells.cluster.push_back(resamples.cluster[i]);
      cells.fact.push_back(i);
      cells.token.push_back(token);
      cells.layer.push_back(layer);
    }
  }
}

SiteAgreement site_agreement(const AttributedEffects& effects, EstimateMethod method,
                             std::size_t site, const std::vector<TracedFact>& facts,
                             const Resamples& resamples, double level) {
  SiteAgreement agreement;
  agreement.site = effects.sites[site];
  agreement.method = method;
  Cells all;
  const std::int64_t layers = effects.layers + (agreement.site == "h" ? 1 : 0);
  for (std::int32_t layer = 0; layer < layers; ++layer) {
    Cells cells;
    add_cells(effects, method, site, layer, facts, resamples, cells);
    agreement.layers.push_back(agreement_of(cells, facts, resamples, level));
    add_cells(effects, method, site, layer, facts, resamples, all);
  }
  agreement.all = agreement_of(all, facts, resamples, level, &agreement.replicates);
  return agreement;
}

// What the facts say of the prompts' tokens must be there.
void check_tokens(const ModelData& model, const AttributedEffects& effects,
                  const std::vector<TracedFact>& facts) {
  for (const TracedFact& fact : facts)
    if (fact.tokens > effects.tokens)
      inconsistent(model.reader->arrays_of(model.stored_name).open_group("attribution/effects"),
                   "token", "expected as many as the longest prompt of the group above has");
}

ModelAttributions attributions_of(const ModelData& model, const PromptTable& prompts,
                                  const CleanLimits& limits, const BootstrapOptions& bootstrap) {
  const AttributedEffects effects = load_attributed_effects(model);
  ModelAttributions attributions{model.info.name,
                                 model.info.family,
                                 model.info.layers,
                                 !model.repeats.empty(),
                                 effects.steps,
                                 facts_of(load_attributed_facts(model), prompts, limits),
                                 {}};
  check_tokens(model, effects, attributions.facts);
  const Resamples resamples = resamples_of(attributions.facts, bootstrap);
  for (const EstimateMethod method : {EstimateMethod::kGradient, EstimateMethod::kIntegrated})
    for (std::size_t site = 0; site < effects.sites.size() && effects.has(method); ++site)
      attributions.sites.push_back(
          site_agreement(effects, method, site, attributions.facts, resamples, bootstrap.level));
  return attributions;
}

}  // namespace

std::vector<std::int32_t> SiteAgreement::trusted_layers() const {
  std::vector<std::int32_t> trusted;
  for (std::size_t layer = 0; layer < layers.size(); ++layer)
    if (layers[layer].trusted()) trusted.push_back(static_cast<std::int32_t>(layer));
  return trusted;
}

const SiteAgreement* ModelAttributions::of(EstimateMethod method, const std::string& site) const {
  const auto found = std::find_if(sites.begin(), sites.end(), [&](const SiteAgreement& one) {
    return one.method == method && one.site == site;
  });
  return found == sites.end() ? nullptr : &*found;
}

std::vector<ModelAttributions> study_attributions(const RunData& run, const CleanLimits& limits,
                                                  const BootstrapOptions& bootstrap) {
  std::vector<ModelAttributions> all;
  for (const ModelData& model : run.models)
    if (model.reader != nullptr && has_attributions(*model.reader, model.stored_name))
      all.push_back(attributions_of(model, run.prompts, limits, bootstrap));
  return all;
}

}  // namespace factflow
