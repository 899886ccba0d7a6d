#include "pipeline/run/job_builder.hpp"

#include <algorithm>
#include <exception>
#include <filesystem>
#include <functional>
#include <map>
#include <string_view>
#include <system_error>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "model/checkpoint/checkpoint.hpp"
#include "model/checkpoint/hub_cache.hpp"
#include "model/cuda_limits.hpp"
#include "model/families/family.hpp"
#include "model/network.hpp"
#include "model/tokenizer/tokenizer.hpp"
#include "workers/loaded_model.hpp"

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

constexpr std::string_view kHub = "hf:";

// Where hf:ORG/NAME lies below models_directory.
std::string in_models_directory(const Config& config, const std::string& source) {
  require_path(config, config.models_directory);
  const std::string name = source.substr(kHub.size(), source.find('@') - kHub.size());
  const std::filesystem::path directory = config.models_directory;
  for (const std::filesystem::path& place :
       {directory / name, directory / name.substr(name.find('/') + 1)})
    if (std::filesystem::is_directory(place)) return place.string();
  throw NotDownloaded(config.models_directory,
                      fmt::format("holds neither {} nor {}", name, name.substr(name.find('/') + 1)),
                      fmt::format("{} --local-dir {}", download_command(source.substr(kHub.size())),
                                  (directory / name).string()),
                      "leave out models_directory to use the Hugging Face cache");
}

// Where a model or tokenizer lies, as Checkpoint::resolve() takes it.
std::string located(const Config& config, const std::string& source) {
  if (!source.starts_with(kHub)) require_path(config, source);
  return config.models_directory.empty() || !source.starts_with(kHub)
             ? source
             : in_models_directory(config, source);
}

std::string tokenizer_path(const Config& config, const ModelConfig& model) {
  if (model.tokenizer.empty()) return Checkpoint::resolve(located(config, model.path)).string();
  return Checkpoint::resolve_tokenizer(located(config, model.tokenizer)).string();
}

// What stands in a list of what is missing: the command that helps, else the whole message.
std::string remedy_of(const InputError& error) {
  const auto* missing = dynamic_cast<const NotDownloaded*>(&error);
  return missing != nullptr ? missing->command() : error.what();
}

// Everything that is not there is told at once: it may take hours to fetch.
void require_models(const Config& config) {
  std::vector<std::string> remedies;
  std::exception_ptr first;
  const auto look_for = [&](const auto& find) {
    try {
      find();
    } catch (const InputError& error) {
      if (!first) first = std::current_exception();
      place_in(remedies, remedy_of(error), std::equal_to<std::string>());
    }
  };
  for (const ModelConfig& model : config.models) {
    look_for([&] { Checkpoint::resolve(located(config, model.path)); });
    if (!model.tokenizer.empty()) look_for([&] { tokenizer_path(config, model); });
  }
  if (remedies.size() == 1) std::rethrow_exception(first);
  if (!remedies.empty())
    throw Error(2, fmt::format("{}: {} checkpoints or tokenizers are missing; download them where "
                               "there is a network, or correct the paths:\n  {}",
                               config.file.string(), remedies.size(), join(remedies, "\n  ")));
}

// By path: many models of a run share one.
using Tokenizers = std::map<std::string, Tokenizer>;

bool has_tokenizer(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) return std::filesystem::exists(path, error);
  return std::filesystem::exists(path / "tokenizer.json", error) ||
         std::filesystem::exists(path / "vocab.json", error);
}

// Float tensors that cannot be used where they lie in the file.
std::int64_t parameters_to_convert(const Checkpoint& checkpoint) {
  std::int64_t count = 0;
  for (const auto& [name, tensor] : checkpoint.tensors())
    if (is_float(tensor.type) && tensor.type != StoredType::kF32) count += tensor.count();
  return count;
}

// The checks that need more than config.json.
void check_files(ModelJob& job, const TensorTable& table, Completeness completeness,
                 Tokenizers& tokenizers, PlannedModel& planned) {
  const bool whole = completeness == Completeness::kWhole;
  if (whole || Checkpoint::has_weights(job.path)) {
    const Checkpoint checkpoint = Checkpoint::open(job.path);
    check_tensors(checkpoint, table);
    job.converted = std::min(parameters_to_convert(checkpoint), planned.parameters);
  } else {
    planned.missing.push_back("weights");
  }
  if (!whole && !has_tokenizer(job.tokenizer)) {
    planned.missing.push_back("a tokenizer");
    return;
  }
  auto tokenizer = tokenizers.find(job.tokenizer);
  if (tokenizer == tokenizers.end())
    tokenizer = tokenizers.emplace(job.tokenizer, Tokenizer::load(job.tokenizer)).first;
  require_vocabulary(tokenizer->second, planned.architecture.vocabulary, job.path);
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
    if (edge.channels.kind == ChannelSet::Kind::kAll || architecture.channels() > 0)
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

PlannedJob build_job(const Config& config, Completeness completeness) {
  require_models(config);
  Tokenizers tokenizers;
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
    if (config.run.device.starts_with("cuda"))
      check_cuda_limits(one.architecture, CudaLimits{}, path);
    const TensorTable table = family_named(one.architecture.family).tensors(one.architecture);
    one.parameters = table.parameters();
    ModelJob& job = planned.job.models.emplace_back();
    job.name = model.name;
    job.path = path;
    job.choices = choices;
    job.tokenizer = tokenizer_path(config, model);
    job.answer = config.select[0].answer;
    job.parameters = one.parameters;
    check_files(job, table, completeness, tokenizers, one);
    add_knockouts(config, one, job);
  }
  return planned;
}

}  // namespace factflow
