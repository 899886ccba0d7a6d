// Edits in the report and in words: scores of every edit, and sheets of single facts.
#pragma once

#include <string>
#include <vector>

#include "analysis/study.hpp"

namespace factflow {

// Section of the report; "" without edits.
std::string edits_html(const Study& study);

// Rows of a table for the terminal, the first one its header: of each model, set of prompts and
// matrix the layer of the highest score. Empty without edits.
std::vector<std::vector<std::string>> best_edit_rows(const Study& study);

}  // namespace factflow
