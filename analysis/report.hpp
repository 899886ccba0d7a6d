// The report: one HTML file that needs no network and no other file.
#pragma once

#include <string>
#include <vector>

#include "analysis/figures.hpp"
#include "analysis/report_data.hpp"
#include "analysis/study.hpp"
#include "analysis/tables.hpp"

namespace factflow {

// Links to tables and figures are relative to the report's directory, which holds tables/ and
// figures/. `data`: of the study.
std::string make_report(const Study& study, const ReportData& data, const FigureSet& figures,
                        const std::vector<TableFile>& tables);

}  // namespace factflow
