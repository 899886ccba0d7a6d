#include "analysis/bar_plot.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "analysis/plot_text.hpp"

namespace factflow {
namespace {

// Inches.
constexpr double kFullWidth = 6.3, kColumnWidth = 3.03;
constexpr double kPanelHeight = 1.9, kLeft = 0.66, kRight = 0.16, kTop = 0.1, kBottom = 0.3;
constexpr double kHeaderGap = 0.08, kNameLeft = 0.13;
constexpr double kLegendRow = 0.17, kSwatch = 0.12, kSwatchGap = 0.07, kLegendGap = 0.25;
constexpr double kGroupShare = 0.8;  // of a group's room that its bars take

struct BarLayout {
  double width = 0, height = 0;
  std::vector<std::string> header;
  std::vector<std::pair<double, double>> legend;  // left and middle of each entry
  std::vector<std::string> labels;
  double bottom = 0;  // of the panel
};

// Entries stand in rows that are as full as they can be.
BarLayout lay_out(const BarPlot& figure, double width) {
  BarLayout layout;
  layout.width = width;
  const double room = width - kLeft - kRight, mark = kSwatch + kSwatchGap;
  double x = 0, rows = 1;
  for (const BarSeries& series : figure.series) {
    layout.labels.push_back(
        shorten_middle(series.label, static_cast<std::size_t>((room - mark) / kLetterWidth)));
    const double entry =
        mark + kLetterWidth * static_cast<double>(count_letters(layout.labels.back()));
    if (x > 0 && x + entry > room) {
      x = 0;
      ++rows;
    }
    layout.legend.emplace_back(kLeft + x, -kLegendRow * (rows - 0.5));  // below the legend's top
    x += entry + kLegendGap;
  }
  const double legend = kLegendRow * rows + 0.05;
  for (auto& [left, middle] : layout.legend) middle += legend;
  layout.bottom = legend + kBottom;
  layout.header = wrap(figure.header, static_cast<std::size_t>((width - 0.1) / kLetterWidth));
  layout.height = layout.bottom + kPanelHeight + kTop + kHeaderGap +
                  kLineHeight * static_cast<double>(layout.header.size());
  return layout;
}

std::string legend_script(const BarPlot& figure, const BarLayout& layout) {
  std::string script;
  for (std::size_t i = 0; i < figure.series.size(); ++i) {
    const auto [left, middle] = layout.legend[i];
    script += fmt::format(
        "set object rectangle from screen {:.4f},{:.4f} to screen {:.4f},{:.4f} fc rgb '{}' fs "
        "solid noborder\n",
        left / layout.width, (middle - 0.5 * kSwatch) / layout.height,
        (left + kSwatch) / layout.width, (middle + 0.5 * kSwatch) / layout.height,
        figure.series[i].color);
    script += fmt::format("set label {} at screen {:.4f},{:.4f} left noenhanced\n",
                          gnuplot_quote(layout.labels[i]),
                          (left + kSwatch + kSwatchGap) / layout.width, middle / layout.height);
  }
  return script;
}

std::string axes_script(const BarPlot& figure, const BarLayout& layout) {
  const double top = layout.bottom + kPanelHeight;
  std::string names;
  for (std::size_t i = 0; i < figure.groups.size(); ++i)
    names += fmt::format("{}{} {}", i == 0 ? "" : ", ", gnuplot_quote(figure.groups[i]), i);
  std::string script = fmt::format(
      "set border 3 lc rgb '#444444' lw 0.8\n"
      "set tics nomirror scale 0.5 textcolor rgb '#222222'\n"
      "set grid ytics lt 1 lc rgb '#E6E6E6' lw 0.6\nunset key\n"
      "set lmargin at screen {:.4f}\nset rmargin at screen {:.4f}\nset tmargin at screen {:.4f}\n"
      "set bmargin at screen {:.4f}\nset xrange [-0.5:{}]\nset yrange [{:.6g}:{:.6g}]\n"
      "set xtics ({}) scale 0 noenhanced\n",
      kLeft / layout.width, (layout.width - kRight) / layout.width, top / layout.height,
      layout.bottom / layout.height, static_cast<double>(figure.groups.size()) - 0.5, figure.low,
      figure.high, names);
  script += text_script(layout.header,
                        {0.5 * layout.width, layout.height - kTop + 0.02, layout.width, true},
                        layout.width, layout.height);
  return script +
         fmt::format("set label {} at screen {:.4f},{:.4f} center rotate by 90 noenhanced\n",
                     gnuplot_quote(figure.y_label), kNameLeft / layout.width,
                     0.5 * (layout.bottom + top) / layout.height);
}

// A line of each bar that has a value: where it stands, its height, its whisker's ends.
std::string data_block(const BarPlot& figure, std::size_t series) {
  const double width = kGroupShare / static_cast<double>(figure.series.size());
  const double shift =
      width * (static_cast<double>(series) - 0.5 * static_cast<double>(figure.series.size() - 1));
  std::string block = fmt::format("$b{} << EOD\n", series);
  for (std::size_t group = 0; group < figure.groups.size(); ++group) {
    const Bar& bar = figure.series[series].bars[group];
    if (std::isnan(bar.value)) continue;
    const bool whisker = std::isfinite(bar.interval.low) && std::isfinite(bar.interval.high);
    block += fmt::format("{:.6g} {:.6g} {:.6g} {:.6g}\n", static_cast<double>(group) + shift,
                         bar.value, whisker ? bar.interval.low : bar.value,
                         whisker ? bar.interval.high : bar.value);
  }
  return block + "EOD\n";
}

bool has_bars(const BarSeries& series) {
  return std::any_of(series.bars.begin(), series.bars.end(),
                     [](const Bar& bar) { return !std::isnan(bar.value); });
}

Plot render_at(const BarPlot& figure, double width) {
  const BarLayout layout = lay_out(figure, width);
  Plot plot;
  plot.stem = figure.stem;
  plot.title = figure.header;
  plot.width = layout.width;
  plot.height = layout.height;
  std::vector<std::string> bars, whiskers;
  for (std::size_t i = 0; i < figure.series.size(); ++i) {
    plot.data += data_block(figure, i);
    if (!has_bars(figure.series[i])) continue;
    bars.push_back(fmt::format("$b{} using 1:2:({:.4f}) with boxes fc rgb '{}' fs solid noborder",
                               i, 0.92 * kGroupShare / static_cast<double>(figure.series.size()),
                               figure.series[i].color));
    // Lines, since error bars leave a white gap around the value whatever their points are.
    whiskers.push_back(
        fmt::format("$b{} using 1:3:(0):($4-$3) with vectors nohead lc rgb '#222222' lw 1", i));
  }
  bars.insert(bars.end(), whiskers.begin(), whiskers.end());
  plot.script = axes_script(figure, layout) + legend_script(figure, layout) +
                fmt::format("plot {}\n",
                            bars.empty() ? "NaN" : fmt::format("{}", fmt::join(bars, ", \\\n  ")));
  return plot;
}

}  // namespace

std::vector<Plot> render(const BarPlot& figure) {
  Plot full = render_at(figure, kFullWidth), column = render_at(figure, kColumnWidth);
  column.stem += "_column";
  column.formats = {"pdf"};
  return {std::move(full), std::move(column)};
}

}  // namespace factflow
