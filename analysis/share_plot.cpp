#include "analysis/share_plot.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <utility>

#include <fmt/format.h>

#include "analysis/carriers.hpp"
#include "analysis/html.hpp"
#include "analysis/number_text.hpp"
#include "analysis/palette.hpp"
#include "analysis/plot_text.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

// Percent. What lies beyond stands at the edge.
constexpr double kLow = -25, kHigh = 125;
constexpr const char* kXName = "Attention alone (% of both)";
constexpr const char* kYName = "The state alone (% of both)";

// Where a verdict's condition is true; corners in order, in percent.
struct Region {
  Carrier carrier;
  const char* color;
  std::vector<std::pair<double, double>> corners;
  std::pair<double, double> label;  // its middle
  bool along_diagonal = false;
};

const std::vector<Region>& regions() {
  constexpr double kHalf = kHalfOfEffect;
  static const std::vector<Region> kRegions = {
      {Carrier::kState,
       "#DCEBF6",
       {{kLow, kHalf}, {kHalf, kHalf}, {kHalf, kHigh}, {kLow, kHigh}},
       {12.5, 117}},
      {Carrier::kNeeded,
       "#EADFF0",
       {{kHalf, kHalf}, {kHigh, kHalf}, {kHigh, kHigh}, {kHalf, kHigh}},
       {87.5, 117}},
      {Carrier::kAttention,
       "#FBE6D9",
       {{kHalf, kLow}, {kHigh, kLow}, {kHigh, kHalf}, {kHalf, kHalf}},
       {87.5, -17}},
      // Less than one half each, and together less than one half.
      {Carrier::kEither,
       "#DFF2E8",
       {{kLow, kLow}, {kHalf, kLow}, {kHalf, 0}, {0, kHalf}, {kLow, kHalf}},
       {12.5, -17}},
      {Carrier::kParts, "#F4F4F4", {{kHalf, 0}, {kHalf, kHalf}, {0, kHalf}}, {28.5, 28.5}, true}};
  return kRegions;
}

double inside(double value) {
  return std::clamp(value, kLow, kHigh);
}

// Colours come again with another form.
struct Look {
  std::string color;
  int form;  // gnuplot's point type
};
Look look_of(std::size_t index) {
  constexpr std::array kForms = {7, 5, 9, 13};
  return {plain_style(index).color, kForms[(index / 5) % kForms.size()]};
}

// All labels of all panels, each once: the legend, and the place that says how a point looks.
std::vector<std::string> labels_of(const SharePlot& figure) {
  std::vector<std::string> labels;
  for (const SharePanel& panel : figure.panels)
    for (const SharePoint& point : panel.points)
      if (std::find(labels.begin(), labels.end(), point.label) == labels.end())
        labels.push_back(point.label);
  return labels;
}
Look look_of(const std::vector<std::string>& labels, const std::string& label) {
  return look_of(
      static_cast<std::size_t>(std::find(labels.begin(), labels.end(), label) - labels.begin()));
}

// ---- gnuplot; inches

constexpr double kFullWidth = 6.3, kColumnWidth = 3.03;
constexpr double kLeft = 0.62, kRight = 0.16, kTop = 0.1, kGap = 0.62, kTitle = 0.22, kBottom = 0.5;
constexpr double kLegendRow = 0.17, kMark = 0.18;

struct ShareLayout {
  double width = 0, height = 0, side = 0, legend = 0, header = 0;
  std::size_t columns = 1, rows = 1, legend_columns = 1;
  std::vector<std::string> header_lines, labels;
};

