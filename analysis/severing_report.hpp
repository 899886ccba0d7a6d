// How severed paths are shown: figures, the report, and in words.
#pragma once

#include <string>
#include <vector>

#include "analysis/line_plot.hpp"
#include "analysis/study.hpp"

namespace factflow {

// A panel for each token, a line for each severing, bands of one standard error. No panels if no
// fact has a part in means.
LinePlot severing_plot(const ModelSevering& severing);
std::string severing_caption(const ModelSevering& severing);  // plain text

// Section of the report; "" without severed paths.
std::string severings_html(const Study& study);

// Rows of a table for the terminal, the first one its header: the largest mean of the patch alone
// at each token, and what is left of it there under each severing. Empty without severed paths.
std::vector<std::vector<std::string>> severing_rows(const Study& study);
// A sentence for each model with severed paths: how many prompts have a part in means.
std::vector<std::string> severing_counts(const Study& study);

}  // namespace factflow
