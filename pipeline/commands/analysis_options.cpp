#include "pipeline/commands/analysis_options.hpp"

#include <iostream>

#include <fmt/format.h>

namespace factflow {

namespace po = boost::program_options;

void add_analysis_options(po::options_description& options) {
  options.add_options()("window", po::value<std::int64_t>(),
                        "window size that the findings are about, one that was swept; by default 9 "
                        "for models of 16 layers and more, else about a third of the depth")(
      "min-p-clean", po::value<double>()->default_value(0),
      "leave out prompts whose clean probability of the answer is smaller, model by model")(
      "max-p-clean", po::value<double>()->default_value(1), "likewise larger");
}

AnalysisOptions analysis_options_of(const po::variables_map& values) {
  AnalysisOptions options;
  if (values.count("window") != 0) options.study.window = values["window"].as<std::int64_t>();
  options.study.p_clean = {values["min-p-clean"].as<double>(), values["max-p-clean"].as<double>()};
  return options;
}

void print(const AnalysisSummary& summary) {
  std::cout << summary.findings
            << fmt::format("\n{} tables, {} figures (SVG, PDF, PNG)\nreport: {}\n", summary.tables,
                           summary.figures, summary.report.string());
}

}  // namespace factflow
