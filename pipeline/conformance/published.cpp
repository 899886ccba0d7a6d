#include "pipeline/conformance/published.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/text.hpp"
#include "fields/plain_text.hpp"
#include "pipeline/input/records.hpp"

namespace factflow {
namespace {

using nlohmann::json;

constexpr size_t kLargestFile = size_t{16} << 20;

std::int64_t case_id(const std::string& key) {
  const auto id = parse_whole_number(key);
  if (!id) throw InputError("", fmt::format("expected a case id, found {}", in_quotes(key)));
  return *id;
}

double probability(const json& value) {
  const double p = value.get<double>();
  if (!(p >= 0 && p <= 1.001))
    throw InputError("", fmt::format("expected a probability, found {}", p));
  return p;
}

// The reference names the features that KEEP the edge; a channel set names those that lose it.
ChannelSet losing(const std::string& features) {
  if (features == "ALL") return {ChannelSet::Kind::kAll};
  if (features == "FAST_DECAY") return {ChannelSet::Kind::kNotFast};
  if (features == "SLOW_DECAY") return {ChannelSet::Kind::kNotSlow};
  throw InputError(
      "", fmt::format("expected ALL, FAST_DECAY or SLOW_DECAY, found {}", in_quotes(features)));
}

PublishedFlow read_flow(const json& node, int layers) {
  PublishedFlow flow;
  flow.window = node.at("window").get<int>();
  flow.from = parse_token_role(node.at("from").get<std::string>());
  flow.to = parse_token_role(node.at("to").get<std::string>());
  flow.channels = losing(node.at("features").get<std::string>());
  const int starts = layers - flow.window + 1;
  if (flow.window < 1 || starts < 1)
    throw InputError("", fmt::format("a window of {} layers in {}", flow.window, layers));
  for (const auto& [key, row] : node.at("prompts").items()) {
    PublishedSeries& series = flow.prompts[case_id(key)];
    for (const char hit : row.at(0).get<std::string>()) series.right.push_back(hit == '1');
    for (size_t i = 1; i < row.size(); ++i) series.probability.push_back(probability(row.at(i)));
    if (series.probability.size() != static_cast<size_t>(starts) ||
        series.right.size() != series.probability.size())
      throw InputError("",
                       fmt::format("prompt {} has other numbers of windows than {}", key, starts));
  }
  return flow;
}

void read_heatmaps(const json& node, PublishedModel& model) {
  model.heatmap_window = node.at("window").get<int>();
  const int starts = model.layers - model.heatmap_window + 1;
  for (const auto& [key, rows] : node.at("prompts").items()) {
    std::vector<std::vector<double>>& map = model.heatmaps[case_id(key)];
    for (const json& row : rows) {
      std::vector<double>& line = map.emplace_back();
      for (const json& value : row) line.push_back(probability(value));
      if (model.heatmap_window < 1 || line.size() != static_cast<size_t>(std::max(starts, 0)))
        throw InputError(
            "", fmt::format("the heat map of prompt {} has other numbers of windows than {}", key,
                            starts));
    }
  }
}

PublishedModel read_model(const json& node, const std::string& name) {
  PublishedModel model;
  model.name = name;
  model.hub = node.at("hub").get<std::string>();
  model.layers = node.at("layers").get<int>();
  for (const json& row : node.at("clean"))
    model.clean[row.at(0).get<std::int64_t>()] = {probability(row.at(1)),
                                                  row.at(2).get<std::int32_t>()};
  for (const json& flow : node.at("flows")) model.flows.push_back(read_flow(flow, model.layers));
  read_heatmaps(node.at("heatmaps"), model);
  for (const PublishedFlow& flow : model.flows)
    for (const auto& [id, series] : flow.prompts)
      if (!model.clean.contains(id))
        throw InputError("", fmt::format("prompt {} has knockouts but no clean run", id));
  for (const auto& [id, map] : model.heatmaps)
    if (!model.clean.contains(id))
      throw InputError("", fmt::format("prompt {} has a heat map but no clean run", id));
  return model;
}

}  // namespace

PublishedModel read_published(std::string_view text, const std::string& where,
                              const std::string& name) {
  try {
    const json models = parse_json(text, kLargestFile).at("models");
    std::vector<std::string> known;
    for (const auto& [key, node] : models.items()) known.push_back(key);
    if (!models.contains(name))
      throw InputError("", unknown_word("published model", excerpt(name), known));
    return read_model(models.at(name), name);
  } catch (const json::exception& error) {
    throw InputError(where, fmt::format("holds no published numbers: {}", error.what()));
  } catch (const InputError& error) {
    throw InputError(where, error.problem());
  }
}

}  // namespace factflow
