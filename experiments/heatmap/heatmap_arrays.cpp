#include "experiments/heatmap/heatmap_arrays.hpp"

#include <map>
#include <stdexcept>

#include <fmt/format.h>

#include "experiments/stored_arrays.hpp"

namespace factflow {
namespace {

using hdf5::Group;

void add_map(ArrayGroup& group, const HeatmapResult& heatmap) {
  if (std::get<std::vector<std::int32_t>>(group.axes[0].values) != heatmap.starts)
    throw std::logic_error("heat maps of one window differ in their starts");
  const std::string token = fmt::format("token_{}", heatmap.prompt);
  group.axes.push_back(
      {token, heatmap.tokens, {"1", "text of the token that the last token could not read"}});
  group.arrays.push_back(
      {std::to_string(heatmap.prompt),
       {token, "start"},
       heatmap.probability,
       {"1",
        "probability of the answer's token without the flow token -> last; NaN = not "
        "computed"}});
  if (!heatmap.token_ids.empty())
    group.arrays.push_back({fmt::format("token_ids_{}", heatmap.prompt),
                            {token},
                            heatmap.token_ids,
                            {"1", "vocabulary id of the token"}});
}

}  // namespace

std::vector<ArrayGroup> arrays_of(const std::vector<HeatmapResult>& heatmaps) {
  std::vector<ArrayGroup> groups;
  std::map<std::int64_t, std::size_t> of_window;
  for (const HeatmapResult& heatmap : heatmaps) {
    const auto [place, is_new] = of_window.emplace(heatmap.window, groups.size());
    if (is_new) {
      ArrayGroup& group =
          groups.emplace_back(ArrayGroup{fmt::format("heatmap/window_{}", heatmap.window)});
      group.attributes = {{"window", heatmap.window}, {"placement", heatmap.placement}};
      group.axes = {start_axis(heatmap.placement, heatmap.starts)};
    }
    add_map(groups[place->second], heatmap);
  }
  return groups;
}

std::vector<std::int64_t> heatmap_windows(const ResultsReader& reader, const std::string& model) {
  const Group group = reader.arrays_of(model);
  return group.has("heatmap") ? numbered(group.open_group("heatmap"), "window_")
                              : std::vector<std::int64_t>{};
}

std::vector<std::int64_t> heatmap_prompts(const ResultsReader& reader, const std::string& model,
                                          std::int64_t window) {
  const Group group = reader.arrays_of(model).open_group("heatmap");
  return numbered(group.open_group(fmt::format("window_{}", window)), "token_");
}

HeatmapResult read_heatmap(const ResultsReader& reader, const std::string& model,
                           std::int64_t window, std::int64_t prompt) {
  const ModelInfo& about = reader.model(model);
  const Group group =
      reader.arrays_of(model).open_group("heatmap").open_group(fmt::format("window_{}", window));
  HeatmapResult result;
  result.window = read_window_size(group, window);
  result.placement = read_placement(group);
  result.prompt = prompt;
  result.tokens = group.read_axis<std::string>(fmt::format("token_{}", prompt));
  result.starts = read_starts(group, about);
  result.probability =
      group.read<float>(std::to_string(prompt), {result.tokens.size(), result.starts.size()});
  check_probabilities(group, std::to_string(prompt), result.probability);
  if (const std::string ids = fmt::format("token_ids_{}", prompt); group.has(ids))
    result.token_ids = group.read<std::int32_t>(ids, {result.tokens.size()});
  return result;
}

}  // namespace factflow
