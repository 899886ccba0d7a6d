#include "analysis/mean_knockout_report.hpp"

#include <algorithm>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "analysis/html.hpp"
#include "analysis/line_svg.hpp"
#include "analysis/number_text.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

using html::escape;

// The published figure's hues in shades that differ for all eyes.
LineStyle style_of(const std::string& set, std::size_t index) {
  if (set == "subject") return {"#009E73", 1};
  if (set == "subject-last") return {"#0072B2", 3};
  if (set == "non-subject") return {"#CC79A7", 2};
  if (set == "prompt-last") return {"#D55E00", 4};
  return plain_style(index);
}

std::string title_of_mode(const std::string& mode) {
  if (mode == "edges") return "edges: cut to the last token";
  if (mode.starts_with("mean-")) return mode + ": mean at the tokens";
  return mode + ": mean seen by the last token alone";
}

Line line_of(const ModelMeanKnockouts& knockouts, const MeanKnockoutCurve& curve,
             std::size_t index) {
  Line line{curve.set, style_of(curve.set, index), knockouts.layers, true, {}};
  for (std::size_t i = 0; i < curve.points.size(); ++i) {
    const MeanKnockoutPoint& point = curve.points[i];
    line.points.push_back(
        {static_cast<double>(curve.centres[i]) / static_cast<double>(knockouts.layers),
         point.change, point.change - point.error, point.change + point.error, point.n});
  }
  return line;
}

std::string counts_in_words(const ModelMeanKnockouts& knockouts) {
  std::vector<std::string> left_out;
  if (knockouts.failed > 0) left_out.push_back(fmt::format("{} without a value", knockouts.failed));
  if (knockouts.outside > 0)
    left_out.push_back(
        fmt::format("{} with a clean probability outside the limits", knockouts.outside));
  return fmt::format("{} of {}{}", knockouts.prompts - knockouts.failed - knockouts.outside,
                     counted(knockouts.prompts, "prompt"),
                     left_out.empty() ? "" : "; left out: " + join(left_out));
}

// The lowest mean, the first of equals.
const MeanKnockoutPoint* lowest(const MeanKnockoutCurve& curve, std::int32_t& centre) {
  const MeanKnockoutPoint* best = nullptr;
  for (std::size_t i = 0; i < curve.points.size(); ++i)
    if (curve.points[i].n > 0 && (best == nullptr || curve.points[i].change < best->change)) {
      best = &curve.points[i];
      centre = curve.centres[i];
    }
  return best;
}

std::string table_html(const Study& study) {
  std::vector<std::vector<std::string>> rows;
  for (const ModelMeanKnockouts& knockouts : study.mean_knockouts)
    for (const MeanKnockoutCurve& curve : knockouts.curves) {
      std::int32_t centre = 0;
      const MeanKnockoutPoint& point = *lowest(curve, centre);
      rows.push_back({escape(knockouts.model), escape(curve.mode), escape(curve.set),
                      std::to_string(curve.window), html::prose(signed_number(point.change, 3)),
                      html::prose(fmt::format("{:.3f}", point.error)),
                      html::prose(interval_text(point.interval, "", 3)), std::to_string(centre),
                      std::to_string(point.n), std::to_string(point.facts)});
    }
  if (rows.empty()) return "";
  return fmt::format(
      "<details open><summary>lowest mean change of every mode and set: {}</summary>"
      "{}</details>\n",
      counted(rows.size(), "row"),
      html::table({"Model", "Mode", "Tokens", "Window", "Mean change", "Standard error",
                   "95 % interval", "Centre", "Prompts", "Facts"},
                  rows, 3));
}

}  // namespace

std::vector<std::int64_t> windows_of(const ModelMeanKnockouts& knockouts) {
  std::set<std::int64_t> sizes;
  for (const MeanKnockoutCurve& curve : knockouts.curves) sizes.insert(curve.window);
  return {sizes.begin(), sizes.end()};
}

