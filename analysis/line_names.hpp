// Direct labels: where the name of a line finds room beside it, inside of its panel.
#pragma once

#include <string>
#include <vector>

#include "analysis/line_plot.hpp"

namespace factflow {

// The area inside of a panel's axes, inches, and what its ends are.
struct PanelBox {
  double width = 0, height = 0;
  double deepest = 1;  // right end of the x axis
  double low = 0, high = 1;
  double base = 0;  // where a line crosses the panel from end to end, if it is within it
};

struct PlacedName {
  std::string text;
  double x = 0, y = 0;  // its middle, inches from the lower left corner of the box
};

// The names of those lines beside which a name of small letters (kSmallFont) covers no line, no
// other name, not the base and not the frame, and is nearer to its own line than to any other.
// Lines that are crowded have none: the legend names all. Bars and dots have none.
std::vector<PlacedName> place_names(const std::vector<Line>& lines, const PanelBox& box);

}  // namespace factflow