ShareLayout lay_out(const SharePlot& figure, double width, std::size_t columns) {
  ShareLayout layout;
  layout.width = width;
  layout.columns = columns;
  layout.rows = (figure.panels.size() + columns - 1) / columns;
  const auto across = static_cast<double>(columns);
  layout.side = (width - kLeft - kRight - kGap * (across - 1)) / across;
  layout.labels = labels_of(figure);
  std::size_t longest = 1;
  for (const std::string& label : layout.labels) longest = std::max(longest, count_letters(label));
  const double entry = kMark + 0.15 + kLetterWidth * static_cast<double>(longest);
  layout.legend_columns =
      std::max<std::size_t>(1, static_cast<std::size_t>((width - kLeft - kRight) / entry));
  layout.legend = 0.05 + kLegendRow * std::ceil(static_cast<double>(layout.labels.size()) /
                                                static_cast<double>(layout.legend_columns));
  layout.header_lines = wrap(figure.header, static_cast<std::size_t>((width - 0.1) / kLetterWidth));
  layout.header = kLineHeight * static_cast<double>(layout.header_lines.size());
  layout.height = kTop + layout.header + layout.legend +
                  static_cast<double>(layout.rows) * (kTitle + layout.side + kBottom);
  return layout;
}

std::string legend_script(const ShareLayout& layout) {
  std::string script;
  const double step = (layout.width - kLeft - kRight) / static_cast<double>(layout.legend_columns);
  for (std::size_t i = 0; i < layout.labels.size(); ++i) {
    const double x = kLeft + step * static_cast<double>(i % layout.legend_columns),
                 y = layout.legend -
                     kLegendRow * (0.5 + static_cast<double>(i / layout.legend_columns));
    const Look look = look_of(i);
    script += fmt::format(
        "set label '' at screen {:.4f},{:.4f} point pt {} ps 0.7 lc rgb '{}'\n"
        "set label {} at screen {:.4f},{:.4f} left noenhanced\n",
        (x + 0.4 * kMark) / layout.width, y / layout.height, look.form, look.color,
        gnuplot_quote(shorten_middle(layout.labels[i],
                                     static_cast<std::size_t>((step - kMark) / kLetterWidth))),
        (x + kMark) / layout.width, y / layout.height);
  }
  return script;
}

std::string regions_script() {
  std::string script;
  for (const Region& region : regions()) {
    std::string corners;
    for (const auto& [x, y] : region.corners)
      corners += fmt::format("{}{},{}", corners.empty() ? "" : " to ", x, y);
    script += fmt::format(
        "set object polygon from {} to {},{} fc rgb '{}' fs solid noborder behind\n"
        "set label '{}' at first {},{} center{} font ',7' textcolor rgb '#555555'\n",
        corners, region.corners[0].first, region.corners[0].second, region.color,
        to_string(region.carrier), region.label.first, region.label.second,
        region.along_diagonal ? " rotate by -45" : "");
  }
  return script;
}

std::string panel_script(const SharePlot& figure, const ShareLayout& layout, std::size_t index,
                         std::string& data) {
  const SharePanel& panel = figure.panels[index];
  const double left = kLeft + static_cast<double>(index % layout.columns) * (layout.side + kGap);
  const double top = layout.height - kTop - layout.header - kTitle -
                     static_cast<double>(index / layout.columns) * (kTitle + layout.side + kBottom);
  std::string script = fmt::format(
      "set lmargin at screen {:.4f}\nset rmargin at screen {:.4f}\nset tmargin at screen {:.4f}\n"
      "set bmargin at screen {:.4f}\n",
      left / layout.width, (left + layout.side) / layout.width, top / layout.height,
      (top - layout.side) / layout.height);
  script += text_script({panel.title},
                        {left + 0.5 * layout.side, top + 0.18, layout.side + 0.8 * kGap, true},
                        layout.width, layout.height);
  script +=
      text_script({kXName}, {left + 0.5 * layout.side, top - layout.side - 0.24, layout.side, true},
                  layout.width, layout.height);
  script += fmt::format("set label '{}' at screen {:.4f},{:.4f} center rotate by 90\n", kYName,
                        (left - 0.48) / layout.width, (top - 0.5 * layout.side) / layout.height);
  script += regions_script();
  std::vector<std::string> parts;
  for (std::size_t i = 0; i < panel.points.size(); ++i) {
    const SharePoint& point = panel.points[i];
    if (!std::isfinite(point.x.value) || !std::isfinite(point.y.value)) continue;
    const auto end_of = [](double end, double value) {
      return inside(std::isfinite(end) ? end : value);
    };
    const std::string block = fmt::format("$s{}_{}", index, i);
    data += fmt::format(
        "{} << EOD\n{:.6g} {:.6g} {:.6g} {:.6g} {:.6g} {:.6g}\nEOD\n", block, inside(point.x.value),
        inside(point.y.value), end_of(point.x.interval.low, point.x.value),
        end_of(point.x.interval.high, point.x.value), end_of(point.y.interval.low, point.y.value),
        end_of(point.y.interval.high, point.y.value));
    const Look look = look_of(layout.labels, point.label);
    parts.push_back(
        fmt::format("{0} using 3:2:($4-$3):(0) with vectors nohead lc rgb '{1}' lw 1, \\\n"
                    "  {0} using 1:5:(0):($6-$5) with vectors nohead lc rgb '{1}' lw 1, \\\n"
                    "  {0} using 1:2 with points pt {2} ps 0.8 lc rgb '{1}'",
                    block, look.color, look.form));
  }
  return script + fmt::format("plot {}\nunset label\nunset object\n",
                              parts.empty() ? "NaN" : join(parts, ", \\\n  "));
}

