// Tidy CSV tables (RFC 4180): one header row, numbers with 17 significant digits, NaN for what is
// undefined.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace factflow {

class CsvTable {
 public:
  explicit CsvTable(const std::vector<std::string>& columns);

  // Cells fill the current row from left to right; end_row() throws std::logic_error unless all
  // columns are filled.
  CsvTable& cell(std::string_view text);
  CsvTable& cell(const char* text) { return cell(std::string_view(text)); }
  CsvTable& cell(double number);
  CsvTable& cell(std::int64_t number);
  CsvTable& cell(std::size_t number) { return cell(static_cast<std::int64_t>(number)); }
  void end_row();

  std::size_t rows() const { return rows_; }
  const std::string& text() const { return text_; }

 private:
  void separate();
  std::size_t columns_ = 0, filled_ = 0, rows_ = 0;
  std::string text_;
};

}  // namespace factflow
