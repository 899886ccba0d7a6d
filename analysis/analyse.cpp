#include "analysis/analyse.hpp"

#include <algorithm>
#include <set>
#include <system_error>
#include <thread>

#include <fmt/format.h>

#include "analysis/comparable.hpp"
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
    throw RunError(
        fmt::format("{}: cannot create the directory: {}", folder.string(), error.message()));
}

int process_count(int wanted) {
  if (wanted > 0) return wanted;
  return static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1U, 4U));
}

// Everything that is written, from results that are open.
AnalysisSummary analyse_into(const std::filesystem::path& folder,
                             const std::vector<const ResultsReader*>& readers,
                             const AnalysisOptions& options) {
  const Study study = make_study(load_runs(readers), options.study);
  make_folder(folder / "tables");
  const std::vector<TableFile> tables = write_tables(study, folder / "tables");
  const FigureSet figures = make_figures(study, options.figures);
  std::vector<Plot> plots;
  for (const Figure& figure : figures.figures)
    plots.insert(plots.end(), figure.plots.begin(), figure.plots.end());
  make_folder(folder / "figures");
  draw(plots, folder / "figures", process_count(options.processes));
  AnalysisSummary summary{findings_text(study), folder / "report.html", tables.size(),
                          figures.figures.size()};
  publish_file(summary.report, make_report(study, figures, tables));
  return summary;
}

}  // namespace

AnalysisSummary analyse(const std::filesystem::path& run_directory,
                        const AnalysisOptions& options) {
  const ResultsReader reader(run_directory / kResultsFileName);
  return analyse_into(run_directory, {&reader}, options);
}

AnalysisSummary compare(const std::vector<std::filesystem::path>& run_directories,
                        const std::filesystem::path& folder, const AnalysisOptions& options) {
  if (run_directories.size() < 2)
    throw InputError("factflow compare",
                     fmt::format("{} run given, expected at least two", run_directories.size()),
                     "name the directories of the runs");
  std::vector<ResultsReader> readers;
  std::set<std::string> digests;
  for (const std::filesystem::path& directory : run_directories) {
    readers.emplace_back(directory / kResultsFileName);
    if (!digests.insert(readers.back().digest()).second)
      throw InputError((directory / kResultsFileName).string(),
                       "holds the same results as a run named before it", "name each run once");
  }
  std::vector<std::filesystem::path> files;
  for (const std::filesystem::path& directory : run_directories)
    files.push_back(directory / kResultsFileName);
  check_comparable(files, readers);
  std::vector<const ResultsReader*> pointers;
  for (const ResultsReader& reader : readers) pointers.push_back(&reader);
  return analyse_into(folder, pointers, options);
}

}  // namespace factflow
