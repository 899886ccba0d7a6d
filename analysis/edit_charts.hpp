// Success rates and scores of edits as small pictures in the report.
#pragma once

#include <string>

#include "analysis/edits.hpp"

namespace factflow {

// Of the main set, a panel for each of ES, PS, NS and S: over layers a line for each matrix, of a
// single layer a bar for each edit; with 95 % intervals, beside the same prompts before any edit.
// "" if no edit has a value.
std::string edit_charts_html(const ModelEdits& edits);

}  // namespace factflow
