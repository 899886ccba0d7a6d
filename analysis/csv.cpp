#include "analysis/csv.hpp"

#include <cmath>
#include <iterator>
#include <stdexcept>

#include <fmt/format.h>

namespace factflow {

CsvTable::CsvTable(const std::vector<std::string>& columns) : columns_(columns.size()) {
  for (const std::string& column : columns) cell(column);
  end_row();
  rows_ = 0;
}

void CsvTable::separate() {
  if (filled_ > 0) text_ += ',';
  ++filled_;
}

CsvTable& CsvTable::cell(std::string_view text) {
  separate();
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) {
    text_ += text;
    return *this;
  }
  text_ += '"';
  for (const char c : text) {
    if (c == '"') text_ += '"';
    text_ += c;
  }
  text_ += '"';
  return *this;
}

CsvTable& CsvTable::cell(double number) {
  separate();
  if (std::isnan(number))
    text_ += "NaN";
  else
    fmt::format_to(std::back_inserter(text_), "{:.17g}", number + 0.0);  // no -0
  return *this;
}

CsvTable& CsvTable::cell(std::int64_t number) {
  separate();
  fmt::format_to(std::back_inserter(text_), "{}", number);
  return *this;
}

void CsvTable::end_row() {
  if (filled_ != columns_)
    throw std::logic_error(fmt::format("CSV row has {} cells of {}", filled_, columns_));
  text_ += '\n';
  filled_ = 0;
  ++rows_;
}

}  // namespace factflow
