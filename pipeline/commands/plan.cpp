// factflow plan and factflow validate: a configuration looked at without computing anything.
#include <iostream>
#include <regex>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "model/tokenizer/tokenizer.hpp"
#include "pipeline/commands/command.hpp"
#include "pipeline/input/dataset.hpp"
#include "pipeline/run/answers.hpp"
#include "pipeline/run/checked_run.hpp"
#include "pipeline/run/plan_memory.hpp"
#include "pipeline/run/plan_size.hpp"
#include "pipeline/run/run_directory.hpp"

namespace factflow {
namespace {

std::string line(const std::string& name, double prompts, const WorkEstimate& e) {
  return fmt::format("  {:<40} {:>8} {:>8} {:>14} {:>12} {:>12}\n", name, format_count(prompts),
                     format_count(e.units), format_count(e.rows), fmt::format("{:.3g}", e.flops),
                     format_bytes(e.bytes));
}

void print_model(const Config& config, const Dataset& dataset, const PlannedJob& planned,
                 std::uint32_t m) {
  const PlannedModel& model = planned.models[m];
  std::cout << fmt::format(
      "{} ({}, {}, {} parameters, {} of weights, {} of activations)\n", config.models[m].name,
      model.architecture.family,
      counted(static_cast<std::uint64_t>(model.architecture.layers), "layer"),
      format_count(static_cast<double>(model.parameters)),
      format_bytes(static_cast<double>(bytes_of_weights(config.run.precision, model.kept))),
      format_bytes(static_cast<double>(activations_of_model(config, dataset, planned, m))));
  for (const WorkLine& work : work_of_model(config, dataset, planned, m))
    std::cout << line(model.experiments[work.kind].work->describe(work.part.asked), work.part.count,
                      work.estimate);
  if (const double kept = bytes_kept(model); kept > 0)
    std::cout << fmt::format("  keeps {} in each rank's memory while the model is loaded\n",
                             format_bytes(kept));
  if (!model.missing.empty())
    std::cout << fmt::format("  warning: {} not there yet: run will refuse the model\n",
                             join(model.missing, " and "));
  for (const PlannedWork& planned_work : model.experiments)
    if (!planned_work.skipped.empty())
      std::cout << fmt::format("  skips {} (no {})\n", join(planned_work.skipped),
                               planned_work.lacking);
}

// "CPU, avx512, 2 threads" is a machine with so many threads; anything else has no such number.
struct ThreadsOfDevice {
  std::string device;  // without them
  int threads = 0;     // 0 = it has none
};
ThreadsOfDevice threads_of(const std::string& device) {
  static const std::regex kThreads("(.*), (\\d{1,4}) threads?");
  std::smatch found;
  if (!std::regex_match(device, found, kThreads)) return {device, 0};
  return {found[1], std::stoi(found[2])};
}

// One line per device whose rates are known in this precision. Where a rank has another number of
// threads than the device had, its time follows from theirs.
void print_times(const Config& config, const PlannedJob& planned, const PlanSize& size,
                 const RateTable& rates) {
  const std::string& precision = config.run.precision;
  for (const std::string& device : rates.devices(precision)) {
    double seconds = seconds_on(device, precision, planned, size, rates);
    if (seconds <= 0) continue;
    std::string name = device;
    const auto [kind, threads] = threads_of(device);
    const int wanted = config.run.threads_per_rank;
    if (threads > 0 && wanted > 0 && wanted != threads) {
      seconds *= static_cast<double>(threads) / wanted;
      name = fmt::format("{}, {} {}", kind, wanted, wanted == 1 ? "thread" : "threads");
    }
    std::cout << fmt::format("  about {} in {} on one {}, plus loading\n", format_duration(seconds),
                             precision, name);
  }
}

}  // namespace

Usage plan_usage() {
  Usage usage;
  po::options_description& options = usage.options;
  add_overrides(options);
  options.add_options()("rates", po::value<std::string>(),
                        "CSV file of rates measured by sweep_bench and trace_bench --rates, in "
                        "place of the built-in ones");
  usage.positional = {"CONFIG"};
  usage.examples = {"plan configs/paper/everything.yaml --dataset counterfact.json"};
  return usage;
}

int plan_command(const po::variables_map& values) {
  auto [config, dataset, planned] = check_run(values["CONFIG"].as<std::string>(),
                                              overrides_of(values), Completeness::kConfigOnly);
  measure_tokens(dataset, planned);
  const double prompts = static_cast<double>(dataset.prompts.size());
  std::cout << fmt::format("{}: {} ({}), about {:.1f} tokens each; {}\n", config.name,
                           counted(dataset.prompts.size(), "prompt"), dataset.format,
                           tokens_per_prompt(dataset), counted(dataset.bad.size(), "bad record"));
  for (const std::string& sentence : remarks_on(config, dataset))
    std::cout << "  " << sentence << '\n';
  std::cout << fmt::format("  {:<40} {:>8} {:>8} {:>14} {:>12} {:>12}\n", "stage", "prompts",
                           "units", "rows", "FLOP", "results");
  for (std::uint32_t m = 0; m < config.models.size(); ++m) print_model(config, dataset, planned, m);
  const PlanSize size = size_of_plan(config, dataset, planned, false);
  std::cout << line("total", prompts, size.total);
  std::cout << fmt::format("  journal: about {}\n", format_bytes(size.total.journal));
  if (config.run.self_check)
    for (std::uint32_t m = 0; m < config.models.size(); ++m)
      std::cout << fmt::format(
          "  self-check: {}: {} by each rank, before its first unit\n", config.models[m].name,
          counted(static_cast<std::uint64_t>(self_check_forwards(planned, dataset, m)),
                  "whole forward"));
  print_times(
      config, planned, size,
      values.count("rates") != 0 ? RateTable(values["rates"].as<std::string>()) : RateTable());
  std::cout << "Each line is work that no other line repeats. Sweeps are counted as if every model "
               "were right about every prompt,\n"
               "and knockouts as replays of one token; a run does at most that where the last "
               "token is the target, and more where\n"
               "the target is the subject.\n";
  return 0;
}

Usage validate_usage() {
  Usage usage;
  po::options_description& options = usage.options;
  add_overrides(options);
  usage.positional = {"CONFIG"};
  usage.examples = {"validate configs/demo.yaml"};
  return usage;
}

int validate_command(const po::variables_map& values) {
  const auto [config, dataset, planned] =
      check_run(values["CONFIG"].as<std::string>(), overrides_of(values));
  std::cout << fmt::format("{}: good\n  {} ({})\n", config.file.string(),
                           counted(dataset.prompts.size(), "prompt"), dataset.format);
  for (const std::string& sentence : remarks_on(config, dataset))
    std::cout << "  " << sentence << '\n';
  for (const BadRecord& bad : dataset.bad)
    std::cout << fmt::format("  left out: {}: {}\n", bad.where, bad.reason);
  for (size_t m = 0; m < config.models.size(); ++m) {
    const Architecture& architecture = planned.models[m].architecture;
    std::cout << fmt::format("  {}: {}, {}, {} parameters", config.models[m].name,
                             architecture.family,
                             counted(static_cast<std::uint64_t>(architecture.layers), "layer"),
                             format_count(static_cast<double>(planned.models[m].parameters)));
    for (const PlannedWork& one : planned.models[m].experiments)
      if (const std::string summary = one.work->summary(); !summary.empty())
        std::cout << ", " << summary;
    std::cout << '\n';
    const ModelJob& job = planned.job.models[m];
    for (const std::string& sentence : describe_answers(Tokenizer::load(job.tokenizer),
                                                        dataset.prompts, job.answer, &architecture))
      std::cout << "    " << sentence << '\n';
  }
  try {
    check_run_directory(std::filesystem::path("runs") / config.name, config, dataset);
  } catch (const Error& error) {
    std::cout << "  warning: without --out, run would end with: " << error.what() << '\n';
  }
  if (const std::string problem = machine_problem(config.run); !problem.empty())
    std::cout << "  warning: on this machine run would end with: " << problem << '\n';
  return 0;
}

}  // namespace factflow
