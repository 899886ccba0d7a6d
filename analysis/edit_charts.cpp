#include "analysis/edit_charts.hpp"

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include <fmt/format.h>

#include "analysis/html.hpp"
#include "analysis/palette.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

using html::escape;

// Of a picture, in its own units.
constexpr double kWidth = 340, kHeight = 184, kLeft = 34, kRight = 10, kTop = 8, kBottom = 22;
constexpr double kArea = kWidth - kLeft - kRight, kDepth = kHeight - kTop - kBottom;
constexpr const char* kBefore = "#888888";

struct ChartPanel {
  EditMeasure measure;
  const char* title;
};
constexpr ChartPanel kCharts[] = {{EditMeasure::kEfficacy, "ES: rewrite prompts (%)"},
                                  {EditMeasure::kParaphrase, "PS: paraphrases (%)"},
                                  {EditMeasure::kNeighbourhood, "NS: neighbours (%)"},
                                  {EditMeasure::kScore, "S: their harmonic mean"}};

// What is drawn of a model: edits with values, by layer.
struct ChartEdits {
  const ModelEdits* edits = nullptr;
  std::vector<const EditScore*> scores;
  std::vector<std::string> matrices;
  bool lines = false;  // of several layers

  std::string color(std::size_t score) const {
    if (!lines) return plain_style(score).color;
    const auto found = std::find(matrices.begin(), matrices.end(), scores[score]->matrix);
    return plain_style(static_cast<std::size_t>(found - matrices.begin())).color;
  }
  double x(std::size_t score) const {
    const double share =
        lines ? static_cast<double>(scores[score]->layer) /
                    static_cast<double>(std::max<std::int64_t>(1, edits->layers - 1))
              : (static_cast<double>(score) + 0.5) / static_cast<double>(scores.size());
    return kLeft + share * kArea;
  }
};

double y(double percent) {
  return kTop + (1 - percent / 100) * kDepth;
}

ChartEdits chart_edits(const ModelEdits& edits) {
  ChartEdits chart{&edits, {}, edits.matrices(), false};
  std::set<std::int64_t> layers;
  for (const EditScore& score : edits.scores)
    if (score.main_set && score.of(EditMeasure::kEfficacy).n > 0) {
      chart.scores.push_back(&score);
      layers.insert(score.layer);
    }
  std::stable_sort(chart.scores.begin(), chart.scores.end(),
                   [](const EditScore* a, const EditScore* b) { return a->layer < b->layer; });
  chart.lines = layers.size() > 1;
  return chart;
}

std::string words(const ChartEdits& chart, std::size_t score, const EditEstimate& of) {
  const std::string interval =
      std::isnan(of.interval.low)
          ? ""
          : fmt::format(" [{}, {}]", fixed(of.interval.low, 1), fixed(of.interval.high, 1));
  return escape(fmt::format("{}: {}{}, before {}, n = {}",
                            chart.edits->results.edits[chart.scores[score]->edit],
                            fixed(of.value, 1), interval, fixed(of.unedited, 1), of.n));
}

std::string axes(const ChartEdits& chart) {
  std::string text;
  for (const int percent : {0, 25, 50, 75, 100})
    text += fmt::format(
        "<line x1=\"{0}\" x2=\"{1}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\" stroke=\"#E2E2E2\"/><text "
        "x=\"{3}\" y=\"{4:.1f}\" text-anchor=\"end\">{5}</text>",
        kLeft, kLeft + kArea, y(percent), kLeft - 4, y(percent) + 4, percent);
  const double below = kHeight - 6;
  if (!chart.lines) {
    for (std::size_t i = 0; i < chart.scores.size(); ++i)
      text +=
          fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>", chart.x(i),
                      below, escape(chart.edits->results.edits[chart.scores[i]->edit]));
    return text + "\n";
  }
  const std::int64_t last = chart.edits->layers - 1;
  for (const std::int64_t layer : std::set<std::int64_t>{0, last / 2, last})
    text += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}{}</text>",
                        kLeft + kArea * static_cast<double>(layer) /
                                    static_cast<double>(std::max<std::int64_t>(1, last)),
                        below, layer == 0 ? "layer " : "", layer);
  return text + "\n";
}

