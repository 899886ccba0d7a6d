#include "pipeline/run/job_builder.hpp"

#include <algorithm>

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

std::vector<WindowSeries> series_of(const Config& config, const std::vector<int>& sizes, Placement placement, const char* key,
                                    const std::string& model, int layers) {
  std::vector<WindowSeries> series;
  for (const int size : sizes) {
    if (size > layers)
      throw InputError(config.file.string(), fmt::format("key {}: a window of {} layers does not fit model {}, which has {}", key,
                                                         size, model, layers));
    series.push_back(window_series(size, placement, layers));
  }
  return series;
}

std::string tokenizer_path(const ModelConfig& model) {
  return model.tokenizer.empty() ? Checkpoint::resolve(model.path).string() : model.tokenizer;
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
      series.windows.push_back({std::max(0, start - size / 2), std::min(layers, start + (size + 1) / 2)});
  }
  return series;
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
  const Placement placement = config.sweep ? config.sweep->windows.placement : Placement::kFit;
  for (const ModelConfig& model : config.models) {
    PlannedModel& one = planned.models.emplace_back();
    one.architecture = read_architecture(Checkpoint::read_config(model.path), Checkpoint::resolve(model.path) / "config.json");
    const TensorTable table = family_named(one.architecture.family).tensors(one.architecture);
    one.parameters = table.parameters();
    ModelJob& job = planned.job.models.emplace_back();
    job.name = model.name;
    job.path = model.path;
    job.tokenizer = tokenizer_path(model);
    if (open_checkpoints) {
      check_tensors(Checkpoint::open(model.path), table);
      Tokenizer::load(job.tokenizer);
    }
    const int layers = one.architecture.layers;
    if (config.sweep) {
      for (const EdgeSpec& edge : edges_of(*config.sweep)) {
        if (edge.channels.kind == ChannelSet::Kind::kAll || one.architecture.is_state_space())
          job.edges.push_back(edge);
        else
          one.skipped.push_back(label_of(edge));
      }
      job.sweep = series_of(config, config.sweep->windows.sizes, placement, "sweep.windows.sizes", model.name, layers);
    }
    if (config.heatmaps)
      job.heatmaps = series_of(config, config.heatmaps->windows, placement, "heatmaps.window", model.name, layers);
  }
  return planned;
}

}  // namespace factflow
