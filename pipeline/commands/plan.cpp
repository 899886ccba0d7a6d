// factflow plan and factflow validate: a configuration looked at without computing anything.
#include <cmath>
#include <iostream>

#include <fmt/format.h>

#include "base/text.hpp"
#include "pipeline/commands/command.hpp"
#include "pipeline/input/dataset.hpp"
#include "pipeline/run/run_plan.hpp"

namespace factflow {
namespace {

namespace po = boost::program_options;

struct Estimate {
  double units = 0, rows = 0, flops = 0, bytes = 0;
  void add(const Estimate& other) {
    units += other.units;
    rows += other.rows;
    flops += other.flops;
    bytes += other.bytes;
  }
};

std::string line(const std::string& name, const Estimate& e) {
  return fmt::format("  {:<28} {:>8} {:>14} {:>12} {:>12}\n", name, format_count(e.units), format_count(e.rows),
                     fmt::format("{:.3g}", e.flops), format_bytes(e.bytes));
}

size_t window_count(const std::vector<WindowSeries>& series) {
  size_t count = 0;
  for (const WindowSeries& one : series) count += one.windows.size();
  return count;
}

Estimate estimate(Stage stage, std::uint32_t model, double prompts, const PlannedJob& planned, double tokens) {
  const ModelJob& job = planned.job.models[model];
  const UnitSizes sizes = unit_sizes(job);
  const double per_unit = stage == Stage::kEvaluate ? sizes.evaluate : stage == Stage::kSweep ? sizes.sweep : sizes.heatmap;
  Estimate e;
  e.units = std::ceil(prompts / per_unit);
  e.rows = prompts * (stage == Stage::kEvaluate ? 1.0
                      : stage == Stage::kSweep  ? static_cast<double>(job.edges.size() * window_count(job.sweep))
                                                : tokens * static_cast<double>(window_count(job.heatmaps)));
  e.flops = estimated_flops({stage, model, 0, 1}, job, planned.models[model], tokens) * prompts;
  e.bytes = stage == Stage::kEvaluate ? prompts * 120 : e.rows * 8;
  return e;
}

std::int64_t bytes_of_weights(const std::string& precision, std::int64_t parameters) {
  return parameters * (precision == "fp64" ? 8 : 4);
}

}  // namespace

int plan_command(const std::vector<std::string>& arguments) {
  po::options_description options;
  options.add_options()("limit", po::value<std::int64_t>(), "take only the first N prompts");
  po::variables_map values;
  if (!parse_options(command_named("plan"), options, {"CONFIG"}, arguments, values)) return 0;
  Config config = read_config(values["CONFIG"].as<std::string>());
  if (values.count("limit") != 0) config.dataset.limit = values["limit"].as<std::int64_t>();
  const Dataset dataset = read_dataset(config.dataset);
  const PlannedJob planned = build_job(config, false);
  double bytes = 0;
  for (const Prompt& prompt : dataset.prompts) bytes += static_cast<double>(prompt.text.size());
  const double prompts = static_cast<double>(dataset.prompts.size());
  const double tokens = std::max(1.0, bytes / 4 / prompts);
  std::cout << fmt::format("{}: {} prompts ({}), about {:.1f} tokens each; {} bad records\n", config.name, format_count(prompts),
                           dataset.format, tokens, dataset.bad.size());
  std::cout << fmt::format("  {:<28} {:>8} {:>14} {:>12} {:>12}\n", "stage", "units", "rows", "FLOP", "results");
  Estimate total;
  for (std::uint32_t m = 0; m < config.models.size(); ++m) {
    const ModelJob& job = planned.job.models[m];
    const PlannedModel& model = planned.models[m];
    std::cout << fmt::format("{} ({}, {} layers, {} parameters, {} of weights)\n", job.name, model.architecture.family,
                             model.architecture.layers, format_count(static_cast<double>(model.parameters)),
                             format_bytes(static_cast<double>(bytes_of_weights(config.run.precision, model.parameters))));
    const auto add = [&](const char* name, const Estimate& e) {
      std::cout << line(name, e);
      total.add(e);
    };
    add("evaluate", estimate(Stage::kEvaluate, m, prompts, planned, tokens));
    if (!job.edges.empty())
      add(fmt::format("sweep, {} edges", job.edges.size()).c_str(), estimate(Stage::kSweep, m, prompts, planned, tokens));
    if (config.heatmaps)
      add("heat maps", estimate(Stage::kHeatmap, m, std::min(prompts, static_cast<double>(config.heatmaps->prompts)), planned, tokens));
    if (!model.skipped.empty()) std::cout << fmt::format("  skips {} (no state-space channels)\n", join(model.skipped));
  }
  std::cout << line("total", total);
  std::cout << "Sweeps are counted as if every prompt were selected, and knockouts as replays of one token; a run does at most that\n"
               "where the last token is the target, and more where the target is the subject.\n";
  return 0;
}

int validate_command(const std::vector<std::string>& arguments) {
  po::options_description options;
  po::variables_map values;
  if (!parse_options(command_named("validate"), options, {"CONFIG"}, arguments, values)) return 0;
  const Config config = read_config(values["CONFIG"].as<std::string>());
  const Dataset dataset = read_dataset(config.dataset);
  const PlannedJob planned = build_job(config, true);
  const RunPlan plan(config, dataset, planned);
  std::cout << fmt::format("{}: good\n  {} prompts ({})\n", config.file.string(), dataset.prompts.size(), dataset.format);
  for (const BadRecord& bad : dataset.bad) std::cout << fmt::format("  left out: {}: {}\n", bad.where, bad.reason);
  for (size_t m = 0; m < config.models.size(); ++m) {
    const Architecture& architecture = planned.models[m].architecture;
    std::cout << fmt::format("  {}: {}, {} layers, {} parameters, {} edges\n", config.models[m].name, architecture.family,
                             architecture.layers, format_count(static_cast<double>(planned.models[m].parameters)),
                             planned.job.models[m].edges.size());
  }
  return 0;
}

}  // namespace factflow