LinePlot mean_knockout_plot(const ModelMeanKnockouts& knockouts, std::int64_t window) {
  LinePlot plot;
  plot.stem = fmt::format("mean_knockout_{}", knockouts.model);
  if (windows_of(knockouts).size() > 1) plot.stem += fmt::format("_w{}", window);
  plot.header = fmt::format("{}, tokens knocked out in a window of {}", knockouts.model,
                            counted(static_cast<std::uint64_t>(window), "layer"));
  plot.x_label = "Relative depth (centre layer / layers)";
  std::vector<std::string> modes;
  for (const MeanKnockoutCurve& curve : knockouts.curves) {
    if (curve.window != window) continue;
    auto mode = std::find(modes.begin(), modes.end(), curve.mode);
    const auto panel = static_cast<std::size_t>(mode - modes.begin());
    if (mode == modes.end()) {
      modes.push_back(curve.mode);
      plot.panels.push_back(
          {{title_of_mode(curve.mode)}, {"Relative change of p", -1.08, 0.6, 0, -1.08}, {}});
    }
    std::vector<Line>& lines = plot.panels[panel].lines;
    lines.push_back(line_of(knockouts, curve, lines.size()));
  }
  return plot;
}

std::string mean_knockout_caption(const ModelMeanKnockouts& knockouts, std::int64_t window) {
  std::string means;
  const std::int64_t documents = knockouts.reference_documents;
  if (knockouts.reference_prompts > 0 || documents > 0)
    means = fmt::format(
        " Means are of {} ({}).",
        documents > 0 ? counted(static_cast<std::uint64_t>(documents), "document")
                      : counted(static_cast<std::uint64_t>(knockouts.reference_prompts), "prompt"),
        counted(static_cast<std::uint64_t>(knockouts.reference_tokens), "token"));
  return fmt::format(
      "{}: mean of (p\u2032 \u2212 p) / p with tokens knocked out in a window of {}, by its "
      "centre, "
      "with one standard error (prompts of one fact as one cluster). {}.{}",
      knockouts.model, counted(static_cast<std::uint64_t>(window), "layer"),
      counts_in_words(knockouts), means);
}

std::string mean_knockouts_html(const Study& study) {
  if (study.mean_knockouts.empty()) return "";
  std::string text =
      "<section id=\"mean-knockouts\"><h2>Knockouts by means</h2>\n<p>What the last token loses "
      "when other tokens are taken out in a window of layers. mean: the input of the convolution "
      "is its mean over other prompts at the tokens, and what the clean run has at every other "
      "token before the last (Sharma et al.); two-stream: only the last token sees it, by a "
      "second scan; edges: the tokens' edges to the last one are cut in the state or in the "
      "attention scores. subject-last is the subject's last token, non-subject all others but the "
      "prompt's last, prompt-last that one. A prompt without such tokens has no part in a mean. "
      "Every centre: <a href=\"tables/mean_knockouts.csv\">mean_knockouts.csv</a>.</p>\n<ul>\n";
  for (const std::string& sentence : mean_knockout_counts(study))
    text += fmt::format("<li>{}</li>\n", html::prose(sentence));
  text += "</ul>\n" + table_html(study);
  for (const ModelMeanKnockouts& knockouts : study.mean_knockouts)
    for (const std::int64_t window : windows_of(knockouts)) {
      LinePlot plot = mean_knockout_plot(knockouts, window);
      plot.x_label = "centre layer";
      text +=
          fmt::format("<h3>{}, window of {}</h3>\n{}<p class=\"weak\">{}</p>\n",
                      escape(knockouts.model), counted(static_cast<std::uint64_t>(window), "layer"),
                      panels_html(plot), escape(mean_knockout_caption(knockouts, window)));
    }
  return text + "</section>\n";
}

std::vector<std::vector<std::string>> mean_knockout_rows(const Study& study) {
  std::vector<std::vector<std::string>> rows;
  for (const ModelMeanKnockouts& knockouts : study.mean_knockouts)
    for (const MeanKnockoutCurve& curve : knockouts.curves) {
      std::int32_t centre = 0;
      const MeanKnockoutPoint& point = *lowest(curve, centre);
      rows.push_back({knockouts.model, fmt::format("{}, {}", curve.mode, curve.set),
                      std::to_string(curve.window), signed_number(point.change, 3),
                      interval_text(point.interval, "-", 3),
                      fmt::format("{}/{}", centre, knockouts.layers), std::to_string(point.n),
                      std::to_string(point.facts)});
    }
  if (!rows.empty())
    rows.insert(rows.begin(), {"model", "knockout", "window", "lowest mean", "95% interval",
                               "centre", "n", "facts"});
  return rows;
}

std::vector<std::string> mean_knockout_counts(const Study& study) {
  std::vector<std::string> sentences;
  for (const ModelMeanKnockouts& knockouts : study.mean_knockouts)
    sentences.push_back(
        fmt::format("{}: knockouts by means of {}.", knockouts.model, counts_in_words(knockouts)));
  return sentences;
}

}  // namespace factflow
