#include "analysis/severing_report.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "analysis/html.hpp"
#include "analysis/line_svg.hpp"
#include "analysis/number_text.hpp"
#include "base/text.hpp"
#include "experiments/sever/sever_arrays.hpp"

namespace factflow {
namespace {

using html::escape;

const std::int32_t kShift = published_layer("h", 0);  // from the layer that h enters

// The published figure's hues in shades that differ for all eyes.
LineStyle style_of(const std::string& severed, std::size_t index) {
  if (severed == kNothingSevered) return {"#CC79A7", 1};
  if (severed == "s") return {"#D55E00", 2};
  if (severed == "g" || severed == "mlp") return {"#009E73", 4};
  if (severed == "o") return {"#0072B2", 3};
  if (severed == "o+mlp") return {"#000000", 5};
  return plain_style(index);
}

std::string label_of(const std::string& severed) {
  return severed == kNothingSevered ? "patch of h alone" : severed + " severed";
}
std::string place_of(const std::string& at) {
  return at == to_string(SeveredAt::kSubjectLast) ? "subject's last token" : "prompt's last token";
}

std::vector<std::string> places_of(const ModelSevering& severing) {
  std::vector<std::string> places;
  for (const SeveredCurve& curve : severing.curves)
    if (std::find(places.begin(), places.end(), curve.at) == places.end())
      places.push_back(curve.at);
  return places;
}

Line line_of(const ModelSevering& severing, const SeveredCurve& curve, std::size_t index) {
  Line line{label_of(curve.severed), style_of(curve.severed, index), severing.layers, true, {}};
  for (std::size_t i = 0; i < curve.points.size(); ++i) {
    const SeveredPoint& point = curve.points[i];
    line.points.push_back(
        {static_cast<double>(severing.patched[i]) / static_cast<double>(severing.layers),
         point.effect, point.effect - point.error, point.effect + point.error, point.n});
  }
  return line;
}

// Where the patch alone does most, the first of equals; nothing if it has no value.
std::optional<std::size_t> strongest(const SeveredCurve& patch) {
  std::optional<std::size_t> best;
  for (std::size_t i = 0; i < patch.points.size(); ++i)
    if (patch.points[i].n > 0 && (!best || patch.points[i].effect > patch.points[*best].effect))
      best = i;
  return best;
}

struct Peak {
  const SeveredCurve* curve;  // of a severing, or of the patch alone
  std::size_t layer;          // where the patch alone does most at this token
};
std::vector<Peak> peaks_of(const ModelSevering& severing) {
  std::vector<Peak> peaks;
  for (const std::string& place : places_of(severing)) {
    const SeveredCurve* patch = severing.curve(place, kNothingSevered);
    const auto layer = patch == nullptr ? std::nullopt : strongest(*patch);
    if (!layer) continue;
    for (const SeveredCurve& curve : severing.curves)
      if (curve.at == place) peaks.push_back({&curve, *layer});
  }
  return peaks;
}

std::string table_html(const Study& study) {
  std::vector<std::vector<std::string>> rows;
  for (const ModelSevering& severing : study.severings)
    for (const Peak& peak : peaks_of(severing)) {
      const SeveredPoint& point = peak.curve->points[peak.layer];
      rows.push_back({escape(severing.model), place_of(peak.curve->at),
                      escape(label_of(peak.curve->severed)),
                      html::prose(signed_number(point.effect, 3)),
                      html::prose(fmt::format("{:.3f}", point.error)),
                      html::prose(interval_text(point.interval, "", 3)),
                      html::prose(std::to_string(severing.patched[peak.layer] + kShift)),
                      std::to_string(point.n), std::to_string(point.facts)});
    }
  if (rows.empty()) return "";
  return html::table({"Model", "Token", "Path", "Mean effect", "Standard error", "95 % interval",
                      "Layer", "Prompts", "Facts"},
                     rows, 3);
}

}  // namespace

LinePlot severing_plot(const ModelSevering& severing) {
  LinePlot plot;
  plot.stem = "sever_" + severing.model;
  plot.header = severing.model + ", severed paths";
  plot.x_label = "Relative depth (layer that the patched h enters / layers)";
  for (const std::string& place : places_of(severing)) {
    Panel panel{{place_of(place)}, {"Share of high \u2212 low", -0.1, 1.3, 0}, {}};
    for (const SeveredCurve& curve : severing.curves)
      if (curve.at == place && std::any_of(curve.points.begin(), curve.points.end(),
                                           [](const SeveredPoint& point) { return point.n > 0; }))
        panel.lines.push_back(line_of(severing, curve, panel.lines.size()));
    if (!panel.lines.empty()) plot.panels.push_back(std::move(panel));
  }
  return plot;
}

std::string severing_caption(const ModelSevering& severing) {
  return fmt::format(
      "{}: path-specific effects. h of the clean run is patched at one token into the run of "
      "another subject; severed sites keep, at that token and in all layers above, their values "
      "of that run. Mean of (p \u2212 low) / (high \u2212 low) by layer, with one standard error "
      "(prompts of one fact as one cluster); values above 1 are not cut. {}.",
      severing.model,
      facts_in_words(severing.facts, "prompt with severed paths", "prompts with severed paths"));
}

std::string severings_html(const Study& study) {
  if (study.severings.empty()) return "";
  std::string text = fmt::format(
      "<section id=\"severings\"><h2>Severed paths</h2>\n<p>Through what a patch works: h of the "
      "clean run at one token, in the run of the same words about another subject, while some "
      "sites at that token keep in all layers above the values of that run. What the patch loses "
      "went through these sites; a value above 1 says that the severed site, as the other run "
      "has it, held back less than the model's own. Effect = (p \u2212 low) / (high \u2212 low); "
      "a prompt with high \u2212 low below {} has no part in means. Layer: the one behind which h "
      "is patched (\u22121 = embeddings). The table is of the layer where the patch alone does "
      "most. Every layer: <a href=\"tables/severings.csv\">severings.csv</a>; every prompt: "
      "<a href=\"tables/severing_facts.csv\">severing_facts.csv</a>.</p>\n<ul>\n",
      kLeastDifference);
  for (const std::string& sentence : severing_counts(study))
    text += fmt::format("<li>{}</li>\n", html::prose(sentence));
  text += "</ul>\n" + table_html(study);
  for (const ModelSevering& severing : study.severings) {
    LinePlot plot = severing_plot(severing);
    if (plot.panels.empty()) continue;
    plot.x_label = "layer behind which h is patched";
    text += fmt::format("<h3>{}</h3>\n{}<p class=\"weak\">{}</p>\n", escape(severing.model),
                        panels_html(plot, kShift), escape(severing_caption(severing)));
  }
  return text + "</section>\n";
}

std::vector<std::vector<std::string>> severing_rows(const Study& study) {
  std::vector<std::vector<std::string>> rows;
  for (const ModelSevering& severing : study.severings)
    for (const Peak& peak : peaks_of(severing)) {
      const SeveredPoint& point = peak.curve->points[peak.layer];
      rows.push_back(
          {severing.model,
           fmt::format("{}, {}", place_of(peak.curve->at), label_of(peak.curve->severed)),
           signed_number(point.effect, 3), interval_text(point.interval, "-", 3),
           fmt::format("{}/{}", severing.patched[peak.layer] + kShift, severing.layers),
           std::to_string(point.n), std::to_string(point.facts)});
    }
  if (!rows.empty())
    rows.insert(rows.begin(), {"model", "path", "mean", "95% interval", "layer", "n", "facts"});
  return rows;
}

std::vector<std::string> severing_counts(const Study& study) {
  std::vector<std::string> sentences;
  for (const ModelSevering& severing : study.severings)
    sentences.push_back(fmt::format("{}: severed paths of {}.", severing.model,
                                    facts_in_words(severing.facts, "prompt", "prompts")));
  return sentences;
}

}  // namespace factflow
