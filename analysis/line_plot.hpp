// Panels of lines with bands over the relative depth, and one legend below, or one above each
// panel, that covers no data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "analysis/gnuplot.hpp"
#include "analysis/palette.hpp"

namespace factflow {

struct LinePoint {
  double x = 0;  // relative depth
  double y = 0, low = 0, high = 0;
  std::size_t n = 0;  // prompts
};

// How the points of a line are drawn. Bars begin at 0; bars and dots have whiskers where lines have
// bands.
enum class Shape { kLine, kBars, kDots };

struct Line {
  std::string label;  // lines of one label share a legend entry
  LineStyle style;
  std::int64_t layers = 0;        // of its model
  bool band = true;               // low .. high behind the line
  std::vector<LinePoint> points;  // points whose y is NaN are left out
  Shape shape = Shape::kLine;
  // Of bars and dots, in layers: where their middle stands within a layer, and how wide a bar is.
  double shift = 0, width = 0;
};

// A strip under the x axis that is coloured below some layers of the model.
struct LayerStrip {
  std::string color;
  std::vector<bool> layers = {};  // [layer]
};

// What a panel's values are. Panels whose axis has one label share one range.
struct ValueAxis {
  std::string label;
  double low = 0, high = 0;  // the range if all lines and bands lie in it; else it follows the data
  double base = 0;           // always within the range, with a line: no change, all right
  // What values can be: the range never goes beyond.
  double least = -std::numeric_limits<double>::infinity();
  double most = std::numeric_limits<double>::infinity();
};

struct Range {
  double low = 0, high = 0;
};

struct Panel {
  std::vector<std::string> title;  // lines
  ValueAxis axis;
  std::vector<Line> lines;
  std::vector<LayerStrip> strips = {};  // with some, the x axis has the whole depth, 0 to 1
  std::optional<Range> range = {};      // of the y axis; none = as range_of() has it
};

struct LinePlot {
  std::string stem;
  std::string header;       // what all panels have in common, above them
  std::string x_label;      // of the relative depth
  std::size_t columns = 2;  // of panels, at full width
  // Panels whose lines have nothing in common: each has its legend above it, a line each.
  bool own_legends = false;
  std::vector<Panel> panels;  // at least one
  // Of a figure that goes on over several pages: the columns are those of the others, and so is the
  // end of the x axis.
  bool page = false;
  double deepest = 0;  // 0 = deepest_of(panels)
};

// The number of prompts behind lines: "n = 40", or "n = 13 to 40" where it differs between points.
std::string count_of(const std::vector<Line>& lines);
// The layers of the models, if all lines of the panel are of models with as many; else 0.
std::int64_t common_layers(const Panel& panel);

// What the y axis of panels with this axis shows: the usual range if all means lie in it, wider for
// bands that reach no further than half the span of the means beyond them; else what holds both.
Range range_of(const LinePlot& figure, const ValueAxis& axis);
// The end of the x axis of panels: 1 with strips, else that of the lines.
double deepest_of(const std::vector<Panel>& panels);
// Where a point of the line stands on the x axis.
double place_of(const Line& line, const LinePoint& point);
// Whether a band reaches out of its panel, so that the frame cuts it.
bool cuts_bands(const LinePlot& figure);

// The figure at the two widths of a paper: STEM over both columns (6.3 inches; SVG, PDF, PNG), and
// STEM_column in one (3.03 inches; PDF). A panel whose models have
// the same number of layers has a second axis of window starts in layers; where one mixes models of
// several depths, the legend says how many layers each has. Where a name finds room beside its line
// it stands there as well. What is taller than a page goes on in STEM_page2, with the same axes.
std::vector<Plot> render(const LinePlot& figure);

}  // namespace factflow
