// The report: one HTML file that needs no network and no other file.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "analysis/figures.hpp"
#include "analysis/study.hpp"
#include "analysis/tables.hpp"

namespace factflow {

// `figures` are already drawn in `figure_folder`; links to tables and pictures are relative to the report's
// directory, which holds tables/ and figures/. Throws InputError if a picture cannot be read.
std::string make_report(const Study& study, const FigureSet& figures,
                        const std::filesystem::path& figure_folder, const std::vector<TableFile>& tables);

}  // namespace factflow
