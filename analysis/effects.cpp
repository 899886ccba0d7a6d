#include "analysis/effects.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <map>
#include <utility>

#include "analysis/parallel.hpp"

namespace factflow {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr std::size_t kResamplesAtOnce = 32;  // curves of so many stay in the first-level cache

// Resamples of the prompts of a model: which cluster each prompt belongs to and how often each
// cluster was drawn.
struct Resampling {
  std::vector<std::size_t> cluster;  // of each prompt
  std::size_t clusters = 0;
  std::vector<std::uint16_t> counts;  // [resample, cluster]
  std::size_t resamples = 0;
};

Resampling resampling(std::vector<std::size_t> cluster, const BootstrapOptions& options) {
  Resampling sampling;
  sampling.clusters = count_clusters(cluster);
  sampling.cluster = std::move(cluster);
  sampling.resamples = sampling.clusters < kFewestClusters ? 0 : options.resamples;
  sampling.counts = bootstrap_counts(sampling.clusters, sampling.resamples, options.seed);
  return sampling;
}

Resampling by_relation(const ModelData& model, const PromptTable& prompts,
                       const BootstrapOptions& options) {
  std::vector<std::size_t> cluster;
  std::map<std::string, std::size_t> known;
  for (const std::size_t row : model.prompt_row)
    cluster.push_back(known.emplace(prompts.relation[row], known.size()).first->second);
  return resampling(std::move(cluster), options);
}

// Mean curves of an edge: of the data, and of every resample.
struct EdgeMeans {
  std::vector<std::size_t> prompts;     // valid at every start
  std::vector<double> mean;             // [start]; NaN without prompts
  std::vector<double> fact_curves;      // [resample, start] by fact; none for too few facts
  std::vector<double> relation_curves;  // [resample, start] by relation, likewise
};

std::vector<std::size_t> clusters_of(const std::vector<std::size_t>& cluster,
                                     const std::vector<std::size_t>& prompts) {
  std::vector<std::size_t> clusters;
  for (const std::size_t prompt : prompts) clusters.push_back(cluster[prompt]);
  return clusters;
}

std::vector<double> resample(const std::vector<double>& changes,
                             const std::vector<std::size_t>& prompts, std::size_t starts,
                             const Resampling& sampling) {
  if (count_clusters(clusters_of(sampling.cluster, prompts)) < kFewestClusters) return {};
  std::vector<double> sums(sampling.clusters * starts, 0);
  std::vector<double> members(sampling.clusters, 0);
  for (std::size_t row = 0; row < prompts.size(); ++row) {
    const std::size_t cluster = sampling.cluster[prompts[row]];
    members[cluster] += 1;
    for (std::size_t start = 0; start < starts; ++start)
      sums[cluster * starts + start] += changes[row * starts + start];
  }
  std::vector<double> curves(sampling.resamples * starts, 0);
  std::vector<double> weights(sampling.resamples, 0);
  // Cluster by cluster within a block of resamples: the sums of a cluster are loaded once for all
  // of them.
  for (std::size_t begin = 0; begin < sampling.resamples; begin += kResamplesAtOnce)
    for (std::size_t cluster = 0; cluster < sampling.clusters; ++cluster) {
      if (members[cluster] == 0) continue;
      const double* sum = sums.data() + cluster * starts;
      for (std::size_t r = begin; r < std::min(begin + kResamplesAtOnce, sampling.resamples); ++r) {
        const double count = sampling.counts[r * sampling.clusters + cluster];
        if (count == 0) continue;
        weights[r] += count * members[cluster];
        double* curve = curves.data() + r * starts;
        for (std::size_t start = 0; start < starts; ++start) curve[start] += count * sum[start];
      }
    }
  for (std::size_t r = 0; r < sampling.resamples; ++r)
    for (std::size_t start = 0; start < starts; ++start) {
      double& value = curves[r * starts + start];
      value = weights[r] > 0 ? value / weights[r] : kNan;
    }
  return curves;
}

EdgeMeans edge_means(const WindowData& window, std::size_t edge, std::vector<std::size_t> prompts,
                     const Resampling& fact_sampling, const Resampling& relation_sampling) {
  const std::size_t starts = window.starts();
  EdgeMeans means;
  means.prompts = std::move(prompts);
  std::vector<double> changes(means.prompts.size() * starts);
  means.mean.assign(starts, means.prompts.empty() ? kNan : 0);
  for (std::size_t row = 0; row < means.prompts.size(); ++row)
    for (std::size_t start = 0; start < starts; ++start) {
      changes[row * starts + start] = window.change(edge, means.prompts[row], start);
      means.mean[start] += changes[row * starts + start];
    }
  for (double& value : means.mean) value /= static_cast<double>(means.prompts.size());
  means.fact_curves = resample(changes, means.prompts, starts, fact_sampling);
  means.relation_curves = resample(changes, means.prompts, starts, relation_sampling);
  return means;
}

// `statistic` of the data and of every resample. Its argument is one mean curve, over the starts.
template <typename Statistic>
Estimate estimate(const EdgeMeans& means, double level, const Statistic& statistic) {
  const std::size_t starts = means.mean.size();
  const auto interval = [&](const std::vector<double>& curves) {
    std::vector<double> replicates;
    for (std::size_t at = 0; at < curves.size(); at += starts)
      replicates.push_back(statistic(
          std::vector<double>(curves.begin() + static_cast<std::ptrdiff_t>(at),
                              curves.begin() + static_cast<std::ptrdiff_t>(at + starts))));
    return percentile_interval(replicates, level);
  };
  return {statistic(means.mean), interval(means.fact_curves), interval(means.relation_curves)};
}

double value_at_minimum(const std::vector<double>& curve, const std::vector<double>& values) {
  const std::size_t at = index_of_minimum(curve);
  return at < values.size() ? values[at] : kNan;
}

// The middle of a window as a share of the layers; a centred window's start is its middle.
double middle_of(const WindowData& window, double start) {
  const double reach =
      window.cells.placement == "centred" ? 0.5 : 0.5 * static_cast<double>(window.cells.window);
  return (start + reach) / static_cast<double>(window.model->info.layers);
}

Change change_of(std::vector<double> changes, const std::vector<double>& logs,
                 const std::vector<std::size_t>& facts, double level) {
  Change change;
  change.mean = mean(changes);
  change.median = median(std::move(changes));
  change.log = mean(logs);
  change.log_interval = t_interval(logs, facts, level);
  return change;
}

// Of each prompt's own mean over the starts [first, end).
Change change_over(const WindowData& window, std::size_t edge,
                   const std::vector<std::size_t>& prompts, std::size_t first, std::size_t end,
                   double level) {
  std::vector<double> changes, logs;
  for (const std::size_t prompt : prompts) {
    double change = 0, log = 0;
    for (std::size_t start = first; start < end; ++start) {
      change += window.change(edge, prompt, start);
      log += window.log_change(edge, prompt, start);
    }
    changes.push_back(change / static_cast<double>(end - first));
    logs.push_back(log / static_cast<double>(end - first));
  }
  return change_of(std::move(changes), logs, clusters_of(window.model->fact, prompts), level);
}

// Why no prompt is valid at every start.
std::string why_missing(const WindowData& window, std::size_t edge) {
  const std::size_t prompts = window.model->axes.prompts.size();
  std::vector<std::int64_t> asked;
  for (std::size_t prompt = 0; prompt < prompts; ++prompt)
    if (const std::int64_t pairs = window.model->axes.blocked[edge * prompts + prompt];
        pairs != kNotAsked)
      asked.push_back(pairs);
  const auto begin = asked.begin(), end = asked.end();
  if (asked.empty()) return "no prompt is selected";
  if (std::all_of(begin, end, [](std::int64_t pairs) { return pairs == 0; }))
    return window.model->kind == &intervention_names() ? "no prompt has anything to touch"
                                                       : "no prompt has this edge";
  if (std::all_of(begin, end, [](std::int64_t pairs) { return pairs == kFailedPrompt; }))
    return "every prompt failed";
  if (std::none_of(begin, end, [](std::int64_t pairs) { return pairs > 0; }))
    return "not computed yet";
  return "no prompt is valid at every start";
}

void count_touched(const WindowData& window, std::size_t edge, EdgeEffect& effect) {
  const std::size_t prompts = window.model->axes.prompts.size();
  for (std::size_t prompt = 0; prompt < prompts; ++prompt) {
    const std::int64_t touched = window.model->axes.blocked[edge * prompts + prompt];
    effect.untouched += touched == 0 ? 1 : 0;
    if (touched <= 0) continue;
    effect.fewest_touched =
        effect.most_touched == 0 ? touched : std::min(effect.fewest_touched, touched);
    effect.most_touched = std::max(effect.most_touched, touched);
  }
}

// The p value of each start, and how few prompts carry its change.
void test_starts(const WindowData& window, std::size_t edge, const EdgeMeans& means,
                 EdgeEffect& effect) {
  const std::vector<std::size_t> facts = clusters_of(window.model->fact, means.prompts);
  for (std::size_t start = 0; start < window.starts(); ++start) {
    std::vector<double> changes;
    double size = 0;
    for (const std::size_t prompt : means.prompts) {
      changes.push_back(window.change(edge, prompt, start));
      size += std::abs(changes.back());
    }
    effect.p_values.push_back(t_test(changes, facts));
    if (!(size >= kSmallEffect * static_cast<double>(changes.size())) || changes.empty()) continue;
    const std::size_t carriers = half_carried_by(std::move(changes));
    if (effect.half_carried_by == 0 || carriers < effect.half_carried_by)
      effect.half_carried_by = carriers;
  }
  effect.p_value = value_at_minimum(means.mean, effect.p_values);
  effect.lowest_place = index_of_minimum(means.mean);
}

EdgeEffect summarise(const WindowData& window, std::size_t edge, const EdgeMeans& means,
                     double level) {
  const ModelInfo& info = window.model->info;
  EdgeEffect effect;
  effect.model = info.name;
  effect.family = info.family;
  effect.mixing = mixing_of(info);
  effect.prompts = window.model->prompt_set;
  effect.main_set = window.model->main_set;
  effect.repeated = !window.model->repeats.empty();
  effect.layers = info.layers;
  effect.edge = window.model->edges[edge];
  effect.window = window.cells.window;
  effect.placement = window.cells.placement;
  effect.n = means.prompts.size();
  effect.facts = count_clusters(clusters_of(window.model->fact, means.prompts));
  if (effect.n == 0) effect.missing = why_missing(window, edge);
  count_touched(window, edge, effect);
  const std::size_t starts = window.starts();
  std::vector<double> start(window.cells.starts.begin(), window.cells.starts.end());
  std::vector<double> depth(starts);
  for (std::size_t i = 0; i < starts; ++i) depth[i] = window.depth(i);
  const std::size_t late = std::max<std::size_t>(1, starts / 10);
  using Values = std::vector<double>;
  effect.lowest =
      estimate(means, level, [](const Values& curve) { return value_at_minimum(curve, curve); });
  effect.start =
      estimate(means, level, [&](const Values& curve) { return value_at_minimum(curve, start); });
  effect.depth =
      estimate(means, level, [&](const Values& curve) { return value_at_minimum(curve, depth); });
  effect.area =
      estimate(means, level, [&](const Values& curve) { return area_under(depth, curve); });
  effect.late = estimate(means, level, [&](const Values& curve) {
    return mean(Values(curve.end() - static_cast<std::ptrdiff_t>(std::min(late, curve.size())),
                       curve.end()));
  });
  effect.depth_middle = middle_of(window, effect.start.value);
  const std::size_t lowest = index_of_minimum(means.mean);
  const std::size_t first = lowest < starts ? lowest : 0;
  effect.at_lowest = change_over(window, edge, means.prompts, first, first + 1, level);
  effect.late_change =
      change_over(window, edge, means.prompts, starts - std::min(late, starts), starts, level);
  test_starts(window, edge, means, effect);
  return effect;
}

// The interval of each start's mean, from curves [resample, start].
std::vector<Interval> start_intervals(const std::vector<double>& curves, std::size_t starts,
                                      double level) {
  std::vector<Interval> intervals;
  std::vector<double> column;
  for (std::size_t start = 0; start < starts; ++start) {
    column.clear();
    for (std::size_t at = start; at < curves.size(); at += starts) column.push_back(curves[at]);
    intervals.push_back(percentile_interval(column, level));
  }
  return intervals;
}

std::vector<StartBootstrap> bootstrap_starts(const EdgeMeans& means, double level) {
  const std::size_t starts = means.mean.size();
  const std::vector<Interval> by_fact = start_intervals(means.fact_curves, starts, level);
  const std::vector<Interval> by_relation = start_intervals(means.relation_curves, starts, level);
  std::vector<StartBootstrap> bands;
  for (std::size_t i = 0; i < starts; ++i) bands.push_back({by_fact[i], by_relation[i]});
  return bands;
}

double ratio(double numerator, double denominator) {
  return denominator == 0 ? kNan : numerator / denominator;
}

// Both curves of each resample come from the same draw of facts, so the ratio's interval is a
// paired one.
ChannelRatio compare(const WindowData& window, std::size_t top_edge, std::size_t bottom_edge,
                     const EdgeMeans& above, const EdgeMeans& below, double level) {
  ChannelRatio result;
  const EdgeName &top = window.model->edges[top_edge], &bottom = window.model->edges[bottom_edge];
  result.model = window.model->info.name;
  result.prompts = window.model->prompt_set;
  result.flow = top.flow();
  result.window = window.cells.window;
  result.numerator = top.channels;
  result.denominator = bottom.channels;
  result.n = below.prompts.size();
  result.facts = count_clusters(clusters_of(window.model->fact, below.prompts));
  const std::size_t starts = window.starts();
  std::vector<double> depth(starts);
  for (std::size_t i = 0; i < starts; ++i) depth[i] = window.depth(i);
  const auto both = [&](const std::vector<double>& a, const std::vector<double>& b,
                        Estimate& at_start, Estimate& area, Interval Estimate::*field) {
    std::vector<double> change_ratios, area_ratios;
    for (std::size_t at = 0; at < a.size(); at += starts) {
      const auto from = static_cast<std::ptrdiff_t>(at),
                 to = static_cast<std::ptrdiff_t>(at + starts);
      const std::vector<double> upper(a.begin() + from, a.begin() + to),
          lower(b.begin() + from, b.begin() + to);
      change_ratios.push_back(
          ratio(value_at_minimum(lower, upper), value_at_minimum(lower, lower)));
      area_ratios.push_back(ratio(area_under(depth, upper), area_under(depth, lower)));
    }
    at_start.*field = percentile_interval(change_ratios, level);
    area.*field = percentile_interval(area_ratios, level);
  };
  both(above.fact_curves, below.fact_curves, result.at_start, result.area, &Estimate::by_fact);
  both(above.relation_curves, below.relation_curves, result.at_start, result.area,
       &Estimate::by_relation);
  const std::size_t lowest = index_of_minimum(below.mean);
  result.start = lowest < starts ? window.cells.starts[lowest] : -1;
  const std::size_t at = lowest < starts ? lowest : 0;
  result.above = change_over(window, top_edge, above.prompts, at, at + 1, level);
  result.below = change_over(window, bottom_edge, below.prompts, at, at + 1, level);
  result.at_start.value =
      ratio(value_at_minimum(below.mean, above.mean), value_at_minimum(below.mean, below.mean));
  result.median = ratio(result.above.median, result.below.median);
  result.log = ratio(result.above.log, result.below.log);
  result.area.value = ratio(area_under(depth, above.mean), area_under(depth, below.mean));
  return result;
}

std::vector<std::size_t> intersection(const std::vector<std::size_t>& a,
                                      const std::vector<std::size_t>& b) {
  std::vector<std::size_t> shared;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(shared));
  return shared;
}