Plot render_at(const SharePlot& figure, double width, std::size_t columns) {
  const ShareLayout layout = lay_out(figure, width, columns);
  Plot plot;
  plot.stem = figure.stem;
  plot.title = figure.header;
  plot.width = layout.width;
  plot.height = layout.height;
  plot.script = fmt::format(
      "set border 3 lc rgb '#444444' lw 0.8\nset tics nomirror scale 0.5 textcolor rgb '#222222'\n"
      "unset key\nset xrange [{0}:{1}]\nset yrange [{0}:{1}]\nset xtics 0,50,100 offset 0,0.3\n"
      "set ytics 0,50,100\n",
      kLow, kHigh);
  plot.script += legend_script(layout);
  plot.script += text_script(layout.header_lines,
                             {0.5 * layout.width, layout.height - kTop + 0.02, layout.width, true},
                             layout.width, layout.height);
  plot.script += "set multiplot\n";
  for (std::size_t i = 0; i < figure.panels.size(); ++i)
    plot.script += panel_script(figure, layout, i, plot.data);
  return plot;
}

// ---- the report's pictures

constexpr double kPictureLeft = 46, kSide = 280, kPictureTop = 8, kPictureBottom = 34;

double across(double x) {
  return kPictureLeft + kSide * (inside(x) - kLow) / (kHigh - kLow);
}
double down(double y) {
  return kPictureTop + kSide * (kHigh - inside(y)) / (kHigh - kLow);
}

std::string regions_svg() {
  std::string text;
  for (const Region& region : regions()) {
    std::string corners;
    for (const auto& [x, y] : region.corners)
      corners += fmt::format("{:.1f},{:.1f} ", across(x), down(y));
    text += fmt::format(
        "<polygon points=\"{}\" fill=\"{}\"/><text x=\"{:.1f}\" y=\"{:.1f}\" "
        "text-anchor=\"middle\" font-size=\"9\" fill=\"#555555\"{}>{}</text>\n",
        corners, region.color, across(region.label.first), down(region.label.second) + 3,
        region.along_diagonal ? fmt::format(" transform=\"rotate(45 {:.1f} {:.1f})\"",
                                            across(region.label.first), down(region.label.second))
                              : "",
        to_string(region.carrier));
  }
  for (const double share : {0.0, 50.0, 100.0})
    text += fmt::format(
        "<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text><text x=\"{}\" y=\"{:.1f}\" "
        "text-anchor=\"end\">{}</text>",
        across(share), kPictureTop + kSide + 14, share, kPictureLeft - 5, down(share) + 4, share);
  return text + fmt::format(
                    "<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text><text "
                    "transform=\"translate(11 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
                    kPictureLeft + kSide / 2, kPictureTop + kSide + 29, kXName,
                    kPictureTop + kSide / 2, kYName);
}

