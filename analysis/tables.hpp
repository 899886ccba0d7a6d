// The study as CSV files. docs/analysis.md lists their columns.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "analysis/study.hpp"

namespace factflow {

struct TableFile {
  std::string file;   // "curves.csv"
  std::string about;  // one line
  std::size_t rows = 0;
};

// Writes every table into `folder`, which must exist. Throws RunError.
std::vector<TableFile> write_tables(const Study& study, const std::filesystem::path& folder);

}  // namespace factflow
