#include "analysis/line_plot.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "analysis/axis_tics.hpp"
#include "analysis/line_names.hpp"
#include "analysis/plot_text.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

// Inches.
constexpr double kFullWidth = 6.3, kColumnWidth = 3.03;
constexpr double kPanelHeight = 1.5;
constexpr double kLeft = 0.66, kRight = 0.16, kTop = 0.08, kBottom = 0.50, kRowGap = 0.34;
constexpr double kTitleGap = 0.05;   // between a panel and its title
constexpr double kLayerAxis = 0.15;  // above a panel
constexpr double kSharedGap = 0.52, kLabelledGap = 0.76;
constexpr double kLegendRow = 0.17, kLegendPadding = 0.05, kLegendMark = 0.28, kNameGap = 0.06;
constexpr double kNameOffset = 0.15;                  // of the x axis' name above the legend
constexpr double kNameLeft = 0.13;                    // of the y axis' name
constexpr double kDepthTic = 0.28, kLayerTic = 0.26;  // room for a number
constexpr double kStrip = 0.04, kStripGap = 0.015;    // of layers under the x axis
constexpr std::size_t kMostValueTics = 7;

Range round_outwards(const Range& range, double span) {
  const double step = span > 40  ? 10
                      : span > 8 ? 2
                      : span > 2 ? 0.5
                                 : std::pow(10, std::floor(std::log10(span)));
  return {std::floor(range.low / step - 0.2) * step, std::ceil(range.high / step + 0.2) * step};
}

bool has_band(const Line& line, const LinePoint& point) {
  return line.band && std::isfinite(point.low) && std::isfinite(point.high);
}

// gnuplot's point type of a line's marker; a disc for a line without.
int point_type(const LineStyle& style) {
  constexpr std::array<int, kMarkers> kTypes = {7, 5, 9, 13, 6, 4};
  return kTypes[static_cast<std::size_t>(std::max(style.marker, 1) - 1)];
}

struct LegendEntry {
  std::string label;
  LineStyle style;
  Shape shape = Shape::kLine;
};

// Below all panels.
std::vector<LegendEntry> legend_of(const LinePlot& figure) {
  if (figure.own_legends) return {};
  const bool mixed = std::any_of(figure.panels.begin(), figure.panels.end(),
                                 [](const Panel& panel) { return common_layers(panel) == 0; });
  std::vector<LegendEntry> entries;
  for (const Panel& panel : figure.panels)
    for (const Line& line : panel.lines) {
      const std::string label =
          mixed ? fmt::format("{}, {}", line.label,
                              counted(static_cast<std::size_t>(line.layers), "layer"))
                : line.label;
      if (std::none_of(entries.begin(), entries.end(),
                       [&](const LegendEntry& e) { return e.label == label; }))
        entries.push_back({label, line.style, line.shape});
    }
  return entries;
}

struct LineLayout {
  double width = 0, height = 0, legend_height = 0, panel_width = 0, gap = 0;
  double header_height = 0;
  std::vector<double> title_heights;  // of each row, with the panels' own legends and layer axes
  std::size_t columns = 1, rows = 1, legend_columns = 1;
  std::vector<std::string> header;
  std::vector<LegendEntry> legend;
  bool own_labels = false;  // at each panel, since they differ
  double deepest = 0;       // end of the x axis
  double strips = 0;        // height of those under a panel
};

void lay_out_legend(LineLayout& layout) {
  std::size_t longest = 1;
  for (const LegendEntry& entry : layout.legend)
    longest = std::max(longest, count_letters(entry.label));
  const double room = layout.width - kLeft - kRight, mark = kLegendMark + 0.22;
  const auto fitting = static_cast<std::size_t>((room - mark) / kLetterWidth);
  for (LegendEntry& entry : layout.legend) entry.label = shorten_middle(entry.label, fitting);
  const double entry_width = mark + kLetterWidth * static_cast<double>(std::min(longest, fitting));
  layout.legend_columns = std::clamp<std::size_t>(static_cast<std::size_t>(room / entry_width), 1,
                                                  std::max<std::size_t>(layout.legend.size(), 1));
  const std::size_t rows =
      (layout.legend.size() + layout.legend_columns - 1) / layout.legend_columns;
  layout.legend_height = kLegendPadding + kLegendRow * static_cast<double>(rows);
}

// Where the names of a panel's own legend stand, from its left end on.
constexpr double kOwnName = kLegendMark + kNameGap;

