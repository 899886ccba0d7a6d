#include "analysis/curve_figures.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "base/text.hpp"

namespace factflow {
namespace {

constexpr std::size_t kMostPanels = 20;
constexpr std::size_t kMostBands = 5;  // more bands than this hide each other

std::vector<LinePoint> points_of(const Curve& curve, Quantity quantity) {
  std::vector<LinePoint> points;
  for (const CurvePoint& p : curve.points) {
    const Interval band = quantity == Quantity::kChange ? p.change_interval : p.accuracy_interval;
    points.push_back(
        {p.depth, quantity == Quantity::kChange ? p.change : p.accuracy, band.low, band.high, p.n});
  }
  return points;
}

bool has_points(const Line& line) {
  return std::any_of(line.points.begin(), line.points.end(),
                     [](const LinePoint& p) { return std::isfinite(p.y); });
}

// Where all panels are of as many prompts the header says how many, else each panel's title.
void name_counts(LinePlot& figure) {
  const std::string first = count_of(figure.panels[0].lines);
  const bool same = std::all_of(figure.panels.begin(), figure.panels.end(),
                                [&](const Panel& panel) { return count_of(panel.lines) == first; });
  if (same) figure.header += ", " + first;
  for (Panel& panel : figure.panels)
    if (!same) panel.title.push_back(count_of(panel.lines));
}

std::string bands_in_words(const LinePlot& figure) {
  const bool accuracy = std::any_of(figure.panels.begin(), figure.panels.end(), [](const Panel& p) {
    return p.axis.label == accuracy_axis().label;
  });
  const bool whiskers = std::any_of(figure.panels.begin(), figure.panels.end(), [](const Panel& p) {
    return std::any_of(p.lines.begin(), p.lines.end(),
                       [](const Line& line) { return line.shape != Shape::kLine; });
  });
  return fmt::format("; {} are 95 % intervals (t{}), prompts of one fact as one cluster{}",
                     whiskers ? "whiskers" : "bands", accuracy ? ", of accuracy Wilson's" : "",
                     cuts_bands(figure) ? ", cut at the frame where they are wider" : "");
}

}  // namespace

ValueAxis change_axis(double low, double high) {
  return {"Relative change of p (%)", low, high, 0, -100};
}

ValueAxis accuracy_axis() {
  return {"Accuracy (%)", 60, 100, 100, 0, 100};
}

Line make_line(std::string label, LineStyle style, const Curve& curve, Quantity quantity) {
  return {std::move(label), std::move(style), curve.layers, true, points_of(curve, quantity)};
}

std::string layers_in_words(std::int64_t window) {
  return counted(static_cast<std::size_t>(window), "layer");
}

void add_curves(const std::string& stem, const std::string& caption, LinePlot figure,
                const std::string& placement, Stems& stems, FigureSet& set) {
  for (Panel& panel : figure.panels)
    std::erase_if(panel.lines, [](const Line& line) { return !has_points(line); });
  std::erase_if(figure.panels, [](const Panel& panel) { return panel.lines.empty(); });
  if (figure.panels.empty()) return;
  if (figure.panels.size() > kMostPanels) {
    set.omitted.push_back(fmt::format("{}: {} of {} are drawn.", stem, kMostPanels,
                                      counted(figure.panels.size(), "panel")));
    figure.panels.resize(kMostPanels);
  }
  bool bands = false;
  for (Panel& panel : figure.panels)
    for (Line& line : panel.lines) {
      line.band = line.band && panel.lines.size() <= kMostBands;
      bands = bands || line.band;
    }
  figure.stem = stems.unique(stem);
  figure.x_label = fmt::format("Relative depth ({} layer / layers)",
                               placement == "centred" ? "centre" : "first");
  name_counts(figure);
  set.figures.push_back({caption + (bands ? bands_in_words(figure) : "") + ".", render(figure)});
}

}  // namespace factflow
