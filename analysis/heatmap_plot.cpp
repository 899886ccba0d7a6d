#include "analysis/heatmap_plot.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "analysis/axis_tics.hpp"
#include "analysis/palette.hpp"
#include "analysis/plot_text.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

// Inches.
constexpr double kFullWidth = 6.3, kColumnWidth = 3.03;
constexpr double kRight = 0.74, kTop = 0.08, kBottom = 0.44, kRow = 0.155, kRowGap = 0.36;
constexpr double kLayerAxis = 0.2;      // above a panel
constexpr double kTitleGap = 0.05;      // where there is none
constexpr double kColumnGap = 0.14;     // between panels that share their names
constexpr double kNamesGap = 0.09;      // between the names and the panel: the subject's bar
constexpr double kLeastWidth = 0.9;     // of a panel's area
constexpr double kTitleOverhang = 0.3;  // over the names on either side
constexpr double kLeastBar = 0.9;       // height of the colour bar
constexpr double kDepthTic = 0.28, kLayerTic = 0.26;  // room for a number
constexpr std::size_t kLongestName = 18;              // letters
constexpr double kFontOfRows = 9;                     // points
const std::string kLeftToRight = "\u200E";

// Whether a reader can tell a token by its text: not if it is part of a character, nothing to see,
// or something that no font has.
bool is_readable(const std::string& name, const FontCoverage& fonts) {
  return name.find("\uFFFD") == std::string::npos && count_letters(name) > 0 && fonts.draws(name);
}

// A token as a row's name: no space around it, never empty, the last one starred; its vocabulary id
// where its text says nothing.
std::string row_name(const HeatmapResult& data, std::size_t token, const FontCoverage& fonts) {
  std::string name = data.tokens[token];
  name.erase(0, name.find_first_not_of(' '));
  name.erase(name.find_last_not_of(' ') + 1);
  if (name.empty()) name = "\u2423";
  if (!is_readable(name, fonts) && token < data.token_ids.size())
    name = fmt::format("#{}", data.token_ids[token]);
  name = shorten(name, kLongestName);
  // Marks of direction keep the star at the right of a name that is written from right to left.
  if (is_right_to_left(name)) name = kLeftToRight + name + kLeftToRight;
  return name + (token + 1 == data.tokens.size() ? "*" : "");
}

std::vector<std::string> row_names(const HeatmapPanel& panel, const FontCoverage& fonts) {
  const HeatmapResult& data = panel.data;
  if (!panel.token_rows) return data.tokens;
  std::vector<std::string> names;
  for (std::size_t token = 0; token < data.tokens.size(); ++token)
    names.push_back(row_name(data, token, fonts));
  return names;
}

// What is drawn of a cell; NaN where there is nothing.
double value_of(const HeatmapPanel& panel, float p) {
  return (static_cast<double>(p) - panel.clean) / panel.unit;
}

// Columns are windows, one unit wide each.
std::string cells(const HeatmapPanel& panel, std::size_t index, const ColorScale& scale) {
  const HeatmapResult& data = panel.data;
  std::string block = fmt::format("$m{} << EOD\n", index);
  for (std::size_t token = 0; token < data.tokens.size(); ++token)
    for (std::size_t start = 0; start < data.starts.size(); ++start)
      if (const double value =
              value_of(panel, data.probability[token * data.starts.size() + start]);
          !std::isnan(value))
        fmt::format_to(std::back_inserter(block), "{0} {1} {2:.5g}\n", start, token,
                       std::clamp(value, scale.low, scale.high));
  return block + "EOD\n";
}

// Whether a value has the end colour of a scale that does not reach so far, beyond rounding.
bool is_beyond(double value, const ColorScale& scale) {
  const double slack = 0.005 * (scale.high - scale.low);
  return value < scale.low - slack || value > scale.high + slack;
}

// The cells that are clipped, with the colour of the dot that says so.
std::string clipped_cells(const HeatmapPanel& panel, std::size_t index, const ColorScale& scale) {
  constexpr std::uint32_t kWhite = 0xFFFFFF, kDark = 0x222222;
  const HeatmapResult& data = panel.data;
  std::string block;
  for (std::size_t token = 0; token < data.tokens.size(); ++token)
    for (std::size_t start = 0; start < data.starts.size(); ++start)
      if (const double value =
              value_of(panel, data.probability[token * data.starts.size() + start]);
          is_beyond(value, scale))
        fmt::format_to(std::back_inserter(block), "{} {} {}\n", start, token,
                       value < scale.low && !scale.low_is_dark ? kDark : kWhite);
  return block.empty() ? "" : fmt::format("$c{} << EOD\n{}EOD\n", index, block);
}