// A name of a panel's own legend, in as many lines as it needs.
std::vector<std::string> own_name(const Line& line, const LineLayout& layout) {
  const double width = layout.panel_width - kOwnName + 0.8 * kRight;
  return wrap(line.label, std::max<std::size_t>(8, static_cast<std::size_t>(width / kLetterWidth)));
}

// Of a panel's title, its own legend and the layer axis.
double height_above(const LinePlot& figure, const Panel& panel, const LineLayout& layout) {
  double height = kLineHeight * static_cast<double>(panel.title.size()) + kTitleGap +
                  (common_layers(panel) > 0 ? kLayerAxis : 0);
  if (!figure.own_legends) return height;
  for (const Line& line : panel.lines)
    height += kLegendRow + kLineHeight * static_cast<double>(own_name(line, layout).size() - 1);
  return height;
}

void lay_out_texts(const LinePlot& figure, LineLayout& layout) {
  layout.header =
      wrap(figure.header, static_cast<std::size_t>((layout.width - 0.1) / kLetterWidth));
  layout.header_height =
      figure.header.empty() ? 0 : kLineHeight * static_cast<double>(layout.header.size()) + 0.06;
  layout.title_heights.assign(layout.rows, kLineHeight + kTitleGap);
  for (std::size_t i = 0; i < figure.panels.size(); ++i) {
    double& height = layout.title_heights[i / layout.columns];
    height = std::max(height, height_above(figure, figure.panels[i], layout));
  }
}

LineLayout lay_out(const LinePlot& figure, double width, std::size_t columns) {
  LineLayout layout;
  layout.columns = figure.page ? columns : std::min(columns, figure.panels.size());
  layout.width = width;
  layout.rows = (figure.panels.size() + layout.columns - 1) / layout.columns;
  layout.own_labels = std::any_of(figure.panels.begin(), figure.panels.end(), [&](const Panel& p) {
    return p.axis.label != figure.panels[0].axis.label;
  });
  layout.gap = layout.own_labels ? kLabelledGap : kSharedGap;
  const auto across = static_cast<double>(layout.columns), rows = static_cast<double>(layout.rows);
  layout.panel_width = (layout.width - kLeft - kRight - layout.gap * (across - 1)) / across;
  layout.deepest = figure.deepest > 0 ? figure.deepest : deepest_of(figure.panels);
  for (const Panel& panel : figure.panels)
    layout.strips =
        std::max(layout.strips, (kStrip + kStripGap) * static_cast<double>(panel.strips.size()));
  layout.legend = legend_of(figure);
  lay_out_legend(layout);
  lay_out_texts(figure, layout);
  layout.height = kTop + layout.header_height + kPanelHeight * rows + kRowGap * (rows - 1) +
                  layout.strips * rows + kBottom + layout.legend_height;
  for (const double height : layout.title_heights) layout.height += height;
  return layout;
}

// A short line that begins at x inches; its name stands kLegendMark + kNameGap to the right.
std::string legend_mark(const LineStyle& style, Shape shape, double x, double y,
                        const LineLayout& layout) {
  if (shape == Shape::kDots)
    return fmt::format("set label '' at screen {:.4f},{:.4f} point pt 7 ps 0.5 lc rgb '{}'\n",
                       (x + 0.5 * kLegendMark) / layout.width, y / layout.height, style.color);
  // The svg terminal forgets a change of dashes unless colour or width changes with it.
  std::string mark = fmt::format(
      "set arrow from screen {:.4f},{:.4f} to screen {:.4f},{:.4f} nohead lc rgb '{}' lw {} dt "
      "{}\n",
      x / layout.width, y / layout.height, (x + kLegendMark) / layout.width, y / layout.height,
      style.color,
      shape == Shape::kBars ? 6.0
      : style.dash == 1     ? 1.8
                            : 1.7,
      style.dash);
  if (style.marker > 0)
    mark += fmt::format("set label '' at screen {:.4f},{:.4f} point pt {} ps 0.5 lc rgb '{}'\n",
                        (x + 0.5 * kLegendMark) / layout.width, y / layout.height,
                        point_type(style), style.color);
  return mark;
}

