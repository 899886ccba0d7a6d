// factflow analyse: tables, figures, findings and the report of a run.
#include "analysis/analyse.hpp"

#include <iostream>

#include <fmt/format.h>

#include "pipeline/commands/command.hpp"

namespace factflow {

namespace po = boost::program_options;

int analyse_command(const std::vector<std::string>& arguments) {
  po::options_description options;
  po::variables_map values;
  if (!parse_options(command_named("analyse"), options, {"DIR"}, arguments, values)) return 0;
  const AnalysisSummary summary = analyse(values["DIR"].as<std::string>());
  std::cout << summary.findings;
  std::cout << fmt::format("\n{} tables, {} figures (SVG, PDF, PNG)\nreport: {}\n", summary.tables, summary.figures, summary.report.string());
  return 0;
}

}  // namespace factflow
