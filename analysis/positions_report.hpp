// How effects by position and length are shown: figures, the report, and in words.
#pragma once

#include <string>
#include <vector>

#include "analysis/bar_plot.hpp"
#include "analysis/line_plot.hpp"
#include "analysis/study.hpp"

namespace factflow {

// Models with such curves at the window of the findings, in order.
std::vector<std::string> models_with_positions(const Study& study);
// A panel for each edge and place, a line for each length, over the windows.
LinePlot positions_plot(const Study& study, const std::string& model);
std::string positions_caption(const std::string& model);
// The effect at the start of the comparison: a group of bars for each length, a colour for each
// edge and place.
BarPlot position_lengths_plot(const Study& study, const std::string& model);
std::string position_lengths_caption(const std::string& model);

// Section of the report; "" without such results.
std::string positions_html(const Study& study);
// Rows of a table for the terminal, the first one its header. Empty without such results.
std::vector<std::vector<std::string>> position_rows(const Study& study);

}  // namespace factflow
