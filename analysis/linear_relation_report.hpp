// How linear relations are shown: in the report, and in words.
#pragma once

#include <string>
#include <vector>

#include "analysis/study.hpp"

namespace factflow {

// Section of the report; "" without linear relations.
std::string linear_relations_html(const Study& study);

// Rows of a table for the terminal, the first one its header: each relation with numbers. Empty
// without linear relations.
std::vector<std::vector<std::string>> linear_relation_rows(const Study& study);

// A sentence for each model whose relations do not all have numbers: why.
std::vector<std::string> linear_relation_gaps(const Study& study);

}  // namespace factflow
