// factflow compare: several runs drawn together.
#include <iostream>

#include <fmt/format.h>

#include "analysis/analyse.hpp"
#include "pipeline/commands/command.hpp"

namespace factflow {

namespace po = boost::program_options;

int compare_command(const std::vector<std::string>& arguments) {
  po::options_description options;
  options.add_options()("out", po::value<std::string>()->default_value("comparison"),
                        "directory for tables, figures and the report")(
      "window", po::value<std::int64_t>(),
      "window size that the findings are about, as for analyse");
  po::variables_map values;
  if (!parse_options(command_named("compare"), options, {"RUN..."}, arguments, values)) return 0;
  std::vector<std::filesystem::path> runs;
  for (const std::string& run : values["RUN..."].as<std::vector<std::string>>())
    runs.emplace_back(run);
  AnalysisOptions analysis;
  if (values.count("window") != 0) analysis.study.window = values["window"].as<std::int64_t>();
  const AnalysisSummary summary = compare(runs, values["out"].as<std::string>(), analysis);
  std::cout << summary.findings;
  std::cout << fmt::format("\n{} tables, {} figures (SVG, PDF, PNG)\nreport: {}\n", summary.tables,
                           summary.figures, summary.report.string());
  return 0;
}

}  // namespace factflow