// Of the window's edges, those whose effects are compared (places in window.edges): each channel
// set with "all", and "slow" with "fast".
std::vector<std::pair<std::size_t, std::size_t>> channel_pairs(const WindowData& window) {
  std::vector<std::pair<std::size_t, std::size_t>> pairs;
  for (std::size_t top = 0; top < window.edges.size(); ++top)
    for (std::size_t bottom = 0; bottom < window.edges.size(); ++bottom) {
      const EdgeName& a = window.model->edges[window.edges[top]];
      const EdgeName& b = window.model->edges[window.edges[bottom]];
      const bool compared =
          (!a.all_channels() && b.all_channels()) || (a.channels == "slow" && b.channels == "fast");
      if (compared && a.flow() == b.flow()) pairs.emplace_back(top, bottom);
    }
  return pairs;
}

}  // namespace

bool is_drop(const EdgeEffect& effect) {
  return effect.facts >= kFewestClusters && effect.lowest.value < 0 &&
         effect.p_holm < kSignificance;
}

bool carried_by_few(const EdgeEffect& effect) {
  return effect.n >= kFewestClusters && effect.half_carried_by > 0 &&
         effect.half_carried_by <= std::max<std::size_t>(1, effect.n / 20);
}

void correct_together(const std::vector<EdgeEffect*>& family) {
  std::vector<double> p_values;
  for (const EdgeEffect* effect : family)
    p_values.insert(p_values.end(), effect->p_values.begin(), effect->p_values.end());
  const std::vector<double> adjusted = holm(p_values);
  const auto tests = static_cast<std::size_t>(
      std::count_if(p_values.begin(), p_values.end(), [](double p) { return !std::isnan(p); }));
  std::size_t begin = 0;
  for (EdgeEffect* effect : family) {
    effect->tests = tests;
    effect->p_holm = effect->n == 0 ? kNan : adjusted[begin + effect->lowest_place];
    begin += effect->p_values.size();
  }
}

