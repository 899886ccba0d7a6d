#include "analysis/part_plots.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "analysis/parts_report.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

constexpr const char* kChange = "Change of p (%)";
// Of slow, middle and fast slices as channel sets have them, and of controls.
constexpr const char* kSlow = "#D55E00";
constexpr const char* kMiddle = "#009E73";
constexpr const char* kFast = "#0072B2";
constexpr const char* kControl = "#777777";

bool over_all_starts(const DividedEdge& edge) {
  return edge.window == 1 && edge.division == "each head";
}

std::string title_of(const std::string& edge, std::int64_t window) {
  return fmt::format("{}, window of {}", name_of_row(edge).display(), window);
}

LineStyle style_of(const std::string& division) {
  if (division.starts_with("each quantile ")) return {kSlow, 1};
  if (division.starts_with("each random ")) return {kControl, 2};
  return {kFast, 4};
}

std::string words_for(const std::string& division) {
  if (division.starts_with("each quantile ")) return "slices by decay, slowest first";
  if (division.starts_with("each random ")) return "random slices";
  return "groups of neighbours";
}

// The panel of an edge and window, which is made if there is none.
Panel& panel_of(LinePlot& plot, const std::string& title) {
  for (Panel& panel : plot.panels)
    if (panel.title.front() == title) return panel;
  return plot.panels.emplace_back(Panel{{title}, {kChange, -100, 10, 0, -100}, {}});
}

LinePoint point_of(double x, const Resampled& of, std::size_t n) {
  return {x, of.value, of.interval.low, of.interval.high, n};
}

Line line_of_slices(const DividedEdge& edge) {
  Line line{words_for(edge.division),
            style_of(edge.division),
            static_cast<std::int64_t>(edge.parts.size()),
            true,
            {}};
  const auto count = static_cast<double>(edge.parts.size());
  for (std::size_t k = 0; k < edge.parts.size(); ++k)
    line.points.push_back(
        point_of(static_cast<double>(k + 1) / count, edge.at_strongest().parts[k], edge.n));
  return line;
}

// The mean of parts [from, to) at each start, without a band.
Line line_of_depth(const DividedEdge& edge, std::int64_t layers, std::size_t from, std::size_t to,
                   const std::string& label, const LineStyle& style) {
  Line line{label, style, layers, false, {}};
  for (const PartsAtStart& at : edge.starts) {
    double sum = 0;
    for (std::size_t part = from; part < to; ++part) sum += at.parts[part].value;
    const double mean = sum / static_cast<double>(to - from);
    line.points.push_back({at.depth, mean, mean, mean, edge.n});
  }
  return line;
}

Line line_of_order(const CumulatedCurve& curve, const CumulatedCurve::Order& order) {
  const auto count = static_cast<double>(order.parts.size());
  Line line{order.name + " order",
            order.name == "greedy" ? LineStyle{kSlow, 1} : LineStyle{kControl, 2},
            static_cast<std::int64_t>(order.parts.size()),
            true,
            {{0, 0, 0, 0, curve.n}}};
  for (std::size_t step = 0; step < order.change.size(); ++step)
    line.points.push_back(
        point_of(static_cast<double>(step + 1) / count, order.change[step], curve.n));
  return line;
}

std::string bar_name(const DividedEdge& edge, const PartCell& cell) {
  const std::string& part = edge.parts[cell.part];
  const std::string number = part.substr(part.find(' ') + 1);
  if (over_all_starts(edge)) return fmt::format("{}.{}", edge.starts[cell.start].start, number);
  return number.substr(0, number.find('/'));
}

}  // namespace

std::vector<PartCell> largest_drops(const DividedEdge& edge) {
  std::vector<PartCell> cells;
  for (std::size_t start = 0; start < edge.starts.size(); ++start)
    if (over_all_starts(edge) || start == edge.strongest)
      for (std::size_t part = 0; part < edge.parts.size(); ++part) cells.push_back({part, start});
  std::stable_sort(cells.begin(), cells.end(), [&](const PartCell& a, const PartCell& b) {
    return edge.starts[a.start].parts[a.part].value < edge.starts[b.start].parts[b.part].value;
  });
  if (cells.size() > kMostBars) cells.resize(kMostBars);
  return cells;
}

LinePlot part_slices_plot(const ModelParts& parts) {
  LinePlot plot;
  plot.stem = "parts_slices_" + parts.model;
  plot.header = parts.model + ", slices of the channels alone";
  plot.x_label = "Place in the order of the slices (1 = the last)";
  plot.own_legends = true;
  for (const DividedEdge& edge : parts.edges)
    if (edge.division != "each head")
      panel_of(plot, title_of(edge.edge, edge.window)).lines.push_back(line_of_slices(edge));
  return plot;
}

