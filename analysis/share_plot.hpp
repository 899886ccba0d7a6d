// A square of two shares in percent of one whole, with the regions that the verdicts about hybrids
// are: a panel per edge, a point per model with its intervals both ways.
#pragma once

#include <string>
#include <vector>

#include "analysis/fact_resamples.hpp"
#include "analysis/gnuplot.hpp"

namespace factflow {

struct SharePoint {
  std::string label;
  Resampled x, y;  // percent: attention alone, the state alone
};

struct SharePanel {
  std::string title;
  std::vector<SharePoint> points;
};

struct SharePlot {
  std::string stem;
  std::string header;
  std::vector<SharePanel> panels;
};

// The figure at the two widths of a paper, as render(LinePlot) has them.
std::vector<Plot> render(const SharePlot& figure);
// The panels as pictures in the report.
std::string panels_html(const SharePlot& figure);

}  // namespace factflow
