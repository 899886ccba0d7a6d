// factflow analyse: tables, figures, findings and the report of a run.
#include "pipeline/commands/analysis_options.hpp"
#include "pipeline/commands/command.hpp"
#include "pipeline/commands/run_folder.hpp"

namespace factflow {

int analyse_command(const std::vector<std::string>& arguments) {
  boost::program_options::options_description options;
  add_analysis_options(options);
  boost::program_options::variables_map values;
  if (!parse_options(command_named("analyse"), options, {"DIR"}, arguments, values)) return 0;
  const std::filesystem::path directory = values["DIR"].as<std::string>();
  require_results(directory);
  print(analyse(directory, analysis_options_of(values)));
  return 0;
}

}  // namespace factflow
