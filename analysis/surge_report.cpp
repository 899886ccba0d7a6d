#include "analysis/surge_report.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "analysis/html.hpp"
#include "analysis/line_svg.hpp"
#include "analysis/number_text.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

using html::escape;

constexpr const char* kPartTitles[kParts] = {"own logit (inhibition)", "strongest competitor",
                                             "other tokens", "final norm's scale"};
constexpr const char* kModelColors[] = {"#0072B2", "#D55E00", "#009E73", "#CC79A7",
                                        "#E69F00", "#56B4E9", "#000000", "#999999"};

std::string layers_text(std::int64_t window) {
  return counted(static_cast<std::uint64_t>(window), "layer");
}

LinePoint point_of(double x, const Measured& measured) {
  const bool interval = !std::isnan(measured.interval.low);
  return {x, measured.value, interval ? measured.interval.low : measured.value,
          interval ? measured.interval.high : measured.value, measured.n};
}

Line lens_line(const Surge& s, std::string label, LineStyle style,
               const std::vector<Measured>& values) {
  Line line{std::move(label), std::move(style), s.layers, true, {}};
  for (std::size_t depth = 0; depth < values.size(); ++depth)
    line.points.push_back(
        point_of(static_cast<double>(depth) / static_cast<double>(s.layers), values[depth]));
  return line;
}

// What the components "LAYER SITE" of one site write more.
Line written_line(const Surge& s, const std::string& site, LineStyle style) {
  Line line{site, std::move(style), s.layers, true, {}};
  for (std::size_t i = 0; i < s.components.size(); ++i) {
    const std::size_t space = s.components[i].find(' ');
    if (space == std::string::npos || s.components[i].substr(space + 1) != site) continue;
    line.points.push_back(
        point_of(std::stod(s.components[i].substr(0, space)) / static_cast<double>(s.layers),
                 s.written_more[i]));
  }
  return line;
}

std::string parts_table(const Surge& s) {
  std::vector<std::vector<std::string>> rows;
  rows.push_back({"the answer's ln p", html::prose(measured_text(s.change, 3)), ""});
  for (std::size_t part = 0; part < kParts; ++part)
    rows.push_back({kPartTitles[part], html::prose(measured_text(s.parts[part], 3)),
                    html::prose(measured_text(s.shares[part]))});
  return html::table({"What changes", "by", "share of the change"}, rows, 1);
}

// A share, in percent.
std::string weight_text(const Measured& weight) {
  if (std::isnan(weight.value)) return "the mixers do not say";
  if (std::isnan(weight.interval.low)) return fmt::format("{:.1f} %", 100 * weight.value);
  return fmt::format("{:.1f} [{:.1f}, {:.1f}] %", 100 * weight.value, 100 * weight.interval.low,
                     100 * weight.interval.high);
}

std::string numbers_table(const Surge& s) {
  const auto more = [](const Measured& measured, int digits = 2) {
    return html::prose(measured_text(measured, digits));
  };
  return html::table(
      {"Beside it", "mean and 95 % interval"},
      {{"prompts in which the answer gains", fmt::format("{} of {}", s.gaining, s.n)},
       {"what all blocks write more to the answer's logit", more(s.own_written)},
       {"what they write more to the competitor's", more(s.competitor_written)},
       {"ln of the final norm's scale, against the clean run", more(s.scale_ratio, 3)},
       {"the competitor's ln p", more(s.competitor_change)},
       {"the competitor's part of what other tokens lose", more(s.lost_to_competitor)},
       {"tokens that hold half of that (median)", fmt::format("{:.0f}", s.half_lost)},
       {"the last token reads the first one (these layers, clean)",
        weight_text(s.weights[kFromFirst])},
       {"the last token reads itself", weight_text(s.weights[kFromItself])},
       {"the last token reads the others", weight_text(s.weights[kFromOthers])}},
      1);
}

std::string losers_table(const Surge& s) {
  std::vector<std::vector<std::string>> rows;
  for (const Surge::Loser& loser : s.losers)
    rows.push_back({escape(fmt::format("'{}'", loser.text)), std::to_string(loser.prompts),
                    html::prose(fmt::format("{:.4f}", loser.loss))});
  if (rows.empty()) return "";
  return html::table({"Token that loses most", "Prompts", "Mean loss of p there"}, rows, 1);
}

std::string surge_html(const Surge& s) {
  std::string text = fmt::format(
      "<h3>{}, last {}</h3>\n<p><b>What does the surge remove?</b> {}. Of {}; asked were {}, of "
      "which {} failed or are not computed yet and {} lie outside the limits.</p>\n",
      escape(s.model), layers_text(s.window), html::prose(surge_in_words(s)),
      count_text(s.n, s.facts), s.prompts, s.failed, s.outside);
  if (s.n == 0) return text;
  LinePlot plot = surge_plot(s);
  plot.x_label = "layer";
  return text + parts_table(s) + numbers_table(s) + losers_table(s) + panels_html(plot) +
         fmt::format("<p class=\"weak\">{}</p>\n", html::prose(surge_caption(s)));
}

}  // namespace

