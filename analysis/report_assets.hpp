// The parts of the report's page that do not depend on the run; analysis/web/CMakeLists.txt
// compiles them in.
#pragma once

#include <string_view>

namespace factflow {

extern const std::string_view kReportStyle;    // analysis/web/report.css
extern const std::string_view kExportProgram;  // analysis/web/export.js, of every page
extern const std::string_view kReportProgram;  // the others of analysis/web/*.js
extern const std::string_view kChartLibrary;   // Apache ECharts
extern const std::string_view kChartLicences;  // its licence, notice and those of what it includes

}  // namespace factflow
