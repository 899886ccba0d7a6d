#include "analysis/analyse.hpp"

#include <algorithm>
#include <set>
#include <system_error>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "analysis/comparable.hpp"
#include "analysis/findings.hpp"
#include "analysis/load_runs.hpp"
#include "analysis/report.hpp"
#include "analysis/report_data.hpp"
#include "analysis/staging.hpp"
#include "analysis/tables.hpp"
#include "base/error.hpp"
#include "base/file_operations.hpp"
#include "base/output_directory.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

int process_count(int wanted) {
  if (wanted > 0) return wanted;
  return static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1U, 4U));
}

// In the folder of a comparison: of which runs.
constexpr const char* kComparisonRecord = "comparison.json";

std::string record_of(const RunData& run) {
  nlohmann::ordered_json runs = nlohmann::ordered_json::array();
  for (const RunSource& source : run.sources)
    runs.push_back({{"name", source.name}, {"results", source.digest}});
  return nlohmann::ordered_json{{"runs", std::move(runs)}}.dump(
             1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) +
         "\n";
}

// A comparison is written into a folder of its own, never among files that are not its.
void check_place(const std::filesystem::path& folder) {
  std::error_code error;
  if (!std::filesystem::exists(folder, error)) return;
  if (!std::filesystem::is_directory(folder, error))
    throw InputError(folder.string(), "is a file", "name a directory with --out");
  if (std::filesystem::exists(folder / kComparisonRecord, error) ||
      std::filesystem::is_empty(folder, error))
    return;
  // Earlier versions kept no record of a comparison, but its report names its files.
  const bool of_a_run = std::filesystem::exists(folder / kResultsFileName, error) ||
                        std::filesystem::exists(folder / "run.json", error);
  if (!of_a_run && AnalysisFiles(system_files(), folder).known()) return;
  throw InputError(folder.string(), "holds files that no comparison wrote",
                   "name a new directory with --out");
}

// The directory of a run, or one that was analysed before; else nothing of what will be written may
// be there.
void check_run_folder(const std::filesystem::path& folder, const AnalysisFiles& files) {
  std::error_code ignored;
  if (files.known() || std::filesystem::exists(folder / "run.json", ignored)) return;
  std::vector<std::string> in_the_way;
  for (const char* name : {"tables", "figures", "report.html"})
    if (std::filesystem::exists(folder / name, ignored) &&
        !std::filesystem::is_empty(folder / name, ignored))
      in_the_way.emplace_back(name);
  if (!in_the_way.empty())
    throw InputError(folder.string(),
                     fmt::format("holds {} that no analysis of factflow wrote", join(in_the_way)),
                     "move them, or put results.h5 into a directory of its own");
}

// Leaves of the figures what was drawn.
void keep_drawn(FigureSet& figures, const Drawing& drawing) {
  for (Figure& figure : figures.figures) {
    for (Plot& plot : figure.plots)
      std::erase_if(plot.formats, [&](const std::string& format) {
        return !drawing.files.contains(plot.stem + "." + format);
      });
    std::erase_if(figure.plots, [](const Plot& plot) { return plot.formats.empty(); });
  }
  std::erase_if(figures.figures, [](const Figure& figure) { return figure.plots.empty(); });
  if (!drawing.problem.empty())
    figures.problem = fmt::format("The figures are not all drawn: {}.", drawing.problem);
}

// The tables and a report without figures first: whatever becomes of the figures, these are there.
void write_all(const std::filesystem::path& folder, const Study& study, FigureSet figures,
               int processes, AnalysisSummary& summary) {
  Staging staging(folder);
  const std::vector<TableFile> tables = write_tables(study, staging);
  const ReportData data = report_data(study, ReportLimits{});
  const char* page = "report.html";
  if (study.run.sources.size() > 1) staging.write(kComparisonRecord, record_of(study.run));
  FigureSet none;
  none.omitted = figures.omitted;
  none.problem =
      "The figures are being drawn. If this stays, the analysis was broken off: repeat it.";
  staging.write(page, make_report(study, data, none, tables));
  staging.publish();
  summary.tables = tables.size();
  summary.report = folder / page;
  std::vector<Plot> plots;
  for (const Figure& figure : figures.figures)
    plots.insert(plots.end(), figure.plots.begin(), figure.plots.end());
  const Drawing drawing = draw(plots, staging.make_folder("figures"), processes);
  for (const std::string& file : drawing.files) staging.add("figures/" + file);
  keep_drawn(figures, drawing);
  for (const Figure& figure : figures.figures)
    staging.write(fmt::format("figures/{}.txt", figure.plots[0].stem), caption_text(figure, study));
  staging.write(page, make_report(study, data, figures, tables));
  staging.publish();
  summary.figures = figures.figures.size();
  summary.problem = drawing.problem;
}

// Everything that is written, from results that are open.
AnalysisSummary analyse_into(const std::filesystem::path& folder,
                             const std::vector<const ResultsReader*>& readers,
                             const AnalysisOptions& options) {
  RunData run = load_runs(readers);
  choose_models(options.models, run);
  const Study study = make_study(std::move(run), options.study);
  FigureOptions look = options.figures;
  look.fonts = FontCoverage::installed();
  FigureSet figures = make_figures(study, look);
  AnalysisSummary summary;
  summary.findings = findings_text(study);
  if (const std::string warning = missing_fonts(figures.missing); !warning.empty()) {
    summary.findings += fmt::format("! {}\n", warning);
    figures.omitted.push_back(warning);
  }
  try {
    write_all(folder, study, std::move(figures), process_count(options.processes), summary);
  } catch (const RunError& error) {
    summary.problem = error.what();
  }
  return summary;
}

}  // namespace

AnalysisSummary analyse(const std::filesystem::path& run_directory,
                        const AnalysisOptions& options) {
  const ResultsReader reader(run_directory / kResultsFileName);
  check_run_folder(run_directory, AnalysisFiles(system_files(), run_directory));
  return analyse_into(run_directory, {&reader}, options);
}

AnalysisSummary compare(const std::vector<std::filesystem::path>& run_directories,
                        const std::filesystem::path& folder, const AnalysisOptions& options) {
  if (run_directories.size() < 2)
    throw InputError("factflow compare",
                     fmt::format("{} run given, expected at least two", run_directories.size()),
                     "name the directories of the runs");
  check_place(folder);
  std::vector<std::filesystem::path> files;
  std::vector<ResultsReader> readers;
  std::set<std::string> digests;
  for (const std::filesystem::path& directory : run_directories) {
    files.push_back(directory / kResultsFileName);
    readers.emplace_back(files.back());
    if (!digests.insert(readers.back().digest()).second)
      throw InputError(files.back().string(), "holds the same results as a run named before it",
                       "name each run once");
  }
  check_comparable(files, readers);
  std::vector<const ResultsReader*> pointers;
  for (const ResultsReader& reader : readers) pointers.push_back(&reader);
  make_output_directory(system_files(), folder);
  return analyse_into(folder, pointers, options);
}

}  // namespace factflow
