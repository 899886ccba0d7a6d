#include "analysis/effects.hpp"

#include <algorithm>
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

Resampling by_prompt(std::size_t prompts, const BootstrapOptions& options) {
  Resampling sampling{
      {}, prompts, bootstrap_counts(prompts, options.resamples, options.seed), options.resamples};
  for (std::size_t prompt = 0; prompt < prompts; ++prompt) sampling.cluster.push_back(prompt);
  return sampling;
}

Resampling by_relation(const ModelData& model, const PromptTable& prompts,
                       const BootstrapOptions& options) {
  Resampling sampling;
  std::map<std::string, std::size_t> known;
  for (const std::size_t row : model.prompt_row)
    sampling.cluster.push_back(known.emplace(prompts.relation[row], known.size()).first->second);
  sampling.clusters = known.size();
  sampling.resamples = known.size() < 2 ? 0 : options.resamples;
  sampling.counts = bootstrap_counts(sampling.clusters, sampling.resamples, options.seed);
  return sampling;
}

// Mean curves of an edge: of the data, and of every resample.
struct EdgeMeans {
  std::vector<std::size_t> prompts;     // valid at every start
  std::vector<double> mean;             // [start]; NaN without prompts
  std::vector<double> prompt_curves;    // [resample, start] by prompt
  std::vector<double> relation_curves;  // [resample, start] by relation
};

std::vector<double> resample(const std::vector<double>& changes,
                             const std::vector<std::size_t>& prompts, std::size_t starts,
                             const Resampling& sampling) {
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
                     const Resampling& prompt_sampling, const Resampling& relation_sampling) {
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
  means.prompt_curves = resample(changes, means.prompts, starts, prompt_sampling);
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
  return {statistic(means.mean), interval(means.prompt_curves), interval(means.relation_curves)};
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

EdgeEffect summarise(const WindowData& window, std::size_t edge, const EdgeMeans& means,
                     double level) {
  const ModelInfo& info = window.model->info;
  EdgeEffect effect;
  effect.model = info.name;
  effect.family = info.family;
  effect.prompts = window.model->prompt_set;
  effect.main_set = window.model->main_set;
  effect.repeated = !window.model->repeats.empty();
  effect.layers = info.layers;
  effect.edge = window.model->edges[edge];
  effect.window = window.cells.window;
  effect.placement = window.cells.placement;
  effect.n = means.prompts.size();
  const std::size_t starts = window.starts();
  std::vector<double> start(window.cells.starts.begin(), window.cells.starts.end());
  std::vector<double> depth(starts);
  for (std::size_t i = 0; i < starts; ++i) depth[i] = window.depth(i);
  const std::size_t late = std::max<std::size_t>(1, starts / 10);
  using Values = std::vector<double>;
  effect.drop =
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
  std::vector<double> p_values(starts);
  for (std::size_t i = 0; i < starts; ++i) {
    Values changes;
    for (const std::size_t prompt : means.prompts)
      changes.push_back(window.change(edge, prompt, i));
    p_values[i] = t_test(changes);
  }
  effect.p_holm = value_at_minimum(means.mean, holm(p_values));
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
  const std::vector<Interval> by_prompt = start_intervals(means.prompt_curves, starts, level);
  const std::vector<Interval> by_relation = start_intervals(means.relation_curves, starts, level);
  std::vector<StartBootstrap> bands;
  for (std::size_t i = 0; i < starts; ++i) bands.push_back({by_prompt[i], by_relation[i]});
  return bands;
}

double ratio(double numerator, double denominator) {
  return denominator == 0 ? kNan : numerator / denominator;
}

// Both curves of each resample come from the same draw of prompts, so the ratio's interval is a
// paired one.
ChannelRatio compare(const WindowData& window, const EdgeName& top, const EdgeName& bottom,
                     const EdgeMeans& above, const EdgeMeans& below, double level) {
  ChannelRatio result;
  result.model = window.model->info.name;
  result.prompts = window.model->prompt_set;
  result.flow = top.flow();
  result.window = window.cells.window;
  result.numerator = top.channels;
  result.denominator = bottom.channels;
  result.n = below.prompts.size();
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
  both(above.prompt_curves, below.prompt_curves, result.at_start, result.area,
       &Estimate::by_prompt);
  both(above.relation_curves, below.relation_curves, result.at_start, result.area,
       &Estimate::by_relation);
  const std::size_t lowest = index_of_minimum(below.mean);
  result.start = lowest < starts ? window.cells.starts[lowest] : -1;
  result.numerator_change = value_at_minimum(below.mean, above.mean);
  result.denominator_change = value_at_minimum(below.mean, below.mean);
  result.at_start.value = ratio(result.numerator_change, result.denominator_change);
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
          (!a.whole() && b.whole()) || (a.channels == "slow" && b.channels == "fast");
      if (compared && a.flow() == b.flow()) pairs.emplace_back(top, bottom);
    }
  return pairs;
}

}  // namespace

WindowEffects measure_effects(const WindowData& window, const PromptTable& prompts,
                              const BootstrapOptions& options) {
  WindowEffects effects;
  const ModelData& model = *window.model;
  const Resampling over_prompts = by_prompt(model.axes.prompts.size(), options);
  const Resampling over_relations = by_relation(model, prompts, options);
  std::vector<EdgeMeans> means(window.edges.size());
  effects.edges.resize(window.edges.size());
  parallel_for(window.edges.size(), [&](std::size_t i) {
    const std::size_t edge = window.edges[i];
    means[i] =
        edge_means(window, edge, window.complete_prompts(edge), over_prompts, over_relations);
    effects.edges[i] = summarise(window, edge, means[i], options.level);
    effects.edges[i].relations = over_relations.clusters;
    effects.edges[i].starts = bootstrap_starts(means[i], options.level);
  });
  const std::vector<std::pair<std::size_t, std::size_t>> pairs = channel_pairs(window);
  effects.channels.resize(pairs.size());
  parallel_for(pairs.size(), [&](std::size_t i) {
    const auto [top, bottom] = pairs[i];
    const EdgeName& a = model.edges[window.edges[top]];
    const EdgeName& b = model.edges[window.edges[bottom]];
    // Sets of one flow block the same token pairs; their prompts differ only where one of them
    // failed.
    if (means[top].prompts == means[bottom].prompts) {
      effects.channels[i] = compare(window, a, b, means[top], means[bottom], options.level);
      return;
    }
    const std::vector<std::size_t> shared = intersection(means[top].prompts, means[bottom].prompts);
    effects.channels[i] = compare(
        window, a, b, edge_means(window, window.edges[top], shared, over_prompts, over_relations),
        edge_means(window, window.edges[bottom], shared, over_prompts, over_relations),
        options.level);
  });
  return effects;
}

}  // namespace factflow
