// How paths are shown: figures, the report, and in words.
#pragma once

#include <string>
#include <vector>

#include "analysis/bar_plot.hpp"
#include "analysis/study.hpp"

namespace factflow {

// Groups of bars: the tokens whose way to the last one is cut or that are written; one colour for
// each path.
BarPlot paths_plot(const ModelPaths& paths);
std::string paths_caption(const ModelPaths& paths);

// Section of the report; "" without paths.
std::string paths_html(const Study& study);
// A table for the terminal, its header first: what a knockout of the scan alone misses.
std::vector<std::vector<std::string>> missed_rows(const Study& study);

}  // namespace factflow
