#include "pipeline/commands/command.hpp"

#include <iostream>
#include <sstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/paths.hpp"
#include "base/text.hpp"

namespace factflow {

const std::vector<Command>& commands() {
  static const std::vector<Command> list = {
      {"init", "[MODEL...] --dataset FILE [options]",
       "write a commented configuration for the checkpoints that there are", init_usage,
       init_command},
      {"run", "CONFIG [options]",
       "run the sweep of a configuration, alone or under mpirun/srun; continues where it stopped",
       run_usage, run_command},
      {"submit", "CONFIG --profile FILE [options]",
       "hand the run to SLURM, with follow-up jobs and the analysis behind it", submit_usage,
       submit_command},
      {"plan", "CONFIG",
       "stages, units, rows, estimated arithmetic, memory and disk, without loading weights",
       plan_usage, plan_command},
      {"validate", "CONFIG",
       "check everything about a configuration that can be checked without running", validate_usage,
       validate_command},
      {"status", "DIR", "what a run has finished, what is left, what failed", status_usage,
       status_command},
      {"analyse", "DIR", "tables, figures, findings and the report of a run", analyse_usage,
       analyse_command},
      {"compare", "RUN RUN... [options]",
       "several runs together: tables, paired differences, figures and a report", compare_usage,
       compare_command},
      {"apply-edits", "DIR --facts ID... --out DIR [options]",
       "edits of a run, written into a copy of the checkpoint", apply_edits_usage,
       apply_edits_command},
      {"check", "--model DIR", "what a checkpoint, tokenizer or dataset is", check_usage,
       check_command},
      {"tokenize", "--model DIR", "lines of text in, token ids and byte offsets out, as JSON lines",
       tokenize_usage, tokenize_command},
      {"conform", "--model NAME --path DIR --dataset FILE",
       "compare a checkpoint with the published numbers of the reference implementation",
       conform_usage, conform_command},
      {"verify", "--model DIR --cases FILE", "compare with the answers of a float64 oracle",
       verify_usage, verify_command},
      {"ls", "WHAT [DIR]", "what there is: runs, models, families, kinds, roles, sites", list_usage,
       list_command},
      {"completion", "SHELL", "completions of bash or zsh, for the shell to read", completion_usage,
       completion_command},
      {"man", "", "the manual page, made of the help of all commands", man_usage, man_command},
  };
  return list;
}

const Command& command_named(const std::string& name) {
  std::vector<std::string> known;
  for (const Command& command : commands()) {
    if (name == command.name) return command;
    known.emplace_back(command.name);
  }
  throw InputError("factflow", unknown_word("command", name, known), "see factflow --help");
}

namespace {

constexpr size_t kNameWidth = 13;  // of commands in the help

po::options_description with_help(const Usage& usage) {
  po::options_description visible("Options");
  visible.add(usage.options).add_options()("help,h", "show this help");
  return visible;
}

// False: --help is among the arguments.
bool parse(const Command& command, const Usage& usage, const std::vector<std::string>& arguments,
           po::variables_map& values) {
  po::options_description all;
  all.add(with_help(usage));
  po::positional_options_description positions;
  for (const std::string& name : usage.positional) {
    const bool many = name.find("...") != std::string::npos;
    if (many)
      all.add_options()(name.c_str(), po::value<std::vector<std::string>>());
    else
      all.add_options()(name.c_str(), po::value<std::string>());
    positions.add(name.c_str(), many ? -1 : 1);
  }
  const std::string where = fmt::format("factflow {}", command.name);
  const std::string remedy = fmt::format("see {} --help", where);
  try {
    po::store(po::command_line_parser(arguments).options(all).positional(positions).run(), values);
    if (values.count("help") != 0) return false;
    po::notify(values);
  } catch (const po::error& error) {
    throw InputError(where, error.what(), remedy);
  }
  for (const std::string& name : usage.positional)
    if (values.count(name) == 0 && !name.starts_with('['))
      throw InputError(where, fmt::format("{} is missing", name), remedy);
  return true;
}

}  // namespace

int run(const Command& command, const std::vector<std::string>& arguments) {
  po::variables_map values;
  if (parse(command, command.usage(), arguments, values)) return command.run(values);
  std::cout << help_text(command);
  return 0;
}

std::string help_text() {
  std::string text =
      "factflow: where factual information flows inside language models\n\nUsage: factflow COMMAND "
      "[arguments]\n\n";
  for (const Command& command : commands())
    text += fmt::format("  {:<{}}{}\n", command.name, kNameWidth, command.summary);
  return text +
         "\nfactflow help COMMAND explains a command; factflow --version says what this program is "
         "made of.\nExit codes: 0 good, 1 failed, 2 bad usage or input, 3 stopped by a signal (the "
         "same command continues),\n4 another launch holds the directory.\n";
}

std::string help_text(const Command& command) {
  const Usage usage = command.usage();
  std::ostringstream text;
  text << "Usage: factflow " << command.name << ' ' << command.arguments << "\n\n"
       << command.summary << "\n\n"
       << with_help(usage);
  if (!usage.examples.empty()) text << "\nExamples:\n";
  for (const std::string& example : usage.examples) text << "  factflow " << example << '\n';
  if (!usage.epilogue.empty()) text << '\n' << usage.epilogue;
  return text.str();
}

void add_overrides(po::options_description& options) {
  options.add_options()("limit", po::value<std::int64_t>(),
                        "take only the first N prompts (replaces dataset.limit)")(
      "dataset", po::value<std::string>()->default_value(""),
      "file of prompts (replaces dataset.path)")(
      "models-dir", po::value<std::string>()->default_value(""),
      "where hf:ORG/NAME lies as ORG/NAME or NAME (replaces models_directory)")(
      "set", po::value<std::vector<std::string>>()->composing(),
      "KEY=VALUE: any key of the configuration, as if it said so; VALUE is YAML; may be given "
      "several times");
}

ConfigOverrides overrides_of(const po::variables_map& values) {
  const auto path = [&](const char* option) {
    const std::string& given = values[option].as<std::string>();
    return given.empty() || is_remote(given) ? given : path_from_here(given).string();
  };
  ConfigOverrides overrides{{}, path("dataset"), path("models-dir")};
  if (values.count("set") != 0) overrides.set = values["set"].as<std::vector<std::string>>();
  if (values.count("limit") != 0) overrides.limit = values["limit"].as<std::int64_t>();
  if (overrides.limit && *overrides.limit < 1)
    throw InputError("factflow", "--limit expects a number of at least 1");
  return overrides;
}

void add_json(po::options_description& options) {
  options.add_options()("json", po::bool_switch(),
                        "print one JSON object for programs (docs/json.md)");
}

bool wants_json(const po::variables_map& values) {
  return values["json"].as<bool>();
}

void print_json(const nlohmann::json& answer) {
  std::cout << answer.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
}

void add_checkpoint_choices(po::options_description& options) {
  options.add_options()(
      "head", po::value<std::string>()->default_value("configured"),
      "matrix of the logits: configured (by config.json), embedding or own (the file's)")(
      "gated-norm", po::value<std::string>()->default_value("per-group"),
      "of a Mamba-2 with several groups: per-group or all-channels (transformers up to 5.17)");
}

CheckpointChoices choices_of(const po::variables_map& values) {
  return {parse_head_choice(values["head"].as<std::string>()),
          parse_gated_norm_choice(values["gated-norm"].as<std::string>())};
}

}  // namespace factflow
