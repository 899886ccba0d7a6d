#include "analysis/heatmap_plot.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>

#include <fmt/format.h>

#include "analysis/palette.hpp"

namespace factflow {
namespace {

// Inches.
constexpr double kWidth = 3.4, kRight = 0.68, kTop = 0.12, kBottom = 0.44, kRow = 0.165, kLetter = 0.068;
constexpr std::size_t kLongestName = 18;  // letters

std::string shorten(const std::string& text, std::size_t letters) {
  std::string result;
  std::size_t count = 0;
  for (const char c : text) {
    if ((static_cast<unsigned char>(c) & 0xC0) != 0x80 && ++count > letters) return result + "\u2026";
    result += c;
  }
  return result;
}

std::size_t count_letters(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

// A token as a row's name: no leading space, never empty, the last one starred.
std::string row_name(const HeatmapResult& data, std::size_t token) {
  std::string name = data.tokens[token];
  name.erase(0, name.find_first_not_of(' '));
  if (name.empty()) name = "\u2423";
  return shorten(name, kLongestName) + (token + 1 == data.tokens.size() ? "*" : "");
}

std::string cells(const HeatmapPlot& figure, double limit) {
  const HeatmapResult& data = *figure.data;
  const double step = 100.0 / static_cast<double>(figure.layers);
  std::string block = "$cells << EOD\n";
  for (std::size_t token = 0; token < data.tokens.size(); ++token)
    for (std::size_t start = 0; start < data.starts.size(); ++start) {
      const auto p = static_cast<double>(data.probability[token * data.starts.size() + start]);
      if (std::isnan(p) || std::isnan(figure.clean)) continue;
      const double x = step * data.starts[start];
      const auto y = static_cast<double>(token);
      fmt::format_to(std::back_inserter(block), "{:.5g} {} {:.5g} {:.5g} {} {} {:.5g}\n", x, y, x, x + step,
                     y - 0.5, y + 0.5, std::clamp(p - figure.clean, -limit, limit));
    }
  return block + "EOD\n";
}

}  // namespace

Plot render(const HeatmapPlot& figure, const FigureOptions& options) {
  const HeatmapResult& data = *figure.data;
  const auto tokens = static_cast<double>(data.tokens.size());
  std::string names;
  std::size_t longest = 1;
  for (std::size_t token = 0; token < data.tokens.size(); ++token) {
    const std::string name = row_name(data, token);
    longest = std::max(longest, count_letters(name));
    names += fmt::format("{}{} {}", token == 0 ? "" : ", ", gnuplot_quote(name), token);
  }
  Plot plot;
  plot.stem = figure.stem;
  plot.width = kWidth;
  plot.height = kTop + kBottom + kRow * std::max(tokens, 4.0);
  plot.data = cells(figure, options.heatmap_limit);
  const double left = 0.22 + kLetter * static_cast<double>(longest);
  const double end =
      100.0 * (data.starts.empty() ? 1 : data.starts.back() + 1) / static_cast<double>(figure.layers);
  const double limit = options.heatmap_limit;
  plot.script = fmt::format(
      "set lmargin at screen {:.4f}\nset rmargin at screen {:.4f}\nset tmargin at screen {:.4f}\nset bmargin "
      "at screen {:.4f}\n",
      left / kWidth, 1 - kRight / kWidth, 1 - kTop / plot.height, kBottom / plot.height);
  plot.script += fmt::format(
      "unset key\nset border 15 lc rgb '#444444' lw 0.8\nset tics nomirror out scale 0.4\n"
      "set ytics ({}) noenhanced\nset yrange [{}:-0.5]\nset xrange [0:{:.5g}]\nset xtics 20 offset 0,0.3\n"
      "set label {} at screen {:.4f},{:.4f} center noenhanced\n",
      names, tokens - 0.5, end,
      gnuplot_quote(data.placement == "centred" ? "Relative depth of the window's centre (%)"
                                                : "Relative depth of the window's first layer (%)"),
      0.5 * (left + kWidth - kRight) / kWidth, 0.1 / plot.height);
  plot.script += fmt::format(
      "set palette defined ({})\nset cbrange [{}:{}]\nset cbtics ('\u2212{}' {}, '0' 0, '+{}' {}) scale 0.4\n"
      "set colorbox user origin screen {:.4f},graph 0 size screen 0.03,graph 1 border\n"
      "set label 'p \u2212 p(clean)' at screen {:.4f},graph 0.5 center rotate by 90\n",
      diverging_palette(options.palette), -limit, limit, limit, -limit, limit, limit,
      1 - (kRight - 0.09) / kWidth, 1 - 0.09 / kWidth);
  // What was not computed shows as this gray.
  plot.script +=
      "set object 1 rectangle from graph 0,0 to graph 1,1 behind fc rgb '#DDDDDD' fs solid noborder\n";
  if (figure.subject_end > figure.subject_begin)
    plot.script += fmt::format(
        "set arrow 1 from graph -0.012,first {} to graph -0.012,first {} nohead front lc rgb '{}' lw 3\n",
        figure.subject_begin - 0.42, figure.subject_end - 0.58, role_style("subject").color);
  const bool any = plot.data != "$cells << EOD\nEOD\n";
  plot.script +=
      any ? "plot $cells using 1:2:3:4:5:6:7 with boxxyerror lc palette fs solid 1.0 border\n" : "plot NaN\n";
  return plot;
}

}  // namespace factflow
