#include "analysis/beyond_questions_report.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "analysis/html.hpp"
#include "analysis/number_text.hpp"

namespace factflow {
namespace {

using html::escape;

const char* class_of(Verdict verdict) {
  if (verdict == Verdict::kHolds) return "holds";
  return verdict == Verdict::kDoesNotHold ? "fails" : "open";
}

// Signs say which way a difference goes, and nothing of a share.
std::string in_style(const BeyondQuestion& question, std::string text) {
  if (!question.differences) std::erase(text, '+');
  return text;
}
std::string value_text(const BeyondQuestion& question, const QuestionAnswer& answer) {
  return in_style(question, signed_number(answer.number.value, answer.digits));
}
std::string ends_text(const BeyondQuestion& question, const QuestionAnswer& answer,
                      const std::string& none) {
  return in_style(question, interval_text(answer.number.interval, none, answer.digits));
}

bool has_interval(const QuestionAnswer& answer) {
  return !std::isnan(answer.number.interval.low);
}

// ---- a number with its interval on the axis that all models of a question share

struct Axis {
  double low = 0, high = 0;
  double place(double value) const {  // in a picture 200 wide
    return 4 + 192 * std::clamp((value - low) / (high - low), 0.0, 1.0);
  }
};

Axis axis_of(const BeyondQuestion& question) {
  Axis axis{std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()};
  const auto take = [&](double value) {
    if (!std::isfinite(value)) return;
    axis.low = std::min(axis.low, value);
    axis.high = std::max(axis.high, value);
  };
  take(question.band.low);
  take(question.band.high);
  for (const QuestionAnswer& answer : question.models)
    if (answer.comparable())
      for (const double value :
           {answer.number.value, answer.number.interval.low, answer.number.interval.high})
        take(value);
  const double room = 0.05 * (axis.high - axis.low);
  return axis.high > axis.low ? Axis{axis.low - room, axis.high + room}
                              : Axis{axis.low - 1, axis.high + 1};
}

std::string picture(const BeyondQuestion& question, const QuestionAnswer& answer) {
  if (!answer.comparable() || !std::isfinite(answer.number.value)) return "";
  const Axis axis = axis_of(question);
  const double from = axis.place(std::max(question.band.low, axis.low)),
               to = axis.place(std::min(question.band.high, axis.high));
  std::string text = fmt::format(
      "<svg class=\"whisker\" viewBox=\"0 0 200 18\" preserveAspectRatio=\"none\" role=\"img\" "
      "aria-label=\"{}\"><rect class=\"band\" x=\"{:.1f}\" y=\"0\" width=\"{:.1f}\" "
      "height=\"18\"/>",
      escape(question.quantity), from, to - from);
  for (const double end : {question.band.low, question.band.high})
    if (std::isfinite(end))
      text += fmt::format(
          "<line class=\"limit\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"0\" "
          "y2=\"18\"/>",
          axis.place(end));
  if (has_interval(answer))
    text += fmt::format("<line x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"9\" y2=\"9\"/>",
                        axis.place(answer.number.interval.low),
                        axis.place(answer.number.interval.high));
  // A line of no length with round ends is a dot however the picture is stretched.
  return text + fmt::format(
                    "<line class=\"dot\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"9\" "
                    "y2=\"9\"/></svg>",
                    axis.place(answer.number.value));
}

// ---- cells

std::string link_of(const BeyondQuestion& question, const QuestionAnswer& answer,
                    const FigureSet& figures) {
  for (const Figure& figure : figures.figures)
    for (const Plot& plot : figure.plots)
      if (plot.stem == Stems::plain(answer.figure))
        return fmt::format(
            "<a href=\"figures/{}\">figure</a> \u00B7 <a "
            "href=\"#{}\">numbers</a>",
            escape(plot.files().at(0)), question.section);
  return fmt::format("<a href=\"#{}\">numbers</a>", question.section);
}

std::string number_html(const BeyondQuestion& question, const QuestionAnswer& answer) {
  const std::string interval = ends_text(question, answer, "");
  std::string text =
      fmt::format("<span class=\"number\">{}</span>", html::prose(value_text(question, answer)));
  if (!interval.empty())
    text += fmt::format(" <span class=\"interval\">{}</span>", html::prose(interval));
  if (!answer.also.empty())
    text += fmt::format("<br><span class=\"weak\">{}</span>", html::prose(answer.also));
  if (!answer.quantity.empty() && answer.quantity != question.quantity)
    text += fmt::format(" <span class=\"weak\">{}</span>", html::prose(answer.quantity));
  return text;
}

std::string cell_html(const BeyondQuestion& question, const QuestionAnswer& answer,
                      const FigureSet& figures) {
  if (answer.answer.empty())
    return fmt::format("<td data-model=\"{}\"><p class=\"weak\">not asked</p></td>",
                       escape(answer.model));
  if (!answer.applies)
    return fmt::format("<td data-model=\"{}\"><p class=\"weak\">{}</p></td>", escape(answer.model),
                       escape(answer.answer));
  return fmt::format(
      "<td data-model=\"{}\" class=\"{}\"><p class=\"said\">{}</p><p>{}</p>{}<p "
      "class=\"sure\"><span class=\"verdict {}\" title=\"{}\">{}</span> \u00B7 {}</p><p "
      "class=\"sure\">{}</p></td>",
      escape(answer.model), class_of(answer.judged.verdict), html::prose(answer.answer),
      number_html(question, answer), picture(question, answer), class_of(answer.judged.verdict),
      escape(answer.judged.reason), to_string(answer.judged.verdict),
      count_text(answer.n, answer.facts), link_of(question, answer, figures));
}

std::string question_html(const BeyondQuestion& question, const FigureSet& figures) {
  std::string text = fmt::format(
      "<tr><th scope=\"row\"><p class=\"asked\">{}</p><p class=\"weak\">Statement: {}</p><p "
      "class=\"weak\">Number: {}.</p></th>",
      escape(question.text), html::prose(question.statement), html::prose(question.quantity));
  for (const QuestionAnswer& answer : question.models) text += cell_html(question, answer, figures);
  return text + "</tr>\n";
}

// What stands beside the numbers, a line for each model.
std::string beside_html(const std::vector<BeyondQuestion>& questions) {
  std::vector<std::vector<std::string>> rows;
  for (const BeyondQuestion& question : questions)
    for (const QuestionAnswer& answer : question.models)
      if (!answer.beside.empty())
        rows.push_back({escape(question.text), escape(answer.model), html::prose(answer.beside),
                        html::prose(answer.judged.reason)});
  return "<details><summary>what stands beside these numbers</summary>" +
         html::table({"Question", "Model", "Beside it", "Why this verdict"}, rows, 4) +
         "</details>\n";
}

}  // namespace

std::string beyond_questions_html(const std::vector<BeyondQuestion>& questions,
                                  const FigureSet& figures) {
  if (questions.empty()) return "";
  const bool other_edges =
      std::any_of(questions.begin(), questions.end(),
                  [](const BeyondQuestion& question) { return question.id == kCarrierQuestion; });
  std::string text =
      "<section id=\"questions\"><h2>The questions and their answers</h2>\n<table "
      "class=\"questions\"><thead><tr><th scope=\"col\">Question</th>";
  for (const QuestionAnswer& answer : questions[0].models)
    text += fmt::format("<th scope=\"col\">{}</th>", escape(answer.model));
  text += "</tr></thead><tbody>\n";
  for (const BeyondQuestion& question : questions) text += question_html(question, figures);
  return text +
         "</tbody></table>\n<p class=\"weak\">Of the edge subject \u2192 last; layers are counted "
         "from 0. " +
         std::string(other_edges ? "Who carries it: at the widest window; <a "
                                   "href=\"#carriers\">all edges and all shares</a>. "
                                 : "") +
         "Dot and line: the number with its 95 % bootstrap interval over facts, on one "
         "axis "
         "a question; shaded: where the statement would be true. <span class=\"verdict "
         "holds\">holds</span>: the whole interval lies there; <span class=\"verdict fails\">does "
         "not hold</span>: all of it lies outside; <span class=\"verdict open\">cannot "
         "tell</span>: "
         "it reaches over a limit, or the effect itself is not sure. Intervals are not corrected "
         "for the number of questions, and know nothing of the search for the window at which a "
         "number is taken (that of the depth does). Table: <a "
         "href=\"tables/questions.csv\">questions.csv</a>.</p>\n" +
         beside_html(questions) + "</section>\n";
}

std::vector<std::vector<std::string>> beyond_question_rows(
    const std::vector<BeyondQuestion>& questions) {
  std::vector<std::vector<std::string>> rows;
  for (const BeyondQuestion& question : questions)
    for (const QuestionAnswer& answer : question.models) {
      if (answer.answer.empty()) continue;
      rows.push_back({question.id, answer.model, answer.answer});
      if (!answer.applies) {
        rows.back().insert(rows.back().end(), {"", "", "", ""});
        continue;
      }
      rows.back().insert(rows.back().end(),
                         {value_text(question, answer) + (answer.quantity.empty() ? "" : " *"),
                          ends_text(question, answer, "-"), to_string(answer.judged.verdict),
                          std::to_string(answer.n)});
    }
  if (!rows.empty())
    rows.insert(rows.begin(),
                {"question", "model", "answer", "number", "95% interval", "statement", "n"});
  return rows;
}

CsvTable beyond_questions_table(const std::vector<BeyondQuestion>& questions) {
  CsvTable table({"question", "model", "answer", "quantity", "value", "low", "high", "statement",
                  "verdict", "reason", "n", "facts", "beside", "figure"});
  for (const BeyondQuestion& question : questions)
    for (const QuestionAnswer& answer : question.models) {
      if (answer.answer.empty() || !answer.applies) continue;
      table.cell(question.id).cell(answer.model).cell(answer.answer);
      table.cell(answer.quantity.empty() ? question.quantity : answer.quantity);
      table.cell(answer.number.value);
      table.cell(answer.number.interval.low).cell(answer.number.interval.high);
      table.cell(question.statement).cell(to_string(answer.judged.verdict));
      table.cell(answer.judged.reason).cell(answer.n).cell(answer.facts);
      table.cell(answer.also.empty() ? answer.beside : answer.also + "; " + answer.beside);
      table.cell(answer.figure).end_row();
    }
  return table;
}

}  // namespace factflow
