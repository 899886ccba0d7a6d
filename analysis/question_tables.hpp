// CSV tables of the questions beyond the paper.
#pragma once

#include <string>
#include <vector>

#include "analysis/csv.hpp"
#include "analysis/study.hpp"

namespace factflow {

struct QuestionTable {
  const char* file;   // "combined.csv"
  const char* about;  // what it is, in words
  CsvTable table;
};
std::vector<QuestionTable> question_tables(const Study& study);

}  // namespace factflow