WindowEffects measure_effects(const WindowData& window, const PromptTable& prompts,
                              const BootstrapOptions& options) {
  WindowEffects effects;
  const ModelData& model = *window.model;
  const Resampling over_facts = resampling(model.fact, options);
  const Resampling over_relations = by_relation(model, prompts, options);
  std::vector<EdgeMeans> means(window.edges.size());
  effects.edges.resize(window.edges.size());
  parallel_for(window.edges.size(), [&](std::size_t i) {
    const std::size_t edge = window.edges[i];
    means[i] = edge_means(window, edge, window.complete_prompts(edge), over_facts, over_relations);
    effects.edges[i] = summarise(window, edge, means[i], options.level);
    effects.edges[i].relations =
        count_clusters(clusters_of(over_relations.cluster, means[i].prompts));
    effects.edges[i].starts = bootstrap_starts(means[i], options.level);
  });
  const std::vector<std::pair<std::size_t, std::size_t>> pairs = channel_pairs(window);
  effects.channels.resize(pairs.size());
  parallel_for(pairs.size(), [&](std::size_t i) {
    const auto [top, bottom] = pairs[i];
    const std::size_t a = window.edges[top], b = window.edges[bottom];
    // Sets of one flow block the same token pairs; their prompts differ only where one of them
    // failed.
    if (means[top].prompts == means[bottom].prompts) {
      effects.channels[i] = compare(window, a, b, means[top], means[bottom], options.level);
      return;
    }
    const std::vector<std::size_t> shared = intersection(means[top].prompts, means[bottom].prompts);
    effects.channels[i] =
        compare(window, a, b, edge_means(window, a, shared, over_facts, over_relations),
                edge_means(window, b, shared, over_facts, over_relations), options.level);
  });
  return effects;
}

}  // namespace factflow
