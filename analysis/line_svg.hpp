// The panels of a figure of lines as pictures in the report.
#pragma once

#include <string>

#include "analysis/line_plot.hpp"

namespace factflow {

// A static SVG for each panel, with its legend; the value axis as range_of() has it, layers along
// the other one, numbered `layer_shift` more than lines have them. Every point says its numbers.
std::string panels_html(const LinePlot& figure, std::int64_t layer_shift = 0);

}  // namespace factflow
