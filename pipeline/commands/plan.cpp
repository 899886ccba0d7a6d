// factflow plan and factflow validate: a configuration looked at without computing anything.
#include <iostream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/text.hpp"
#include "experiments/table.hpp"
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

void print_times(const Config& config, const PlannedJob& planned, const PlanSize& size,
                 const RateTable& rates) {
  for (const DeviceTime& time : times_of(config, planned, size, rates))
    std::cout << fmt::format("  about {} in {} on one {}, plus loading\n",
                             format_duration(time.seconds), config.run.precision, time.device);
}

// ---- for programs

nlohmann::json to_json(const WorkEstimate& work) {
  return {{"units", work.units},
          {"rows", work.rows},
          {"flops", work.flops},
          {"result_bytes", work.bytes},
          {"journal_bytes", work.journal}};
}

nlohmann::json skipped_in(const PlannedModel& model) {
  nlohmann::json skipped = nlohmann::json::array();
  for (const PlannedWork& work : model.experiments)
    if (!work.skipped.empty())
      skipped.push_back({{"what", work.skipped}, {"lacking", work.lacking}});
  return skipped;
}

nlohmann::json plan_of_model(const Config& config, const Dataset& dataset,
                             const PlannedJob& planned, std::uint32_t m) {
  const PlannedModel& model = planned.models[m];
  nlohmann::json stages = nlohmann::json::array();
  for (const WorkLine& work : work_of_model(config, dataset, planned, m)) {
    nlohmann::json stage = to_json(work.estimate);
    stage["kind"] = experiment_kinds()[work.kind]->name();
    stage["stage"] = model.experiments[work.kind].work->describe(work.part.asked);
    stage["prompts"] = work.part.count;
    stages.push_back(std::move(stage));
  }
  return {
      {"name", config.models[m].name},
      {"family", model.architecture.family},
      {"layers", model.architecture.layers},
      {"parameters", model.parameters},
      {"weight_bytes", bytes_of_weights(config.run.precision, model.kept)},
      {"activation_bytes", activations_of_model(config, dataset, planned, m)},
      {"kept_bytes", bytes_kept(model)},
      {"self_check_forwards", config.run.self_check ? self_check_forwards(planned, dataset, m) : 0},
      {"missing", model.missing},
      {"skipped", skipped_in(model)},
      {"stages", stages}};
}

nlohmann::json plan_json(const Config& config, const Dataset& dataset, const PlannedJob& planned,
                         const RateTable& rates) {
  const PlanSize size = size_of_plan(config, dataset, planned, false);
  nlohmann::json models = nlohmann::json::array(), times = nlohmann::json::array();
  for (std::uint32_t m = 0; m < config.models.size(); ++m)
    models.push_back(plan_of_model(config, dataset, planned, m));
  for (const DeviceTime& time : times_of(config, planned, size, rates))
    times.push_back({{"device", time.device}, {"seconds", time.seconds}});
  return {{"name", config.name},
          {"prompts", dataset.prompts.size()},
          {"format", dataset.format},
          {"tokens_per_prompt", tokens_per_prompt(dataset)},
          {"bad_records", dataset.bad.size()},
          {"remarks", remarks_on(config, dataset)},
          {"precision", config.run.precision},
          {"models", models},
          {"total", to_json(size.total)},
          {"host_memory_bytes", size.host_memory},
          {"times", times}};
}

nlohmann::json good_json(const Config& config, const Dataset& dataset, const PlannedJob& planned,
                         const std::vector<std::string>& warnings) {
  nlohmann::json models = nlohmann::json::array(), left_out = nlohmann::json::array();
  for (size_t m = 0; m < config.models.size(); ++m) {
    const PlannedModel& model = planned.models[m];
    const ModelJob& job = planned.job.models[m];
    nlohmann::json asks = nlohmann::json::array();
    for (const PlannedWork& one : model.experiments)
      if (const std::string summary = one.work->summary(); !summary.empty())
        asks.push_back(summary);
    models.push_back(
        {{"name", config.models[m].name},
         {"family", model.architecture.family},
         {"layers", model.architecture.layers},
         {"parameters", model.parameters},
         {"asks", asks},
         {"answers", to_json(look_at_answers(Tokenizer::load(job.tokenizer), dataset.prompts,
                                             job.answer, &model.architecture))}});
  }
  for (const BadRecord& bad : dataset.bad)
    left_out.push_back({{"where", bad.where}, {"reason", bad.reason}});
  return {{"file", config.file.string()}, {"good", true},
          {"name", config.name},          {"prompts", dataset.prompts.size()},
          {"format", dataset.format},     {"remarks", remarks_on(config, dataset)},
          {"left_out", left_out},         {"models", models},
          {"warnings", warnings}};
}

// What may end a run all the same, here or now.
std::vector<std::string> warnings_of(const Config& config, const Dataset& dataset) {
  std::vector<std::string> warnings;
  try {
    check_run_directory(std::filesystem::path("runs") / config.name, config, dataset);
  } catch (const Error& error) {
    warnings.push_back(fmt::format("without --out, run would end with: {}", error.what()));
  }
  if (const std::string problem = machine_problem(config.run); !problem.empty())
    warnings.push_back("on this machine run would end with: " + problem);
  return warnings;
}

}  // namespace

Usage plan_usage() {
  Usage usage;
  po::options_description& options = usage.options;
  add_overrides(options);
  options.add_options()("rates", po::value<std::string>(),
                        "CSV file of rates measured by sweep_bench and trace_bench --rates, in "
                        "place of the built-in ones");
  add_json(options);
  usage.positional = {"CONFIG"};
  usage.examples = {"plan configs/paper/everything.yaml --dataset counterfact.json",
                    "plan configs/demo.yaml --json"};
  return usage;
}

int plan_command(const po::variables_map& values) {
  auto [config, dataset, planned] = check_run(values["CONFIG"].as<std::string>(),
                                              overrides_of(values), Completeness::kConfigOnly);
  measure_tokens(dataset, planned);
  const RateTable rates =
      values.count("rates") != 0 ? RateTable(values["rates"].as<std::string>()) : RateTable();
  if (wants_json(values)) {
    print_json(plan_json(config, dataset, planned, rates));
    return 0;
  }
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
  print_times(config, planned, size, rates);
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
  add_json(options);
  usage.positional = {"CONFIG"};
  usage.examples = {"validate configs/demo.yaml", "validate configs/demo.yaml --json"};
  return usage;
}

int validate_command(const po::variables_map& values) {
  const auto [config, dataset, planned] =
      check_run(values["CONFIG"].as<std::string>(), overrides_of(values));
  const std::vector<std::string> warnings = warnings_of(config, dataset);
  if (wants_json(values)) {
    print_json(good_json(config, dataset, planned, warnings));
    return 0;
  }
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
    for (const std::string& sentence : describe(look_at_answers(
             Tokenizer::load(job.tokenizer), dataset.prompts, job.answer, &architecture)))
      std::cout << "    " << sentence << '\n';
  }
  for (const std::string& warning : warnings) std::cout << "  warning: " << warning << '\n';
  return 0;
}

}  // namespace factflow
