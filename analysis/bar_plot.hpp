// Groups of bars with whiskers, one panel, and a legend below.
#pragma once

#include <string>
#include <vector>

#include "analysis/gnuplot.hpp"
#include "analysis/statistics.hpp"

namespace factflow {

struct Bar {
  double value = 0;   // NaN: none
  Interval interval;  // NaN: no whisker
};

// Bars of one colour, one in each group.
struct BarSeries {
  std::string label;
  std::string color;      // "#RRGGBB"
  std::vector<Bar> bars;  // [group]
};

struct BarPlot {
  std::string stem;
  std::string header;  // above the panel
  std::string y_label;
  double low = 0, high = 100;       // of the y axis
  std::vector<std::string> groups;  // names below the panel
  std::vector<BarSeries> series;    // at least one
};

// The figure at the two widths of a paper, as render(LinePlot) has them.
std::vector<Plot> render(const BarPlot& figure);

}  // namespace factflow