std::string whisker(double x, const Interval& interval, const std::string& color) {
  if (std::isnan(interval.low)) return "";
  return fmt::format(
      "<line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\" stroke=\"{3}\" "
      "stroke-opacity=\"0.45\" stroke-width=\"2\"/>",
      x, y(interval.low), y(interval.high), color);
}

std::string path(const std::vector<std::pair<double, double>>& points, const std::string& color,
                 const char* dashes) {
  std::string list;
  for (const auto& [x, value] : points) list += fmt::format("{:.1f},{:.1f} ", x, y(value));
  return fmt::format(
      "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.6\" "
      "stroke-dasharray=\"{}\"/>",
      list, color, dashes);
}

// The same prompts before, one point for each layer.
std::string before_line(const ChartEdits& chart, EditMeasure measure) {
  std::vector<std::pair<double, double>> points;
  std::set<std::int64_t> layers;
  for (std::size_t i = 0; i < chart.scores.size(); ++i)
    if (const double value = chart.scores[i]->of(measure).unedited;
        !std::isnan(value) && layers.insert(chart.scores[i]->layer).second)
      points.emplace_back(chart.x(i), value);
  return path(points, kBefore, "4 3");
}

std::string lines_svg(const ChartEdits& chart, EditMeasure measure) {
  std::string text = before_line(chart, measure);
  for (const std::string& matrix : chart.matrices) {
    std::vector<std::pair<double, double>> points;
    std::string marks, color;
    for (std::size_t i = 0; i < chart.scores.size(); ++i) {
      const EditEstimate& of = chart.scores[i]->of(measure);
      if (chart.scores[i]->matrix != matrix || std::isnan(of.value)) continue;
      color = chart.color(i);
      points.emplace_back(chart.x(i), of.value);
      marks += whisker(chart.x(i), of.interval, color) +
               fmt::format(
                   "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.2\" fill=\"{}\"><title>{}"
                   "</title></circle>",
                   chart.x(i), y(of.value), color, words(chart, i, of));
    }
    if (!points.empty()) text += path(points, color, "none") + marks + "\n";
  }
  return text;
}

std::string bars_svg(const ChartEdits& chart, EditMeasure measure) {
  std::string text;
  const double half = std::min(26.0, 0.32 * kArea / static_cast<double>(chart.scores.size()));
  for (std::size_t i = 0; i < chart.scores.size(); ++i) {
    const EditEstimate& of = chart.scores[i]->of(measure);
    if (std::isnan(of.value)) continue;
    const double x = chart.x(i);
    text += fmt::format(
        "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"{}\"><title>{}"
        "</title></rect>",
        x - half, y(of.value), 2 * half, y(0) - y(of.value), chart.color(i), words(chart, i, of));
    text += whisker(x, of.interval, "#222222");
    if (!std::isnan(of.unedited))
      text += fmt::format(
          "<line x1=\"{0:.1f}\" x2=\"{1:.1f}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\" stroke=\"#111111\" "
          "stroke-width=\"2\" stroke-dasharray=\"4 3\"/>\n",
          x - 1.25 * half, x + 1.25 * half, y(of.unedited));
  }
  return text;
}

std::string legend(const ChartEdits& chart) {
  std::string text = "<p class=\"weak\">";
  if (chart.lines)
    for (std::size_t i = 0; i < chart.matrices.size(); ++i)
      text += fmt::format("<span style=\"color:{}\">\u25CF</span> {}&ensp;", plain_style(i).color,
                          escape(chart.matrices[i]));
  return text + "- - before the edit</p>\n";
}

}  // namespace

std::string edit_charts_html(const ModelEdits& edits) {
  const ChartEdits chart = chart_edits(edits);
  if (chart.scores.empty()) return "";
  std::string text =
      fmt::format("<h4>{}</h4>\n{}<div class=\"panels\">\n", escape(edits.model), legend(chart));
  for (const ChartPanel& panel : kCharts)
    text += fmt::format(
        "<div class=\"panel\"><h4>{}</h4><svg viewBox=\"0 0 {} {}\" width=\"100%\" "
        "font-size=\"11\" role=\"img\" aria-label=\"{}\">\n{}{}</svg></div>\n",
        panel.title, kWidth, kHeight, escape(fmt::format("{}, {}", edits.model, panel.title)),
        axes(chart),
        chart.lines ? lines_svg(chart, panel.measure) : bars_svg(chart, panel.measure));
  return text + "</div>\n";
}

}  // namespace factflow
