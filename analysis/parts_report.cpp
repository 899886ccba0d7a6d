#include "analysis/parts_report.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "analysis/html.hpp"
#include "analysis/line_svg.hpp"
#include "analysis/number_text.hpp"
#include "analysis/part_plots.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

using html::escape;
using Rows = std::vector<std::vector<std::string>>;

std::string with_interval(const Resampled& of, int digits) {
  const std::string interval = interval_text(of.interval, "", digits);
  return html::prose(signed_number(of.value, digits) + (interval.empty() ? "" : " " + interval));
}

std::string slices_table(const Study& study) {
  Rows rows;
  for (const ModelParts& model : study.parts)
    for (const DividedEdge& edge : model.edges) {
      if (edge.parts.size() < 2) continue;
      const PartsAtStart& at = edge.at_strongest();
      rows.push_back({escape(model.model), escape(edge.edge), escape(edge.division),
                      std::to_string(edge.window), std::to_string(at.start),
                      with_interval(at.whole, 1), with_interval(at.sum, 1),
                      with_interval(at.excess, 1), with_interval(at.trend, 2),
                      with_interval(edge.bend, 2), with_interval(edge.slow_share, 2),
                      std::to_string(edge.n), std::to_string(edge.facts)});
    }
  if (rows.empty()) return "";
  return "<h3>Parts against the whole</h3>\n<p>At the start where the whole knockout lowers the "
         "mean most. Sum: of the mean changes of all parts alone; sum \u2212 whole is not 0 where "
         "parts replace or need each other. Trend: Spearman's correlation of a slice's place and "
         "its mean change (of random slices the control). Bend: the share of the ranking before "
         "the best split into two plateaus. Slow third: its share of the sum.</p>\n" +
         html::table({"Model", "Edge", "Parts", "Window", "Start", "Whole, %", "Sum, %",
                      "Sum \u2212 whole", "Trend", "Bend", "Slow third", "Prompts", "Facts"},
                     rows, 3);
}

std::string contrasts_table(const Study& study) {
  Rows rows;
  for (const ModelParts& model : study.parts)
    for (const SlowAgainstRandom& of : model.contrasts)
      rows.push_back({escape(model.model), escape(of.edge), escape(of.slices), escape(of.control),
                      std::to_string(of.window), std::to_string(of.start),
                      with_interval(of.slow, 1), with_interval(of.fast, 1),
                      with_interval(of.random, 1), with_interval(of.difference, 1),
                      std::to_string(of.n), std::to_string(of.facts)});
  if (rows.empty()) return "";
  return "<h3>Slow slices against random ones</h3>\n<p>Mean change of one slice of the slowest "
         "third of the ranking, of the fastest, and of one as large whose channels are drawn; "
         "random \u2212 slow is above 0 where slow channels carry more.</p>\n" +
         html::table({"Model", "Edge", "Slices", "Control", "Window", "Start", "Slow, %", "Fast, %",
                      "Random, %", "Random \u2212 slow", "Prompts", "Facts"},
                     rows, 4);
}

std::string needed_table(const Study& study) {
  Rows rows;
  for (const ModelParts& model : study.parts)
    for (const CumulatedCurve& curve : model.cumulated)
      for (const CumulatedCurve::Order& order : curve.orders)
        rows.push_back({escape(model.model), escape(curve.edge), escape(curve.division),
                        escape(order.name), std::to_string(curve.window),
                        std::to_string(curve.start), with_interval(order.needed, 0),
                        std::to_string(order.parts.size()), with_interval(curve.whole, 1),
                        std::to_string(curve.n), std::to_string(curve.facts)});
  if (rows.empty()) return "";
  return fmt::format(
             "<h3>How many are needed</h3>\n<p>Parts are knocked out together, one more at a time, "
             "until the mean change is {:.0f} % of the whole edge's. greedy: those with the "
             "largest effect alone first, as ordering prompts have it; random: a drawn order. "
             "Every step: <a href=\"tables/part_steps.csv\">part_steps.csv</a>.</p>\n",
             100 * kMostOfEffect) +
         html::table({"Model", "Edge", "Parts", "Order", "Window", "Start", "Needed", "Of",
                      "Whole, %", "Prompts", "Facts"},
                     rows, 4);
}

std::string overlaps_table(const Study& study) {
  Rows rows;
  for (const ModelParts& model : study.parts)
    for (const DividedEdge& edge : model.edges) {
      if (edge.overlaps.empty()) continue;
      double shared = 0, correlation = 0, correlated = 0;
      for (const PartOverlap& of : edge.overlaps) {
        shared += static_cast<double>(of.shared);
        if (std::isnan(of.correlation)) continue;
        correlation += of.correlation;
        correlated += 1;
      }
      const auto pairs = static_cast<double>(edge.overlaps.size());
      rows.push_back({escape(model.model), escape(edge.edge), escape(edge.division),
                      std::to_string(edge.window), std::to_string(edge.overlaps.size()),
                      std::to_string(edge.overlaps[0].top), fmt::format("{:.1f}", shared / pairs),
                      fmt::format("{:.1f}", edge.overlaps[0].expected),
                      html::prose(signed_number(correlation / correlated, 2))});
    }
  if (rows.empty()) return "";
  return "<h3>The same parts for all relations?</h3>\n<p>Of each pair of relations: how many of "
         "the "
         "parts with the largest drop (a quarter of all) both have in common, what chance gives, "
         "and Spearman's correlation over all parts; means over the pairs, at the strongest start. "
         "Every pair: <a href=\"tables/part_overlaps.csv\">part_overlaps.csv</a>.</p>\n" +
         html::table({"Model", "Edge", "Parts", "Window", "Pairs", "Top", "Shared", "By chance",
                      "Correlation"},
                     rows, 3);
}