std::string mark_svg(double x, double y, const Look& look) {
  if (look.form == 7)
    return fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\" fill=\"{}\"/>", x, y,
                       look.color);
  const std::string turn =
      look.form == 13 ? fmt::format(" transform=\"rotate(45 {:.1f} {:.1f})\"", x, y) : "";
  if (look.form == 9)
    return fmt::format(
        "<polygon points=\"{:.1f},{:.1f} {:.1f},{:.1f} {:.1f},{:.1f}\" fill=\"{}\"/>", x - 4.5,
        y + 4, x + 4.5, y + 4, x, y - 4.5, look.color);
  return fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"7\" height=\"7\" fill=\"{}\"{}/>",
                     x - 3.5, y - 3.5, look.color, turn);
}

std::string point_svg(const SharePoint& point, const Look& look) {
  if (!std::isfinite(point.x.value) || !std::isfinite(point.y.value)) return "";
  const double x = across(point.x.value), y = down(point.y.value);
  std::string text = "<g>";
  if (std::isfinite(point.x.interval.low))
    text +=
        fmt::format("<line x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"{}\"/>",
                    across(point.x.interval.low), across(point.x.interval.high), y, y, look.color);
  if (std::isfinite(point.y.interval.low))
    text +=
        fmt::format("<line x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"{}\"/>",
                    x, x, down(point.y.interval.low), down(point.y.interval.high), look.color);
  return text + mark_svg(x, y, look) +
         fmt::format("<title>{}</title></g>\n",
                     html::escape(fmt::format(
                         "{}: attention alone {} % {}, the state alone {} % {}", point.label,
                         signed_number(point.x.value, 0), interval_text(point.x.interval, "", 0),
                         signed_number(point.y.value, 0), interval_text(point.y.interval, "", 0))));
}

}  // namespace

namespace {

// In several parts where it is taller than a page. `ending`: of the stem.
std::vector<Plot> pages_of(const SharePlot& figure, double width, std::size_t columns,
                           const std::string& ending) {
  std::vector<Plot> plots;
  for (std::size_t first = 0; first < figure.panels.size();) {
    SharePlot page = figure;
    const auto begin = figure.panels.begin() + static_cast<std::ptrdiff_t>(first);
    std::size_t count = figure.panels.size() - first;
    for (; count > columns; count = (count - 1) / columns * columns) {
      page.panels = {begin, begin + static_cast<std::ptrdiff_t>(count)};
      if (lay_out(page, width, columns).height <= kPageHeight) break;
    }
    page.panels = {begin, begin + static_cast<std::ptrdiff_t>(count)};
    if (count < figure.panels.size()) page.header += fmt::format(" (page {})", plots.size() + 1);
    plots.push_back(render_at(page, width, columns));
    plots.back().title = figure.header;
    plots.back().stem =
        figure.stem + (plots.size() == 1 ? "" : fmt::format("_page{}", plots.size())) + ending;
    first += count;
  }
  return plots;
}

}  // namespace

std::vector<Plot> render(const SharePlot& figure) {
  std::vector<Plot> plots = pages_of(figure, kFullWidth, 2, "");
  for (Plot& column : pages_of(figure, kColumnWidth, 1, "_column")) {
    column.formats = {"pdf"};
    plots.push_back(std::move(column));
  }
  return plots;
}

std::string panels_html(const SharePlot& figure) {
  const std::vector<std::string> labels = labels_of(figure);
  std::string text = "<div class=\"panels\">\n";
  for (const SharePanel& panel : figure.panels) {
    text += fmt::format(
        "<div class=\"panel\"><h4>{0}</h4><svg viewBox=\"0 0 {1} {2}\" width=\"100%\" "
        "font-size=\"11\" role=\"img\" aria-label=\"{0}\">\n",
        html::escape(panel.title), kPictureLeft + kSide + 12, kPictureTop + kSide + kPictureBottom);
    text += regions_svg();
    for (const SharePoint& point : panel.points)
      text += point_svg(point, look_of(labels, point.label));
    text += "</svg><p class=\"lines\">";
    for (const SharePoint& point : panel.points)
      text += fmt::format("<span><svg class=\"swatch\" viewBox=\"0 0 26 10\">{}</svg>{}</span>",
                          mark_svg(13, 5, look_of(labels, point.label)), html::escape(point.label));
    text += "</p></div>\n";
  }
  return text + "</div>\n";
}

}  // namespace factflow