// Labels and short lines at fixed places of the canvas; they belong to the first panel's plot
// command.
std::string legend_script(const LineLayout& layout) {
  std::string script;
  const double step = (layout.width - kLeft - kRight) / static_cast<double>(layout.legend_columns);
  for (std::size_t i = 0; i < layout.legend.size(); ++i) {
    const double x = kLeft + step * static_cast<double>(i % layout.legend_columns);
    const double y =
        layout.legend_height - kLegendRow * (0.5 + static_cast<double>(i / layout.legend_columns));
    script += legend_mark(layout.legend[i].style, layout.legend[i].shape, x, y, layout);
    script += fmt::format("set label {} at screen {:.4f},{:.4f} left noenhanced\n",
                          gnuplot_quote(layout.legend[i].label),
                          (x + kLegendMark + kNameGap) / layout.width, y / layout.height);
  }
  return script;
}

// Of one panel, from `top` inches downwards.
std::string own_legend(const Panel& panel, double left, double top, const LineLayout& layout) {
  std::string script;
  for (const Line& line : panel.lines) {
    const std::vector<std::string> name = own_name(line, layout);
    const double middle = top - 0.5 * kLegendRow;
    script += legend_mark(line.style, line.shape, left, middle, layout);
    script +=
        text_script(name, {left + kOwnName, middle + 0.5 * kLineHeight, layout.panel_width, false},
                    layout.width, layout.height);
    top -= kLegendRow + kLineHeight * static_cast<double>(name.size() - 1);
  }
  return script;
}

std::string name_of_y(const std::string& name, double x, double y, const LineLayout& layout) {
  return fmt::format("set label {} at screen {:.4f},{:.4f} center rotate by 90 noenhanced\n",
                     gnuplot_quote(name), x / layout.width, y / layout.height);
}

// The header and the names of the axes, once for all panels.
std::string common_texts(const LinePlot& figure, const LineLayout& layout) {
  const double bottom = layout.legend_height + kBottom + layout.strips,
               top = layout.height - kTop - layout.header_height - layout.title_heights[0];
  std::string script;
  if (!figure.header.empty())
    script += text_script(layout.header,
                          {0.5 * layout.width, layout.height - kTop + 0.02, layout.width, true},
                          layout.width, layout.height);
  const double middle = 0.5 * (kLeft + layout.width - kRight);
  script += text_script({figure.x_label},
                        {middle, layout.legend_height + kNameOffset + 0.5 * kLineHeight,
                         2 * (layout.width - middle), true},
                        layout.width, layout.height);
  if (!layout.own_labels)
    script += name_of_y(figure.panels[0].axis.label, kNameLeft, 0.5 * (bottom + top), layout);
  return script;
}

std::string data_block(const std::string& name, const Line& line) {
  std::string block = fmt::format("${} << EOD\n", name);
  for (const LinePoint& point : line.points)
    if (std::isfinite(point.y))
      fmt::format_to(std::back_inserter(block), "{:.6g} {:.6g} {:.6g} {:.6g}\n",
                     place_of(line, point), point.y, std::isfinite(point.low) ? point.low : point.y,
                     std::isfinite(point.high) ? point.high : point.y);
  return block + "EOD\n";
}

bool has_points(const Line& line) {
  return std::any_of(line.points.begin(), line.points.end(),
                     [](const LinePoint& p) { return std::isfinite(p.y); });
}

// Bars or dots with their whiskers. Whiskers are lines, since error bars leave a white gap around
// the value whatever their points are.
void add_shape(const Line& line, const std::string& data, std::vector<std::string>& parts) {
  if (line.shape == Shape::kBars)
    parts.push_back(fmt::format("{} using 1:2:({:.6g}) with boxes fc rgb '{}' fs solid noborder",
                                data, line.width / static_cast<double>(line.layers),
                                line.style.color));
  if (line.band)
    parts.push_back(fmt::format("{} using 1:3:(0):($4-$3) with vectors nohead lc rgb '{}' lw 0.8",
                                data, line.shape == Shape::kBars ? "#222222" : line.style.color));
  if (line.shape == Shape::kDots)
    parts.push_back(
        fmt::format("{} using 1:2 with points pt 7 ps 0.35 lc rgb '{}'", data, line.style.color));
}

// Coloured where the strip has layers, which reach from one to the next.
std::string strips_script(const Panel& panel) {
  std::string script;
  double top = -kStripGap / kPanelHeight;
  for (const LayerStrip& strip : panel.strips) {
    const std::size_t layers = strip.layers.size();
    for (std::size_t first = 0, end = 0; first < layers; first = end + 1) {
      for (end = first; end < layers && strip.layers[end];) ++end;
      if (end > first)
        script += fmt::format(
            "set object rectangle from first {:.6g}, graph {:.4f} to first {:.6g}, graph {:.4f} "
            "fc rgb '{}' fs solid noborder noclip\n",
            static_cast<double>(first) / static_cast<double>(layers), top - kStrip / kPanelHeight,
            static_cast<double>(end) / static_cast<double>(layers), top, strip.color);
    }
    top -= (kStrip + kStripGap) / kPanelHeight;
  }
  return script;
}

