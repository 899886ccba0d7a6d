#include "pipeline/run/plan_memory.hpp"

#include <algorithm>
#include <limits>
#include <optional>

#include "base/error.hpp"
#include "experiments/table.hpp"
#include "model/device.hpp"
#include "model/replay/pass_memory.hpp"
#include "model/replay/self_check.hpp"
#include "model/tokenizer/tokenizer.hpp"
#include "pipeline/coordination/journal_format.hpp"
#include "workers/unit.hpp"

namespace factflow {
namespace {

constexpr double kBytesPerToken = 4;  // of English text
constexpr std::size_t kDigest = 32, kLibraries = 120, kName = 20;

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
  tokens.prompt = prompt;
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

// Those that a kind takes values of, as far as they have tokens.
std::vector<TokenizedPrompt> references_of(const Work& work, const TokenizedPrompt& of,
                                           const std::optional<Tokenizer>& tokenizer,
                                           AnswerRule rule) {
  std::vector<TokenizedPrompt> references;
  for (const Prompt& prompt : work.references({&of, 1}))
    if (auto tokens = tokens_of(tokenizer, prompt, rule)) references.push_back(std::move(*tokens));
  return references;
}

at::Device planned_device(const Config& config) {
  if (config.run.device == "cpu") return at::kCPU;
  if (config.run.device == "auto" && visible_gpus().empty()) return at::kCPU;
  return {at::kCUDA, 0};
}

std::int64_t memory_limit_of(const Config& config, at::Device device, std::int64_t kept) {
  if (config.run.memory_limit > 0) return config.run.memory_limit;
  if (!device.is_cpu() && visible_gpus().empty()) return std::numeric_limits<std::int64_t>::max();
  return activation_memory(device, kept * weight_bytes(parse_precision(config.run.precision)));
}

// ---- the journal

std::string text_of(std::size_t bytes) {
  return std::string(bytes, 'x');
}

// A result of so many prompts without values: the format itself is asked.
double bytes_without_values(const Architecture& architecture, std::size_t prompts) {
  UnitResult unit;
  unit.report = {0, 0, text_of(2 * kDigest + 1)};
  unit.facts.family = unit.facts.device = unit.facts.host = text_of(kName);
  unit.facts.checkpoint_digest = unit.facts.tokenizer_digest = text_of(kDigest);
  unit.facts.libraries = text_of(kLibraries);
  for (const LayerShape& layer : architecture.blocks)
    unit.facts.layer_blocks.push_back(layer_name(layer));
  unit.prompts.resize(prompts);
  return static_cast<double>(encode(unit).size());
}

}  // namespace

std::int64_t activations_of_model(const Config& config, const Dataset& dataset,
                                  const PlannedJob& planned, std::uint32_t model) {
  const ModelJob& job = planned.job.models[model];
  const PlannedModel& one = planned.models[model];
  const at::Device device = planned_device(config);
  const PassShape shape =
      pass_shape(one.architecture, parse_precision(config.run.precision), device);
  const std::int64_t limit = memory_limit_of(config, device, one.kept);
  const std::optional<Tokenizer> tokenizer = tokenizer_of(job);
  std::int64_t largest = 0;
  for (const WorkLine& work : work_of_model(config, dataset, planned, model)) {
    const Work& asking = *one.experiments[work.kind].work;
    std::vector<ReplayRequest> requests;
    for (const std::uint32_t index : work.longest)
      if (const auto tokens = tokens_of(tokenizer, dataset.prompts[index], job.answer))
        requests.push_back(asking.request(work.part.asked, *tokens,
                                          references_of(asking, *tokens, tokenizer, job.answer)));
    largest = std::max(largest, bytes_of_requests(requests, shape, limit));
  }
  return largest;
}

void measure_tokens(const Dataset& dataset, PlannedJob& planned) {
  const std::size_t count = dataset.prompts.size(), step = std::max<std::size_t>(1, count / 200);
  for (std::size_t m = 0; m < planned.models.size(); ++m) {
    const ModelJob& job = planned.job.models[m];
    const std::optional<Tokenizer> tokenizer = tokenizer_of(job);
    if (!tokenizer) continue;
    double tokens = 0, measured = 0;
    for (std::size_t i = 0; i < count; i += step)
      if (const auto of_prompt = tokens_of(tokenizer, dataset.prompts[i], job.answer)) {
        tokens += static_cast<double>(of_prompt->ids.size());
        ++measured;
      }
    if (measured > 0) planned.models[m].tokens = tokens / measured;
  }
}

int self_check_forwards(const PlannedJob& planned, const Dataset& dataset, std::uint32_t model) {
  const ModelJob& job = planned.job.models[model];
  if (!planned.job.self_check || dataset.prompts.empty()) return 0;
  const std::optional<Tokenizer> tokenizer = tokenizer_of(job);
  const auto tokens = tokens_of(tokenizer, dataset.prompts.front(), job.answer);
  if (!tokens) return 0;
  int forwards = 0;
  for (size_t kind = 0; kind < job.asked.size(); ++kind)
    if (!job.asked[kind].empty() || experiment_kinds()[kind]->offers_ranks()) {
      const Work& work = *planned.models[model].experiments[kind].work;
      forwards += self_check_runs(work.request(
          job.asked[kind], *tokens, references_of(work, *tokens, tokenizer, job.answer)));
    }
  return forwards;
}

double journal_bytes(const AskedPart& part, double units, const Work& work,
                     const Architecture& architecture, double tokens) {
  const double unit = bytes_without_values(architecture, 0),
               prompt = bytes_without_values(architecture, 1) - unit;
  return units * (unit + static_cast<double>(kRecordBytes + kFrameHeaderBytes)) +
         part.count * (prompt + work.bytes_of_prompt(part.asked, tokens).journal);
}

}  // namespace factflow
