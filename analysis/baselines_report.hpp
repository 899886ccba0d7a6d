// How ablations with several baselines are shown: figures, the report, and in words.
#pragma once

#include <string>
#include <vector>

#include "analysis/line_plot.hpp"
#include "analysis/study.hpp"

namespace factflow {

// Models with several baselines at the window of the findings, in order.
std::vector<std::string> models_with_baselines(const Study& study);
// A panel for each site and tokens, a line for each baseline.
LinePlot baselines_plot(const Study& study, const std::string& model);
std::string baselines_caption(const std::string& model);

// Section of the report; "" without baselines.
std::string baselines_html(const Study& study);
// Rows of a table for the terminal, the first one its header. Empty without baselines.
std::vector<std::vector<std::string>> baseline_rows(const Study& study);

}  // namespace factflow