// Bands first, so that no band hides a line.
std::string plot_command(const Panel& panel, std::size_t index) {
  std::vector<std::string> parts;
  for (std::size_t i = 0; i < panel.lines.size(); ++i)
    if (panel.lines[i].band && panel.lines[i].shape == Shape::kLine && has_points(panel.lines[i]))
      parts.push_back(fmt::format(
          "$p{}_{} using 1:3:4 with filledcurves fc rgb '{}' fs transparent solid 0.15 noborder",
          index, i, panel.lines[i].style.color));
  for (std::size_t i = 0; i < panel.lines.size(); ++i) {
    const Line& line = panel.lines[i];
    if (!has_points(line)) continue;
    if (line.shape != Shape::kLine) {
      add_shape(line, fmt::format("$p{}_{}", index, i), parts);
      continue;
    }
    // A short line needs its points to be seen as what it is; a long one has its marker here and
    // there, and not where others have theirs.
    const std::size_t step = line.points.size() <= 12 ? 1 : line.points.size() / 6;
    const std::string points =
        line.style.marker == 0 && step > 1
            ? "lines"
            : fmt::format("linespoints pt {} ps {} pi {}", point_type(line.style),
                          line.style.marker == 0 ? 0.35 : 0.45, step);
    parts.push_back(fmt::format("$p{}_{} using 1:2 with {} lc rgb '{}' lw 1.6 dt {}", index, i,
                                points, line.style.color, line.style.dash));
  }
  if (parts.empty()) parts.push_back("NaN");
  return fmt::format("plot {}\n", fmt::join(parts, ", \\\n  "));
}

std::string tics(const char* axis, const std::vector<Tic>& tics, const char* look) {
  std::string list;
  for (const Tic& tic : tics)
    list += fmt::format("{}'{}' {:.6g}", list.empty() ? "" : ", ", tic.label, tic.position);
  return fmt::format("set {} ({}) {}\n", axis, list, look);
}

std::size_t fitting(double width, double each) {
  return std::max<std::size_t>(2, static_cast<std::size_t>(width / each));
}

// Layers above the panel, named once for each row.
std::string layer_axis(const Panel& panel, const LineLayout& layout, bool named, double left,
                       double top) {
  const std::int64_t layers = common_layers(panel);
  if (layers == 0) return "unset x2tics\n";
  std::string script =
      fmt::format("set x2range [0:{:.6g}]\n", layout.deepest) +
      tics("x2tics", layer_tics(layout.deepest, layers, fitting(layout.panel_width, kLayerTic)),
           "offset 0,-0.5 font ',7' textcolor rgb '#666666'");
  if (named)
    script += fmt::format(
        "set label 'layer' at screen {:.4f},{:.4f} right font ',7' textcolor rgb '#666666'\n",
        (left - 0.1) / layout.width, (top + 0.5 * kLayerAxis + 0.04) / layout.height);
  return script;
}

// Names that found room beside their lines, in the plot's small letters.
std::string line_names(const Panel& panel, const Range& range, const LineLayout& layout,
                       double left, double top) {
  std::string script;
  const PanelBox box{layout.panel_width, kPanelHeight, layout.deepest,
                     range.low,          range.high,   panel.axis.base};
  for (const PlacedName& name : place_names(panel.lines, box))
    script += fmt::format(
        "set label {} at screen {:.4f},{:.4f} center noenhanced font ',{}' textcolor rgb "
        "'#222222'\n",
        gnuplot_quote(name.text), (left + name.x) / layout.width,
        (top - kPanelHeight + name.y) / layout.height, kSmallFont);
  return script;
}

