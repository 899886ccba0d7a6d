#include "analysis/heatmap_plot.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "analysis/palette.hpp"

namespace factflow {
namespace {

// Inches.
constexpr double kFullWidth = 6.3, kColumnWidth = 3.03;
constexpr double kRight = 0.68, kTop = 0.26, kBottom = 0.44, kRow = 0.155, kLetter = 0.068,
                 kRowGap = 0.62;
constexpr double kLeastWidth = 0.6;       // of a panel's area
constexpr std::size_t kLongestName = 18;  // letters

std::string shorten(const std::string& text, std::size_t letters) {
  std::string result;
  std::size_t count = 0;
  for (const char c : text) {
    if ((static_cast<unsigned char>(c) & 0xC0) != 0x80 && ++count > letters)
      return result + "\u2026";
    result += c;
  }
  return result;
}

std::size_t count_letters(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

// A token as a row's name: no leading space, never empty, the last one starred.
std::string row_name(const HeatmapResult& data, std::size_t token) {
  std::string name = data.tokens[token];
  name.erase(0, name.find_first_not_of(' '));
  if (name.empty()) name = "\u2423";
  return shorten(name, kLongestName) + (token + 1 == data.tokens.size() ? "*" : "");
}

// Columns are windows, one unit wide each.
std::string cells(const HeatmapPanel& panel, std::size_t index, double limit) {
  const HeatmapResult& data = panel.data;
  std::string block = fmt::format("$m{} << EOD\n", index);
  for (std::size_t token = 0; token < data.tokens.size(); ++token)
    for (std::size_t start = 0; start < data.starts.size(); ++start) {
      const auto p = static_cast<double>(data.probability[token * data.starts.size() + start]);
      if (std::isnan(p) || std::isnan(panel.clean)) continue;
      fmt::format_to(std::back_inserter(block), "{0} {1} {2:.5g}\n", start, token,
                     std::clamp(p - panel.clean, -limit, limit));
    }
  return block + "EOD\n";
}

struct Layout {
  std::size_t columns = 1;
  double width = 0, height = 0, names = 0, panel_width = 0;
  std::vector<double> row_heights;  // inside the axes
};

Layout lay_out(const HeatmapPlot& figure, double width, std::size_t columns) {
  Layout layout;
  layout.columns = std::min(columns, figure.panels.size());
  layout.width = width;
  std::size_t longest = 1;
  for (const HeatmapPanel& panel : figure.panels)
    for (std::size_t token = 0; token < panel.data.tokens.size(); ++token)
      longest = std::max(longest, count_letters(row_name(panel.data, token)));
  layout.names = 0.22 + kLetter * static_cast<double>(longest);
  const double column = (width - kRight) / static_cast<double>(layout.columns);
  layout.panel_width = std::max(column - layout.names, kLeastWidth);
  layout.height = kTop + kBottom;
  for (std::size_t i = 0; i < figure.panels.size(); ++i) {
    if (i % layout.columns == 0) layout.row_heights.push_back(0);
    const double height =
        kRow * std::max(static_cast<double>(figure.panels[i].data.tokens.size()), 4.0);
    layout.row_heights.back() = std::max(layout.row_heights.back(), height);
  }
  for (const double height : layout.row_heights) layout.height += height + kRowGap;
  layout.height -= kRowGap;
  return layout;
}

std::string token_tics(const HeatmapResult& data) {
  std::string names;
  for (std::size_t token = 0; token < data.tokens.size(); ++token)
    names +=
        fmt::format("{}{} {}", token == 0 ? "" : ", ", gnuplot_quote(row_name(data, token)), token);
  return fmt::format("set ytics ({}) noenhanced\nset yrange [{}:-0.5]\n", names,
                     static_cast<double>(data.tokens.size()) - 0.5);
}

// 0, 20, ... 100 % of the windows.
std::string depth_tics(const HeatmapResult& data) {
  const double last = data.starts.empty() ? 0 : static_cast<double>(data.starts.size() - 1);
  std::string tics;
  for (int percent = 0; percent <= 100; percent += 20)
    tics += fmt::format("{}'{}' {}", percent == 0 ? "" : ", ", percent,
                        std::floor(percent / 100.0 * last));
  return fmt::format("set xtics ({}) offset 0,0.3\nset xrange [-0.5:{}]\n", tics, last + 0.5);
}

std::string panel_script(const HeatmapPlot& figure, const Layout& layout, std::size_t index) {
  const HeatmapPanel& panel = figure.panels[index];
  const std::size_t column = index % layout.columns, row = index / layout.columns;
  double top = layout.height - kTop;
  for (std::size_t above = 0; above < row; ++above) top -= layout.row_heights[above] + kRowGap;
  const double column_width = (layout.width - kRight) / static_cast<double>(layout.columns);
  const double left = column_width * static_cast<double>(column) + layout.names;
  const double bottom = top - kRow * std::max(static_cast<double>(panel.data.tokens.size()), 4.0);
  std::string script = fmt::format(
      "set lmargin at screen {:.4f}\nset rmargin at screen {:.4f}\nset tmargin at screen "
      "{:.4f}\nset bmargin "
      "at screen "
      "{:.4f}\nset title {} noenhanced offset 0,-0.7\n",
      left / layout.width, (left + layout.panel_width) / layout.width, top / layout.height,
      bottom / layout.height, gnuplot_quote(panel.title));
  script += token_tics(panel.data) + depth_tics(panel.data);
  if (panel.subject_end > panel.subject_begin)
    script += fmt::format(
        "set arrow 1 from graph -0.02,first {} to graph -0.02,first {} nohead front lc rgb '{}' lw "
        "3\n",
        panel.subject_begin - 0.42, panel.subject_end - 0.58, role_style("subject").color);
  const bool any = std::any_of(panel.data.probability.begin(), panel.data.probability.end(),
                               [&](float p) { return !std::isnan(p) && !std::isnan(panel.clean); });
  return script +
         (any ? fmt::format("plot $m{} using 1:2:3 with image pixels\n", index) : "plot NaN\n") +
         "unset arrow 1\nunset label\nunset colorbox\n";
}

// The scale of colours, the names of the axes, and gray for what was not computed.
std::string common_script(const Layout& layout, const FigureOptions& options) {
  const double limit = options.heatmap_limit;
  std::string script = fmt::format(
      "unset key\nset border 15 lc rgb '#444444' lw 0.8\nset tics nomirror out scale 0.4\n"
      "set label 'Layer depth (%)' at screen {:.4f},{:.4f} center noenhanced\n",
      0.5 * (layout.width - kRight + layout.names) / layout.width, 0.1 / layout.height);
  script += fmt::format(
      "set palette defined ({})\nset cbrange [{}:{}]\nset cbtics ('\u2212{}' {}, '0' 0, '+{}' {}) "
      "scale 0.4\n"
      "set colorbox user origin screen {:.4f},screen {:.4f} size screen {:.4f},screen {:.4f} "
      "border\n"
      "set label 'p \u2212 p(clean)' at screen {:.4f},screen {:.4f} center rotate by 90\n",
      diverging_palette(options.palette), -limit, limit, limit, -limit, limit, limit,
      1 - (kRight - 0.09) / layout.width, 1 - (kTop + layout.row_heights[0]) / layout.height,
      0.1 / layout.width, layout.row_heights[0] / layout.height, 1 - 0.09 / layout.width,
      1 - (kTop + 0.5 * layout.row_heights[0]) / layout.height);
  return script +
         "set object 1 rectangle from graph 0,0 to graph 1,1 behind fc rgb '#DDDDDD' fs solid "
         "noborder\n";
}

Plot render_at(const HeatmapPlot& figure, const FigureOptions& options, double width,
               std::size_t columns) {
  const Layout layout = lay_out(figure, width, columns);
  Plot plot;
  plot.stem = figure.stem;
  plot.width = layout.width;
  plot.height = layout.height;
  plot.script = common_script(layout, options) + "set multiplot\n";
  for (std::size_t i = 0; i < figure.panels.size(); ++i) {
    plot.data += cells(figure.panels[i], i, options.heatmap_limit);
    plot.script += panel_script(figure, layout, i);
  }
  return plot;
}

}  // namespace

std::vector<Plot> render(const HeatmapPlot& figure, const FigureOptions& options) {
  Plot full = render_at(figure, options, kFullWidth, figure.columns);
  Plot column = render_at(figure, options, kColumnWidth, 1);
  column.stem += "_column";
  column.formats = {"pdf"};
  return {std::move(full), std::move(column)};
}

}  // namespace factflow
