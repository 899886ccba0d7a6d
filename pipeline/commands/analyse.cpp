// factflow analyse: tables, figures, findings and the report of a run.
#include "analysis/analyse.hpp"

#include <iostream>

#include <fmt/format.h>

#include "pipeline/commands/command.hpp"

namespace factflow {

namespace po = boost::program_options;

int analyse_command(const std::vector<std::string>& arguments) {
  po::options_description options;
  options.add_options()("window", po::value<std::int64_t>(),
                        "window size that the findings are about, one that was swept; by default 9 "
                        "for models of 16 layers and more, else about a third of the depth");
  po::variables_map values;
  if (!parse_options(command_named("analyse"), options, {"DIR"}, arguments, values)) return 0;
  AnalysisOptions analysis;
  if (values.count("window") != 0) analysis.study.window = values["window"].as<std::int64_t>();
  const AnalysisSummary summary = analyse(values["DIR"].as<std::string>(), analysis);
  std::cout << summary.findings;
  std::cout << fmt::format("\n{} tables, {} figures (SVG, PDF, PNG)\nreport: {}\n", summary.tables,
                           summary.figures, summary.report.string());
  return 0;
}

}  // namespace factflow