// The largest drops, as a list that can be opened.
std::string bars_table(const Study& study) {
  std::string text;
  for (const ModelParts& model : study.parts)
    for (const DividedEdge& edge : model.edges) {
      Rows rows;
      for (const PartCell& cell : largest_drops(edge))
        rows.push_back({escape(edge.parts[cell.part]),
                        std::to_string(edge.starts[cell.start].start),
                        with_interval(edge.starts[cell.start].parts[cell.part], 1)});
      text += fmt::format(
          "<details><summary>{}, {} by {}, window of {}: the largest drops</summary>{}</details>\n",
          escape(model.model), escape(edge.edge), escape(edge.division), edge.window,
          html::table({"Part", "Start", "Change, %"}, rows, 1));
    }
  return text.empty() ? "" : "<h3>Single parts</h3>\n" + text;
}

// In the report the other axis counts parts.
std::string panels_of(LinePlot plot, const char* x_label, const std::string& caption) {
  if (plot.panels.empty()) return "";
  plot.x_label = x_label;
  return fmt::format("{}<p class=\"weak\">{}</p>\n", panels_html(plot), escape(caption));
}

std::string counts_in_words(const ModelParts& parts) {
  std::vector<std::string> left_out;
  if (parts.failed > 0) left_out.push_back(fmt::format("{} without a value", parts.failed));
  if (parts.outside > 0)
    left_out.push_back(
        fmt::format("{} with a clean probability outside the limits", parts.outside));
  return fmt::format("{} of {}{}", parts.prompts - parts.failed - parts.outside,
                     counted(parts.prompts, "prompt"),
                     left_out.empty() ? "" : "; left out: " + join(left_out));
}

}  // namespace

std::string parts_html(const Study& study) {
  if (study.parts.empty()) return "";
  std::string text =
      "<section id=\"parts\"><h2>Parts of an edge</h2>\n<p>The edge is cut on some of the channels "
      "or heads alone: on single heads, on equal slices of the decay ranking (slowest first), on "
      "slices as large whose channels are drawn, or on groups of neighbours. Parts of one division "
      "have nothing in common and are everything together. Every part and start: <a "
      "href=\"tables/parts.csv\">parts.csv</a>.</p>\n<ul>\n";
  for (const std::string& sentence : part_counts(study))
    text += fmt::format("<li>{}</li>\n", html::prose(sentence));
  text += "</ul>\n" + slices_table(study) + contrasts_table(study) + needed_table(study) +
          overlaps_table(study) + bars_table(study);
  for (const ModelParts& model : study.parts) {
    const std::string panels =
        panels_of(part_slices_plot(model), "slice", part_slices_caption(model)) +
        panels_of(part_depth_plot(model), "start layer", part_depth_caption(model)) +
        panels_of(part_cumulated_plot(model), "parts", part_cumulated_caption(model));
    if (!panels.empty()) text += fmt::format("<h3>{}</h3>\n{}", escape(model.model), panels);
  }
  return text + "</section>\n";
}

std::vector<std::vector<std::string>> slice_rows(const Study& study) {
  Rows rows;
  for (const ModelParts& model : study.parts)
    for (const DividedEdge& edge : model.edges) {
      const PartsAtStart& at = edge.at_strongest();
      rows.push_back({model.model, fmt::format("{} by {}", edge.edge, edge.division),
                      std::to_string(edge.window), fmt::format("{}/{}", at.start, model.layers),
                      signed_number(at.whole.value, 1), signed_number(at.sum.value, 1),
                      signed_number(at.excess.value, 1), interval_text(at.excess.interval, "-"),
                      signed_number(at.trend.value, 2), interval_text(at.trend.interval, "-", 2),
                      std::to_string(edge.n), std::to_string(edge.facts)});
    }
  if (!rows.empty())
    rows.insert(rows.begin(),
                {"model", "parts", "window", "start", "whole %", "sum %", "sum - whole",
                 "95% interval", "trend", "95% interval", "n", "facts"});
  return rows;
}

std::vector<std::vector<std::string>> needed_rows(const Study& study) {
  Rows rows;
  for (const ModelParts& model : study.parts)
    for (const CumulatedCurve& curve : model.cumulated)
      for (const CumulatedCurve::Order& order : curve.orders)
        rows.push_back(
            {model.model, fmt::format("{} by {}", curve.edge, curve.division), order.name,
             std::to_string(curve.window), fmt::format("{}/{}", curve.start, model.layers),
             fmt::format("{:.0f}", order.needed.value),
             interval_text(order.needed.interval, "-", 0), std::to_string(order.parts.size()),
             std::to_string(curve.n), std::to_string(curve.facts)});
  if (!rows.empty())
    rows.insert(rows.begin(), {"model", "parts", "order", "window", "start", "needed",
                               "95% interval", "of", "n", "facts"});
  return rows;
}

std::vector<std::string> part_counts(const Study& study) {
  std::vector<std::string> sentences;
  for (const ModelParts& parts : study.parts)
    sentences.push_back(
        fmt::format("{}: parts of edges of {}.", parts.model, counts_in_words(parts)));
  return sentences;
}

}  // namespace factflow
