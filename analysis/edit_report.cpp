#include "analysis/edit_report.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>
#include <variant>

#include <fmt/format.h>

#include "analysis/edit_charts.hpp"
#include "analysis/html.hpp"
#include "analysis/number_text.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

using html::escape;

constexpr std::size_t kMostOpenRows = 45;  // a longer table is folded
constexpr std::size_t kSheetPrompts = 8;   // of a model, with sheets
constexpr std::size_t kMostSheets = 60;    // of all models
constexpr std::size_t kMostMoved = 6;      // other prompts of a sheet

std::string percent(double value) {
  return std::isnan(value) ? "\u2013" : fixed(value, 1);
}

// "[91.2, 97.0]": of rates, which have no sign.
std::string plain_interval(const Interval& interval, const std::string& none) {
  if (std::isnan(interval.low)) return none;
  return fmt::format("[{}, {}]", fixed(interval.low, 1), fixed(interval.high, 1));
}

std::string estimate_cell(const EditEstimate& estimate) {
  if (estimate.n == 0 || std::isnan(estimate.value)) return "\u2013";
  return fmt::format("{} <span class=\"weak\">{}</span>", fixed(estimate.value, 1),
                     plain_interval(estimate.interval, ""));
}

// ---- scores

bool several_sets(const Study& study) {
  return std::any_of(study.edits.begin(), study.edits.end(),
                     [](const ModelEdits& edits) { return edits.results.sets.size() > 1; });
}

constexpr EditMeasure kShown[] = {EditMeasure::kScore, EditMeasure::kEfficacy,
                                  EditMeasure::kParaphrase, EditMeasure::kNeighbourhood};
constexpr const char* kShownNames[] = {"S", "ES", "PS", "NS"};

std::string scores_html(const Study& study) {
  const bool sets = several_sets(study);
  std::vector<std::string> columns = {"Model", "Matrix"};
  if (sets) columns.emplace_back("Set of prompts");
  columns.emplace_back("Layer");
  for (const char* name : kShownNames) columns.insert(columns.end(), {name, "before"});
  columns.insert(columns.end(), {"Prompts", "Without a value"});
  std::vector<std::vector<std::string>> rows;
  for (const ModelEdits& edits : study.edits)
    for (const EditScore& score : edits.scores) {
      const bool is_best = edits.best(score.matrix) == &score;
      std::vector<std::string>& row = rows.emplace_back();
      row = {escape(edits.model), escape(score.matrix)};
      if (sets) row.push_back(escape(score.prompts));
      row.push_back(score.layers);
      for (const EditMeasure measure : kShown) {
        const std::string value = estimate_cell(score.of(measure));
        const bool bold = is_best && measure == EditMeasure::kScore;
        row.push_back(bold ? fmt::format("<strong>{}</strong>", value) : value);
        row.push_back(percent(score.of(measure).unedited));
      }
      row.push_back(std::to_string(score.of(EditMeasure::kEfficacy).n));
      row.push_back(std::to_string(score.without));
    }
  return fmt::format("<details{}><summary>scores of every edit: {}</summary>{}</details>\n",
                     rows.size() <= kMostOpenRows ? " open" : "", counted(rows.size(), "row"),
                     html::table(columns, rows, sets ? 3 : 2));
}

// ---- what else moved

std::string moved_html(const Study& study) {
  std::vector<std::vector<std::string>> rows;
  for (const ModelEdits& edits : study.edits)
    for (const std::string& matrix : edits.matrices()) {
      const EditScore* best = edits.best(matrix);
      for (const MovedPrompts& moved : edits.moved) {
        if (best == nullptr || moved.edit != best->edit || moved.prompts != best->prompts) continue;
        rows.push_back(
            {escape(edits.model), escape(edits.results.edits[moved.edit]),
             escape(to_string(moved.kind)), html::prose(signed_number(moved.log_change, 3)),
             html::prose(interval_text(moved.interval, "", 3)), fixed(moved.size, 3),
             fmt::format("{} [{}, {}]", fixed(moved.top_changed, 1),
                         fixed(moved.top_interval.low, 1), fixed(moved.top_interval.high, 1)),
             fixed(moved.kl, 4), std::to_string(moved.n), std::to_string(moved.facts)});
      }
    }
  if (rows.empty()) return "";
  return "<h3>What else moved</h3>\n<p>Prompts of facts that the edit is not about, after the edit "
         "of each matrix with the highest score: change of ln p of their own answer (mean, and "
         "mean "
         "of its size), how many have another likeliest next token, and the divergence KL(before "
         "|| after) of the next token. Every edit: <a "
         "href=\"tables/edit_moved.csv\">edit_moved.csv</a>.</p>\n" +
         html::table(
             {"Model", "Edit", "Other prompts", "Change of ln p", "95 % interval", "Mean size",
              "Likeliest token changed (%)", "KL (nats)", "Pairs", "Edited facts"},
             rows, 3);
}

