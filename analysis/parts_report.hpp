// How parts of edges are shown: figures, the report, and in words.
#pragma once

#include <string>
#include <vector>

#include "analysis/bar_plot.hpp"
#include "analysis/line_plot.hpp"
#include "analysis/study.hpp"

namespace factflow {

// Change against place in the ranking, at the strongest start: a panel for each edge and window, a
// line for each division into slices. No panels where there are none.
LinePlot part_slices_plot(const ModelParts& parts);
// Change against depth: slices of the slowest, middle and fastest third, and random ones.
LinePlot part_depth_plot(const ModelParts& parts);
// Change against the share of the parts that are knocked out together: a panel for each division.
LinePlot part_cumulated_plot(const ModelParts& parts);
// The largest drops of single parts, sorted; of heads in windows of one layer over all layers, else
// at the strongest start.
BarPlot part_bars_plot(const ModelParts& parts, const DividedEdge& edge);

std::string part_slices_caption(const ModelParts& parts);
std::string part_depth_caption(const ModelParts& parts);
std::string part_cumulated_caption(const ModelParts& parts);
std::string part_bars_caption(const ModelParts& parts, const DividedEdge& edge);

// Section of the report; "" without parts.
std::string parts_html(const Study& study);
// Tables for the terminal, each with its header first; empty without such rows.
std::vector<std::vector<std::string>> slice_rows(const Study& study);
std::vector<std::vector<std::string>> needed_rows(const Study& study);
// A sentence for each model with parts: of how many prompts they are.
std::vector<std::string> part_counts(const Study& study);

}  // namespace factflow
