#include "analysis/combined_report.hpp"

#include <algorithm>
#include <array>
#include <cmath>
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

constexpr std::size_t kMostPanels = 12;
constexpr const char* kTogether = "together";
constexpr const char* kSum = "sum of each alone";

std::string display(const std::string& label) {
  return name_of_row(label).display();
}

std::vector<const Combined*> of_model(const Study& study, const std::string& model) {
  std::vector<const Combined*> all;
  for (const Combined& c : study.combined)
    if (c.main && c.model == model && c.n > 0) all.push_back(&c);
  return all;
}

Line line_of(const Combined& c, std::string label, LineStyle style, bool band,
             const std::vector<const Measured*>& values) {
  Line line{std::move(label), std::move(style), c.layers, band, {}};
  for (std::size_t i = 0; i < values.size(); ++i) {
    const bool interval = !std::isnan(values[i]->interval.low);
    line.points.push_back({static_cast<double>(c.starts[i]) / static_cast<double>(c.layers),
                           values[i]->value, interval ? values[i]->interval.low : values[i]->value,
                           interval ? values[i]->interval.high : values[i]->value, c.n});
  }
  return line;
}

Panel panel_of(const Combined& c) {
  Panel panel{{display(c.label)}, {"Mean log change of p", -2, 0.5, 0}, {}};
  const auto column = [&](auto member) {
    std::vector<const Measured*> values;
    for (const CombinedPoint& point : c.points) values.push_back(member(point));
    return values;
  };
  for (std::size_t part = 0; part < c.parts.size(); ++part)
    panel.lines.push_back(
        line_of(c, display(c.parts[part]) + " alone", plain_style(part), false,
                column([&](const CombinedPoint& point) { return &point.alone[part]; })));
  panel.lines.push_back(line_of(c, kSum, {"#777777", 2}, false,
                                column([](const CombinedPoint& point) { return &point.sum; })));
  panel.lines.push_back(
      line_of(c, kTogether, {"#000000", 1}, true,
              column([](const CombinedPoint& point) { return &point.together; })));
  return panel;
}

// ---- small matrices

// Red: less than the sum (they overlap); blue: more.
std::string cell_html(const Measured& interaction, double largest) {
  const double share =
      largest > 0 ? std::clamp(std::abs(interaction.value) / largest, 0.0, 1.0) : 0;
  const bool clear = interaction.interval.low > 0 || interaction.interval.high < 0;
  return fmt::format(
      "<span style=\"display:block;padding:.1rem .4rem;{}background:rgba({},{:.2f})\""
      ">{}</span>",
      clear ? "font-weight:600;" : "", interaction.value > 0 ? "213,94,0" : "0,114,178",
      0.55 * share, html::prose(measured_text(interaction)));
}

const Combined* find_pair(const std::vector<const Combined*>& all, const std::string& a,
                          const std::string& b) {
  for (const Combined* c : all)
    if (c->parts.size() == 2 &&
        ((c->parts[0] == a && c->parts[1] == b) || (c->parts[0] == b && c->parts[1] == a)))
      return c;
  return nullptr;
}

std::string matrix_html(const std::vector<const Combined*>& all, std::size_t third) {
  constexpr std::array kThirds = {"First third of the windows", "Middle third", "Last third"};
  std::vector<std::string> parts;
  double largest = 0;
  for (const Combined* c : all) {
    if (c->parts.size() != 2) continue;
    for (const std::string& part : c->parts)
      if (std::find(parts.begin(), parts.end(), part) == parts.end()) parts.push_back(part);
    for (const Measured& measured : c->thirds)
      largest = std::max(largest, std::abs(measured.value));
  }
  if (parts.size() < 2) return "";
  std::vector<std::string> header = {kThirds.at(third)};
  for (std::size_t i = 1; i < parts.size(); ++i) header.push_back(escape(display(parts[i])));
  std::vector<std::vector<std::string>> rows;
  for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
    rows.push_back({escape(display(parts[i]))});
    for (std::size_t j = 1; j < parts.size(); ++j) {
      const Combined* c = j > i ? find_pair(all, parts[i], parts[j]) : nullptr;
      rows.back().push_back(
          c == nullptr || third >= c->thirds.size() ? "" : cell_html(c->thirds[third], largest));
    }
  }
  return html::table(header, rows, 1);
}

