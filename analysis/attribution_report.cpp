#include "analysis/attribution_report.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include <fmt/format.h>

#include "analysis/html.hpp"
#include "analysis/line_svg.hpp"
#include "analysis/number_text.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

using html::escape;

constexpr EstimateMethod kMethods[] = {EstimateMethod::kGradient, EstimateMethod::kIntegrated};

// Hues that differ for all eyes (Okabe and Ito 2008), and dashes.
LineStyle style_of(const std::string& site, std::size_t index) {
  static const std::map<std::string, LineStyle> kStyles = {
      {"h", {"#000000", 1}}, {"a", {"#56B4E9", 2}}, {"s", {"#D55E00", 2}},  {"g", {"#009E73", 4}},
      {"y", {"#CC79A7", 5}}, {"o", {"#0072B2", 3}}, {"mlp", {"#E69F00", 4}}};
  const auto found = kStyles.find(site);
  return found == kStyles.end() ? plain_style(index) : found->second;
}

// What a row of panels shows.
struct Measure {
  ValueAxis axis;
  CellNumber (*of)(const Agreement& agreement);
};
double largest_difference(const Agreement& agreement) {
  return agreement.worst ? std::abs(agreement.worst->estimate - agreement.worst->exact)
                         : std::nan("");
}
std::vector<Measure> measures() {
  return {{{"Rank correlation", -0.05, 1, 0, -1, 1},
           [](const Agreement& agreement) { return agreement.correlation; }},
          {{"Share of equal signs", 0.45, 1, 1, 0, 1},
           [](const Agreement& agreement) { return agreement.same_sign; }},
          {{"Largest difference / (high \u2212 low)", 0, 1, 0, 0}, [](const Agreement& agreement) {
             const double worst = largest_difference(agreement);
             return CellNumber{worst, {worst, worst}};
           }}};
}

Line line_of(const ModelAttributions& attributions, const SiteAgreement& of, const Measure& measure,
             std::size_t index) {
  Line line{of.site, style_of(of.site, index), attributions.layers, true, {}};
  for (std::size_t layer = 0; layer < of.layers.size(); ++layer) {
    const Agreement& agreement = of.layers[layer];
    const CellNumber number = measure.of(agreement);
    const bool interval = !std::isnan(number.interval.low);
    line.band = line.band && interval;
    line.points.push_back({static_cast<double>(layer) / static_cast<double>(attributions.layers),
                           number.value, interval ? number.interval.low : number.value,
                           interval ? number.interval.high : number.value, agreement.prompts});
  }
  return line;
}

bool any_value(const Line& line) {
  return std::any_of(line.points.begin(), line.points.end(),
                     [](const LinePoint& point) { return !std::isnan(point.y); });
}

std::string worst_in_words(const Agreement& agreement) {
  if (!agreement.worst) return "";
  const WorstCell& worst = *agreement.worst;
  return fmt::format("{:.2f} ({} for {}; prompt {}, token {}, layer {})",
                     largest_difference(agreement), signed_number(worst.estimate, 2),
                     signed_number(worst.exact, 2), worst.prompt, worst.token, worst.layer);
}

std::string number_text(double value, int digits) {
  return std::isnan(value) ? "-" : fixed(value, digits);
}

std::string table_html(const Study& study) {
  std::vector<std::vector<std::string>> rows;
  for (const ModelAttributions& model : study.attributions)
    for (const SiteAgreement& of : model.sites) {
      const Agreement& all = of.all;
      rows.push_back({escape(model.model), escape(of.site),
                      escape(method_in_words(model, of.method)),
                      html::prose(number_text(all.correlation.value, 3)),
                      html::prose(interval_text(all.correlation.interval, "", 3)),
                      html::prose(number_text(all.same_sign.value, 3)),
                      html::prose(interval_text(all.same_sign.interval, "", 3)),
                      html::prose(number_text(all.difference.value, 4)),
                      html::prose(worst_in_words(all)), html::prose(trusted_in_words(of)),
                      std::to_string(all.cells), std::to_string(all.facts)});
    }
  if (rows.empty()) return "";
  return html::table(
      {"Model", "Site", "Estimate", "Rank correlation", "95 % interval", "Equal signs",
       "95 % interval", "Mean difference", "Largest difference (estimate for exact)",
       "Trusted layers", "Cells", "Facts"},
      rows, 3);
}

}  // namespace

std::string method_in_words(const ModelAttributions& attributions, EstimateMethod method) {
  if (method == EstimateMethod::kGradient) return "gradient";
  return fmt::format("integrated gradients, {}",
                     counted(static_cast<std::uint64_t>(attributions.steps), "step"));
}

std::string trusted_in_words(const SiteAgreement& agreement) {
  const std::vector<std::int32_t> layers = agreement.trusted_layers();
  std::vector<std::string> words;
  for (std::size_t begin = 0; begin < layers.size();) {
    std::size_t end = begin;
    while (end + 1 < layers.size() && layers[end + 1] == layers[end] + 1) ++end;
    const std::int32_t first = published_layer(agreement.site, layers[begin]),
                       last = published_layer(agreement.site, layers[end]);
    words.push_back(first == last ? std::to_string(first) : fmt::format("{} to {}", first, last));
    begin = end + 1;
  }
  return words.empty() ? "none" : join(words);
}

