#include "analysis/line_plot.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include <fmt/format.h>

namespace factflow {
namespace {

// Inches.
constexpr double kFullWidth = 6.3, kColumnWidth = 3.03;
constexpr double kPanelHeight = 1.5;
constexpr double kNarrow = 1.1;  // panels with room for few tics
constexpr double kLeft = 0.62, kRight = 0.14, kTop = 0.30, kBottom = 0.50, kRowGap = 0.56;
constexpr double kSharedGap = 0.52, kLabelledGap = 0.72;
constexpr double kLegendRow = 0.17, kLegendPadding = 0.05, kLegendMark = 0.28, kLetter = 0.056;
constexpr double kNameOffset = 0.15;  // of the x axis' name above the legend
constexpr double kNameLeft = 0.13;    // of the y axis' name

struct Range {
  double low = 0, high = 0;
};

Range round_outwards(const Range& range, double span) {
  const double step = span > 40  ? 10
                      : span > 8 ? 2
                      : span > 2 ? 0.5
                                 : std::pow(10, std::floor(std::log10(span)));
  return {std::floor(range.low / step - 0.2) * step, std::ceil(range.high / step + 0.2) * step};
}

// The usual range if it holds all means; else that of the means and of the bands as far as they are
// not absurdly wide.
Range range_of(const LinePlot& figure, const ValueAxis& axis) {
  Range means{axis.base, axis.base}, bands = means;
  for (const Panel& panel : figure.panels)
    for (const Line& line : panel.lines)
      for (const LinePoint& point : line.points) {
        if (panel.axis.label != axis.label || !std::isfinite(point.y)) continue;
        means = {std::min(means.low, point.y), std::max(means.high, point.y)};
        if (!line.band || !std::isfinite(point.low) || !std::isfinite(point.high)) continue;
        bands = {std::min(bands.low, point.low), std::max(bands.high, point.high)};
      }
  if (means.low >= axis.low && means.high <= axis.high) return {axis.low, axis.high};
  const double span = std::max(means.high - means.low, 1e-6);
  return round_outwards({std::max(std::min(means.low, bands.low), means.low - 0.5 * span),
                         std::min(std::max(means.high, bands.high), means.high + 0.5 * span)},
                        span);
}

struct LegendEntry {
  std::string label;
  LineStyle style;
};

std::vector<LegendEntry> legend_of(const LinePlot& figure) {
  std::vector<LegendEntry> entries;
  for (const Panel& panel : figure.panels)
    for (const Line& line : panel.lines)
      if (std::none_of(entries.begin(), entries.end(),
                       [&](const LegendEntry& e) { return e.label == line.label; }))
        entries.push_back({line.label, line.style});
  return entries;
}

std::size_t letters(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

struct Layout {
  double width = 0, height = 0, legend_height = 0, panel_width = 0, gap = 0;
  std::size_t columns = 1, rows = 1, legend_columns = 1;
  bool own_labels = false;  // at each panel, since they differ
};

Layout lay_out(const LinePlot& figure, const std::vector<LegendEntry>& legend, double width,
               std::size_t columns) {
  Layout layout;
  layout.columns = std::min(columns, figure.panels.size());
  layout.width = width;
  layout.rows = (figure.panels.size() + layout.columns - 1) / layout.columns;
  layout.own_labels = std::any_of(figure.panels.begin(), figure.panels.end(), [&](const Panel& p) {
    return p.axis.label != figure.panels[0].axis.label;
  });
  layout.gap = layout.own_labels ? kLabelledGap : kSharedGap;
  const auto across = static_cast<double>(layout.columns), rows = static_cast<double>(layout.rows);
  layout.panel_width = (layout.width - kLeft - kRight - layout.gap * (across - 1)) / across;
  std::size_t longest = 1;
  for (const LegendEntry& entry : legend) longest = std::max(longest, letters(entry.label));
  const double entry_width = kLegendMark + 0.22 + kLetter * static_cast<double>(longest);
  layout.legend_columns = std::max<std::size_t>(
      1, static_cast<std::size_t>((layout.width - kLeft - kRight) / entry_width));
  layout.legend_columns = std::min(layout.legend_columns, std::max<std::size_t>(legend.size(), 1));
  const std::size_t legend_rows =
      (legend.size() + layout.legend_columns - 1) / layout.legend_columns;
  layout.legend_height =
      legend.size() < 2 ? 0 : kLegendPadding + kLegendRow * static_cast<double>(legend_rows);
  layout.height =
      kTop + kPanelHeight * rows + kRowGap * (rows - 1) + kBottom + layout.legend_height;
  return layout;
}

// Labels and short lines at fixed places of the canvas; they belong to the first panel's plot
// command.
std::string legend_script(const std::vector<LegendEntry>& legend, const Layout& layout) {
  std::string script;
  if (layout.legend_height == 0) return script;
  const double step = (layout.width - kLeft - kRight) / static_cast<double>(layout.legend_columns);
  for (std::size_t i = 0; i < legend.size(); ++i) {
    const double x = kLeft + step * static_cast<double>(i % layout.legend_columns);
    const double y =
        layout.legend_height - kLegendRow * (0.5 + static_cast<double>(i / layout.legend_columns));
    // The svg terminal forgets a change of dashes unless colour or width changes with it.
    script += fmt::format(
        "set arrow from screen {:.4f},{:.4f} to screen {:.4f},{:.4f} nohead lc rgb '{}' lw {} dt "
        "{}\n",
        x / layout.width, y / layout.height, (x + kLegendMark) / layout.width, y / layout.height,
        legend[i].style.color, legend[i].style.dash == 1 ? 1.8 : 1.7, legend[i].style.dash);
    script += fmt::format("set label {} at screen {:.4f},{:.4f} left noenhanced\n",
                          gnuplot_quote(legend[i].label), (x + kLegendMark + 0.06) / layout.width,
                          y / layout.height);
  }
  return script;
}

std::string name_of_y(const std::string& name, double x, double y, const Layout& layout) {
  return fmt::format("set label {} at screen {:.4f},{:.4f} center rotate by 90 noenhanced\n",
                     gnuplot_quote(name), x / layout.width, y / layout.height);
}

// The names of the axes, once for all panels.
std::string axis_names(const LinePlot& figure, const Layout& layout) {
  const double bottom = layout.legend_height + kBottom,
               middle = 0.5 * (bottom + layout.height - kTop);
  std::string script = fmt::format("set label {} at screen {:.4f},{:.4f} center noenhanced\n",
                                   gnuplot_quote(figure.x_label),
                                   0.5 * (kLeft + layout.width - kRight) / layout.width,
                                   (layout.legend_height + kNameOffset) / layout.height);
  if (!layout.own_labels)
    script += fmt::format("set label {} at screen {:.4f},{:.4f} center rotate by 90 noenhanced\n",
                          gnuplot_quote(figure.panels[0].axis.label), 0.13 / layout.width,
                          middle / layout.height);
  return script;
}

std::string data_block(const std::string& name, const Line& line) {
  std::string block = fmt::format("${} << EOD\n", name);
  for (const LinePoint& point : line.points)
    if (std::isfinite(point.y))
      fmt::format_to(std::back_inserter(block), "{:.6g} {:.6g} {:.6g} {:.6g}\n", point.x, point.y,
                     std::isfinite(point.low) ? point.low : point.y,
                     std::isfinite(point.high) ? point.high : point.y);
  return block + "EOD\n";
}

bool has_points(const Line& line) {
  return std::any_of(line.points.begin(), line.points.end(),
                     [](const LinePoint& p) { return std::isfinite(p.y); });
}

// Bands first, so that no band hides a line.
std::string plot_command(const Panel& panel, std::size_t index) {
  std::vector<std::string> parts;
  for (std::size_t i = 0; i < panel.lines.size(); ++i)
    if (panel.lines[i].band && has_points(panel.lines[i]))
      parts.push_back(fmt::format(
          "$p{}_{} using 1:3:4 with filledcurves fc rgb '{}' fs transparent solid 0.15 noborder",
          index, i, panel.lines[i].style.color));
  for (std::size_t i = 0; i < panel.lines.size(); ++i) {
    const Line& line = panel.lines[i];
    if (!has_points(line)) continue;
    // A short line needs its points to be seen as what it is.
    const std::string points = line.points.size() <= 12 ? "linespoints pt 7 ps 0.35" : "lines";
    parts.push_back(fmt::format("$p{}_{} using 1:2 with {} lc rgb '{}' lw 1.6 dt {}", index, i,
                                points, line.style.color, line.style.dash));
  }
  if (parts.empty()) parts.push_back("NaN");
  return fmt::format("plot {}\n", fmt::join(parts, ", \\\n  "));
}

std::string panel_script(const LinePlot& figure, const Layout& layout, std::size_t index,
                         const Range& range) {
  const Panel& panel = figure.panels[index];
  const std::size_t column = index % layout.columns, row = index / layout.columns;
  const double left = kLeft + static_cast<double>(column) * (layout.panel_width + layout.gap);
  const double top = layout.height - kTop - static_cast<double>(row) * (kPanelHeight + kRowGap);
  std::string script = fmt::format(
      "set lmargin at screen {:.4f}\nset rmargin at screen {:.4f}\nset tmargin at screen "
      "{:.4f}\nset bmargin "
      "at screen {:.4f}\n",
      left / layout.width, (left + layout.panel_width) / layout.width, top / layout.height,
      (top - kPanelHeight) / layout.height);
  const bool wide = static_cast<double>(letters(panel.title)) * kLetter > layout.panel_width;
  script += fmt::format("set title {} noenhanced offset 0,-0.6{}\nset xtics 0,{},100\n",
                        gnuplot_quote(panel.title), wide ? " font ',7'" : "",
                        layout.panel_width < kNarrow ? 50 : 20);
  script += fmt::format(
      "set yrange [{:.6g}:{:.6g}]\nset arrow from 0,{} to 100,{} nohead lc rgb '#888888' lw 0.8\n",
      range.low, range.high, panel.axis.base, panel.axis.base);
  if (layout.own_labels)
    script +=
        name_of_y(panel.axis.label, left - kLeft + kNameLeft, top - 0.5 * kPanelHeight, layout);
  return script + plot_command(panel, index) + "unset label\nunset arrow\n";
}

constexpr const char* kAxes =
    "set border 3 lc rgb '#444444' lw 0.8\n"
    "set tics nomirror scale 0.5 textcolor rgb '#222222'\n"
    "set xtics offset 0,0.3\n"
    "set xrange [0:100]\n"
    "set grid ytics lt 1 lc rgb '#E6E6E6' lw 0.6\n"
    "set clip one\n"
    "unset key\n";

Plot render_at(const LinePlot& figure, double width, std::size_t columns) {
  const std::vector<LegendEntry> legend = legend_of(figure);
  const Layout layout = lay_out(figure, legend, width, columns);
  Plot plot;
  plot.stem = figure.stem;
  plot.width = layout.width;
  plot.height = layout.height;
  plot.script = std::string(kAxes) + legend_script(legend, layout) + axis_names(figure, layout) +
                "set multiplot\n";
  for (std::size_t i = 0; i < figure.panels.size(); ++i) {
    const Panel& panel = figure.panels[i];
    for (std::size_t line = 0; line < panel.lines.size(); ++line)
      plot.data += data_block(fmt::format("p{}_{}", i, line), panel.lines[line]);
    plot.script += panel_script(figure, layout, i, range_of(figure, panel.axis));
  }
  return plot;
}

}  // namespace

std::vector<Plot> render(const LinePlot& figure) {
  Plot full = render_at(figure, kFullWidth, figure.columns);
  // Few panels stand below each other, many in pairs.
  Plot column = render_at(figure, kColumnWidth, figure.panels.size() <= 4 ? 1 : 2);
  column.stem += "_column";
  column.formats = {"pdf"};
  return {std::move(full), std::move(column)};
}

}  // namespace factflow
