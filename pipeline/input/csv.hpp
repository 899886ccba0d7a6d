// Comma separated values by RFC 4180, one record at a time.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace factflow {

struct CsvRecord {
  int line = 0;                          // 1-based line on which it starts
  std::vector<std::string> values = {};  // without quotes
  std::string problem = {};              // not empty: broken, the values are not to be used
};

// A quoted value may hold commas, line breaks and doubled quotes. Lines end in LF or CRLF; blank
// lines are no records. After a broken record the reader goes on with the next line.
class CsvReader {
 public:
  // `text` must outlive the reader. A record of more than `longest` bytes is broken.
  CsvReader(std::string_view text, size_t longest) : rest_(text), longest_(longest) {}

  bool next(CsvRecord& record);  // false at the end

 private:
  void read_record(CsvRecord& record);
  bool read_quoted(CsvRecord& record, size_t& at);  // false: broken
  bool at_line_end(size_t at) const;
  void skip(size_t bytes);       // goes on after them, counting lines
  void skip_line(size_t begin);  // goes on after the end of the line that holds position `begin`

  std::string_view rest_;
  size_t longest_;
  int line_ = 1;
};

}  // namespace factflow
