#include "analysis/edit_tables.hpp"

#include <cmath>
#include <string>
#include <vector>

namespace factflow {
namespace {

constexpr EditQuestion kQuestions[] = {EditQuestion::kRewrite, EditQuestion::kParaphrase,
                                       EditQuestion::kNeighbour};

void put(CsvTable& table, const Interval& interval) {
  table.cell(interval.low).cell(interval.high);
}

// Columns matrix and layer: "W_o" and "3", "memit W_o" and "3-5".
void put_edit(CsvTable& table, const EditResults& results, std::size_t edit) {
  table.cell(results.edited(edit)).cell(layers_in_words(results.layers_of(edit)));
}

// A whole number of the results file, where -1 says that there is none.
double number_or_nan(std::int32_t number) {
  return number < 0 ? std::nan("") : static_cast<double>(number);
}

// Mean over the questions of a kind.
double mean_nll(const EditResults& results, const std::vector<float>& nll, std::size_t row,
                EditQuestion kind) {
  std::vector<double> values;
  for (std::size_t i = 0; i < results.question_kinds.size(); ++i)
    if (results.question_kinds[i] == kind && !std::isnan(nll[row + i]))
      values.push_back(static_cast<double>(nll[row + i]));
  return mean(values);
}

void put_answers(CsvTable& table, const ModelEdits& edits, std::size_t edit, std::size_t prompt) {
  const EditResults& results = edits.results;
  const std::size_t before = edits.row_before(prompt), after = edits.row_after(edit, prompt);
  for (const EditQuestion kind : kQuestions)
    table.cell(mean_nll(results, results.before.new_nll, before, kind))
        .cell(mean_nll(results, results.before.true_nll, before, kind))
        .cell(mean_nll(results, results.after.new_nll, after, kind))
        .cell(mean_nll(results, results.after.true_nll, after, kind));
  const EditValues was = edit_values(results, results.before, before),
                   is = edit_values(results, results.after, after);
  for (const EditMeasure measure :
       {EditMeasure::kEfficacy, EditMeasure::kParaphrase, EditMeasure::kNeighbourhood,
        EditMeasure::kEfficacyAccuracy, EditMeasure::kParaphraseAccuracy,
        EditMeasure::kNeighbourhoodAccuracy})
    table.cell(was[static_cast<std::size_t>(measure)]).cell(is[static_cast<std::size_t>(measure)]);
}

void put_search(CsvTable& table, const EditResults& results, std::size_t at) {
  table.cell(number_or_nan(results.steps[at]));
  for (const std::vector<float>* values :
       {&results.loss, &results.nll, &results.kl, &results.mean_prob, &results.delta_norm,
        &results.value_norm})
    table.cell(static_cast<double>((*values)[at]));
  table.cell(number_or_nan(results.clamped[at]))
      .cell(static_cast<double>(results.key_product[at]))
      .cell(static_cast<double>(results.update_norm[at]));
}

std::string left_out(const ModelEdits& edits, std::size_t edit, std::size_t prompt) {
  if (!edits.has_value(edit, prompt)) return "without a value";
  return edits.admitted[prompt] != 0 ? "" : "with a clean probability outside the limits";
}

bool asked_for(const EditResults& results, std::size_t edit, std::size_t prompt) {
  for (std::size_t set = 0; set < results.sets.size(); ++set)
    if (results.counts(set, edit, prompt)) return true;
  return false;
}

}  // namespace

CsvTable edits_table(const Study& study) {
  std::vector<std::string> columns = {"model",      "prompt", "subject", "relation", "true_answer",
                                      "new_answer", "matrix", "layer",   "used",     "left_out"};
  for (const EditQuestion kind : kQuestions)
    for (const char* ending :
         {"_new_nll_before", "_true_nll_before", "_new_nll_after", "_true_nll_after"})
      columns.push_back(to_string(kind) + ending);
  for (const char* measure : {"_success", "_accuracy"})
    for (const EditQuestion kind : kQuestions)
      for (const char* ending : {"_before", "_after"})
        columns.push_back(to_string(kind) + measure + ending);
  columns.insert(columns.end(), {"steps", "loss", "nll", "kl", "mean_prob", "delta_norm",
                                 "value_norm", "clamped", "key_product", "update_norm"});
  CsvTable table(columns);
  for (const ModelEdits& edits : study.edits) {
    const EditResults& results = edits.results;
    for (std::size_t edit = 0; edit < results.edits.size(); ++edit)
      for (std::size_t prompt = 0; prompt < results.prompts.size(); ++prompt) {
        if (!asked_for(results, edit, prompt)) continue;
        const std::string why = left_out(edits, edit, prompt);
        table.cell(edits.model).cell(results.prompts[prompt]).cell(results.subjects[prompt]);
        table.cell(study.run.prompts.relation[edits.prompt_row[prompt]]);
        table.cell(results.true_answers[prompt]).cell(results.new_answers[prompt]);
        put_edit(table, results, edit);
        table.cell(std::int64_t{why.empty() ? 1 : 0}).cell(why);
        put_answers(table, edits, edit, prompt);
        put_search(table, results, results.at(edit, prompt));
        table.end_row();
      }
  }
  return table;
}

CsvTable edit_scores_table(const Study& study) {
  std::vector<std::string> columns = {"model", "family", "layers",        "prompts",       "matrix",
                                      "layer", "asked",  "without_value", "outside_limits"};
  for (std::size_t i = 0; i < kEditMeasures; ++i)
    for (const char* ending : {"", "_std", "_low", "_high", "_n", "_facts", "_unedited"})
      columns.push_back(std::string(to_string(static_cast<EditMeasure>(i))) + ending);
  CsvTable table(columns);
  for (const ModelEdits& edits : study.edits)
    for (const EditScore& score : edits.scores) {
      table.cell(edits.model).cell(edits.family).cell(edits.layers).cell(score.prompts);
      put_edit(table, edits.results, score.edit);
      table.cell(score.asked).cell(score.without).cell(score.outside);
      for (const EditEstimate& measure : score.measures) {
        table.cell(measure.value).cell(measure.std);
        put(table, measure.interval);
        table.cell(measure.n).cell(measure.facts).cell(measure.unedited);
      }
      table.end_row();
    }
  return table;
}

CsvTable edit_moved_table(const Study& study) {
  CsvTable table({"model", "prompts", "matrix", "layer", "others", "n", "facts", "log_change",
                  "log_change_low", "log_change_high", "log_change_size", "top_changed",
                  "top_changed_low", "top_changed_high", "kl"});
  for (const ModelEdits& edits : study.edits)
    for (const MovedPrompts& moved : edits.moved) {
      table.cell(edits.model).cell(moved.prompts);
      put_edit(table, edits.results, moved.edit);
      table.cell(to_string(moved.kind));
      table.cell(moved.n).cell(moved.facts).cell(moved.log_change);
      put(table, moved.interval);
      table.cell(moved.size).cell(moved.top_changed);
      put(table, moved.top_interval);
      table.cell(moved.kl).end_row();
    }
  return table;
}

}  // namespace factflow
