#include "pipeline/run/plan_size.hpp"

#include <algorithm>
#include <regex>

#include <fmt/format.h>

#include "experiments/table.hpp"
#include "model/device.hpp"
#include "pipeline/run/plan_memory.hpp"

namespace factflow {
namespace {

constexpr double kBytesPerToken = 4;  // of English text
constexpr std::int64_t kProgram = std::int64_t{3}
                                  << 30;  // libtorch with its CUDA libraries, MPI, the dataset

WorkEstimate estimate(const AskedPart& part, size_t units, const Work& work,
                      const PlannedModel& model, double tokens) {
  const double prompts = part.count;
  const PromptCost cost = estimated_cost(part.asked, work, model, tokens);
  WorkEstimate e;
  e.units = static_cast<double>(units);
  e.rows = prompts * std::max(cost.rows, 1.0);
  e.flops = prompts * cost.flops;
  e.flops_of_several = prompts * cost.flops_of_several;
  e.bytes = prompts * work.bytes_of_prompt(part.asked, tokens).results;
  e.journal = journal_bytes(part, e.units, work, model.architecture, tokens);
  return e;
}

std::vector<std::uint32_t> longest_of(std::vector<std::uint32_t> prompts, std::uint32_t count,
                                      const Dataset& dataset) {
  const auto longer = [&](std::uint32_t a, std::uint32_t b) {
    return dataset.prompts[a].text.size() > dataset.prompts[b].text.size();
  };
  std::stable_sort(prompts.begin(), prompts.end(), longer);
  prompts.resize(std::min<std::size_t>(prompts.size(), count));
  return prompts;
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

}  // namespace

void WorkEstimate::add(const WorkEstimate& other) {
  units += other.units;
  rows += other.rows;
  flops += other.flops;
  flops_of_several += other.flops_of_several;
  bytes += other.bytes;
  journal += other.journal;
}

double tokens_per_prompt(const Dataset& dataset) {
  double bytes = 0;
  for (const Prompt& prompt : dataset.prompts) bytes += static_cast<double>(prompt.text.size());
  return std::max(1.0, bytes / kBytesPerToken / static_cast<double>(dataset.prompts.size()));
}

double bytes_kept(const PlannedModel& model) {
  double bytes = 0;
  for (const PlannedWork& one : model.experiments) bytes += one.work->bytes_kept();
  return bytes;
}

std::vector<WorkLine> work_of_model(const Config& config, const Dataset& dataset,
                                    const PlannedJob& planned, std::uint32_t model) {
  const CleanRanks all_right(config.models.size(),
                             std::vector<std::int32_t>(dataset.prompts.size(), 1));
  const PlannedModel& one = planned.models[model];
  const double tokens = one.tokens > 0 ? one.tokens : tokens_per_prompt(dataset);
  std::vector<WorkLine> lines;
  for (size_t kind = 0; kind < experiment_kinds().size(); ++kind) {
    const Work& work = *one.experiments[kind].work;
    const AskedPrompts asked = asked_prompts(config, kind, dataset, one, model, all_right);
    const std::vector<std::vector<std::uint32_t>> sizes = unit_sizes(asked.parts, work);
    for (size_t i = 0; i < asked.parts.size(); ++i) {
      const AskedPart& part = asked.parts[i];
      const auto begin = asked.prompts.begin() + static_cast<std::ptrdiff_t>(part.begin);
      const std::uint32_t largest =
          sizes[i].empty() ? 0 : *std::max_element(sizes[i].begin(), sizes[i].end());
      lines.push_back({kind, part, estimate(part, sizes[i].size(), work, one, tokens),
                       longest_of({begin, begin + part.count}, largest, dataset)});
    }
  }
  return lines;
}

std::int64_t units_side_by_side(const Config& config, const Dataset& dataset,
                                const PlannedJob& planned) {
  double first = 0, others = 0;
  for (std::uint32_t m = 0; m < config.models.size(); ++m)
    for (const WorkLine& line : work_of_model(config, dataset, planned, m))
      (line.kind == kind_of_ranks() ? first : others) += line.estimate.units;
  return static_cast<std::int64_t>(std::max(first, others));
}

PlanSize size_of_plan(const Config& config, const Dataset& dataset, const PlannedJob& planned,
                      bool on_gpu) {
  PlanSize size;
  std::int64_t weights = 0;
  double results = 0;  // of one model: what rank 0 holds while it writes them
  for (std::uint32_t m = 0; m < config.models.size(); ++m) {
    WorkEstimate of_model;
    for (const WorkLine& line : work_of_model(config, dataset, planned, m))
      of_model.add(line.estimate);
    size.total.add(of_model);
    size.of_model.push_back(of_model);
    weights = std::max(weights, bytes_of_weights(config.run.precision, planned.models[m].kept));
    results = std::max(results, of_model.bytes);
    size.kept = std::max(size.kept, bytes_kept(planned.models[m]));
  }
  const std::int64_t activations =
      config.run.memory_limit > 0 ? config.run.memory_limit : kCpuActivations;
  size.host_memory = kProgram + 2 * static_cast<std::int64_t>(results) +
                     static_cast<std::int64_t>(size.kept) + (on_gpu ? 0 : weights + activations);
  return size;
}

double seconds_on(const std::string& device, const std::string& precision,
                  const PlannedJob& planned, const PlanSize& size, const RateTable& rates) {
  double seconds = 0;
  for (size_t m = 0; m < size.of_model.size(); ++m) {
    const auto rate = [&](RowLength rows) {
      return rates.flops_per_second(device, precision, planned.models[m].architecture, rows);
    };
    const double one = rate(RowLength::kOneToken), several = rate(RowLength::kSeveralTokens);
    if (one <= 0) return 0;
    const WorkEstimate& of_model = size.of_model[m];
    seconds +=
        (of_model.flops - of_model.flops_of_several) / one + of_model.flops_of_several / several;
  }
  return seconds;
}

std::vector<DeviceTime> times_of(const Config& config, const PlannedJob& planned,
                                 const PlanSize& size, const RateTable& rates) {
  std::vector<DeviceTime> times;
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
    times.push_back({name, seconds});
  }
  return times;
}

// tf32x3 keeps its weights in two parts; in bf16 the embedding stays float32, which is left out
// here.
std::int64_t bytes_of_weights(const std::string& precision, std::int64_t kept) {
  if (precision == "bf16") return kept * 2;
  return kept * (precision == "fp64" || precision == "tf32x3" ? 8 : 4);
}

}  // namespace factflow
