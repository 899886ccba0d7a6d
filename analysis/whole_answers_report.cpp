#include "analysis/whole_answers_report.hpp"

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

std::vector<const WholeAnswer*> of_model(const Study& study, const std::string& model) {
  std::vector<const WholeAnswer*> all;
  for (const WholeAnswer& answer : study.whole_answers)
    if (answer.main && answer.model == model && answer.n > 0) all.push_back(&answer);
  return all;
}

Line line_of(const WholeAnswer& a, std::string label, LineStyle style,
             const std::vector<Measured>& values) {
  Line line{std::move(label), std::move(style), a.layers, true, {}};
  for (std::size_t start = 0; start < values.size(); ++start) {
    const bool interval = !std::isnan(values[start].interval.low);
    line.points.push_back({static_cast<double>(a.starts[start]) / static_cast<double>(a.layers),
                           values[start].value,
                           interval ? values[start].interval.low : values[start].value,
                           interval ? values[start].interval.high : values[start].value, a.n});
  }
  return line;
}

}  // namespace

std::vector<std::string> models_with_whole_answers(const Study& study) {
  std::vector<std::string> models;
  for (const WholeAnswer& answer : study.whole_answers)
    if (answer.main && answer.n > 0 &&
        std::find(models.begin(), models.end(), answer.model) == models.end())
      models.push_back(answer.model);
  return models;
}

LinePlot whole_answers_plot(const Study& study, const std::string& model) {
  LinePlot plot;
  plot.stem = "answers_" + model;
  plot.x_label = "Relative depth (start / layers)";
  for (const WholeAnswer* answer : of_model(study, model)) {
    if (plot.panels.size() == kMostPanels) break;
    plot.header = fmt::format("{}, windows of {}", model,
                              counted(static_cast<std::uint64_t>(answer->window), "layer"));
    plot.panels.push_back({{name_of_row(answer->edge).display()},
                           {"Mean log change of p", -2, 0.5, 0},
                           {line_of(*answer, "first token", {"#0072B2", 1}, answer->first),
                            line_of(*answer, "whole answer", {"#000000", 2}, answer->whole)}});
  }
  return plot;
}

std::string whole_answers_caption(const std::string& model) {
  return fmt::format(
      "{}: mean ln(p / p(clean)) of the answer's first token and of the whole answer, whose tokens "
      "are read one behind the other with the edge blocked into each; answers of several tokens. "
      "Bands: 95 % bootstrap intervals over facts.",
      model);
}

std::string whole_answers_html(const Study& study) {
  const std::vector<std::string> models = models_with_whole_answers(study);
  if (models.empty()) return "";
  std::string text =
      "<section id=\"answers\"><h2>Does the first token speak for the whole answer?</h2>\n<p>Of "
      "answers of several tokens: log changes of the first token's probability and of the whole "
      "answer's, the product over its tokens. What is blocked into the last token is blocked into "
      "the answer's tokens behind it as well. The later tokens' part is that of the whole answer's "
      "change, at the start where the first token's is lowest. "
      "Every start: <a href=\"tables/whole_answers.csv\">whole_answers.csv</a>.</p>\n";
  for (const std::string& model : models) {
    std::vector<std::vector<std::string>> rows;
    for (const WholeAnswer* a : of_model(study, model))
      rows.push_back(
          {escape(name_of_row(a->edge).display()), std::to_string(a->starts[a->start]),
           html::prose(measured_text(a->first[a->start])),
           html::prose(measured_text(a->whole[a->start])),
           html::prose(measured_text(a->later_share)),
           html::prose(fmt::format("{:.2f} / {:.2f}", a->clean_first.value, a->clean_whole.value)),
           fmt::format("{:.1f}", a->tokens), std::to_string(a->n), std::to_string(a->facts),
           std::to_string(a->single)});
    text += fmt::format("<h3>{}</h3>\n", escape(model)) +
            html::table(
                {"Edge", "at start", "First token", "Whole answer", "Later tokens' part",
                 "Clean ln p, first / whole", "Tokens", "Prompts", "Facts", "Left out: one token"},
                rows, 1);
    LinePlot plot = whole_answers_plot(study, model);
    plot.x_label = "first layer of the window";
    text += panels_html(plot) +
            fmt::format("<p class=\"weak\">{}</p>\n", html::prose(whole_answers_caption(model)));
  }
  return text + "</section>\n";
}

std::vector<std::vector<std::string>> whole_answer_rows(const Study& study) {
  std::vector<std::vector<std::string>> rows;
  for (const std::string& model : models_with_whole_answers(study))
    for (const WholeAnswer* a : of_model(study, model))
      rows.push_back({model, a->edge, fmt::format("{}/{}", a->starts[a->start], a->layers),
                      measured_text(a->first[a->start]), measured_text(a->whole[a->start]),
                      measured_text(a->later_share), std::to_string(a->n),
                      std::to_string(a->facts)});
  if (!rows.empty())
    rows.insert(rows.begin(), {"model", "edge", "start", "first token", "whole answer",
                               "later tokens' part", "n", "facts"});
  return rows;
}

}  // namespace factflow
