// How combined knockouts are shown: figures, the report, and in words.
#pragma once

#include <string>
#include <vector>

#include "analysis/line_plot.hpp"
#include "analysis/study.hpp"

namespace factflow {

// A panel for each combination of the model's main set at the window of the findings: each part
// alone, their sum, and together, over the windows. No panels: there is nothing to draw.
LinePlot combined_plot(const Study& study, const std::string& model);
std::string combined_caption(const std::string& model);

// Models with combinations of the window of the findings, in order.
std::vector<std::string> models_with_combined(const Study& study);

// Section of the report; "" without combinations.
std::string combined_html(const Study& study);
// Rows of a table for the terminal, the first one its header. Empty without combinations.
std::vector<std::vector<std::string>> combined_rows(const Study& study);

}  // namespace factflow
