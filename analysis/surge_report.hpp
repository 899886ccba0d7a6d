// How the last token's surge is shown: figures, the report, and in words.
#pragma once

#include <string>
#include <vector>

#include "analysis/bar_plot.hpp"
#include "analysis/line_plot.hpp"
#include "analysis/study.hpp"

namespace factflow {

// Of what the change consists: a group of bars for each part, a colour for each model.
BarPlot surge_parts_plot(const std::vector<Surge>& surges);
std::string surge_parts_caption();
// What the final norm and head read off the last token's stream at each depth, with and without
// the knockout; and what each layer's blocks write more to the answer's logit.
LinePlot surge_plot(const Surge& surge);
std::string surge_caption(const Surge& surge);

// Section of the report; "" without such results.
std::string surges_html(const Study& study);
// Rows of a table for the terminal, the first one its header. Empty without such results.
std::vector<std::vector<std::string>> surge_rows(const Study& study);

}  // namespace factflow