LinePlot attribution_plot(const ModelAttributions& attributions) {
  LinePlot plot;
  plot.stem = "attribution_" + attributions.model;
  plot.header = attributions.model + ", gradient estimates of causal traces";
  plot.x_label = "Relative depth (layer of the site / layers)";
  std::vector<EstimateMethod> methods;
  for (const EstimateMethod method : kMethods)
    if (std::any_of(attributions.sites.begin(), attributions.sites.end(),
                    [&](const SiteAgreement& of) { return of.method == method; }))
      methods.push_back(method);
  plot.columns = std::max<std::size_t>(methods.size(), 1);
  for (const Measure& measure : measures())
    for (const EstimateMethod method : methods) {
      Panel panel{{method_in_words(attributions, method)}, measure.axis, {}};
      for (const SiteAgreement& of : attributions.sites) {
        if (of.method != method) continue;
        Line line = line_of(attributions, of, measure, panel.lines.size());
        if (any_value(line)) panel.lines.push_back(std::move(line));
      }
      if (!panel.lines.empty()) plot.panels.push_back(std::move(panel));
    }
  return plot;
}

std::string attribution_caption(const ModelAttributions& attributions) {
  return fmt::format(
      "{}: gradient estimates against exact effects of restoring one value of the clean run, by "
      "site and layer: rank correlation over prompts and tokens from the subject on; share of "
      "equal signs where the exact effect is at least {} of high \u2212 low; largest difference. "
      "Bands: bootstrap over facts. {}.",
      attributions.model, kLeastEffect,
      facts_in_words(attributions.facts, "prompt with gradient estimates",
                     "prompts with gradient estimates"));
}

std::string attributions_html(const Study& study) {
  if (study.attributions.empty()) return "";
  std::string text = fmt::format(
      "<section id=\"attributions\"><h2>Gradient estimates</h2>\n<p>What restoring one value of "
      "the clean run would do in the run of the same words about another subject, estimated by "
      "gradients and computed by patching it, for every token from the subject on, layer and "
      "site. Rank correlation: Spearman's, of both over all such cells. Equal signs: of the cells "
      "whose exact effect is at least {} of high \u2212 low. Differences are shares of high \u2212 "
      "low. Intervals: bootstrap over facts, and none below {} facts. Trusted: layers where the "
      "lower ends of both intervals reach {} and {}; of h the layer behind which it is patched "
      "(\u22121 = embeddings). A prompt with high \u2212 low below {} has no part. Every layer: <a "
      "href=\"tables/attributions.csv\">attributions.csv</a>; every prompt: <a "
      "href=\"tables/attribution_facts.csv\">attribution_facts.csv</a>.</p>\n<ul>\n",
      kLeastEffect, kFewestClusters, kTrustedCorrelation, kTrustedSign, kLeastDifference);
  for (const std::string& sentence : attribution_counts(study))
    text += fmt::format("<li>{}</li>\n", html::prose(sentence));
  text += "</ul>\n" + table_html(study);
  for (const ModelAttributions& model : study.attributions) {
    LinePlot plot = attribution_plot(model);
    if (plot.panels.empty()) continue;
    plot.x_label = "layer of the site";
    text += fmt::format("<h3>{}</h3>\n{}<p class=\"weak\">{}</p>\n", escape(model.model),
                        panels_html(plot), escape(attribution_caption(model)));
  }
  return text + "</section>\n";
}

std::vector<std::vector<std::string>> attribution_rows(const Study& study) {
  std::vector<std::vector<std::string>> rows;
  for (const ModelAttributions& model : study.attributions)
    for (const SiteAgreement& of : model.sites) {
      const Agreement& all = of.all;
      rows.push_back(
          {model.model, fmt::format("{}, {}", of.site, method_in_words(model, of.method)),
           number_text(all.correlation.value, 3), interval_text(all.correlation.interval, "-", 3),
           number_text(all.same_sign.value, 3), all.worst ? fixed(largest_difference(all), 2) : "-",
           trusted_in_words(of), std::to_string(all.cells), std::to_string(all.facts)});
    }
  if (!rows.empty())
    rows.insert(rows.begin(),
                {"model", "site and estimate", "rank correlation", "95% interval", "equal signs",
                 "largest difference", "trusted layers", "cells", "facts"});
  return rows;
}

std::vector<std::string> attribution_counts(const Study& study) {
  std::vector<std::string> sentences;
  for (const ModelAttributions& model : study.attributions)
    sentences.push_back(fmt::format("{}: gradient estimates of {}.", model.model,
                                    facts_in_words(model.facts, "prompt", "prompts")));
  return sentences;
}

}  // namespace factflow