std::string table_html(const std::vector<const Combined*>& all) {
  std::vector<std::vector<std::string>> rows;
  for (const Combined* c : all) {
    const CombinedPoint& point = c->points[c->strongest];
    std::vector<std::string> alone;
    for (const Measured& part : point.alone) alone.push_back(signed_number(part.value, 2));
    rows.push_back({escape(display(c->label)), std::to_string(c->starts[c->strongest]),
                    html::prose(join(alone)), html::prose(measured_text(point.sum)),
                    html::prose(measured_text(point.together)),
                    html::prose(measured_text(point.interaction)),
                    html::prose(measured_text(c->share)),
                    html::prose(fmt::format("{} / {}", signed_number(point.change_together, 1),
                                            signed_number(point.change_sum, 1))),
                    std::to_string(c->n), std::to_string(c->facts)});
  }
  return html::table({"Combination", "at start", "Alone", "Sum", "Together", "Interaction",
                      "Share of the sum", "Together / sum (%)", "Prompts", "Facts"},
                     rows, 1);
}

}  // namespace

std::vector<std::string> models_with_combined(const Study& study) {
  std::vector<std::string> models;
  for (const Combined& c : study.combined)
    if (c.main && c.n > 0 && std::find(models.begin(), models.end(), c.model) == models.end())
      models.push_back(c.model);
  return models;
}

LinePlot combined_plot(const Study& study, const std::string& model) {
  LinePlot plot;
  plot.stem = "combined_" + model;
  plot.x_label = "Relative depth (start / layers)";
  plot.own_legends = true;
  for (const Combined* c : of_model(study, model)) {
    if (plot.panels.size() == kMostPanels) break;
    plot.header = fmt::format("{}, windows of {}", model,
                              counted(static_cast<std::uint64_t>(c->window), "layer"));
    plot.panels.push_back(panel_of(*c));
  }
  return plot;
}

std::string combined_caption(const std::string& model) {
  return fmt::format(
      "{}: mean ln(p / p(clean)) of knockouts alone, of both together (band: 95 % bootstrap "
      "interval "
      "over facts), and the sum of the lines of each alone. Where black lies on the gray line they "
      "add up.",
      model);
}

std::string combined_html(const Study& study) {
  const std::vector<std::string> models = models_with_combined(study);
  if (models.empty()) return "";
  std::string text =
      "<section id=\"combined\"><h2>Do two knockouts add up?</h2>\n<p>Log changes, ln(p / "
      "p(clean)), "
      "of knockouts alone and together in the same windows. Interaction = together less the sum: 0 "
      "where they add up; above 0 the two overlap (what one removes, the other cannot remove "
      "again); "
      "below 0 each stands in for the other. Share = interaction as a part of the sum's size, "
      "where "
      "the sum is lowest. Intervals are 95 % bootstraps over facts; bold cells leave out 0. "
      "Percent "
      "of p itself cannot fall below \u2212100 %, so they are no sums: they are given beside. "
      "Every "
      "start: <a href=\"tables/combined.csv\">combined.csv</a>.</p>\n";
  for (const std::string& model : models) {
    const std::vector<const Combined*> all = of_model(study, model);
    text += fmt::format("<h3>{}</h3>\n<p><b>Do two knockouts add up?</b> {}</p>\n", escape(model),
                        html::prose(combined_in_words(study.combined, model))) +
            table_html(all);
    for (std::size_t third = 0; third < 3; ++third) text += matrix_html(all, third);
    LinePlot plot = combined_plot(study, model);
    plot.x_label = "first layer of the window";
    text += panels_html(plot) +
            fmt::format("<p class=\"weak\">{}</p>\n", html::prose(combined_caption(model)));
  }
  return text + "</section>\n";
}

std::vector<std::vector<std::string>> combined_rows(const Study& study) {
  std::vector<std::vector<std::string>> rows;
  for (const std::string& model : models_with_combined(study))
    for (const Combined* c : of_model(study, model)) {
      const CombinedPoint& point = c->points[c->strongest];
      rows.push_back({model, c->label, fmt::format("{}/{}", c->starts[c->strongest], c->layers),
                      measured_text(point.sum), measured_text(point.together),
                      measured_text(point.interaction), measured_text(c->share),
                      std::to_string(c->n), std::to_string(c->facts)});
    }
  if (!rows.empty())
    rows.insert(rows.begin(), {"model", "combination", "start", "sum", "together", "interaction",
                               "share of the sum", "n", "facts"});
  return rows;
}

}  // namespace factflow