// ---- sheets

// "0.0132", "0.00004": small probabilities keep two digits that count.
std::string probability_text(double p) {
  if (std::isnan(p)) return "\u2013";
  if (p >= 0.001 || p == 0) return fixed(p, 3);
  return fmt::format("{:.1e}", p);
}

std::string before_after(double before, double after) {
  return fmt::format("{} \u2192 <strong>{}</strong>", probability_text(before),
                     probability_text(after));
}

double probability(const std::vector<float>& nll, std::size_t at) {
  return std::exp(-static_cast<double>(nll[at]));
}

// One question after one edit of one prompt.
struct Answered {
  bool there = false, success = false;
  double new_before = 0, new_after = 0, true_before = 0, true_after = 0;  // exp(-NLL)
};

Answered answer_of(const ModelEdits& edits, std::size_t edit, std::size_t prompt,
                   std::size_t question) {
  const EditResults& results = edits.results;
  const std::size_t was = edits.row_before(prompt) + question,
                    is = edits.row_after(edit, prompt) + question;
  const float wanted = results.after.new_nll[is], other = results.after.true_nll[is];
  const bool keeps = results.question_kinds[question] == EditQuestion::kNeighbour;
  return {!std::isnan(wanted) && !std::isnan(other), keeps ? other < wanted : wanted < other,
          probability(results.before.new_nll, was),  probability(results.after.new_nll, is),
          probability(results.before.true_nll, was), probability(results.after.true_nll, is)};
}

std::string questions_table(const ModelEdits& edits, std::size_t edit, std::size_t prompt) {
  const EditResults& results = edits.results;
  const std::vector<std::string> names = results.question_names();
  std::vector<std::vector<std::string>> rows;
  for (std::size_t question = 0; question < names.size(); ++question) {
    const Answered answer = answer_of(edits, edit, prompt, question);
    if (!answer.there) continue;
    const bool keeps = results.question_kinds[question] == EditQuestion::kNeighbour;
    const char* words =
        keeps ? (answer.success ? "kept" : "lost") : (answer.success ? "new answer" : "not taken");
    rows.push_back({results.question_kinds[question] == EditQuestion::kRewrite
                        ? "rewrite"
                        : escape(names[question]),
                    escape(results.question_texts[edits.row_before(prompt) + question]),
                    before_after(answer.new_before, answer.new_after),
                    before_after(answer.true_before, answer.true_after),
                    fmt::format("<span class=\"verdict {}\">{}</span>",
                                answer.success ? "holds" : "fails", words)});
  }
  return html::table({"Question", "Prompt", "p(new)", "p(true)", "After the edit"}, rows, 5);
}

// Places in the arrays [edit, prompt, other], those that moved most first.
std::vector<std::size_t> most_moved(const EditResults& results, std::size_t edit,
                                    std::size_t prompt) {
  const std::size_t others = results.other_kinds.size();
  std::vector<std::size_t> places;
  for (std::size_t other = 0; other < others; ++other)
    if (!std::isnan(results.other_log_change[results.at(edit, prompt) * others + other]))
      places.push_back(other);
  const auto size = [&](std::size_t other) {
    return std::abs(results.other_log_change[results.at(edit, prompt) * others + other]);
  };
  std::stable_sort(places.begin(), places.end(),
                   [&](std::size_t a, std::size_t b) { return size(a) > size(b); });
  return places;
}

std::string moved_table(const ModelEdits& edits, const PromptTable& prompts,
                        const std::map<std::int64_t, std::size_t>& rows_by_id, std::size_t edit,
                        std::size_t prompt) {
  const EditResults& results = edits.results;
  const std::size_t others = results.other_kinds.size();
  std::vector<std::size_t> places = most_moved(results, edit, prompt);
  if (places.empty()) return "";
  const std::size_t all = places.size();
  places.resize(std::min(all, kMostMoved));
  std::vector<std::vector<std::string>> rows;
  for (const std::size_t other : places) {
    const std::size_t was = prompt * others + other, is = results.at(edit, prompt) * others + other;
    const std::size_t row = rows_by_id.at(results.other_prompts[was]);
    const auto before = static_cast<double>(results.other_log_before[was]),
               change = static_cast<double>(results.other_log_change[is]);
    rows.push_back({escape(to_string(results.other_kinds[other])), escape(prompts.text[row]),
                    escape(prompts.answer[row]),
                    before_after(std::exp(before), std::exp(before + change)),
                    html::prose(signed_number(change, 3)),
                    results.other_top_changed[is] == 1 ? "changed" : "same",
                    fixed(static_cast<double>(results.other_kl[is]), 4)});
  }
  return fmt::format("<h4>What else moved most ({} of {})</h4>\n", places.size(),
                     counted(all, "other prompt")) +
         html::table({"Kind", "Prompt", "Its answer", "p of it", "ln p", "Likeliest", "KL (nats)"},
                     rows, 4);
}