struct HeatmapLayout {
  std::size_t columns = 1;
  double width = 0, height = 0, column_width = 0, panel_width = 0;
  // Left of each panel, and left of the first column beside that: names that all share.
  double names = 0, shared_names = 0;
  double left_of(std::size_t column) const {
    return shared_names + column_width * static_cast<double>(column) + names;
  }
  double header_height = 0, title_height = 0;   // the latter of each row, the layer axis included
  std::vector<std::string> header, axis_label;  // lines
  std::vector<double> row_heights;              // inside the axes
  double row = kRow;                            // height of a token's
  std::vector<std::vector<std::string>> row_names;  // [panel][token]
};

double rows_of(const HeatmapPanel& panel) {
  return is_gap(panel) ? 0 : std::max(static_cast<double>(panel.data.tokens.size()), 4.0);
}

// The rows of a prompt that would be taller than a page are flatter, and so are their names.
double row_height(const HeatmapPlot& figure, const HeatmapLayout& layout) {
  double most = 4;
  for (const HeatmapPanel& panel : figure.panels) most = std::max(most, rows_of(panel));
  const double around = kTop + layout.header_height + layout.title_height + kBottom +
                        kLineHeight * static_cast<double>(layout.axis_label.size() - 1);
  return std::min(kRow, (kPageHeight - around) / most);
}

// As many columns as leave a panel wide enough beside its names.
void choose_columns(HeatmapLayout& layout, std::size_t wanted) {
  for (layout.columns = wanted; layout.columns > 0; --layout.columns) {
    layout.column_width =
        (layout.width - kRight - layout.shared_names) / static_cast<double>(layout.columns);
    layout.panel_width = layout.column_width - layout.names;
    if (layout.panel_width >= kLeastWidth || layout.columns == 1) return;
  }
}

const HeatmapPanel& first_map(const HeatmapPlot& figure) {
  return *std::find_if_not(figure.panels.begin(), figure.panels.end(), is_gap);
}

std::string axis_label_of(const HeatmapPlot& figure) {
  if (!figure.layer_label.empty()) return figure.layer_label;
  return fmt::format("Relative depth ({} layer / layers)",
                     first_map(figure).data.placement == "centred" ? "centre" : "first");
}

HeatmapLayout lay_out(const HeatmapPlot& figure, const FontCoverage& fonts, double width,
                      std::size_t columns) {
  HeatmapLayout layout;
  layout.width = width;
  std::size_t longest = 1, title_lines = 1;
  for (const HeatmapPanel& panel : figure.panels) {
    title_lines = std::max(title_lines, panel.title.size());
    layout.row_names.push_back(row_names(panel, fonts));
    for (const std::string& name : layout.row_names.back())
      longest = std::max(longest, count_letters(name));
  }
  layout.names = 0.2 + kNamesGap + kLetterWidth * static_cast<double>(longest);
  if (figure.shared_rows) {
    layout.shared_names = layout.names - kColumnGap;
    layout.names = kColumnGap;
  }
  choose_columns(layout, figure.page ? columns : std::min(columns, figure.panels.size()));
  layout.header = wrap(figure.header, static_cast<std::size_t>((width - 0.1) / kLetterWidth));
  layout.header_height =
      figure.header.empty() ? 0 : kLineHeight * static_cast<double>(layout.header.size()) + 0.06;
  layout.title_height = kLineHeight * static_cast<double>(title_lines) +
                        (figure.layer_label.empty() ? kLayerAxis : kTitleGap);
  layout.axis_label =
      wrap(axis_label_of(figure), static_cast<std::size_t>((width - 0.1) / kLetterWidth));
  layout.row = row_height(figure, layout);
  layout.height = kTop + layout.header_height + kBottom - kRowGap +
                  kLineHeight * static_cast<double>(layout.axis_label.size() - 1);
  for (std::size_t i = 0; i < figure.panels.size(); ++i) {
    if (i % layout.columns == 0) layout.row_heights.push_back(0);
    layout.row_heights.back() =
        std::max(layout.row_heights.back(), layout.row * rows_of(figure.panels[i]));
  }
  for (const double height : layout.row_heights)
    layout.height += layout.title_height + height + kRowGap;
  return layout;
}

