#include "analysis/baselines_report.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "analysis/html.hpp"
#include "analysis/line_svg.hpp"
#include "analysis/number_text.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

using html::escape;

constexpr std::size_t kMostPanels = 12;

std::vector<const Baselines*> of_model(const Study& study, const std::string& model) {
  std::vector<const Baselines*> all;
  for (const Baselines& b : study.baselines)
    if (b.main && b.model == model && b.n > 0) all.push_back(&b);
  return all;
}

LineStyle style_of(const std::string& baseline) {
  if (baseline == "zero") return {"#000000", 1};
  return baseline == "mean" ? LineStyle{"#0072B2", 2} : LineStyle{"#D55E00", 4};
}

Line line_of(const Baselines& b, const BaselineCurve& curve) {
  Line line{curve.baseline, style_of(curve.baseline), b.layers, true, {}};
  for (std::size_t i = 0; i < curve.log.size(); ++i) {
    const Measured& log = curve.log[i];
    const bool interval = !std::isnan(log.interval.low);
    line.points.push_back({static_cast<double>(b.starts[i]) / static_cast<double>(b.layers),
                           log.value, interval ? log.interval.low : log.value,
                           interval ? log.interval.high : log.value, b.n});
  }
  return line;
}

const char* color_of(Reading reading) {
  if (reading == Reading::kLowers) return "213,94,0,.45";
  if (reading == Reading::kRaises) return "0,114,178,.45";
  return reading == Reading::kLittle ? "0,0,0,.08" : "255,255,255,0";
}

// A row a baseline, a column a start: the reading, and where readings contradict each other.
std::string readings_html(const Baselines& b) {
  std::vector<std::string> header = {escape(b.what)};
  for (const std::int32_t start : b.starts) header.push_back(std::to_string(start));
  std::vector<std::vector<std::string>> rows;
  for (const BaselineCurve& curve : b.curves) {
    rows.push_back({escape(curve.baseline)});
    for (std::size_t i = 0; i < curve.log.size(); ++i)
      rows.back().push_back(fmt::format(
          "<span style=\"display:block;background:rgba({})\" title=\"{}: {}\">{}</span>",
          color_of(curve.reading[i]), to_string(curve.reading[i]),
          escape(measured_text(curve.log[i])), html::prose(signed_number(curve.log[i].value, 2))));
  }
  rows.push_back({"differ"});
  for (std::size_t i = 0; i < b.starts.size(); ++i)
    rows.back().emplace_back(std::any_of(b.disagreements.begin(), b.disagreements.end(),
                                         [&](const Disagreement& d) { return d.start == i; })
                                 ? "\u2260"
                                 : "");
  return html::table(header, rows, 1);
}

std::string lowest_of(const Baselines& b, const BaselineCurve& curve) {
  return fmt::format("{} {} at {}", curve.baseline, measured_text(curve.log[curve.lowest]),
                     b.starts[curve.lowest]);
}

}  // namespace

std::vector<std::string> models_with_baselines(const Study& study) {
  std::vector<std::string> models;
  for (const Baselines& b : study.baselines)
    if (b.main && b.n > 0 && std::find(models.begin(), models.end(), b.model) == models.end())
      models.push_back(b.model);
  return models;
}

LinePlot baselines_plot(const Study& study, const std::string& model) {
  LinePlot plot;
  plot.stem = "baselines_" + model;
  plot.x_label = "Relative depth (start / layers)";
  for (const Baselines* b : of_model(study, model)) {
    if (plot.panels.size() == kMostPanels) break;
    plot.header = fmt::format("{}, windows of {}", model,
                              counted(static_cast<std::uint64_t>(b->window), "layer"));
    Panel panel{{b->what}, {"Mean log change of p", -2, 0.5, 0}, {}};
    for (const BaselineCurve& curve : b->curves) panel.lines.push_back(line_of(*b, curve));
    plot.panels.push_back(std::move(panel));
  }
  return plot;
}

std::string baselines_caption(const std::string& model) {
  return fmt::format(
      "{}: mean ln(p / p(clean)) with a site's value at the tokens replaced in a window of layers "
      "by "
      "zero, by its mean over other prompts, or by another prompt's value; bands are 95 % "
      "bootstrap "
      "intervals over facts.",
      model);
}

std::string baselines_html(const Study& study) {
  const std::vector<std::string> models = models_with_baselines(study);
  if (models.empty()) return "";
  std::string text = fmt::format(
      "<section id=\"baselines\"><h2>Zero, mean or another prompt's value?</h2>\n<p>The same "
      "windows "
      "with three baselines. A reading is decided by the 95 % bootstrap interval of the mean log "
      "change over facts: lowers (below \u2212{0}, orange), little (within \u00B1{0}, gray), "
      "raises "
      "(above {0}, blue); else it is open (white). \u2260 marks starts at which two decided "
      "readings "
      "differ and so does the paired mean. Columns are the first layers of the windows. Every "
      "number: <a href=\"tables/baselines.csv\">baselines.csv</a>.</p>\n",
      kLittleLogChange);
  for (const std::string& model : models) {
    text += fmt::format("<h3>{}</h3>\n", escape(model));
    for (const Baselines* b : of_model(study, model)) text += readings_html(*b);
    LinePlot plot = baselines_plot(study, model);
    plot.x_label = "first layer of the window";
    text += panels_html(plot) +
            fmt::format("<p class=\"weak\">{}</p>\n", html::prose(baselines_caption(model)));
  }
  return text + "</section>\n";
}

std::vector<std::vector<std::string>> baseline_rows(const Study& study) {
  std::vector<std::vector<std::string>> rows;
  for (const std::string& model : models_with_baselines(study))
    for (const Baselines* b : of_model(study, model)) {
      std::vector<std::string> lowest;
      for (const BaselineCurve& curve : b->curves) lowest.push_back(lowest_of(*b, curve));
      std::vector<std::string> differ;
      for (const Disagreement& d : b->disagreements)
        if (const std::string start = std::to_string(b->starts[d.start]);
            differ.empty() || differ.back() != start)
          differ.push_back(start);
      rows.push_back({model, b->what, join(lowest), differ.empty() ? "-" : join(differ, " "),
                      std::to_string(b->n), std::to_string(b->facts)});
    }
  if (!rows.empty())
    rows.insert(rows.begin(), {"model", "ablation", "lowest mean log change", "readings differ at",
                               "n", "facts"});
  return rows;
}

}  // namespace factflow
