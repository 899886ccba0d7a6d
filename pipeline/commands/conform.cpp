// factflow conform: a checkpoint's answers against the numbers that the reference implementation
// publishes.
#include <iostream>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text_file.hpp"
#include "experiments/loaded_model.hpp"
#include "model/checkpoint/checkpoint.hpp"
#include "model/device.hpp"
#include "model/threads.hpp"
#include "pipeline/commands/command.hpp"
#include "pipeline/conformance/conformance.hpp"
#include "pipeline/input/dataset.hpp"

namespace factflow {

Usage conform_usage() {
  Usage usage;
  po::options_description& options = usage.options;
  options.add_options()("model", po::value<std::string>()->required(),
                        "the published model: gpt2-355M, llama3.2-1B, mamba1-130M, mamba2-130M, "
                        "qwen2-0.5B or qwen2.5-0.5B")("path", po::value<std::string>()->required(),
                                                      "its checkpoint: a directory or hf:ORG/NAME")(
      "dataset", po::value<std::string>()->required(),
      "COUNTERFACT, in any form that keeps its case ids")(
      "tokenizer", po::value<std::string>()->default_value(""),
      "directory or tokenizer.json, or hf:ORG/NAME; default: the one beside the checkpoint")(
      "published", po::value<std::string>()->default_value(""),
      "other published numbers, in the form of pipeline/conformance/published.json")(
      "device", po::value<std::string>()->default_value("auto"), "auto, cpu, cuda or cuda:N")(
      "precision", po::value<std::string>()->default_value("auto"),
      "fp64, fp32 or tf32; auto = fp64 on a CPU, fp32 on a GPU")(
      "threads", po::value<int>()->default_value(0), "threads; 0 = all cores")(
      "tolerance", po::value<double>()->default_value(1e-4),
      "largest |p - published| / (1 + published) that agrees");
  add_checkpoint_choices(options);
  usage.epilogue =
      "Exit code 0: every compared row agrees; 1: some do not. Rows that are no causal knockouts "
      "in the "
      "reference are named\n"
      "and not compared (docs/paper.md).\n";
  usage.examples = {
      "conform --model gpt2-355M --path hf:openai-community/gpt2-medium --dataset "
      "counterfact.json"};
  return usage;
}

int conform_command(const po::variables_map& values) {
  const std::string name = values["model"].as<std::string>(),
                    file = values["published"].as<std::string>();
  const PublishedModel published =
      file.empty() ? read_published(published_numbers(), "factflow conform", name)
                   : read_published(read_text_file(file, size_t{16} << 20), file, name);
  set_threads(values["threads"].as<int>(), 1);
  const at::Device device = choose_device(values["device"].as<std::string>());
  std::string precision = values["precision"].as<std::string>();
  if (precision == "auto") precision = device.is_cpu() ? "fp64" : "fp32";
  DatasetConfig dataset;
  dataset.path = values["dataset"].as<std::string>();
  ModelSource source;
  source.path = values["path"].as<std::string>();
  source.choices = choices_of(values);
  if (const auto& tokenizer = values["tokenizer"].as<std::string>(); !tokenizer.empty())
    source.tokenizer = Checkpoint::resolve_tokenizer(tokenizer).string();
  source.answer = AnswerRule::kFirstToken;  // the published rule
  LoadedModel model(source, device, parse_precision(precision), 0, "");
  const Conformance conformance = compare_with_published(published, model, read_dataset(dataset),
                                                         values["tolerance"].as<double>());
  std::cout << fmt::format("{} ({}, {}, {}) against the published numbers\n", name, source.path,
                           describe(device), precision)
            << describe(conformance);
  return conformance.conforms() ? 0 : 1;
}

}  // namespace factflow