std::string list_of(const std::vector<Tic>& tics) {
  std::string list;
  for (const Tic& tic : tics)
    list += fmt::format("{}'{}' {:.6g}", list.empty() ? "" : ", ", tic.label, tic.position);
  return list;
}

// `named`: false where the names stand beside another panel.
std::string token_tics(const std::vector<std::string>& tokens, bool named,
                       const HeatmapLayout& layout) {
  std::string names;
  for (std::size_t token = 0; token < tokens.size(); ++token)
    names += fmt::format("{}{} {}", token == 0 ? "" : ", ",
                         gnuplot_quote(named ? tokens[token] : ""), token);
  const std::string small =
      layout.row < kRow ? fmt::format(" font ',{:.1f}'", kFontOfRows * layout.row / kRow) : "";
  return fmt::format("set ytics ({}) noenhanced offset screen {:.4f},0{}\nset yrange [{}:-0.5]\n",
                     names, -kNamesGap / layout.width, small,
                     static_cast<double>(tokens.size()) - 0.5);
}

// Layers as their panel calls them.
std::vector<Tic> named_layer_tics(const HeatmapPanel& panel, std::size_t most) {
  std::vector<std::int32_t> layers = panel.data.starts;
  for (std::int32_t& layer : layers) layer += panel.layer_shift;
  return layer_tics_of_columns(layers, most);
}

std::string start_tics(const HeatmapPlot& figure, const HeatmapPanel& panel,
                       const HeatmapLayout& layout) {
  const HeatmapResult& data = panel.data;
  const auto fitting = [&](double each) {
    return std::max<std::size_t>(2, static_cast<std::size_t>(layout.panel_width / each));
  };
  const double last = data.starts.empty() ? 0.5 : static_cast<double>(data.starts.size()) - 0.5;
  if (!figure.layer_label.empty())
    return fmt::format("set xrange [-0.5:{}]\nset xtics ({}) offset 0,0.3\nunset x2tics\n", last,
                       list_of(named_layer_tics(panel, fitting(kDepthTic))));
  return fmt::format(
      "set xrange [-0.5:{0}]\nset x2range [-0.5:{0}]\nset xtics ({1}) offset 0,0.3\n"
      "set x2tics ({2}) offset 0,-0.4 font ',7' textcolor rgb '#666666'\n",
      last, list_of(depth_tics_of_columns(data.starts, panel.layers, fitting(kDepthTic))),
      list_of(layer_tics_of_columns(data.starts, fitting(kLayerTic))));
}

// Beside the names of the subject's tokens, in the gap that is left for it.
std::string subject_bar(const HeatmapPanel& panel, double left, const HeatmapLayout& layout) {
  if (panel.subject_end <= panel.subject_begin) return "";
  return fmt::format(
      "set arrow 1 from screen {0:.4f},first {1} to screen {0:.4f},first {2} nohead front lc rgb "
      "'{3}' lw 3\n",
      (left - 0.06) / layout.width, panel.subject_begin - 0.42, panel.subject_end - 0.58,
      role_style("subject").color);
}

// `clipped`: whether some of its cells lie beyond the scale.
std::string panel_script(const HeatmapPlot& figure, const HeatmapLayout& layout, std::size_t index,
                         bool clipped) {
  const HeatmapPanel& panel = figure.panels[index];
  if (is_gap(panel)) return "";
  const std::size_t column = index % layout.columns, row = index / layout.columns;
  double row_top = layout.height - kTop - layout.header_height;
  for (std::size_t above = 0; above < row; ++above)
    row_top -= layout.title_height + layout.row_heights[above] + kRowGap;
  const double left = layout.left_of(column);
  const double top = row_top - layout.title_height;
  std::string script = fmt::format(
      "set lmargin at screen {:.4f}\nset rmargin at screen {:.4f}\nset tmargin at screen "
      "{:.4f}\nset bmargin at screen {:.4f}\n",
      left / layout.width, (left + layout.panel_width) / layout.width, top / layout.height,
      (top - layout.row * rows_of(panel)) / layout.height);
  script += text_script(
      panel.title,
      {left + 0.5 * layout.panel_width, row_top, layout.panel_width + 2 * kTitleOverhang, true},
      layout.width, layout.height);
  if (column == 0 && figure.layer_label.empty())
    script += fmt::format(
        "set label 'layer' at screen {:.4f},{:.4f} right font ',7' textcolor rgb '#666666'\n",
        (left - 0.09) / layout.width, (top + 0.12) / layout.height);
  script += token_tics(layout.row_names[index], column == 0 || !figure.shared_rows, layout) +
            start_tics(figure, panel, layout) + subject_bar(panel, left, layout);
  const bool any = std::any_of(panel.data.probability.begin(), panel.data.probability.end(),
                               [&](float p) { return !std::isnan(p) && !std::isnan(panel.clean); });
  return script +
         (any ? fmt::format("plot $m{} using 1:2:3 with image pixels{}\n", index,
                            clipped ? fmt::format(", $c{} using 1:2:3 with points pt 7 ps 0.15 "
                                                  "lc rgb variable",
                                                  index)
                                    : "")
              : "plot NaN\n") +
         "unset arrow 1\nunset label\nunset colorbox\n";
}

