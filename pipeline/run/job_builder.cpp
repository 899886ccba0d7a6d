#include "pipeline/run/job_builder.hpp"

#include <algorithm>
#include <exception>
#include <filesystem>
#include <map>
#include <string_view>
#include <system_error>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "experiments/loaded_model.hpp"
#include "experiments/table.hpp"
#include "model/checkpoint/checkpoint.hpp"
#include "model/checkpoint/hub_cache.hpp"
#include "model/families/family.hpp"
#include "model/kept_numbers.hpp"
#include "model/limits.hpp"
#include "model/network.hpp"
#include "model/tokenizer/tokenizer.hpp"

namespace factflow {
namespace {

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
      if (const std::string remedy = remedy_of(error);
          std::find(remedies.begin(), remedies.end(), remedy) == remedies.end())
        remedies.push_back(remedy);
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
    const std::int64_t usable = planned.parameters - parameters_to_convert(checkpoint) -
                                numbers_multiplied(planned.architecture);
    job.converted = planned.kept - std::max<std::int64_t>(usable, 0);
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

ModelToPlan model_to_plan(const Config& config, const std::vector<Prompt>& prompts,
                          const PlannedModel& planned, const ModelJob& job) {
  return {job.name,
          planned.architecture,
          placement_of(config),
          config.file,
          prompts,
          parse_precision(config.run.precision)};
}

// Nothing for a prompt that the model cannot be asked.
std::optional<TokenizedPrompt> tokens_of(const Tokenizer& tokenizer, const Prompt& prompt,
                                         AnswerRule rule) {
  try {
    return tokenize(tokenizer, prompt, rule);
  } catch (const InputError&) {
    return std::nullopt;
  }
}

// What takes all models to know.
void check_experiments(const Config& config, const std::vector<Prompt>& prompts,
                       const PlannedJob& planned, const Tokenizers& tokenizers) {
  std::vector<ModelOfRun> models;
  for (std::size_t m = 0; m < planned.models.size(); ++m) {
    const ModelJob& job = planned.job.models[m];
    ModelOfRun& one = models.emplace_back(
        ModelOfRun{model_to_plan(config, prompts, planned.models[m], job), nullptr});
    if (const auto tokenizer = tokenizers.find(job.tokenizer); tokenizer != tokenizers.end())
      one.tokens = [&tokenizer = tokenizer->second, rule = job.answer](const Prompt& prompt) {
        return tokens_of(tokenizer, prompt, rule);
      };
  }
  for (size_t kind = 0; kind < experiment_kinds().size(); ++kind)
    experiment_kinds()[kind]->check(config.experiments[kind], models);
}

}  // namespace

void plan_experiments(const Config& config, const std::vector<Prompt>& prompts,
                      PlannedModel& planned, ModelJob& job) {
  const ModelToPlan model = model_to_plan(config, prompts, planned, job);
  for (size_t kind = 0; kind < experiment_kinds().size(); ++kind) {
    planned.experiments.push_back(experiment_kinds()[kind]->plan(config.experiments[kind], model));
    job.work.push_back(planned.experiments.back().work->bytes());
    job.asked.push_back(together(planned.experiments.back().asked));
  }
}

PlannedJob build_job(const Config& config, const std::vector<Prompt>& prompts,
                     Completeness completeness) {
  require_models(config);
  Tokenizers tokenizers;
  PlannedJob planned;
  planned.job.device = config.run.device;
  planned.job.precision = config.run.precision;
  planned.job.threads_per_rank = config.run.threads_per_rank;
  planned.job.memory_limit = config.run.memory_limit;
  planned.job.share_gpus = config.run.share_gpus;
  planned.job.heartbeat_timeout = config.run.heartbeat_timeout;
  planned.job.self_check = config.run.self_check;
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
    one.kept = numbers_kept(one.architecture, one.parameters);
    ModelJob& job = planned.job.models.emplace_back();
    job.name = model.name;
    job.path = path;
    job.choices = choices;
    job.tokenizer = tokenizer_path(config, model);
    job.answer = config.select[0].answer;
    job.kept = one.kept;
    check_files(job, table, completeness, tokenizers, one);
    plan_experiments(config, prompts, one, job);
  }
  check_experiments(config, prompts, planned, tokenizers);
  return planned;
}

}  // namespace factflow
