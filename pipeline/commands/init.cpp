// factflow init: a configuration for the checkpoints that there are.
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <system_error>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/paths.hpp"
#include "base/text.hpp"
#include "model/checkpoint/hub_cache.hpp"
#include "pipeline/commands/command.hpp"
#include "pipeline/run/found_checkpoints.hpp"
#include "pipeline/run/new_configuration.hpp"

namespace factflow {
namespace {

namespace fs = std::filesystem;

constexpr const char* kModels = "[MODEL...]";

void add_once(std::vector<std::string>& sources, const std::string& source) {
  if (std::find(sources.begin(), sources.end(), source) == sources.end()) sources.push_back(source);
}

// What one word of the command line names.
void add_named(std::vector<std::string>& sources, const std::string& given) {
  if (given.starts_with("hf:")) return add_once(sources, given);
  const fs::path directory = path_from_here(given);
  std::error_code error;
  if (!fs::is_directory(directory, error))
    throw InputError(given, "is no directory" + relative_to_what(given),
                     "name checkpoints, folders of checkpoints, or hf:ORG/NAME");
  const std::vector<fs::path> found = checkpoints_below(directory);
  if (found.empty())
    throw InputError(directory.string(), "holds no checkpoint, up to three folders deep",
                     "a checkpoint is a folder with a config.json and weights");
  for (const fs::path& one : found) add_once(sources, one.string());
}

std::vector<std::string> sources_of(const po::variables_map& values) {
  std::vector<std::string> sources;
  if (values.count(kModels) != 0)
    for (const std::string& given : values[kModels].as<std::vector<std::string>>())
      add_named(sources, given);
  else
    sources = checkpoints_in_hub_cache();
  if (sources.empty())
    throw InputError(hub_cache_root().string(),
                     "holds no checkpoint (this is the Hugging Face cache, where init looks when "
                     "nothing is named)",
                     "name checkpoints, folders of checkpoints, or hf:ORG/NAME");
  return sources;
}

void say_what_was_written(const WrittenConfiguration& written, const std::string& place) {
  std::cerr << fmt::format("{}: {}, {}: {}\n", place, counted(written.prompts, "prompt"),
                           counted(written.models.size(), "model"), join(written.models));
  for (const std::string& one : written.left_out) std::cerr << fmt::format("  left out: {}\n", one);
}

}  // namespace

Usage init_usage() {
  Usage usage;
  usage.options.add_options()("dataset", po::value<std::string>()->required(),
                              "file of prompts (docs/datasets.md), or a folder of Relations files")(
      "limit", po::value<std::int64_t>()->default_value(0),
      "take only the first N prompts; 0 = all")(
      "name", po::value<std::string>()->default_value("sweep"), "of the run: results in runs/NAME")(
      "out", po::value<std::string>(), "file to write, - for standard output; default NAME.yaml")(
      "force", po::bool_switch(), "replace the file if there is one");
  usage.positional = {kModels};
  usage.epilogue =
      "MODEL is a checkpoint, a folder of checkpoints (up to three folders deep) or hf:ORG/NAME; "
      "without any, the Hugging\n"
      "Face cache is looked through. What validate would refuse is left out, with the reason in a "
      "comment.\n";
  usage.examples = {"init demo/models --dataset demo/facts.jsonl --limit 200",
                    "init --dataset counterfact.json --name everything-in-my-cache",
                    "init hf:openai-community/gpt2 --dataset demo/facts.jsonl --out -"};
  return usage;
}

int init_command(const po::variables_map& values) {
  NewConfiguration wanted;
  wanted.name = values["name"].as<std::string>();
  wanted.limit = values["limit"].as<std::int64_t>();
  if (wanted.limit < 0)
    throw InputError("factflow init", "--limit expects a number of prompts, or 0 for all");
  const std::string out =
      values.count("out") != 0 ? values["out"].as<std::string>() : wanted.name + ".yaml";
  const bool to_stdout = out == "-";
  wanted.file = to_stdout ? fs::path("factflow init") : path_from_here(out);
  std::error_code error;
  if (!to_stdout && fs::exists(fs::symlink_status(wanted.file, error)) &&
      !values["force"].as<bool>())
    throw InputError(out, "is there already", "choose another --out, or replace it with --force");
  wanted.dataset = path_from_here(values["dataset"].as<std::string>()).string();
  wanted.sources = sources_of(values);
  const WrittenConfiguration written = write_configuration(wanted);
  if (to_stdout)
    std::cout << written.yaml;
  else
    publish_file(wanted.file, written.yaml);
  say_what_was_written(written, out);
  if (!to_stdout) std::cerr << fmt::format("next: factflow validate {}\n", out);
  return 0;
}

}  // namespace factflow
