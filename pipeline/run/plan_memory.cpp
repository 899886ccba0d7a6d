#include "pipeline/run/plan_memory.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "base/error.hpp"
#include "model/device.hpp"
#include "model/pass_memory.hpp"
#include "model/tokenizer/tokenizer.hpp"
#include "pipeline/coordination/journal_format.hpp"
#include "workers/experiments.hpp"

namespace factflow {
namespace {

constexpr double kBytesPerToken = 4;  // of English text
constexpr std::size_t kTopTokens = 5, kTokenText = 6, kDigest = 32, kLibraries = 120, kName = 20;

// ---- activations

std::optional<Tokenizer> tokenizer_of(const ModelJob& job) {
  try {
    return Tokenizer::load(job.tokenizer);
  } catch (const InputError&) {  // `validate` says what is wrong with it
    return std::nullopt;
  }
}

// As if every token had so many bytes.
TokenizedPrompt estimated_tokens(const Prompt& prompt) {
  const auto token_of = [&](std::size_t byte) {
    return static_cast<int>(static_cast<double>(byte) / kBytesPerToken);
  };
  TokenizedPrompt tokens;
  tokens.ids.assign(static_cast<std::size_t>(token_of(prompt.text.size())) + 1, 0);
  const auto begin = static_cast<std::size_t>(prompt.subject_begin);
  const std::size_t end = begin + std::max<std::size_t>(prompt.subject.size(), 1) - 1;
  for (int token = token_of(begin); token <= token_of(end); ++token)
    tokens.subject.push_back(token);
  return tokens;
}

// Nothing for a prompt that will fail.
std::optional<TokenizedPrompt> tokens_of(const std::optional<Tokenizer>& tokenizer,
                                         const Prompt& prompt, AnswerRule rule) {
  if (!tokenizer) return estimated_tokens(prompt);
  try {
    return tokenize(*tokenizer, prompt, rule);
  } catch (const InputError&) {
    return std::nullopt;
  }
}

at::Device planned_device(const Config& config) {
  if (config.run.device == "cpu") return at::kCPU;
  if (config.run.device == "auto" && visible_gpus().empty()) return at::kCPU;
  return {at::kCUDA, 0};
}

std::int64_t memory_limit_of(const Config& config, at::Device device, std::int64_t parameters) {
  if (config.run.memory_limit > 0) return config.run.memory_limit;
  if (!device.is_cpu() && visible_gpus().empty()) return std::numeric_limits<std::int64_t>::max();
  return activation_memory(device,
                           parameters * weight_bytes(parse_precision(config.run.precision)));
}

// ---- the journal

std::string text_of(std::size_t bytes) {
  return std::string(bytes, 'x');
}

UnitReport sample_report() {
  return {0, 0, text_of(2 * kDigest + 1)};
}

PromptEvaluation sample_evaluation() {
  PromptEvaluation evaluation;
  evaluation.answer_text = text_of(kTokenText);
  evaluation.top_token.resize(kTopTokens);
  evaluation.top_probability.resize(kTopTokens);
  evaluation.top_text.assign(kTopTokens, text_of(kTokenText));
  return evaluation;
}

PromptSweep sample_sweep(const PromptPart& part, const ModelJob& job) {
  PromptSweep sweep;
  sweep.blocked.resize(part.edges.size());
  for (const AskedEdge& asked : part.edges) {
    const std::size_t windows = windows_of(job.sweep, asked.series).size();
    sweep.probability.emplace_back(windows);
    sweep.rank.emplace_back(windows);
    sweep.tied.emplace_back(windows);
  }
  return sweep;
}

PromptHeatmap sample_heatmap(const PromptPart& part, const ModelJob& job, double tokens) {
  PromptHeatmap heatmap;
  const auto count = static_cast<std::size_t>(std::llround(tokens));
  heatmap.tokens.assign(count, text_of(kTokenText));
  heatmap.token_ids.resize(count);
  for (const std::uint32_t series : part.heatmaps)
    heatmap.probability.emplace_back(count * job.heatmaps.at(series).starts.size());
  return heatmap;
}

// Bytes of a result with no prompt, and of one prompt in it: the format itself is asked.
struct ResultBytes {
  double unit = 0, prompt = 0;
};
template <class Result, class PromptResult>
ResultBytes bytes_of(Result result, const PromptResult& prompt) {
  result.report = sample_report();
  const auto without = static_cast<double>(encode(result).size());
  result.prompts = {prompt};
  return {without, static_cast<double>(encode(result).size()) - without};
}

ResultBytes result_bytes(Stage stage, const PromptPart& part, const ModelJob& job, double tokens) {
  switch (stage) {
    case Stage::kEvaluate: {
      EvaluationUnit unit;
      unit.facts = {text_of(kName),
                    0,
                    0,
                    0,
                    0,
                    text_of(kDigest),
                    text_of(kDigest),
                    text_of(kLibraries),
                    text_of(kName),
                    text_of(kName)};
      return bytes_of(unit, sample_evaluation());
    }
    case Stage::kSweep:
      return bytes_of(SweepUnit{}, sample_sweep(part, job));
    case Stage::kHeatmap:
      return bytes_of(HeatmapUnit{}, sample_heatmap(part, job, tokens));
  }
  return {};
}

}  // namespace

std::int64_t activations_of_model(const Config& config, const Dataset& dataset,
                                  const PlannedJob& planned, std::uint32_t model) {
  const ModelJob& job = planned.job.models[model];
  const PlannedModel& one = planned.models[model];
  const at::Device device = planned_device(config);
  const PassShape shape =
      pass_shape(one.architecture, parse_precision(config.run.precision), device);
  const std::int64_t limit = memory_limit_of(config, device, one.parameters);
  const std::optional<Tokenizer> tokenizer = tokenizer_of(job);
  std::int64_t largest = 0;
  for (const WorkLine& work : work_of_model(config, dataset, planned, model)) {
    const Unit unit{work.stage, model, {}, work.part.edges, work.part.heatmaps};
    std::vector<ReplayRequest> requests;
    for (const std::uint32_t index : work.longest)
      if (const auto tokens = tokens_of(tokenizer, dataset.prompts[index], job.answer))
        requests.push_back(request_of(job, unit, *tokens));
    largest = std::max(largest, bytes_of_requests(requests, shape, limit));
  }
  return largest;
}

double journal_bytes(Stage stage, const PromptPart& part, double units, const ModelJob& job,
                     double tokens) {
  const ResultBytes bytes = result_bytes(stage, part, job, tokens);
  return units * (bytes.unit + static_cast<double>(kRecordBytes + kFrameHeaderBytes)) +
         part.count * bytes.prompt;
}

}  // namespace factflow