BarPlot surge_parts_plot(const std::vector<Surge>& surges) {
  BarPlot plot;
  plot.stem = "surge_parts";
  plot.header = "last \u2192 last blocked in the last layers";
  plot.y_label = "Part of the change of ln p";
  plot.low = plot.high = 0;
  plot.groups = {"whole", "own logit", "competitor", "other tokens", "scale"};
  for (const Surge& s : surges) {
    if (s.n == 0) continue;
    BarSeries series{fmt::format("{}, last {}", s.model, layers_text(s.window)),
                     kModelColors[plot.series.size() % std::size(kModelColors)],
                     {{s.change.value, s.change.interval}}};
    for (const Measured& part : s.parts) series.bars.push_back({part.value, part.interval});
    for (const Bar& bar : series.bars) {
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

std::string surge_parts_caption() {
  return "Of what the mean change of the answer's ln p consists when last \u2192 last is blocked "
         "in "
         "the last layers: Shapley values of the answer's own logit (less the mean logit), the "
         "strongest competitor's, all other tokens', and the final norm's scale, whose sum is the "
         "whole; whiskers are 95 % bootstrap intervals over facts.";
}

LinePlot surge_plot(const Surge& s) {
  LinePlot plot;
  plot.stem = fmt::format("surge_{}_w{}", s.model, s.window);
  plot.header = fmt::format("{}, last \u2192 last blocked in the last {}, n = {}", s.model,
                            layers_text(s.window), s.n);
  plot.x_label = "Relative depth (layer / layers)";
  plot.own_legends = true;
  Panel read;
  read.title = {"read off the stream"};
  read.axis = {"Mean ln p", -8, 0, 0};
  read.lines = {lens_line(s, "answer, clean", {"#0072B2", 1}, s.lens_answer[kClean]),
                lens_line(s, "answer, blocked", {"#0072B2", 2}, s.lens_answer[kKnocked]),
                lens_line(s, "competitor, clean", {"#D55E00", 1}, s.lens_competitor[kClean]),
                lens_line(s, "competitor, blocked", {"#D55E00", 2}, s.lens_competitor[kKnocked])};
  plot.panels.push_back(std::move(read));
  Panel written;
  written.title = {"written more to the answer"};
  written.axis = {"Logit, blocked less clean", -0.5, 0.5, 0};
  for (const auto& [site, style] :
       {std::pair("o", LineStyle{"#000000", 1}), std::pair("mlp", LineStyle{"#009E73", 2})})
    if (Line line = written_line(s, site, style); !line.points.empty())
      written.lines.push_back(std::move(line));
  if (!written.lines.empty()) plot.panels.push_back(std::move(written));
  return plot;
}

std::string surge_caption(const Surge& s) {
  return fmt::format(
      "{}: left, ln p of the answer and of its strongest competitor by the final norm and head at "
      "the last token's stream, clean and with last \u2192 last blocked in the last {}; right, "
      "what "
      "each layer's mixer (o) and MLP (mlp) write to the answer's logit, blocked less clean, at "
      "the "
      "clean run's scale. Bands: 95 % bootstrap intervals over facts.",
      s.model, layers_text(s.window));
}

std::string surges_html(const Study& study) {
  if (study.surges.empty()) return "";
  std::string text =
      "<section id=\"surge\"><h2>What does the last token's surge remove?</h2>\n<p>The last token "
      "does not read itself in the last layers. The answer's ln p then changes for four reasons, "
      "told apart exactly: its own logit changes (inhibition, if it rises), the strongest "
      "competitor's does (its removal, if it falls), the other tokens' do, and the final norm "
      "multiplies by something else (normalisation). Each has its Shapley value, the mean over all "
      "orders in which they may change; the four sum to the whole. Logits are less their mean over "
      "the vocabulary, which no probability notices. Every prompt: <a "
      "href=\"tables/surge_prompts.csv\">surge_prompts.csv</a>; every layer: <a "
      "href=\"tables/surge_layers.csv\">surge_layers.csv</a>.</p>\n";
  for (const Surge& s : study.surges) text += surge_html(s);
  return text + "</section>\n";
}

std::vector<std::vector<std::string>> surge_rows(const Study& study) {
  std::vector<std::vector<std::string>> rows;
  for (const Surge& s : study.surges) {
    if (s.n == 0) continue;
    rows.push_back({s.model, std::to_string(s.window), measured_text(s.change, 4)});
    for (const Measured& part : s.parts) rows.back().push_back(measured_text(part, 4));
    rows.back().insert(rows.back().end(), {std::to_string(s.n), std::to_string(s.facts)});
  }
  if (!rows.empty())
    rows.insert(rows.begin(), {"model", "last layers", "change of ln p", "own logit", "competitor",
                               "other tokens", "scale", "n", "facts"});
  return rows;
}

}  // namespace factflow
