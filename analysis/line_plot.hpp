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

struct Panel {
  std::string title;
  std::string y_label;
  bool percent_of_all = false;  // fixed y range 0 .. 100; else it follows the data and includes 0
  std::vector<Line> lines;
};

struct LinePlot {
  std::string stem;
  std::string x_label;
  std::size_t columns = 2;
  double panel_height = 1.9;  // inches, of the area inside the axes
  bool same_range = true;     // panels that follow the data share one y range
  std::vector<Panel> panels;  // at least one
};

// 7 inches wide: the text width of a paper, and half a slide.
Plot render(const LinePlot& figure);

}  // namespace factflow