std::string panel_script(const LinePlot& figure, const LineLayout& layout, std::size_t index) {
  const Panel& panel = figure.panels[index];
  const Range range = panel.range.value_or(range_of(figure, panel.axis));
  const std::size_t column = index % layout.columns, row = index / layout.columns;
  const double left = kLeft + static_cast<double>(column) * (layout.panel_width + layout.gap);
  double row_top = layout.height - kTop - layout.header_height;
  for (std::size_t above = 0; above < row; ++above)
    row_top -= layout.title_heights[above] + kPanelHeight + kRowGap + layout.strips;
  const double top = row_top - layout.title_heights[row];
  std::string script = fmt::format(
      "set lmargin at screen {:.4f}\nset rmargin at screen {:.4f}\nset tmargin at screen "
      "{:.4f}\nset bmargin at screen {:.4f}\n",
      left / layout.width, (left + layout.panel_width) / layout.width, top / layout.height,
      (top - kPanelHeight) / layout.height);
  // Titles stand in one line, legends at their panels.
  const double title_top = figure.own_legends ? top + height_above(figure, panel, layout) : row_top;
  script += text_script(
      panel.title,
      {left + 0.5 * layout.panel_width, title_top, layout.panel_width + 0.8 * layout.gap, true},
      layout.width, layout.height);
  if (figure.own_legends)
    script += own_legend(panel, left,
                         title_top - kLineHeight * static_cast<double>(panel.title.size()), layout);
  script += tics("xtics", value_tics(0, layout.deepest, fitting(layout.panel_width, kDepthTic)),
                 layout.strips > 0 ? "offset 0,-0.3" : "offset 0,0.3");
  script += strips_script(panel);
  script += tics("ytics", value_tics(range.low, range.high, kMostValueTics), "");
  script += layer_axis(panel, layout, column == 0, left, top);
  script += fmt::format(
      "set yrange [{:.6g}:{:.6g}]\nset arrow from 0,{} to {:.6g},{} nohead lc rgb '#888888' lw "
      "0.8\n",
      range.low, range.high, panel.axis.base, layout.deepest, panel.axis.base);
  if (panel.lines.size() > 1) script += line_names(panel, range, layout, left, top);
  if (layout.own_labels)
    script +=
        name_of_y(panel.axis.label, left - kLeft + kNameLeft, top - 0.5 * kPanelHeight, layout);
  return script + plot_command(panel, index) + "unset label\nunset arrow\nunset object\n";
}

constexpr const char* kAxes =
    "set border 3 lc rgb '#444444' lw 0.8\n"
    "set tics nomirror scale 0.5 textcolor rgb '#222222'\n"
    "set grid ytics lt 1 lc rgb '#E6E6E6' lw 0.6\n"
    "set clip one\n"
    "unset key\n";

// What the panels are, with their counts.
std::vector<std::string> notes_of(const LinePlot& figure) {
  std::vector<std::string> notes;
  for (const Panel& panel : figure.panels) {
    const std::string title = join(panel.title), count = count_of(panel.lines);
    const bool counted = title.find(count) != std::string::npos;
    notes.push_back(
        fmt::format("Panel {}: {}{}.", title, panel.axis.label, counted ? "" : ", " + count));
  }
  return notes;
}

Plot render_at(const LinePlot& figure, double width, std::size_t columns) {
  const LineLayout layout = lay_out(figure, width, columns);
  Plot plot;
  plot.stem = figure.stem;
  plot.title = figure.header;
  plot.notes = notes_of(figure);
  plot.width = layout.width;
  plot.height = layout.height;
  plot.script = std::string(kAxes) + fmt::format("set xrange [0:{:.6g}]\n", layout.deepest) +
                legend_script(layout) + common_texts(figure, layout) + "set multiplot\n";
  for (std::size_t i = 0; i < figure.panels.size(); ++i) {
    const Panel& panel = figure.panels[i];
    for (std::size_t line = 0; line < panel.lines.size(); ++line)
      plot.data += data_block(fmt::format("p{}_{}", i, line), panel.lines[line]);
    plot.script += panel_script(figure, layout, i);
  }
  return plot;
}

}  // namespace

std::string count_of(const std::vector<Line>& lines) {
  std::size_t least = std::numeric_limits<std::size_t>::max(), most = 0;
  for (const Line& line : lines)
    for (const LinePoint& point : line.points) {
      if (!std::isfinite(point.y)) continue;
      least = std::min(least, point.n);
      most = std::max(most, point.n);
    }
  if (most == 0) return "n = 0";
  return least == most ? fmt::format("n = {}", most) : fmt::format("n = {} to {}", least, most);
}

std::int64_t common_layers(const Panel& panel) {
  const bool same = std::all_of(panel.lines.begin(), panel.lines.end(), [&](const Line& line) {
    return line.layers == panel.lines[0].layers;
  });
  return same && !panel.lines.empty() ? panel.lines[0].layers : 0;
}

