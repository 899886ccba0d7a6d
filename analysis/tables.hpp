// The study as CSV files. docs/analysis.md lists their columns.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "analysis/staging.hpp"
#include "analysis/study.hpp"

namespace factflow {

struct TableFile {
  std::string file;   // "curves.csv"
  std::string about;  // one line
  std::size_t rows = 0;
};

// Writes every table as tables/FILE. Throws RunError.
std::vector<TableFile> write_tables(const Study& study, Staging& staging);

}  // namespace factflow
