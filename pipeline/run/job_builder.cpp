#include "pipeline/run/job_builder.hpp"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <string_view>

#include <fmt/format.h>

#include "base/error.hpp"
#include "model/checkpoint/checkpoint.hpp"
#include "model/families/family.hpp"
#include "model/network.hpp"
#include "model/tokenizer/tokenizer.hpp"

namespace factflow {
namespace {

std::vector<EdgeSpec> edges_of(const SweepConfig& sweep) {
  std::vector<EdgeSpec> edges;
  for (const KnockoutConfig& knockout : sweep.knockouts)
    for (const TokenRole to : knockout.to)
      for (const TokenRole from : knockout.from)
        for (const ChannelSet& channels : knockout.channels) edges.push_back({from, to, channels});
  return edges;
}

// The index of `value` in `list`, at whose end it is put if it is new.
template <class T, class Same>
std::uint32_t place_in(std::vector<T>& list, const T& value, Same same) {
  const auto found =
      std::find_if(list.begin(), list.end(), [&](const T& one) { return same(one, value); });
  const auto index = static_cast<std::uint32_t>(found - list.begin());
  if (found == list.end()) list.push_back(value);
  return index;
}

// The windows of each size that the model has, ascending in size. `asked` are the sizes of one
// entry of the configuration.
std::vector<std::uint32_t> add_series(std::vector<WindowSeries>& series,
                                      const std::vector<int>& asked, Placement placement,
                                      int layers) {
  std::vector<std::uint32_t> indices;
  for (const int size : asked)
    indices.push_back(
        place_in(series, window_series(size, placement, layers),
                 [](const WindowSeries& a, const WindowSeries& b) { return a.size == b.size; }));
  std::sort(indices.begin(), indices.end());
  return indices;
}

void check_sizes(const Config& config, const std::vector<int>& sizes, const std::string& key,
                 const std::string& model, int layers) {
  for (const int size : sizes)
    if (size > layers)
      throw InputError(
          config.file.string(),
          fmt::format("key {}: a window of {} layers does not fit model {}, which has {}", key,
                      size, model, layers));
}

std::string key_of(const char* list, size_t index, size_t count, const char* key) {
  return count == 1 ? fmt::format("{}.{}", list, key) : fmt::format("{}[{}].{}", list, index, key);
}

// Where a model or tokenizer lies: below models_directory if there is one and its name is
// hf:ORG/NAME.
std::string located(const Config& config, const std::string& path) {
  constexpr std::string_view kHub = "hf:";
  if (!path.starts_with(kHub)) require_path(config, path);
  if (config.models_directory.empty() || !path.starts_with(kHub)) return path;
  require_path(config, config.models_directory);
  const std::string name = path.substr(kHub.size(), path.find('@') - kHub.size());
  const std::filesystem::path directory = config.models_directory;
  for (const std::filesystem::path& place :
       {directory / name, directory / name.substr(name.find('/') + 1)})
    if (std::filesystem::is_directory(place)) return place.string();
  throw InputError(
      config.models_directory,
      fmt::format("holds neither {} nor {}", name, name.substr(name.find('/') + 1)),
      "put the model there, or leave out models_directory to use the Hugging Face cache");
}

std::string tokenizer_path(const Config& config, const ModelConfig& model) {
  if (model.tokenizer.empty()) return Checkpoint::resolve(located(config, model.path)).string();
  const std::string path = located(config, model.tokenizer);
  return path.starts_with("hf:") ? Checkpoint::resolve(path).string() : path;
}

void add_sweep(const SweepConfig& sweep, const Architecture& architecture, PlannedModel& planned,
               ModelJob& job) {
  const std::vector<std::uint32_t> series =
      add_series(job.sweep, sweep.windows.sizes, sweep.windows.placement, architecture.layers);
  std::vector<AskedEdge>& asked = planned.sweeps.emplace_back();
  for (const EdgeSpec& edge : edges_of(sweep)) {
    const auto same_label = [](const EdgeSpec& a, const EdgeSpec& b) {
      return label_of(a) == label_of(b);
    };
    if (edge.channels.kind == ChannelSet::Kind::kAll || architecture.is_state_space())
      asked.push_back({place_in(job.edges, edge, same_label), series});
    else
      place_in(planned.skipped, label_of(edge), std::equal_to<std::string>());
  }
  std::sort(asked.begin(), asked.end());
}

}  // namespace

WindowSeries window_series(int size, Placement placement, int layers) {
  WindowSeries series{size, {}, {}};
  const int starts = placement == Placement::kFit ? layers - size + 1 : layers;
  for (int start = 0; start < starts; ++start) {
    series.starts.push_back(start);
    if (placement == Placement::kFit)
      series.windows.push_back({start, start + size});
    else
      series.windows.push_back(
          {std::max(0, start - size / 2), std::min(layers, start + (size + 1) / 2)});
  }
  return series;
}

void add_knockouts(const Config& config, PlannedModel& planned, ModelJob& job) {
  const Architecture& architecture = planned.architecture;
  for (size_t i = 0; i < config.sweep.size(); ++i) {
    const SweepConfig& sweep = config.sweep[i];
    if (!includes(sweep.models, job.name)) {
      planned.sweeps.emplace_back();
      continue;
    }
    check_sizes(config, sweep.windows.sizes,
                key_of("sweep", i, config.sweep.size(), "windows.sizes"), job.name,
                architecture.layers);
    add_sweep(sweep, architecture, planned, job);
  }
  const Placement placement =
      config.sweep.empty() ? Placement::kFit : config.sweep[0].windows.placement;
  for (size_t i = 0; i < config.heatmaps.size(); ++i) {
    const HeatmapsConfig& heatmaps = config.heatmaps[i];
    std::vector<std::uint32_t>& series = planned.heatmaps.emplace_back();
    if (!includes(heatmaps.models, job.name)) continue;
    check_sizes(config, heatmaps.windows, key_of("heatmaps", i, config.heatmaps.size(), "window"),
                job.name, architecture.layers);
    series = add_series(job.heatmaps, heatmaps.windows, placement, architecture.layers);
  }
}

PlannedJob build_job(const Config& config, bool open_checkpoints) {
  PlannedJob planned;
  planned.job.device = config.run.device;
  planned.job.precision = config.run.precision;
  planned.job.threads_per_rank = config.run.threads_per_rank;
  planned.job.memory_limit = config.run.memory_limit;
  planned.job.share_gpus = config.run.share_gpus;
  planned.job.heartbeat_timeout = config.run.heartbeat_timeout;
  parse_precision(config.run.precision);
  for (const ModelConfig& model : config.models) {
    PlannedModel& one = planned.models.emplace_back();
    const std::string path = located(config, model.path);
    const CheckpointChoices choices{model.head, model.gated_norm};
    one.architecture = read_architecture(Checkpoint::read_config(path),
                                         Checkpoint::resolve(path) / "config.json", choices);
    const TensorTable table = family_named(one.architecture.family).tensors(one.architecture);
    one.parameters = table.parameters();
    ModelJob& job = planned.job.models.emplace_back();
    job.name = model.name;
    job.path = path;
    job.choices = choices;
    job.tokenizer = tokenizer_path(config, model);
    job.answer = config.select[0].answer;
    if (open_checkpoints) {
      check_tensors(Checkpoint::open(path), table);
      Tokenizer::load(job.tokenizer);
    }
    add_knockouts(config, one, job);
  }
  return planned;
}

}  // namespace factflow