double deepest_of(const std::vector<Panel>& panels) {
  double deepest = 0;
  for (const Panel& panel : panels) {
    if (!panel.strips.empty()) return 1;
    for (const Line& line : panel.lines)
      for (const LinePoint& point : line.points) deepest = std::max(deepest, point.x);
  }
  return deepest > 0 ? deepest : 1;
}

double place_of(const Line& line, const LinePoint& point) {
  return line.shape == Shape::kLine ? point.x
                                    : point.x + line.shift / static_cast<double>(line.layers);
}

Range range_of(const LinePlot& figure, const ValueAxis& axis) {
  Range means{axis.base, axis.base}, bands = means;
  for (const Panel& panel : figure.panels)
    for (const Line& line : panel.lines)
      for (const LinePoint& point : line.points) {
        if (panel.axis.label != axis.label || !std::isfinite(point.y)) continue;
        means = {std::min(means.low, point.y), std::max(means.high, point.y)};
        if (!has_band(line, point)) continue;
        bands = {std::min(bands.low, point.low), std::max(bands.high, point.high)};
      }
  const bool usual = means.low >= axis.low && means.high <= axis.high;
  if (usual && bands.low >= axis.low && bands.high <= axis.high) return {axis.low, axis.high};
  const double span = std::max(means.high - means.low, 1e-6);
  Range range =
      round_outwards({std::max(std::min(means.low, bands.low), means.low - 0.5 * span),
                      std::min(std::max(means.high, bands.high), means.high + 0.5 * span)},
                     span);
  if (usual) range = {std::min(range.low, axis.low), std::max(range.high, axis.high)};
  return {std::max(range.low, axis.least), std::min(range.high, axis.most)};
}

bool cuts_bands(const LinePlot& figure) {
  for (const Panel& panel : figure.panels) {
    const Range range = range_of(figure, panel.axis);
    for (const Line& line : panel.lines)
      for (const LinePoint& point : line.points)
        if (std::isfinite(point.y) && has_band(line, point) &&
            (point.low < range.low || point.high > range.high))
          return true;
  }
  return false;
}

namespace {

// How many panels from `first` on fit on a page: whole rows, one at least.
std::size_t panels_of_page(const LinePlot& figure, std::size_t first, double width,
                           std::size_t columns) {
  LinePlot page = figure;
  page.page = true;
  const auto begin = figure.panels.begin() + static_cast<std::ptrdiff_t>(first);
  std::size_t count = figure.panels.size() - first;
  for (; count > columns; count = (count - 1) / columns * columns) {
    page.panels.assign(begin, begin + static_cast<std::ptrdiff_t>(count));
    if (lay_out(page, width, columns).height <= kPageHeight) break;
  }
  return count;
}

// The figure, in several parts where it is taller than a page. `ending`: of the stem.
std::vector<Plot> pages_of(const LinePlot& figure, double width, std::size_t columns,
                           const std::string& ending) {
  columns = std::min(columns, figure.panels.size());
  std::vector<Plot> plots;
  for (std::size_t first = 0; first < figure.panels.size();) {
    const std::size_t count = panels_of_page(figure, first, width, columns);
    LinePlot page = figure;
    page.page = count < figure.panels.size();
    page.deepest = deepest_of(figure.panels);
    if (page.page) {
      for (Panel& panel : page.panels) panel.range = range_of(figure, panel.axis);
      const auto begin = page.panels.begin() + static_cast<std::ptrdiff_t>(first);
      page.panels = {begin, begin + static_cast<std::ptrdiff_t>(count)};
      page.header += fmt::format(" (page {})", plots.size() + 1);
    }
    plots.push_back(render_at(page, width, columns));
    plots.back().title = figure.header;
    plots.back().stem =
        figure.stem + (plots.size() == 1 ? "" : fmt::format("_page{}", plots.size())) + ending;
    first += count;
  }
  return plots;
}

}  // namespace

std::vector<Plot> render(const LinePlot& figure) {
  std::vector<Plot> plots = pages_of(figure, kFullWidth, figure.columns, "");
  // Few panels stand below each other, many in pairs, which leave no room for legends.
  const bool pairs = figure.panels.size() > 4 && !figure.own_legends;
  for (Plot& column : pages_of(figure, kColumnWidth, pairs ? 2 : 1, "_column")) {
    column.formats = {"pdf"};
    plots.push_back(std::move(column));
  }
  return plots;
}

}  // namespace factflow
