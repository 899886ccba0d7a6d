// factflow compare: several runs drawn together.
#include "pipeline/commands/analysis_options.hpp"
#include "pipeline/commands/command.hpp"
#include "pipeline/commands/run_folder.hpp"

namespace factflow {

namespace po = boost::program_options;

int compare_command(const std::vector<std::string>& arguments) {
  po::options_description options;
  options.add_options()("out", po::value<std::string>()->default_value("comparison"),
                        "directory for tables, figures and the report");
  add_analysis_options(options);
  po::variables_map values;
  if (!parse_options(command_named("compare"), options, {"RUN..."}, arguments, values)) return 0;
  std::vector<std::filesystem::path> runs;
  for (const std::string& run : values["RUN..."].as<std::vector<std::string>>())
    require_results(runs.emplace_back(run));
  print(compare(runs, values["out"].as<std::string>(), analysis_options_of(values)));
  return 0;
}

}  // namespace factflow