// "2 of 2 paraphrases"
std::string share_text(const ModelEdits& edits, std::size_t edit, std::size_t prompt,
                       EditQuestion kind, const char* noun) {
  std::size_t success = 0, all = 0;
  for (std::size_t i = 0; i < edits.results.question_kinds.size(); ++i) {
    if (edits.results.question_kinds[i] != kind) continue;
    const Answered answer = answer_of(edits, edit, prompt, i);
    all += answer.there ? 1 : 0;
    success += answer.there && answer.success ? 1 : 0;
  }
  return fmt::format("{} of {}", success, counted(all, noun));
}

std::string search_text(const EditResults& results, std::size_t at) {
  return fmt::format(
      "Search for the value: {}, loss {:.3f}; it moves by {:.1f}{}, {:.2f} of its own length; the "
      "matrix changes by {:.3g} (Frobenius norm{}).",
      counted(static_cast<std::uint64_t>(std::max(results.steps[at], 0)), "step"), results.loss[at],
      results.delta_norm[at], results.clamped[at] == 1 ? ", as far as it may" : "",
      results.delta_norm[at] / results.value_norm[at], results.update_norm[at],
      results.methods[at / results.prompts.size()] == kMemitMethod
          ? ", of all layers and facts that were written together"
          : "");
}

std::string sheet_html(const Study& study, const ModelEdits& edits,
                       const std::map<std::int64_t, std::size_t>& rows_by_id, std::size_t edit,
                       std::size_t prompt, bool open) {
  const EditResults& results = edits.results;
  const PromptTable& prompts = study.run.prompts;
  std::size_t rewrite = 0;
  while (results.question_kinds[rewrite] != EditQuestion::kRewrite) ++rewrite;
  const Answered answer = answer_of(edits, edit, prompt, rewrite);
  return fmt::format(
             "<details class=\"sheet\"{}><summary><strong>{}</strong> {} \u2192 <strong>{}"
             "</strong>: {}, p(new) {}; new answer after {}, the true one kept after "
             "{}</summary>\n",
             open ? " open" : "", escape(prompts.text[edits.prompt_row[prompt]]),
             escape(results.true_answers[prompt]), escape(results.new_answers[prompt]),
             escape(results.edits[edit]), before_after(answer.new_before, answer.new_after),
             share_text(edits, edit, prompt, EditQuestion::kParaphrase, "paraphrase"),
             share_text(edits, edit, prompt, EditQuestion::kNeighbour, "neighbour")) +
         questions_table(edits, edit, prompt) +
         moved_table(edits, prompts, rows_by_id, edit, prompt) +
         fmt::format("<p class=\"weak\">{}</p></details>\n",
                     html::prose(search_text(results, results.at(edit, prompt))));
}

// Of each matrix the edit of the highest score.
std::vector<std::size_t> shown_edits(const ModelEdits& edits) {
  std::vector<std::size_t> shown;
  for (const std::string& matrix : edits.matrices())
    if (const EditScore* best = edits.best(matrix); best != nullptr) shown.push_back(best->edit);
  return shown;
}

std::string sheets_html(const Study& study) {
  std::map<std::int64_t, std::size_t> rows_by_id;
  for (std::size_t row = 0; row < study.run.prompts.id.size(); ++row)
    rows_by_id.emplace(study.run.prompts.id[row], row);
  std::string text;
  std::size_t drawn = 0;
  for (const ModelEdits& edits : study.edits) {
    const std::vector<std::size_t> shown = shown_edits(edits);
    std::size_t of_model = 0;
    std::string sheets;
    for (std::size_t prompt = 0; prompt < edits.results.prompts.size(); ++prompt) {
      if (of_model == kSheetPrompts || drawn >= kMostSheets) break;
      bool any = false;
      for (const std::size_t edit : shown) {
        if (!edits.used(0, edit, prompt) || drawn == kMostSheets) continue;
        sheets += sheet_html(study, edits, rows_by_id, edit, prompt, sheets.empty());
        any = true;
        ++drawn;
      }
      of_model += any ? 1 : 0;
    }
    if (!sheets.empty()) text += fmt::format("<h4>{}</h4>\n", escape(edits.model)) + sheets;
  }
  if (text.empty()) return "";
  return fmt::format(
             "<h3>Edit sheets</h3>\n<p>Single facts before and after the edit, of each matrix with "
             "the highest score; p = exp(\u2212NLL), the mean over an answer's tokens, which is "
             "its "
             "probability if it is one token. The first {} of each model are here ({} at most); "
             "every fact and edit: <a href=\"tables/edits.csv\">edits.csv</a>, every question: "
             "group "
             "<code>edit</code> of the results file.</p>\n",
             counted(kSheetPrompts, "fact"), counted(kMostSheets, "sheet")) +
         text;
}

