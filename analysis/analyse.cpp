#include "analysis/analyse.hpp"

#include <algorithm>
#include <system_error>
#include <thread>

#include <fmt/format.h>

#include "analysis/findings.hpp"
#include "analysis/load_runs.hpp"
#include "analysis/report.hpp"
#include "analysis/tables.hpp"
#include "base/error.hpp"
#include "base/files.hpp"

namespace factflow {
namespace {

void make_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error)
    throw RunError(fmt::format("{}: cannot create the directory: {}", folder.string(), error.message()));
}

int process_count(int wanted) {
  if (wanted > 0) return wanted;
  return static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1U, 4U));
}

}  // namespace

AnalysisSummary analyse(const std::filesystem::path& run_directory, const AnalysisOptions& options) {
  const ResultsReader reader(run_directory / kResultsFileName);
  const Study study = make_study(load_runs({&reader}), options.study);
  make_folder(run_directory / "tables");
  const std::vector<TableFile> tables = write_tables(study, run_directory / "tables");
  const FigureSet figures = make_figures(study, options.figures);
  std::vector<Plot> plots;
  for (const Figure& figure : figures.figures)
    plots.insert(plots.end(), figure.plots.begin(), figure.plots.end());
  make_folder(run_directory / "figures");
  draw(plots, run_directory / "figures", process_count(options.processes));
  AnalysisSummary summary{findings_text(study), run_directory / "report.html", tables.size(), figures.figures.size()};
  publish_file(summary.report, make_report(study, figures, tables));
  return summary;
}

}  // namespace factflow
