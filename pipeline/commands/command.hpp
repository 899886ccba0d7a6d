// The commands of the `factflow` program, one file each. Exit codes: 0 good, 1 the run failed, 2
// bad usage or input.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <boost/program_options.hpp>
#include <nlohmann/json_fwd.hpp>

#include "model/checkpoint_choices.hpp"
#include "pipeline/input/config.hpp"

namespace factflow {

namespace po = boost::program_options;

// What a command takes: one source for parsing, --help, the man page and completions.
struct Usage {
  po::options_description options = {};
  // Names of what stands without an option; one that ends in "..." takes all that is left, as a
  // list; one in square brackets may be left out.
  std::vector<std::string> positional = {};
  std::string epilogue = {};               // lines that end with a newline
  std::vector<std::string> examples = {};  // without "factflow"
};

struct Command {
  const char* name;
  const char* arguments;  // for the usage line: "CONFIG [options]"
  const char* summary;    // one line
  Usage (*usage)();
  int (*run)(const po::variables_map& values);
};

Usage init_usage();
int init_command(const po::variables_map& values);
Usage run_usage();
int run_command(const po::variables_map& values);
Usage submit_usage();
int submit_command(const po::variables_map& values);
Usage plan_usage();
int plan_command(const po::variables_map& values);
Usage validate_usage();
int validate_command(const po::variables_map& values);
Usage status_usage();
int status_command(const po::variables_map& values);
Usage analyse_usage();
int analyse_command(const po::variables_map& values);
Usage compare_usage();
int compare_command(const po::variables_map& values);
Usage conform_usage();
int conform_command(const po::variables_map& values);
Usage verify_usage();
int verify_command(const po::variables_map& values);
Usage tokenize_usage();
int tokenize_command(const po::variables_map& values);
Usage apply_edits_usage();
int apply_edits_command(const po::variables_map& values);
Usage check_usage();
int check_command(const po::variables_map& values);
Usage list_usage();
int list_command(const po::variables_map& values);
Usage completion_usage();
int completion_command(const po::variables_map& values);
Usage man_usage();
int man_command(const po::variables_map& values);

// In the order of the help.
const std::vector<Command>& commands();
// Throws InputError with the nearest known name.
const Command& command_named(const std::string& name);

// Runs a command with what stands behind its name, or prints its help. Throws InputError for an
// unknown option, a missing required one or a malformed value.
int run(const Command& command, const std::vector<std::string>& arguments);
// All commands, one line each; and what one of them takes.
std::string help_text();
std::string help_text(const Command& command);

// --limit, --dataset, --models-dir and --set of every command that reads a configuration.
void add_overrides(po::options_description& options);
// Throws InputError.
ConfigOverrides overrides_of(const po::variables_map& values);
// --json of every command that can answer for programs, and whether it is given. docs/json.md says
// what each of them prints.
void add_json(po::options_description& options);
bool wants_json(const po::variables_map& values);
// On standard output. Bytes that are no UTF-8, of paths for example, become U+FFFD.
void print_json(const nlohmann::json& answer);
// --head of every command that loads a checkpoint by its path.
void add_checkpoint_choices(po::options_description& options);
// Throws InputError.
CheckpointChoices choices_of(const po::variables_map& values);
}  // namespace factflow
