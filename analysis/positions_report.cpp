#include "analysis/positions_report.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "analysis/html.hpp"
#include "analysis/line_svg.hpp"
#include "analysis/number_text.hpp"
#include "analysis/palette.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

using html::escape;

constexpr std::size_t kMostPanels = 12;

std::vector<const PositionCurve*> of_model(const Study& study, const std::string& model) {
  std::vector<const PositionCurve*> all;
  for (const PositionCurve& curve : study.positions)
    if (curve.main && curve.model == model && !curve.points.empty()) all.push_back(&curve);
  return all;
}

std::string title_of(const PositionCurve& curve) {
  return fmt::format("{}, text {}", name_of_row(curve.edge).display(), curve.place);
}

Panel panel_of(const PositionCurve& curve) {
  Panel panel{{title_of(curve)}, {"Mean log change of p", -2, 0.5, 0}, {}};
  for (std::size_t i = 0; i < curve.points.size(); ++i) {
    const PositionPoint& point = curve.points[i];
    const std::vector<Measured>& values = point.by_start;
    Line line{counted(static_cast<std::uint64_t>(point.length), "neutral token"),
              ordered_style(i, curve.points.size()),
              curve.layers,
              i == 0 || i + 1 == curve.points.size(),
              {}};
    for (std::size_t start = 0; start < values.size(); ++start) {
      const bool interval = !std::isnan(values[start].interval.low);
      line.points.push_back(
          {static_cast<double>(curve.starts[start]) / static_cast<double>(curve.layers),
           values[start].value, interval ? values[start].interval.low : values[start].value,
           interval ? values[start].interval.high : values[start].value, point.n});
    }
    panel.lines.push_back(std::move(line));
  }
  return panel;
}

std::string table_html(const std::vector<const PositionCurve*>& curves) {
  std::vector<std::vector<std::string>> rows;
  for (const PositionCurve* curve : curves)
    for (const PositionPoint& point : curve->points)
      rows.push_back(
          {escape(title_of(*curve)), std::to_string(point.length),
           fmt::format("{:.1f}", point.subject_at), fmt::format("{:.1f}", point.distance),
           html::prose(fmt::format("{:.2f}", point.clean.value)),
           fmt::format("{:.0f}", 100 * point.right), html::prose(measured_text(point.effect)),
           html::prose(measured_text(point.against_none)),
           std::to_string(curve->starts[curve->start]), std::to_string(point.n),
           std::to_string(point.facts)});
  return html::table({"Edge, text", "Neutral tokens", "Subject at", "Subject to last", "Clean ln p",
                      "Right (%)", "Log change", "Against none", "at start", "Prompts", "Facts"},
                     rows, 1);
}

}  // namespace

std::vector<std::string> models_with_positions(const Study& study) {
  std::vector<std::string> models;
  for (const PositionCurve& curve : study.positions)
    if (curve.main && !curve.points.empty() &&
        std::find(models.begin(), models.end(), curve.model) == models.end())
      models.push_back(curve.model);
  return models;
}

LinePlot positions_plot(const Study& study, const std::string& model) {
  LinePlot plot;
  plot.stem = "position_" + model;
  plot.x_label = "Relative depth (start / layers)";
  for (const PositionCurve* curve : of_model(study, model)) {
    if (plot.panels.size() == kMostPanels) break;
    plot.header = fmt::format("{}, windows of {}, n = {}", model,
                              counted(static_cast<std::uint64_t>(curve->window), "layer"),
                              curve->points[0].n);
    plot.panels.push_back(panel_of(*curve));
  }
  return plot;
}

std::string positions_caption(const std::string& model) {
  return fmt::format(
      "{}: mean ln(p / p(clean)) of the same knockouts with so many neutral tokens in the prompt, "
      "before its text or between subject and last token; p(clean) is that of the same text. Bands "
      "(without, and with the most): 95 % bootstrap intervals over facts.",
      model);
}

