#include "analysis/parts.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "analysis/load_runs.hpp"
#include "analysis/parallel.hpp"
#include "analysis/part_cells.hpp"
#include "experiments/parts/parts_arrays.hpp"
#include "experiments/stored_arrays.hpp"

namespace factflow {
namespace {

std::vector<std::size_t> with_whole(const PartGroup& group) {
  std::vector<std::size_t> items = {group.whole};
  items.insert(items.end(), group.parts.begin(), group.parts.end());
  return items;
}

std::vector<double> numbers_to(std::size_t count) {
  std::vector<double> numbers(count);
  std::iota(numbers.begin(), numbers.end(), 1.0);
  return numbers;
}

double sum_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

// The share of the values before the split that leaves two plateaus with the least sum of squares.
double best_split(const std::vector<double>& values) {
  double least = std::numeric_limits<double>::infinity();
  std::size_t best = 0;
  const auto squares = [&](std::size_t from, std::size_t to) {
    const std::vector<double> part(values.begin() + static_cast<std::ptrdiff_t>(from),
                                   values.begin() + static_cast<std::ptrdiff_t>(to));
    const double middle = mean(part);
    double sum = 0;
    for (const double value : part) sum += (value - middle) * (value - middle);
    return sum;
  };
  for (std::size_t split = 1; split < values.size(); ++split)
    if (const double sum = squares(0, split) + squares(split, values.size()); sum < least) {
      least = sum;
      best = split;
    }
  return static_cast<double>(best) / static_cast<double>(values.size());
}

double share_of_first(const std::vector<double>& values, std::size_t count) {
  const double all = sum_of(values);
  return all == 0 ? std::numeric_limits<double>::quiet_NaN()
                  : std::accumulate(values.begin(),
                                    values.begin() + static_cast<std::ptrdiff_t>(count), 0.0) /
                        all;
}

PartsAtStart at_start(const PartCells& cells, const PartGroup& group,
                      const std::vector<std::size_t>& prompts, const FactResamples& resamples,
                      std::size_t start, std::int64_t layers) {
  PartsAtStart at;
  at.start = cells.window().starts[start];
  at.depth = static_cast<double>(at.start) / static_cast<double>(layers);
  const std::vector<double> whole = resamples.means(cells.changes(group.whole, prompts, start));
  at.whole = resamples.measured(whole);
  at.whole_log = mean(cells.logs(group.whole, prompts, start));
  std::vector<std::vector<double>> means;
  for (const std::size_t part : group.parts) {
    means.push_back(resamples.means(cells.changes(part, prompts, start)));
    at.parts.push_back(resamples.measured(means.back()));
    at.part_logs.push_back(mean(cells.logs(part, prompts, start)));
  }
  at.sum = resamples.measured(means, sum_of);
  std::vector<double> excess(whole.size());
  for (std::size_t sample = 0; sample < whole.size(); ++sample) {
    excess[sample] = -whole[sample];
    for (const std::vector<double>& of : means) excess[sample] += of[sample];
  }
  at.excess = resamples.measured(excess);
  const bool ordered =
      group.division.starts_with("each quantile ") || group.division.starts_with("each random ");
  if (ordered && group.parts.size() > 2)
    at.trend = resamples.measured(
        means, [places = numbers_to(means.size())](const std::vector<double>& changes) {
          return spearman(places, changes);
        });
  return at;
}

// Of the parts' mean changes over the prompts of each of two relations.
PartOverlap overlap(const std::pair<std::string, std::vector<double>>& a,
                    const std::pair<std::string, std::vector<double>>& b) {
  const std::size_t parts = a.second.size();
  PartOverlap of{a.first, b.first, (parts + 3) / 4, 0, 0, spearman(a.second, b.second)};
  const auto top = [&](const std::vector<double>& changes) {
    std::vector<std::size_t> order(parts);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t x, std::size_t y) { return changes[x] < changes[y]; });
    order.resize(of.top);
    std::sort(order.begin(), order.end());
    return order;
  };
  std::vector<std::size_t> shared;
  const std::vector<std::size_t> first = top(a.second), second = top(b.second);
  std::set_intersection(first.begin(), first.end(), second.begin(), second.end(),
                        std::back_inserter(shared));
  of.shared = shared.size();
  of.expected = static_cast<double>(of.top * of.top) / static_cast<double>(parts);
  return of;
}