ColorScale scale_of(const HeatmapPlot& figure, const FigureOptions& options) {
  if (figure.scale) return *figure.scale;
  const double limit = options.heatmap_limit;
  ColorEnds ends = color_ends(figure, limit);
  return {-limit,
          limit,
          std::move(ends.low),
          std::move(ends.high),
          "p \u2212 p(clean)",
          diverging_palette(options.palette),
          true};
}

// The bar beside the first row of panels.
std::string color_bar(const ColorScale& scale, const HeatmapLayout& layout) {
  const double top = kTop + layout.header_height + layout.title_height;
  const double height =
      std::max(layout.row_heights[0], std::min(kLeastBar, layout.height - top - 0.1));
  return fmt::format(
      "set palette defined ({})\nset cbrange [{}:{}]\nset cbtics ('{}' {}{}, '{}' {}) "
      "scale 0.4 font ',8'\n"
      "set colorbox user origin screen {:.4f},screen {:.4f} size screen {:.4f},screen {:.4f} "
      "border\n"
      "set label '{}' at screen {:.4f},screen {:.4f} center rotate by 90\n",
      scale.palette, scale.low, scale.high, scale.low_text, scale.low,
      scale.low < 0 ? ", '0' 0" : "", scale.high_text, scale.high,
      1 - (kRight - 0.12) / layout.width, 1 - (top + height) / layout.height, 0.1 / layout.width,
      height / layout.height, scale.label, 1 - 0.09 / layout.width,
      1 - (top + 0.5 * height) / layout.height);
}

// The colours, what all panels have in common, and gray for what was not computed.
std::string common_script(const HeatmapPlot& figure, const HeatmapLayout& layout,
                          const ColorScale& scale) {
  // A label of layers is long: it takes the whole width.
  const double middle = figure.layer_label.empty() ? 0.5 * (layout.width - kRight + layout.names)
                                                   : 0.5 * layout.width;
  std::string script =
      "unset key\nset border 15 lc rgb '#444444' lw 0.8\nset tics nomirror out scale 0.4\n";
  for (std::size_t line = 0; line < layout.axis_label.size(); ++line)
    script +=
        fmt::format("set label {} at screen {:.4f},{:.4f} center noenhanced\n",
                    gnuplot_quote(layout.axis_label[line]), middle / layout.width,
                    (0.1 + kLineHeight * static_cast<double>(layout.axis_label.size() - 1 - line)) /
                        layout.height);
  if (!figure.header.empty())
    script += text_script(layout.header,
                          {0.5 * layout.width, layout.height - kTop + 0.02, layout.width, true},
                          layout.width, layout.height);
  return script + color_bar(scale, layout) +
         "set object 1 rectangle from graph 0,0 to graph 1,1 behind fc rgb '#DDDDDD' fs solid "
         "noborder\n";
}

// A grid whose rows are too wide: each takes as many lines of `columns` panels as it needs.
HeatmapPlot broken_rows(const HeatmapPlot& figure, std::size_t columns) {
  HeatmapPlot broken = figure;
  broken.columns = columns;
  broken.panels.clear();
  for (std::size_t i = 0; i < figure.panels.size(); ++i) {
    if (!is_gap(figure.panels[i])) broken.panels.push_back(figure.panels[i]);
    const bool row_ends = (i + 1) % figure.columns == 0;
    while (row_ends && broken.panels.size() % columns != 0) broken.panels.emplace_back();
  }
  return broken;
}