BarPlot position_lengths_plot(const Study& study, const std::string& model) {
  BarPlot plot;
  plot.stem = "position_lengths_" + model;
  plot.header = model;
  plot.y_label = "Mean log change of p";
  plot.low = plot.high = 0;
  const std::vector<const PositionCurve*> curves = of_model(study, model);
  std::vector<std::int64_t> lengths;
  for (const PositionCurve* curve : curves)
    for (const PositionPoint& point : curve->points) lengths.push_back(point.length);
  std::sort(lengths.begin(), lengths.end());
  lengths.erase(std::unique(lengths.begin(), lengths.end()), lengths.end());
  for (const std::int64_t length : lengths) plot.groups.push_back(std::to_string(length));
  for (const PositionCurve* curve : curves) {
    BarSeries series{title_of(*curve), plain_style(plot.series.size()).color, {}};
    for (const std::int64_t length : lengths) {
      const auto point =
          std::find_if(curve->points.begin(), curve->points.end(),
                       [&](const PositionPoint& one) { return one.length == length; });
      series.bars.push_back(point == curve->points.end()
                                ? Bar{std::nan(""), {std::nan(""), std::nan("")}}
                                : Bar{point->effect.value, point->effect.interval});
      const Bar& bar = series.bars.back();
      if (std::isnan(bar.value)) continue;
      const bool whisker = !std::isnan(bar.interval.low);
      plot.low = std::min({plot.low, bar.value, whisker ? bar.interval.low : bar.value});
      plot.high = std::max({plot.high, bar.value, whisker ? bar.interval.high : bar.value});
    }
    plot.series.push_back(std::move(series));
  }
  const double room = 0.06 * (plot.high - plot.low);
  plot.low -= room;
  plot.high += room;
  return plot;
}

std::string position_lengths_caption(const std::string& model) {
  return fmt::format(
      "{}: the mean log change with so many neutral tokens, at the start where it is lowest "
      "without; "
      "whiskers are 95 % bootstrap intervals over facts.",
      model);
}

std::string positions_html(const Study& study) {
  const std::vector<std::string> models = models_with_positions(study);
  if (models.empty()) return "";
  std::string text =
      "<section id=\"position\"><h2>Does an effect depend on position and length?</h2>\n<p>The "
      "same "
      "prompts with neutral text in them: in front of the text (the subject stands further back, "
      "the "
      "distance to the last token is the same), or right behind the subject (the distance grows). "
      "Log changes are against the same text without a knockout, at the start where the edge's "
      "mean "
      "is lowest without neutral text; all lengths are of the same prompts. Against none: the "
      "effect "
      "as a multiple of that without neutral text. Distances are means in tokens. Every start: <a "
      "href=\"tables/positions.csv\">positions.csv</a>.</p>\n";
  for (const std::string& model : models) {
    const std::vector<const PositionCurve*> curves = of_model(study, model);
    text += fmt::format("<h3>{}</h3>\n", escape(model)) + table_html(curves);
    for (const PositionCurve* curve : curves)
      if (curve->too_long > 0)
        text += fmt::format(
            "<p class=\"weak\">{}: {} left out: too long with the most neutral "
            "tokens, failed, or without the edge.</p>\n",
            escape(title_of(*curve)), counted(curve->too_long, "prompt"));
    LinePlot plot = positions_plot(study, model);
    plot.x_label = "first layer of the window";
    text += panels_html(plot) +
            fmt::format("<p class=\"weak\">{}</p>\n", html::prose(positions_caption(model)));
  }
  return text + "</section>\n";
}

std::vector<std::vector<std::string>> position_rows(const Study& study) {
  std::vector<std::vector<std::string>> rows;
  for (const std::string& model : models_with_positions(study))
    for (const PositionCurve* curve : of_model(study, model)) {
      const PositionPoint &none = curve->points.front(), &most = curve->points.back();
      rows.push_back({model, fmt::format("{}, {}", curve->edge, curve->place),
                      fmt::format("{:.0f} to {:.0f}", none.distance, most.distance),
                      measured_text(none.effect), measured_text(most.effect),
                      measured_text(most.against_none), std::to_string(none.n),
                      std::to_string(none.facts)});
    }
  if (!rows.empty())
    rows.insert(rows.begin(), {"model", "edge, text", "subject to last", "without", "with the most",
                               "ratio", "n", "facts"});
  return rows;
}

}  // namespace factflow