std::vector<PartOverlap> overlaps_of(const PartCells& cells, const PartGroup& group,
                                     const std::vector<std::size_t>& prompts, std::size_t start) {
  std::map<std::string, std::vector<std::size_t>> by_relation;
  for (const std::size_t p : prompts) by_relation[cells.prompts().relation[p]].push_back(p);
  std::vector<std::pair<std::string, std::vector<double>>> relations;
  for (const auto& [relation, members] : by_relation) {
    std::vector<std::size_t> facts;
    for (const std::size_t p : members) facts.push_back(cells.prompts().fact[p]);
    if (count_clusters(facts) < kFewestForT) continue;
    auto& changes = relations.emplace_back(relation, std::vector<double>()).second;
    for (const std::size_t part : group.parts)
      changes.push_back(mean(cells.changes(part, members, start)));
  }
  std::vector<PartOverlap> overlaps;
  for (std::size_t a = 0; a < relations.size(); ++a)
    for (std::size_t b = a + 1; b < relations.size(); ++b)
      overlaps.push_back(overlap(relations[a], relations[b]));
  return overlaps;
}

// At the strongest start.
void measure_decay(const PartCells& cells, const PartGroup& group,
                   const std::vector<std::size_t>& prompts, const FactResamples& resamples,
                   DividedEdge& edge) {
  if (!edge.by_decay() || group.parts.size() < 3) return;
  std::vector<std::vector<double>> means;
  for (const std::size_t part : group.parts)
    means.push_back(resamples.means(cells.changes(part, prompts, edge.strongest)));
  edge.bend = resamples.measured(means, best_split);
  edge.slow_share =
      resamples.measured(means, [third = means.size() / 3](const std::vector<double>& changes) {
        return share_of_first(changes, third);
      });
}

std::optional<DividedEdge> divided_edge(const PartCells& cells, const CellAxes& axes,
                                        const PartGroup& group, std::int64_t layers,
                                        const BootstrapOptions& bootstrap) {
  const std::vector<std::size_t> prompts = cells.complete(with_whole(group));
  if (prompts.empty()) return std::nullopt;
  const FactResamples resamples = cells.resamples(prompts, bootstrap);
  DividedEdge edge{group.edge,
                   group.division,
                   cells.window().window,
                   cells.window().placement,
                   prompts.size(),
                   resamples.facts(),
                   {},
                   {},
                   0,
                   {},
                   {},
                   {}};
  for (const std::size_t part : group.parts)
    edge.parts.push_back(parse_edge(axes.items[part]).channels);
  edge.starts.resize(cells.starts());
  parallel_for(cells.starts(), [&](std::size_t start) {
    edge.starts[start] = at_start(cells, group, prompts, resamples, start, layers);
  });
  edge.strongest = cells.strongest(group.whole, prompts);
  measure_decay(cells, group, prompts, resamples, edge);
  edge.overlaps = overlaps_of(cells, group, prompts, edge.strongest);
  return edge;
}

std::optional<SlowAgainstRandom> contrast(const PartCells& cells, const PartGroup& slices,
                                          const PartGroup& control,
                                          const BootstrapOptions& bootstrap) {
  if (slices.parts.size() < 3) return std::nullopt;
  std::vector<std::size_t> items = with_whole(slices);
  items.insert(items.end(), control.parts.begin(), control.parts.end());
  const std::vector<std::size_t> prompts = cells.complete(items);
  if (prompts.empty()) return std::nullopt;
  const FactResamples resamples = cells.resamples(prompts, bootstrap);
  const std::size_t start = cells.strongest(slices.whole, prompts);
  const auto mean_of = [&](const std::vector<std::size_t>& parts) {
    std::vector<double> sums(prompts.size(), 0);
    for (const std::size_t part : parts) {
      const std::vector<double> changes = cells.changes(part, prompts, start);
      for (std::size_t i = 0; i < sums.size(); ++i)
        sums[i] += changes[i] / static_cast<double>(parts.size());
    }
    return resamples.means(sums);
  };
  const auto third = static_cast<std::ptrdiff_t>(slices.parts.size() / 3);
  const std::vector<double> slow = mean_of({slices.parts.begin(), slices.parts.begin() + third}),
                            fast = mean_of({slices.parts.end() - third, slices.parts.end()}),
                            random = mean_of(control.parts);
  std::vector<double> difference(slow.size());
  for (std::size_t i = 0; i < slow.size(); ++i) difference[i] = random[i] - slow[i];
  return SlowAgainstRandom{slices.edge,
                           slices.division,
                           control.division,
                           cells.window().window,
                           cells.window().starts[start],
                           prompts.size(),
                           resamples.facts(),
                           resamples.measured(slow),
                           resamples.measured(fast),
                           resamples.measured(random),
                           resamples.measured(difference)};
}

// How many of the first give so much of the last one's drop; NaN where that is none.
double steps_needed(const std::vector<double>& changes, double whole) {
  if (!(whole < 0)) return std::numeric_limits<double>::quiet_NaN();
  for (std::size_t step = 0; step < changes.size(); ++step)
    if (changes[step] <= kMostOfEffect * whole) return static_cast<double>(step + 1);
  return static_cast<double>(changes.size());
}

