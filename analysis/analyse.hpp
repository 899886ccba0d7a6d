// The analysis of a run, or of several together: results.h5 in, tables, figures and a report out.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "analysis/figures.hpp"
#include "analysis/model_choice.hpp"
#include "analysis/study.hpp"

namespace factflow {

struct AnalysisOptions {
  StudyOptions study;
  FigureOptions figures;
  ModelChoice models;
  int processes = 0;  // gnuplot processes at a time; 0 = one per core, at most 4
};

struct AnalysisSummary {
  std::string findings;          // to print: table, sentences, claims, gaps
  std::filesystem::path report;  // "" if it could not be written
  std::size_t tables = 0;
  std::size_t figures = 0;  // each in the formats that were asked for
  std::string problem;      // why something is missing of what should be there; "" if nothing is
};

// Reads DIR/results.h5 and writes DIR/tables/*.csv, DIR/figures/*.{svg,pdf,png,txt} (the last:
// captions) and DIR/report.html, replacing files of the same names, each when its successor is
// complete. Results of an unfinished run are analysed as far as they go. The outcome depends on the
// file and the options only. Throws InputError for missing or damaged results and for a directory
// of no run in which somebody else's files have these names; where gnuplot or the disk fails there
// is as much as can be, and the summary says what went wrong. DIR/analysis.files lists what
// analyses have written.
AnalysisSummary analyse(const std::filesystem::path& run_directory,
                        const AnalysisOptions& options = {});

// The same over several runs, written into `folder`, which is made, or empty, or of an earlier
// comparison: models are called RUN/MODEL,
// and equal prompts are one, so that models of different runs are compared on the prompts that they
// share. InputError also for a folder that holds other files than those of an earlier comparison,
// for fewer than two runs, a run given twice, or runs whose numbers mean
// different things (comparable.hpp).
AnalysisSummary compare(const std::vector<std::filesystem::path>& run_directories,
                        const std::filesystem::path& folder, const AnalysisOptions& options = {});

}  // namespace factflow
