#include "pipeline/input/csv.hpp"

#include <algorithm>

namespace factflow {

bool CsvReader::next(CsvRecord& record) {
  while (!rest_.empty() && at_line_end(0)) skip(rest_[0] == '\r' ? 2 : 1);
  if (rest_.empty()) return false;
  record = CsvRecord{.line = line_};
  read_record(record);
  return true;
}

void CsvReader::read_record(CsvRecord& record) {
  size_t at = 0;
  while (true) {
    if (at < rest_.size() && rest_[at] == '"') {
      if (!read_quoted(record, at)) return;
    } else {
      const size_t begin = at;
      while (at < rest_.size() && rest_[at] != ',' && !at_line_end(at)) ++at;
      record.values.emplace_back(rest_.substr(begin, at - begin));
      if (record.values.back().find('"') != std::string::npos) {
        record.problem =
            "a quote stands inside a value without quotes; put the value in quotes and double the "
            "quote";
        return skip_line(begin);
      }
    }
    if (at > longest_) {
      record.problem = "the record is too long";
      return skip_line(at);
    }
    if (at < rest_.size() && rest_[at] == ',') {
      ++at;
      continue;
    }
    return skip_line(at);
  }
}

bool CsvReader::read_quoted(CsvRecord& record, size_t& at) {
  const size_t begin = at;
  std::string value;
  for (++at; at < rest_.size() && at - begin <= longest_; ++at) {
    if (rest_[at] != '"') {
      value += rest_[at];
    } else if (at + 1 < rest_.size() && rest_[at + 1] == '"') {
      value += rest_[at++];
    } else {
      ++at;
      record.values.push_back(std::move(value));
      if (at >= rest_.size() || rest_[at] == ',' || at_line_end(at)) return true;
      record.problem = "text follows a closing quote";
      skip_line(at);
      return false;
    }
  }
  record.problem = "a quote is opened and not closed";
  skip_line(begin);
  return false;
}

bool CsvReader::at_line_end(size_t at) const {
  return at < rest_.size() && (rest_[at] == '\n' || (rest_[at] == '\r' && at + 1 < rest_.size() &&
                                                     rest_[at + 1] == '\n'));
}

void CsvReader::skip(size_t bytes) {
  line_ += static_cast<int>(
      std::count(rest_.begin(), rest_.begin() + static_cast<std::ptrdiff_t>(bytes), '\n'));
  rest_.remove_prefix(bytes);
}

void CsvReader::skip_line(size_t begin) {
  const size_t end = rest_.find('\n', std::min(begin, rest_.size()));
  skip(end == std::string_view::npos ? rest_.size() : end + 1);
}

}  // namespace factflow
