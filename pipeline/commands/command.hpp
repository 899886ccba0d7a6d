// The commands of the `factflow` program, one file each. Exit codes: 0 good, 1 the run failed, 2
// bad usage or input.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <boost/program_options.hpp>

#include "model/checkpoint_choices.hpp"
#include "pipeline/input/config.hpp"

namespace factflow {

struct Command {
  const char* name;
  const char* arguments;  // for the usage line: "CONFIG [options]"
  const char* summary;    // one line
  int (*run)(const std::vector<std::string>& arguments);
};

int run_command(const std::vector<std::string>& arguments);
int submit_command(const std::vector<std::string>& arguments);
int plan_command(const std::vector<std::string>& arguments);
int validate_command(const std::vector<std::string>& arguments);
int status_command(const std::vector<std::string>& arguments);
int analyse_command(const std::vector<std::string>& arguments);
int compare_command(const std::vector<std::string>& arguments);
int conform_command(const std::vector<std::string>& arguments);
int verify_command(const std::vector<std::string>& arguments);
int tokenize_command(const std::vector<std::string>& arguments);
int apply_edits_command(const std::vector<std::string>& arguments);
int check_command(const std::vector<std::string>& arguments);

const std::vector<Command>& commands();

// Parses `arguments` against `options` and the positional names; one that ends in "..." takes all
// that is left, as a list. With --help prints the usage and returns false. Throws InputError for an
// unknown option, a missing required one or a malformed value.
bool parse_options(const Command& command,
                   const boost::program_options::options_description& options,
                   const std::vector<std::string>& positional,
                   const std::vector<std::string>& arguments,
                   boost::program_options::variables_map& values, const std::string& epilogue = "");
// --limit, --dataset and --models-dir of every command that reads a configuration.
void add_overrides(boost::program_options::options_description& options);
// Throws InputError.
ConfigOverrides overrides_of(const boost::program_options::variables_map& values);
// --head of every command that loads a checkpoint by its path.
void add_checkpoint_choices(boost::program_options::options_description& options);
// Throws InputError.
CheckpointChoices choices_of(const boost::program_options::variables_map& values);
const Command& command_named(const std::string& name);

}  // namespace factflow
