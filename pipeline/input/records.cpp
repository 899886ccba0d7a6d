#include "pipeline/input/records.hpp"

#include <algorithm>
#include <set>
#include <vector>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/json_text.hpp"
#include "fields/plain_text.hpp"
#include "pipeline/input/csv.hpp"

namespace factflow {
namespace {

constexpr size_t kLongestRecord = size_t{1} << 20;
constexpr size_t kLargestObject = size_t{16} << 20;  // a whole Relations file

// Follows JSON text byte by byte and knows whether it is inside a string, and how deep.
class JsonScanner {
 public:
  void read(char c) {
    if (in_string_) {
      if (escaped_) {
        escaped_ = false;
      } else if (c == '\\') {
        escaped_ = true;
      } else if (c == '"') {
        in_string_ = false;
      }
    } else if (c == '"') {
      in_string_ = true;
    } else if (c == '[' || c == '{') {
      ++depth_;
    } else if (c == ']' || c == '}') {
      --depth_;
    }
  }
  bool in_string() const { return in_string_; }
  int depth() const { return depth_; }

 private:
  bool in_string_ = false;
  bool escaped_ = false;
  int depth_ = 0;
};

void fill_from_json(Record& record, std::string_view text, size_t limit = kLongestRecord) {
  record.fields = nullptr;
  record.problem.clear();
  try {
    record.fields = parse_json(text, limit);
    if (record.fields.is_object()) return;
    record.problem = "expected a JSON object";
    record.fields = nullptr;
  } catch (const InputError& error) {
    record.problem = error.problem();
  }
}

// The next line without its end, taken off `text`.
std::string_view take_line(std::string_view& text) {
  const size_t end = text.find('\n');
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

void read_json_lines(std::string_view text, const std::string& file, const UseRecord& use) {
  Record record;
  for (std::int64_t line = 1; !text.empty(); ++line) {
    const std::string_view content = trim(take_line(text));
    if (content.empty()) continue;
    record.where = fmt::format("{}:{}", file, line);
    fill_from_json(record, content);
    if (!use(record)) return;
    ++record.row;
  }
}

// Each element is parsed by itself, so that a broken one costs no other and no tree of the whole
// file is held.
void read_json_array(std::string_view text, const std::string& file, const UseRecord& use) {
  text = trim(text);
  Record record;
  const auto hand_over = [&](std::string_view element) {
    record.where = fmt::format("{}: record {}", file, record.row + 1);
    fill_from_json(record, element);
    const bool go_on = use(record);
    ++record.row;
    return go_on;
  };
  JsonScanner scanner;
  size_t begin = 1, at = 0;
  for (; at < text.size(); ++at) {
    scanner.read(text[at]);
    if (scanner.depth() == 0) break;
    if (text[at] == ',' && scanner.depth() == 1 && !scanner.in_string()) {
      if (!hand_over(text.substr(begin, at - begin))) return;
      begin = at + 1;
    }
  }
  const std::string_view last = text.substr(std::min(begin, text.size()), at - std::min(begin, at));
  const bool is_empty = record.row == 0 && trim(last).empty();
  if (!is_empty && !hand_over(last)) return;
  if (at + 1 == text.size() && text[at] == ']') return;
  record.where = file;
  record.fields = nullptr;
  record.problem = at < text.size()
                       ? "something follows the end of the JSON array"
                       : "the JSON array is not closed: the end of the file may be missing";
  use(record);
}

void read_json_object(std::string_view text, const std::string& file, const UseRecord& use) {
  Record record;
  record.where = file + ": record 1";
  fill_from_json(record, text, kLargestObject);
  use(record);
}

std::vector<std::string> read_csv_header(CsvReader& reader, const std::string& file) {
  CsvRecord header;
  if (!reader.next(header)) throw InputError(file, "is empty");
  const std::string where = fmt::format("{}:{}", file, header.line);
  if (!header.problem.empty())
    throw InputError(where, "the CSV header is broken: " + header.problem);
  std::set<std::string> names;
  for (std::string& name : header.values) {
    name = trim(name);
    if (!is_clean_utf8(name)) throw InputError(where, "the CSV header is not UTF-8 text");
    if (!names.insert(name).second)
      throw InputError(where,
                       fmt::format("the CSV header names the column {} twice", in_quotes(name)));
  }
  return header.values;
}

void read_csv(std::string_view text, const std::string& file, const UseRecord& use) {
  CsvReader reader(text, kLongestRecord);
  const std::vector<std::string> names = read_csv_header(reader, file);
  CsvRecord row;
  Record record;
  while (reader.next(row)) {
    record.where = fmt::format("{}:{}", file, row.line);
    record.problem = row.problem;
    record.fields = nullptr;
    if (record.problem.empty() && row.values.size() != names.size())
      record.problem = fmt::format("expected {} values, found {}", names.size(), row.values.size());
    if (record.problem.empty() && !std::all_of(row.values.begin(), row.values.end(), is_clean_utf8))
      record.problem = "is not UTF-8 text";
    if (record.problem.empty()) {
      record.fields = nlohmann::json::object();
      for (size_t i = 0; i < names.size(); ++i) record.fields[names[i]] = std::move(row.values[i]);
    }
    if (!use(record)) return;
    ++record.row;
  }
}

}  // namespace

std::string to_string(Container container) {
  switch (container) {
    case Container::kJsonLines:
      return "JSON lines";
    case Container::kJsonArray:
      return "JSON array";
    case Container::kJsonObject:
      return "JSON object";
    case Container::kCsv:
      return "CSV";
  }
  return "";
}

nlohmann::json parse_json(std::string_view text, size_t limit) {
  if (text.size() > limit) throw InputError("", fmt::format("is longer than {} bytes", limit));
  if (!is_clean_utf8(text)) throw InputError("", "is not UTF-8 text");
  return parse_json_text(text, "");
}

Container detect_container(std::string_view text) {
  text = trim(text);
  if (text.starts_with('[')) return Container::kJsonArray;
  const std::string_view first = trim(take_line(text));
  // Without the quote, a CSV row that starts with a template, "{} is in", would be taken for JSON
  // below a broken line.
  if (!first.starts_with('{'))
    return trim(text).starts_with("{\"") ? Container::kJsonLines : Container::kCsv;
  const bool has_more = !text.empty();
  // An object whose list goes on below, one record a line, as a broken line would not end.
  constexpr std::string_view kGoesOn = "[{:";
  const bool goes_on = kGoesOn.find(first.back()) != std::string_view::npos;
  if (has_more && !goes_on && trim(text).starts_with('{')) return Container::kJsonLines;
  try {
    const nlohmann::json object = parse_json(first, kLargestObject);
    return !has_more && object.is_object() && object.contains("samples") ? Container::kJsonObject
                                                                         : Container::kJsonLines;
  } catch (const InputError&) {
    // The first line is not a whole value: either an object over several lines, or a single broken
    // line.
    return has_more ? Container::kJsonObject : Container::kJsonLines;
  }
}

void read_records(Container container, std::string_view text, const std::string& file,
                  const UseRecord& use) {
  switch (container) {
    case Container::kJsonLines:
      return read_json_lines(text, file, use);
    case Container::kJsonArray:
      return read_json_array(text, file, use);
    case Container::kJsonObject:
      return read_json_object(text, file, use);
    case Container::kCsv:
      return read_csv(text, file, use);
  }
}

}  // namespace factflow