CumulatedCurve cumulated_curve(const CumulatedParts& parts, const PartPrompts& of,
                               const BootstrapOptions& bootstrap) {
  std::vector<std::size_t> prompts, facts;
  for (std::size_t p = 0; p < parts.prompts.size(); ++p) {
    bool complete = of.used[p];
    for (std::size_t order = 0; order < parts.orders.size(); ++order)
      for (std::size_t step = 0; step < parts.steps.size(); ++step)
        complete = complete && std::isfinite(parts.log_change[parts.cell(order, step, p)]);
    if (!complete) continue;
    prompts.push_back(p);
    facts.push_back(of.fact[p]);
  }
  CumulatedCurve curve{parts.edge,
                       parts.division,
                       parts.window,
                       parts.start,
                       parts.ordered_by,
                       prompts.size(),
                       0,
                       {},
                       {}};
  if (prompts.empty()) return curve;
  const FactResamples resamples(facts, bootstrap);
  curve.facts = resamples.facts();
  const std::size_t steps = parts.steps.size();
  for (std::size_t order = 0; order < parts.orders.size(); ++order) {
    CumulatedCurve::Order& one = curve.orders.emplace_back();
    one.name = parts.orders[order];
    std::vector<std::vector<double>> means;
    for (std::size_t step = 0; step < steps; ++step) {
      std::vector<double> changes;
      for (const std::size_t p : prompts)
        changes.push_back(
            100 * std::expm1(static_cast<double>(parts.log_change[parts.cell(order, step, p)])));
      means.push_back(resamples.means(changes));
      one.change.push_back(resamples.measured(means.back()));
      one.parts.push_back(parse_edge(parts.part[order * steps + step]).channels);
    }
    curve.whole = one.change.back();
    one.needed = resamples.measured(means, [](const std::vector<double>& changes) {
      return steps_needed(changes, changes.back());
    });
  }
  return curve;
}

void add_window(const PartCells& cells, const CellAxes& axes, const BootstrapOptions& bootstrap,
                ModelParts& parts) {
  const std::vector<PartGroup> groups = part_groups(axes.items);
  for (const PartGroup& group : groups)
    if (auto edge = divided_edge(cells, axes, group, parts.layers, bootstrap))
      parts.edges.push_back(std::move(*edge));
  for (const PartGroup& slices : groups)
    for (const PartGroup& control : groups)
      if (slices.edge == control.edge && slices.division.starts_with("each quantile ") &&
          control.division.starts_with("each random ") &&
          slices.parts.size() == control.parts.size())
        if (auto one = contrast(cells, slices, control, bootstrap))
          parts.contrasts.push_back(std::move(*one));
}

ModelParts parts_of(const RunData& run, const ModelData& model, const CleanLimits& limits,
                    const BootstrapOptions& bootstrap) {
  const CellNames& names = part_names();
  const CellAxes axes = load_part_axes(model);
  const PartPrompts prompts = part_prompts(run, model, axes.prompts, limits);
  ModelParts parts{model.info.name,
                   model.info.family,
                   mixing_of(model.info),
                   model.info.layers,
                   !model.repeats.empty(),
                   axes.prompts.size(),
                   0,
                   0,
                   {},
                   {},
                   {}};
  for (std::size_t p = 0; p < axes.prompts.size(); ++p) {
    bool any = false;
    for (std::size_t item = 0; item < axes.items.size(); ++item)
      any = any || axes.blocked[item * axes.prompts.size() + p] >= 0;
    parts.failed += any ? 0 : 1;
    parts.outside += any && !prompts.used[p] ? 1 : 0;
  }
  for (const std::int64_t window : cell_windows(names, *model.reader, model.stored_name)) {
    CellWindow cells = cell_window(names, *model.reader, model.stored_name, window, kAllPrompts);
    if (cells.log_change.empty())
      inconsistent(model.reader->arrays_of(model.stored_name).open_group(names.group),
                   fmt::format("window_{}", window), "has no log_change");
    add_window({axes, std::move(cells), prompts}, axes, bootstrap, parts);
  }
  for (const CumulatedParts& cumulated : load_cumulated_parts(model))
    parts.cumulated.push_back(cumulated_curve(cumulated, prompts, bootstrap));
  return parts;
}

}  // namespace

std::vector<ModelParts> study_parts(const RunData& run, const CleanLimits& limits,
                                    const BootstrapOptions& bootstrap) {
  std::vector<ModelParts> all;
  for (const ModelData& model : run.models)
    if (model.reader != nullptr && has_parts(*model.reader, model.stored_name))
      all.push_back(parts_of(run, model, limits, bootstrap));
  return all;
}

}  // namespace factflow
