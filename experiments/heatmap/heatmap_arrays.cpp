#include "experiments/heatmap/heatmap_arrays.hpp"

#include <map>
#include <stdexcept>

#include <fmt/format.h>

#include "experiments/stored_arrays.hpp"

namespace factflow {
namespace {

using hdf5::Group;

void add_map(ArrayGroup& group, const HeatmapResult& map, const MapNames& names) {
  if (std::get<std::vector<std::int32_t>>(group.axes[0].values) != map.starts)
    throw std::logic_error("maps of one window differ in their starts");
  const std::string token = fmt::format("token_{}", map.prompt);
  group.axes.push_back({token, map.tokens, {"1", names.token_means}});
  const auto cells = [&](const std::string& name, const auto& values,
                         const std::string& description) {
    if (!values.empty())
      group.arrays.push_back({name, {token, "start"}, values, {"1", description}});
  };
  cells(std::to_string(map.prompt), map.probability,
        fmt::format("probability of the answer's token {}; NaN = not computed", names.done));
  cells(fmt::format("rank_{}", map.prompt), map.rank,
        fmt::format("1 + number of other tokens that are at least as likely {}; 0 = not computed",
                    names.done));
  cells(fmt::format("log_change_{}", map.prompt), map.log_change,
        "natural logarithm of the answer's probability, less that of the clean run");
  cells(fmt::format("blocked_edges_{}", map.prompt), map.blocked_edges,
        "(target, source) pairs that lost their edge, summed over the layers of the window and "
        "their mixers; 0 = no layer of the window has such an edge");
  cells(fmt::format("rerouted_{}", map.prompt), map.rerouted,
        "layers in which some replayed token goes to other experts than in the clean run");
  if (!map.token_ids.empty())
    group.arrays.push_back({fmt::format("token_ids_{}", map.prompt),
                            {token},
                            map.token_ids,
                            {"1", "vocabulary id of the token"}});
}

}  // namespace

std::vector<ArrayGroup> arrays_of(const std::vector<HeatmapResult>& heatmaps,
                                  const MapNames& names) {
  std::vector<ArrayGroup> groups;
  std::map<std::int64_t, std::size_t> of_window;
  for (const HeatmapResult& heatmap : heatmaps) {
    const auto [place, is_new] = of_window.emplace(heatmap.window, groups.size());
    if (is_new) {
      ArrayGroup& group =
          groups.emplace_back(ArrayGroup{fmt::format("{}/window_{}", names.group, heatmap.window)});
      group.attributes = {{"window", heatmap.window}, {"placement", heatmap.placement}};
      if (!names.row.empty()) group.attributes.push_back({"row", names.row});
      group.axes = {start_axis(heatmap.placement, heatmap.starts)};
    }
    add_map(groups[place->second], heatmap, names);
  }
  return groups;
}

std::vector<std::int64_t> heatmap_windows(const ResultsReader& reader, const std::string& model,
                                          const std::string& group) {
  const Group of_model = reader.arrays_of(model);
  return of_model.has(group) ? numbered(of_model.open_group(group), "window_")
                             : std::vector<std::int64_t>{};
}

std::vector<std::int64_t> heatmap_prompts(const ResultsReader& reader, const std::string& model,
                                          std::int64_t window, const std::string& group) {
  const Group windows = reader.arrays_of(model).open_group(group);
  return numbered(windows.open_group(fmt::format("window_{}", window)), "token_");
}

HeatmapResult read_heatmap(const ResultsReader& reader, const std::string& model,
                           std::int64_t window, std::int64_t prompt, const std::string& of) {
  const ModelInfo& about = reader.model(model);
  const Group group =
      reader.arrays_of(model).open_group(of).open_group(fmt::format("window_{}", window));
  HeatmapResult result;
  result.window = read_window_size(group, window);
  result.placement = read_placement(group);
  result.prompt = prompt;
  result.tokens = group.read_axis<std::string>(fmt::format("token_{}", prompt));
  result.starts = read_starts(group, about);
  const hdf5::Shape shape{result.tokens.size(), result.starts.size()};
  result.probability = group.read<float>(std::to_string(prompt), shape);
  check_probabilities(group, std::to_string(prompt), result.probability);
  if (const std::string ids = fmt::format("token_ids_{}", prompt); group.has(ids))
    result.token_ids = group.read<std::int32_t>(ids, {result.tokens.size()});
  if (const std::string ranks = fmt::format("rank_{}", prompt); group.has(ranks))
    result.rank = group.read<std::int32_t>(ranks, shape);
  if (const std::string changes = fmt::format("log_change_{}", prompt); group.has(changes))
    result.log_change = group.read<float>(changes, shape);
  result.blocked_edges = read_counts(group, fmt::format("blocked_edges_{}", prompt), shape);
  result.rerouted = read_counts(group, fmt::format("rerouted_{}", prompt), shape);
  return result;
}

}  // namespace factflow
