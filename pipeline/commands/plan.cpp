// factflow plan and factflow validate: a configuration looked at without computing anything.
#include <algorithm>
#include <cmath>
#include <iostream>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/text.hpp"
#include "pipeline/commands/command.hpp"
#include "pipeline/input/dataset.hpp"
#include "pipeline/run/rate_table.hpp"
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

std::string line(const std::string& name, double prompts, const Estimate& e) {
  return fmt::format("  {:<40} {:>8} {:>8} {:>14} {:>12} {:>12}\n", name, format_count(prompts), format_count(e.units), format_count(e.rows),
                     fmt::format("{:.3g}", e.flops), format_bytes(e.bytes));
}

// One kind of work on `prompts` prompts of which the same is asked.
Estimate estimate(Stage stage, const PromptPart& part, const ModelJob& job, const PlannedModel& model, double tokens) {
  const double prompts = part.count;
  const PromptCost cost = estimated_cost(stage, part, job, model, tokens);
  Estimate e;
  e.units = std::ceil(prompts / prompts_per_unit(stage, part, job));
  e.rows = prompts * (stage == Stage::kEvaluate ? 1.0 : cost.rows);
  e.flops = prompts * cost.flops;
  e.bytes = stage == Stage::kEvaluate ? prompts * 120 : e.rows * 8;
  return e;
}

std::string describe(const PromptPart& part, const ModelJob& job) {
  std::set<int> sizes;
  for (const AskedEdge& edge : part.edges)
    for (const std::uint32_t series : edge.series) sizes.insert(job.sweep[series].size);
  return fmt::format("sweep, {} edges, windows {}", part.edges.size(), fmt::join(sizes, " "));
}

std::string describe_heatmaps(const PromptPart& part, const ModelJob& job) {
  std::vector<int> sizes;
  for (const std::uint32_t series : part.heatmaps) sizes.push_back(job.heatmaps[series].size);
  std::sort(sizes.begin(), sizes.end());
  return fmt::format("heat maps, windows {}", fmt::join(sizes, " "));
}

std::int64_t bytes_of_weights(const std::string& precision, std::int64_t parameters) {
  return parameters * (precision == "fp64" ? 8 : 4);
}

struct PlanView {
  const Config& config;
  const Dataset& dataset;
  const PlannedJob& planned;
  double tokens;  // of a prompt, estimated
};

Estimate print_model(const PlanView& view, std::uint32_t m, const CleanRanks& all_right) {
  const ModelJob& job = view.planned.job.models[m];
  const PlannedModel& model = view.planned.models[m];
  const double parameters = static_cast<double>(model.parameters);
  std::cout << fmt::format("{} ({}, {} layers, {} parameters, {} of weights)\n", job.name, model.architecture.family,
                           model.architecture.layers, format_count(parameters),
                           format_bytes(static_cast<double>(bytes_of_weights(view.config.run.precision, model.parameters))));
  Estimate total;
  const auto add = [&](const std::string& name, Stage stage, const PromptPart& part) {
    const Estimate e = estimate(stage, part, job, model, view.tokens);
    std::cout << line(name, part.count, e);
    total.add(e);
  };
  add("evaluate", Stage::kEvaluate, {0, static_cast<std::uint32_t>(view.dataset.prompts.size()), {}, {}});
  for (const PromptPart& part : asked_in_sweeps(view.config, view.dataset, model, m, all_right).parts)
    add(describe(part, job), Stage::kSweep, part);
  for (const PromptPart& part : asked_in_heatmaps(view.config, view.dataset, model, m, all_right).parts)
    add(describe_heatmaps(part, job), Stage::kHeatmap, part);
  if (!model.skipped.empty()) std::cout << fmt::format("  skips {} (no state-space channels)\n", join(model.skipped));
  return total;
}

// One line per device whose rates are known in this precision.
void print_times(const std::string& precision, const PlannedJob& planned, const std::vector<double>& flops, const RateTable& rates) {
  for (const std::string& device : rates.devices(precision)) {
    double seconds = 0;
    bool known = true;
    for (size_t m = 0; m < flops.size(); ++m) {
      const double rate = rates.flops_per_second(device, precision, planned.models[m].architecture);
      known = known && rate > 0;
      if (rate > 0) seconds += flops[m] / rate;
    }
    if (known) std::cout << fmt::format("  about {} in {} on one {}, plus loading\n", format_duration(seconds), precision, device);
  }
}

}  // namespace

int plan_command(const std::vector<std::string>& arguments) {
  po::options_description options;
  add_overrides(options);
  options.add_options()("rates", po::value<std::string>(), "CSV file of rates measured by sweep_bench --rates, in place of the built-in ones");
  po::variables_map values;
  if (!parse_options(command_named("plan"), options, {"CONFIG"}, arguments, values)) return 0;
  Config config = read_config(values["CONFIG"].as<std::string>());
  apply(overrides_of(values), config);
  const Dataset dataset = read_prompts(config);
  const PlannedJob planned = build_job(config, false);
  double bytes = 0;
  for (const Prompt& prompt : dataset.prompts) bytes += static_cast<double>(prompt.text.size());
  const double prompts = static_cast<double>(dataset.prompts.size());
  const PlanView view{config, dataset, planned, std::max(1.0, bytes / 4 / prompts)};
  std::cout << fmt::format("{}: {} prompts ({}), about {:.1f} tokens each; {} bad records\n", config.name, format_count(prompts),
                           dataset.format, view.tokens, dataset.bad.size());
  for (const std::string& sentence : missing_ids(config, dataset)) std::cout << "  " << sentence << '\n';
  std::cout << fmt::format("  {:<40} {:>8} {:>8} {:>14} {:>12} {:>12}\n", "stage", "prompts", "units", "rows", "FLOP", "results");
  const CleanRanks all_right(config.models.size(), std::vector<std::int32_t>(dataset.prompts.size(), 1));
  Estimate total;
  std::vector<double> flops_of_model;
  for (std::uint32_t m = 0; m < config.models.size(); ++m) {
    const Estimate model = print_model(view, m, all_right);
    flops_of_model.push_back(model.flops);
    total.add(model);
  }
  std::cout << line("total", prompts, total);
  print_times(config.run.precision, planned, flops_of_model, values.count("rates") != 0 ? RateTable(values["rates"].as<std::string>()) : RateTable());
  std::cout << "Each line is work that no other line repeats. Sweeps are counted as if every model were right about every prompt,\n"
               "and knockouts as replays of one token; a run does at most that where the last token is the target, and more where\n"
               "the target is the subject.\n";
  return 0;
}

int validate_command(const std::vector<std::string>& arguments) {
  po::options_description options;
  add_overrides(options);
  po::variables_map values;
  if (!parse_options(command_named("validate"), options, {"CONFIG"}, arguments, values)) return 0;
  Config config = read_config(values["CONFIG"].as<std::string>());
  apply(overrides_of(values), config);
  const Dataset dataset = read_prompts(config);
  const PlannedJob planned = build_job(config, true);
  const RunPlan plan(config, dataset, planned);
  std::cout << fmt::format("{}: good\n  {} prompts ({})\n", config.file.string(), dataset.prompts.size(), dataset.format);
  for (const std::string& sentence : missing_ids(config, dataset)) std::cout << "  " << sentence << '\n';
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