constexpr std::size_t kMostCharts = 12;  // models with pictures in the page

std::string charts_html(const Study& study) {
  std::string text;
  std::size_t drawn = 0;
  for (const ModelEdits& edits : study.edits)
    if (const std::string charts = edit_charts_html(edits);
        !charts.empty() && drawn++ < kMostCharts)
      text += charts;
  if (drawn > kMostCharts)
    text += fmt::format("<p class=\"notice\">The first {} of {} are shown here.</p>\n", kMostCharts,
                        counted(drawn, "model"));
  return text;
}

std::string text_of(const std::variant<std::int64_t, double, std::string>& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* number = std::get_if<std::int64_t>(&value)) return std::to_string(*number);
  return fmt::format("{:g}", std::get<double>(value));
}

std::string settings_html(const Study& study) {
  std::string text;
  for (const ModelEdits& edits : study.edits) {
    std::vector<std::pair<std::string, std::string>> facts;
    for (const auto& [name, value] : edits.results.settings)
      facts.emplace_back(name, text_of(value));
    text += fmt::format("<h4>{}</h4>\n{}", escape(edits.model), html::facts(facts));
  }
  return "<details><summary>how the edits were made</summary>" + text + "</details>\n";
}

}  // namespace

std::string edits_html(const Study& study) {
  if (study.edits.empty()) return "";
  std::string text =
      "<section id=\"edits\"><h2>Edits</h2>\n<p>A fact's answer is rewritten in one matrix of one "
      "layer, the model is asked, and the matrix is put back (memit: many facts at once in the "
      "matrices of several layers; in charts they stand at the highest). ES: share of rewrite "
      "prompts after "
      "which the new answer is likelier than the true one; PS: the same after paraphrases; NS: "
      "share of neighbours (prompts of other facts with the same answer) after which the true one "
      "stays likelier; equally likely ones count as failures. S: harmonic mean of the three. All "
      "in "
      "percent; a prompt has the mean of its paraphrases and neighbours. Intervals are 95 % ones "
      "over facts (Wilson's, of S bootstrap). Before: the same prompts before any edit. Bold: the "
      "matrix's highest S, picked on these same prompts. Magnitudes and accuracies too: <a "
      "href=\"tables/edit_scores.csv\">edit_scores.csv</a>.</p>\n"
      "<ul>\n";
  for (const std::string& sentence : edit_counts(study.edits))
    text += fmt::format("<li>{}</li>\n", html::prose(sentence));
  return text + "</ul>\n" + settings_html(study) + charts_html(study) + scores_html(study) +
         moved_html(study) + sheets_html(study) + "</section>\n";
}

std::vector<std::vector<std::string>> best_edit_rows(const Study& study) {
  std::vector<std::vector<std::string>> rows;
  const auto text = [](const EditEstimate& estimate) {
    return std::isnan(estimate.value) ? std::string("-") : fixed(estimate.value, 1);
  };
  for (const ModelEdits& edits : study.edits)
    for (const std::string& matrix : edits.matrices()) {
      const EditScore* best = edits.best(matrix);
      if (best == nullptr) {
        rows.push_back({edits.model, matrix, "-", "-", "-", "-", "-", "-", "-", "0"});
        continue;
      }
      const EditEstimate& score = best->of(EditMeasure::kScore);
      rows.push_back(
          {edits.model, matrix, fmt::format("{}/{}", best->layers, edits.layers), text(score),
           plain_interval(score.interval, "-"), text(best->of(EditMeasure::kEfficacy)),
           text(best->of(EditMeasure::kParaphrase)), text(best->of(EditMeasure::kNeighbourhood)),
           fixed(score.unedited, 1), std::to_string(best->of(EditMeasure::kEfficacy).n)});
    }
  if (!rows.empty())
    rows.insert(rows.begin(), {"model", "matrix", "layer", "S", "95% interval", "ES", "PS", "NS",
                               "unedited S", "n"});
  return rows;
}

}  // namespace factflow
