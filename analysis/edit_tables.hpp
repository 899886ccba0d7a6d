// Edits as tables.
#pragma once

#include "analysis/csv.hpp"
#include "analysis/study.hpp"

namespace factflow {

CsvTable edits_table(const Study& study);        // a row per edited prompt and edit
CsvTable edit_scores_table(const Study& study);  // per set of prompts and edit
CsvTable edit_moved_table(const Study& study);   // and kind of other prompts

}  // namespace factflow
