// factflow analyse: tables, figures, findings and the report of a run.
#include "pipeline/commands/analysis_options.hpp"
#include "pipeline/commands/command.hpp"
#include "pipeline/commands/run_folder.hpp"

namespace factflow {

Usage analyse_usage() {
  Usage usage;
  po::options_description& options = usage.options;
  add_analysis_options(options);
  usage.positional = {"DIR"};
  usage.examples = {"analyse runs/demo",
                    "analyse runs/demo --models mamba,gpt2 --labels mamba=Mamba,gpt2=GPT-2",
                    "analyse runs/demo --only 'models,heatmap_*' --format pdf"};
  return usage;
}

int analyse_command(const po::variables_map& values) {
  const std::filesystem::path directory = values["DIR"].as<std::string>();
  require_results(directory);
  print(analyse(directory, analysis_options_of(values)));
  return 0;
}

}  // namespace factflow
