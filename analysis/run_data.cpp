#include "analysis/run_data.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <regex>
#include <set>
#include <sstream>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "experiments/heatmap/heatmap_arrays.hpp"

namespace factflow {
namespace {

// "a->b" and "a -> b" as "a \u2192 b".
std::string with_arrows(const std::string& label) {
  static const std::regex kArrow(" ?-> ?");
  return std::regex_replace(label, kArrow, " \u2192 ");
}

}  // namespace

std::string EdgeName::ends() const {
  return target.empty() ? source : fmt::format("{}->{}", source, target);
}

std::string EdgeName::flow() const {
  return path == "both" ? ends() : fmt::format("{} ({})", ends(), path);
}

std::string EdgeName::display() const {
  const std::string arrow =
      target.empty() ? with_arrows(source) : fmt::format("{} \u2192 {}", source, target);
  std::vector<std::string> words;
  if (!all_channels()) words.push_back(channels + " channels");
  if (path != "both") words.push_back(path);
  return words.empty() ? arrow : fmt::format("{} ({})", arrow, join(words));
}

EdgeName parse_edge(const std::string& label) {
  EdgeName edge;
  edge.label = label;
  const std::size_t arrow = label.find("->");
  if (arrow == std::string::npos) {
    edge.source = label;
    return edge;
  }
  std::string rest = label;
  for (const char* path : {"attention", "recurrent"})
    if (const std::string words = fmt::format(" ({})", path); rest.ends_with(words)) {
      rest.resize(rest.size() - words.size());
      edge.path = path;
      break;
    }
  const std::size_t slash = rest.find('/', arrow);
  edge.source = rest.substr(0, arrow);
  edge.target = rest.substr(arrow + 2, slash == std::string::npos ? slash : slash - arrow - 2);
  if (slash != std::string::npos) edge.channels = rest.substr(slash + 1);
  return edge;
}

EdgeName name_of_row(const std::string& label) {
  EdgeName row;
  row.label = row.source = label;
  return row;
}

const EvaluationResult* evaluation_of(const RunData& run, const std::string& model) {
  const auto found =
      std::find_if(run.models.begin(), run.models.end(),
                   [&](const ModelData& candidate) { return candidate.info.name == model; });
  return found == run.models.end() ? nullptr : &found->evaluation;
}

std::size_t count_tied(const EvaluationResult& evaluation) {
  return static_cast<std::size_t>(std::count_if(evaluation.tied.begin(), evaluation.tied.end(),
                                                [](std::int32_t tied) { return tied > 0; }));
}

std::vector<LayerMixers> mixers_of(const ModelInfo& info) {
  std::vector<LayerMixers> mixers;
  for (const std::string& layer : info.layer_blocks) {
    LayerMixers& of = mixers.emplace_back();
    std::istringstream words(layer);
    for (std::string word; words >> word;) {
      if (word.ends_with(',')) word.pop_back();
      // Blocks that mix no tokens; Zamba2's shared block is attention with an MLP behind it.
      if (word == "+" || word == "mlp" || word == "mixture" || word == "channel_mix") continue;
      (word == "attention" || word == "shared_block" ? of.attention : of.recurrent) = true;
    }
  }
  return mixers;
}

std::string mixers_in_letters(const ModelInfo& info) {
  std::string letters;
  for (const LayerMixers& layer : mixers_of(info))
    letters += layer.attention ? (layer.recurrent ? 'B' : 'A') : (layer.recurrent ? 'R' : '-');
  return letters;
}

MixerCount count_mixers(const std::vector<LayerMixers>& mixers, const std::string& placement,
                        std::int64_t window, std::int64_t start) {
  const std::int64_t begin = placement == "centred" ? start - window / 2 : start;
  const std::int64_t end = std::min(begin + window, static_cast<std::int64_t>(mixers.size()));
  MixerCount count;
  for (std::int64_t layer = std::max<std::int64_t>(begin, 0); layer < end; ++layer) {
    count.attention += mixers[static_cast<std::size_t>(layer)].attention ? 1 : 0;
    count.recurrent += mixers[static_cast<std::size_t>(layer)].recurrent ? 1 : 0;
  }
  return count;
}

Mixing mixing_of(const ModelInfo& info) {
  bool attends = false, keeps_state = false;
  for (const LayerMixers& layer : mixers_of(info)) {
    attends = attends || layer.attention;
    keeps_state = keeps_state || layer.recurrent;
  }
  if (attends && keeps_state) return Mixing::kBoth;
  return keeps_state ? Mixing::kState : Mixing::kAttention;
}

double WindowData::depth(std::size_t start) const {
  return static_cast<double>(cells.starts[start]) / static_cast<double>(model->info.layers);
}

bool WindowData::valid(std::size_t edge, std::size_t prompt, std::size_t start) const {
  // NaN > 0 is false.
  return model->clean[prompt] > 0 &&
         model->axes.blocked[edge * model->axes.prompts.size() + prompt] > 0 &&
         !std::isnan(cells.probability[cell(edge, prompt, start)]);
}

double WindowData::change(std::size_t edge, std::size_t prompt, std::size_t start) const {
  if (!valid(edge, prompt, start)) return std::numeric_limits<double>::quiet_NaN();
  const double clean = model->clean[prompt];
  return 100 * (static_cast<double>(cells.probability[cell(edge, prompt, start)]) - clean) / clean;
}

double WindowData::log_change(std::size_t edge, std::size_t prompt, std::size_t start) const {
  if (!valid(edge, prompt, start)) return std::numeric_limits<double>::quiet_NaN();
  const std::size_t place = cell(edge, prompt, start);
  if (!cells.log_change.empty() && !std::isnan(cells.log_change[place]))
    return static_cast<double>(cells.log_change[place]);
  const float p = std::max(cells.probability[place], std::numeric_limits<float>::min());
  return std::log(static_cast<double>(p) / model->clean[prompt]);
}

std::vector<std::size_t> WindowData::complete_prompts(std::size_t edge) const {
  std::vector<std::size_t> prompts;
  for (std::size_t prompt = 0; prompt < model->axes.prompts.size(); ++prompt) {
    bool complete = true;
    for (std::size_t start = 0; start < starts() && complete; ++start)
      complete = valid(edge, prompt, start);
    if (complete) prompts.push_back(prompt);
  }
  return prompts;
}

namespace {

bool has_windows(const std::vector<ModelData>& models) {
  return std::any_of(models.begin(), models.end(),
                     [](const ModelData& model) { return !model.windows.empty(); });
}

void add_windows(const std::vector<ModelData>& models, std::set<std::int64_t>& sizes) {
  for (const ModelData& model : models) sizes.insert(model.windows.begin(), model.windows.end());
}

// Of sweeps; if there are none, of interventions, heat maps and maps of interventions.
std::set<std::int64_t> window_sizes(const RunData& run) {
  std::set<std::int64_t> sizes;
  add_windows(run.models, sizes);
  if (!sizes.empty()) return sizes;
  add_windows(run.interventions, sizes);
  for (const ModelData& model : run.models) {
    if (model.reader == nullptr) continue;
    std::vector<std::string> groups = {"heatmap"};
    for (const InterventionMap& map : intervention_maps(*model.reader, model.stored_name))
      groups.push_back(map.group);
    for (const std::string& group : groups) {
      const std::vector<std::int64_t> drawn =
          heatmap_windows(*model.reader, model.stored_name, group);
      sizes.insert(drawn.begin(), drawn.end());
    }
  }
  return sizes;
}

std::int64_t wanted_window(const RunData& run, std::int64_t wanted) {
  const std::set<std::int64_t> sizes = window_sizes(run);
  if (sizes.contains(wanted)) return wanted;
  std::vector<std::string> words;
  for (const std::int64_t size : sizes) words.push_back(std::to_string(size));
  throw InputError(fmt::format("--window {}", wanted),
                   "no model has windows of this size for the main set of prompts",
                   words.empty()
                       ? "these results hold no windows of knockouts, interventions or heat maps "
                         "(traces are shown at every size that was traced)"
                       : fmt::format("{} {}", has_windows(run.models) ? "swept were" : "there are",
                                     join(words)));
}

}  // namespace

std::int64_t finding_window(const RunData& run, std::optional<std::int64_t> wanted) {
  if (wanted) return wanted_window(run, *wanted);
  constexpr std::int64_t kPublished = 9,
                         kPublishedShallowest = 16;  // Llama-3.2-1B is the shallowest in the paper
  std::map<std::int64_t, int> count;
  int most = 0;
  std::int64_t shallowest = std::numeric_limits<std::int64_t>::max();
  for (const ModelData& model : has_windows(run.models) ? run.models : run.interventions) {
    for (const std::int64_t window : model.windows) most = std::max(most, ++count[window]);
    if (!model.windows.empty()) shallowest = std::min(shallowest, model.info.layers);
  }
  if (shallowest >= kPublishedShallowest && count.contains(kPublished) && count[kPublished] == most)
    return kPublished;
  std::int64_t best = 0;  // windows ascend: the last that is narrow enough, or the narrowest of all
  for (const auto& [window, models_with_it] : count)
    if (models_with_it == most && (best == 0 || 3 * window <= shallowest)) best = window;
  return best;
}

std::int64_t window_of(const ModelData& model, std::int64_t common) {
  if (model.windows.empty()) return 0;
  const bool has =
      std::find(model.windows.begin(), model.windows.end(), common) != model.windows.end();
  return has ? common : model.windows.back();
}

}  // namespace factflow
