// factflow compare: several runs drawn together.
#include "pipeline/commands/analysis_options.hpp"
#include "pipeline/commands/command.hpp"
#include "pipeline/commands/run_folder.hpp"

namespace factflow {

Usage compare_usage() {
  Usage usage;
  po::options_description& options = usage.options;
  options.add_options()("out", po::value<std::string>()->default_value("comparison"),
                        "directory for tables, figures and the report");
  add_analysis_options(options);
  usage.positional = {"RUN..."};
  usage.examples = {"compare runs/demo runs/other --out comparison"};
  return usage;
}

int compare_command(const po::variables_map& values) {
  std::vector<std::filesystem::path> runs;
  for (const std::string& run : values["RUN..."].as<std::vector<std::string>>())
    require_results(runs.emplace_back(run));
  print(compare(runs, values["out"].as<std::string>(), analysis_options_of(values)));
  return 0;
}

}  // namespace factflow
