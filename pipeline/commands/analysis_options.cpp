#include "pipeline/commands/analysis_options.hpp"

#include <iostream>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"

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
            << fmt::format("\n{}, {} (SVG, PDF, PNG)\n", counted(summary.tables, "table"),
                           counted(summary.figures, "figure"));
  if (!summary.report.empty()) std::cout << "report: " << summary.report.string() << '\n';
  std::cout.flush();
  if (summary.problem.empty()) return;
  throw RunError(summary.report.empty()
                     ? summary.problem
                     : fmt::format("the tables and the report are written, not all figures: {}",
                                   summary.problem));
}

}  // namespace factflow
