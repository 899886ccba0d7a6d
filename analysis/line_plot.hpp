// Panels of lines with bands over one x axis, and one legend below that covers no data.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "analysis/gnuplot.hpp"
#include "analysis/palette.hpp"

namespace factflow {

struct LinePoint {
  double x = 0, y = 0, low = 0, high = 0;
};

struct Line {
  std::string label;  // lines of one label share a legend entry
  LineStyle style;
  bool band = true;               // low .. high behind the line
  std::vector<LinePoint> points;  // points whose y is NaN are left out
};

// What a panel's values are. Panels whose axis has one label share one range.
struct ValueAxis {
  std::string label;
  double low = 0, high = 0;  // the range if all means lie in it; else it follows the data
  double base = 0;           // always within the range, with a line: no change, all right
};

struct Panel {
  std::string title;
  ValueAxis axis;
  std::vector<Line> lines;
};

struct LinePlot {
  std::string stem;
  std::string x_label;        // x runs from 0 to 100
  std::size_t columns = 2;    // of panels, at full width
  std::vector<Panel> panels;  // at least one
};

// The figure at the two widths of a paper: STEM over both columns (6.3 inches; SVG, PDF, PNG), and
// STEM_column in one (3.03 inches; PDF).
std::vector<Plot> render(const LinePlot& figure);

}  // namespace factflow
