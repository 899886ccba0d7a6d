// What the figures of curves share: lines out of curves, and the last steps of a figure.
#pragma once

#include <cstdint>
#include <string>

#include "analysis/curves.hpp"
#include "analysis/figures.hpp"
#include "analysis/line_plot.hpp"

namespace factflow {

enum class Quantity { kChange, kAccuracy };

// Relative changes in percent, usually within low .. high; a probability cannot fall by more than
// itself.
ValueAxis change_axis(double low, double high);
ValueAxis accuracy_axis();

Line make_line(std::string label, LineStyle style, const Curve& curve,
               Quantity quantity = Quantity::kChange);

// "9 layers"
std::string layers_in_words(std::int64_t window);

// Adds the figure to the set, in files called after `stem`, unless there is nothing to draw. Lines
// and panels without points are left out, and so are bands that would hide each other; panels
// beyond a limit are, which the set says. `placement`: of the curves' windows.
void add_curves(const std::string& stem, const std::string& caption, LinePlot figure,
                const std::string& placement, Stems& stems, FigureSet& set);

}  // namespace factflow
