// How the first questions beyond the paper are shown: one table at the head of the report, question
// by model, and the same as rows for the terminal and for questions.csv.
#pragma once

#include <string>
#include <vector>

#include "analysis/beyond_questions.hpp"
#include "analysis/csv.hpp"
#include "analysis/figures.hpp"

namespace factflow {

// Section of the report; "" without questions. Cells link to the figures among `figures`, else to
// the section that has the numbers.
std::string beyond_questions_html(const std::vector<BeyondQuestion>& questions,
                                  const FigureSet& figures);
// Rows of a table for the terminal, the first one its header. Empty without questions.
std::vector<std::vector<std::string>> beyond_question_rows(
    const std::vector<BeyondQuestion>& questions);
CsvTable beyond_questions_table(const std::vector<BeyondQuestion>& questions);

}  // namespace factflow