LinePlot part_depth_plot(const ModelParts& parts) {
  LinePlot plot;
  plot.stem = "parts_depth_" + parts.model;
  plot.header = parts.model + ", slices of the channels by depth";
  plot.x_label = "Relative depth (start of the window / layers)";
  for (const DividedEdge& edge : parts.edges) {
    const std::size_t count = edge.parts.size(), third = count / 3;
    if (third == 0 || edge.division == "each head") continue;
    const std::string title = title_of(edge.edge, edge.window);
    const auto add = [&](std::size_t from, std::size_t to, const char* label,
                         const LineStyle& style) {
      panel_of(plot, title)
          .lines.push_back(line_of_depth(edge, parts.layers, from, to, label, style));
    };
    if (edge.by_decay()) {
      add(0, third, "a slice of the slowest third", {kSlow, 1});
      add(third, count - third, "of the middle", {kMiddle, 3});
      add(count - third, count, "of the fastest third", {kFast, 4});
    } else if (edge.division.starts_with("each random ")) {
      add(0, count, "a random slice", {kControl, 2});
    }
  }
  return plot;
}

LinePlot part_cumulated_plot(const ModelParts& parts) {
  LinePlot plot;
  plot.stem = "parts_together_" + parts.model;
  plot.header = parts.model + ", parts knocked out together";
  plot.x_label = "Share of the parts that lose the edge";
  plot.own_legends = true;
  for (const CumulatedCurve& curve : parts.cumulated) {
    if (curve.n == 0) continue;
    Panel panel{
        {title_of(curve.edge, curve.window), curve.division}, {kChange, -100, 10, 0, -100}, {}};
    for (const CumulatedCurve::Order& order : curve.orders)
      panel.lines.push_back(line_of_order(curve, order));
    plot.panels.push_back(std::move(panel));
  }
  return plot;
}

BarPlot part_bars_plot(const ModelParts& parts, const DividedEdge& edge) {
  BarPlot plot;
  plot.stem = fmt::format("parts_bars_{}_{}", parts.model, edge.division.substr(5));
  plot.header = fmt::format("{}, {}, {}", parts.model, title_of(edge.edge, edge.window),
                            over_all_starts(edge) ? "layer.head" : edge.division);
  plot.y_label = kChange;
  BarSeries bars{fmt::format("n = {}", edge.n), kSlow, {}};
  plot.low = plot.high = 0;
  for (const PartCell& cell : largest_drops(edge)) {
    const Resampled& of = edge.starts[cell.start].parts[cell.part];
    plot.groups.push_back(bar_name(edge, cell));
    bars.bars.push_back({of.value, of.interval});
    for (const double end : {of.value, of.interval.low, of.interval.high})
      if (std::isfinite(end)) {
        plot.low = std::min(plot.low, 1.05 * end);
        plot.high = std::max(plot.high, 1.05 * end);
      }
  }
  if (plot.low == plot.high) plot.low = -1;
  plot.series.push_back(std::move(bars));
  return plot;
}

std::string part_slices_caption(const ModelParts& parts) {
  return fmt::format(
      "{}: mean relative change of the answer's probability with the edge cut on one slice of the "
      "channels (of Mamba-2: of the heads) alone, at the start where cutting all of it lowers the "
      "mean most. Slices by decay have the slowest first; random slices are as large, their order "
      "says nothing. Bands: 95 % bootstrap over facts.",
      parts.model);
}

std::string part_depth_caption(const ModelParts& parts) {
  return fmt::format(
      "{}: the same by the window's start: mean over the slices of the slowest, middle and fastest "
      "third of the decay ranking, and over the random ones.",
      parts.model);
}

std::string part_cumulated_caption(const ModelParts& parts) {
  return fmt::format(
      "{}: mean relative change with more and more parts cut together. greedy order: the part "
      "with the largest effect alone first, as ordering prompts have it; random order: drawn. "
      "Bands: 95 % bootstrap over facts.",
      parts.model);
}

std::string part_bars_caption(const ModelParts& parts, const DividedEdge& edge) {
  return fmt::format(
      "{}: {} cut on one part alone ({}), {}; the {} largest drops, of which the first are picked "
      "for being large. Whiskers: 95 % bootstrap over facts, without a correction for that.",
      parts.model, name_of_row(edge.edge).display(), edge.division,
      over_all_starts(edge) ? "over all layers, as layer.head"
                            : fmt::format("in the window of {} from layer {}",
                                          counted(static_cast<std::uint64_t>(edge.window), "layer"),
                                          edge.at_strongest().start),
      largest_drops(edge).size());
}

}  // namespace factflow