// One page.
Plot plot_of(const HeatmapPlot& figure, const FigureOptions& options, const HeatmapLayout& layout) {
  Plot plot;
  plot.stem = figure.stem;
  plot.title = figure.header;
  plot.width = layout.width;
  plot.height = layout.height;
  const ColorScale scale = scale_of(figure, options);
  bool any_clipped = false;
  plot.script = common_script(figure, layout, scale) + "set multiplot\n";
  for (std::size_t i = 0; i < figure.panels.size(); ++i) {
    const std::string clipped = clipped_cells(figure.panels[i], i, scale);
    any_clipped = any_clipped || !clipped.empty();
    plot.data += cells(figure.panels[i], i, scale) + clipped;
    plot.script += panel_script(figure, layout, i, !clipped.empty());
    if (!is_gap(figure.panels[i]))
      plot.notes.push_back(fmt::format("Panel {}.", join(figure.panels[i].title)));
  }
  plot.notes.push_back(fmt::format("Colour: {}, from {} to {}.{}", scale.label, scale.low_text,
                                   scale.high_text,
                                   any_clipped ? " A dot marks a cell that lies beyond." : ""));
  return plot;
}

// How many panels from `first` on fit on a page: whole rows, one at least.
std::size_t panels_of_page(const HeatmapPlot& figure, std::size_t first, const FontCoverage& fonts,
                           double width, std::size_t columns) {
  HeatmapPlot page = figure;
  page.page = true;
  const auto begin = figure.panels.begin() + static_cast<std::ptrdiff_t>(first);
  std::size_t count = figure.panels.size() - first;
  for (; count > columns; count = (count - 1) / columns * columns) {
    page.panels.assign(begin, begin + static_cast<std::ptrdiff_t>(count));
    if (std::all_of(page.panels.begin(), page.panels.end(), is_gap) ||
        lay_out(page, fonts, width, columns).height <= kPageHeight)
      break;
  }
  return count;
}

// In several parts where it is taller than a page. `ending`: of the stem.
std::vector<Plot> render_at(const HeatmapPlot& figure, const FigureOptions& options, double width,
                            std::size_t columns, const std::string& ending) {
  const std::size_t fitting = lay_out(figure, options.fonts, width, columns).columns;
  if (figure.grid && fitting < figure.columns)
    return render_at(broken_rows(figure, fitting), options, width, fitting, ending);
  std::vector<Plot> plots;
  for (std::size_t first = 0; first < figure.panels.size();) {
    const std::size_t count = panels_of_page(figure, first, options.fonts, width, fitting);
    HeatmapPlot page = figure;
    page.page = count < figure.panels.size();
    if (page.page) {
      const auto begin = figure.panels.begin() + static_cast<std::ptrdiff_t>(first);
      page.panels = {begin, begin + static_cast<std::ptrdiff_t>(count)};
      page.header += fmt::format(" (page {})", plots.size() + 1);
    }
    first += count;
    if (std::all_of(page.panels.begin(), page.panels.end(), is_gap)) continue;
    plots.push_back(plot_of(page, options, lay_out(page, options.fonts, width, fitting)));
    plots.back().title = figure.header;
    plots.back().stem =
        figure.stem + (plots.size() == 1 ? "" : fmt::format("_page{}", plots.size())) + ending;
  }
  return plots;
}

}  // namespace

bool is_gap(const HeatmapPanel& panel) {
  return panel.data.tokens.empty();
}

ColorEnds color_ends(const HeatmapPlot& figure, double limit) {
  bool below = false, above = false;
  for (const HeatmapPanel& panel : figure.panels)
    for (const float p : panel.data.probability) {
      const double value = static_cast<double>(p) - panel.clean;
      below = below || value < -limit;
      above = above || value > limit;
    }
  return {fmt::format("{}\u2212{:g}", below ? "\u2264 " : "", limit),
          fmt::format("{}+{:g}", above ? "\u2265 " : "", limit)};
}

std::vector<Plot> render(const HeatmapPlot& figure, const FigureOptions& options) {
  std::vector<Plot> plots = render_at(figure, options, kFullWidth, figure.columns, "");
  for (Plot& column : render_at(figure, options, kColumnWidth, 1, "_column")) {
    column.formats = {"pdf"};
    plots.push_back(std::move(column));
  }
  if (figure.scale) return plots;  // white to dark blue: for all eyes as it is
  FigureOptions for_all = options;
  for_all.palette = kPaletteForAll;
  for (Plot& plot : render_at(figure, for_all, kFullWidth, figure.columns, "_for_all_eyes"))
    plots.push_back(std::move(plot));
  return plots;
}

}  // namespace factflow
