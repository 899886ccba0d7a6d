// How knockouts judged by whole answers are shown: figures, the report, and in words.
#pragma once

#include <string>
#include <vector>

#include "analysis/line_plot.hpp"
#include "analysis/study.hpp"

namespace factflow {

// Models with such answers at the window of the findings, in order.
std::vector<std::string> models_with_whole_answers(const Study& study);
// A panel for each edge: the first token's log change and the whole answer's.
LinePlot whole_answers_plot(const Study& study, const std::string& model);
std::string whole_answers_caption(const std::string& model);

// Section of the report; "" without such results.
std::string whole_answers_html(const Study& study);
// Rows of a table for the terminal, the first one its header. Empty without such results.
std::vector<std::vector<std::string>> whole_answer_rows(const Study& study);

}  // namespace factflow
