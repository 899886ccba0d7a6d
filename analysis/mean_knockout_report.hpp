// How knockouts by means are shown: figures, the report, and in words.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "analysis/line_plot.hpp"
#include "analysis/study.hpp"

namespace factflow {

// Window sizes, ascending.
std::vector<std::int64_t> windows_of(const ModelMeanKnockouts& knockouts);
// A panel for each mode, a line for each set of tokens, bands of one standard error.
LinePlot mean_knockout_plot(const ModelMeanKnockouts& knockouts, std::int64_t window);
std::string mean_knockout_caption(const ModelMeanKnockouts& knockouts, std::int64_t window);

// Section of the report; "" without such knockouts.
std::string mean_knockouts_html(const Study& study);

// Rows of a table for the terminal, the first one its header: the lowest mean of every mode and
// set. Empty without such knockouts.
std::vector<std::vector<std::string>> mean_knockout_rows(const Study& study);
// A sentence for each model with such knockouts: of how many prompts they are.
std::vector<std::string> mean_knockout_counts(const Study& study);

}  // namespace factflow
