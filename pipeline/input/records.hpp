// Files of records, whatever the records mean: JSON lines, a JSON array, a single JSON object, or
// CSV (RFC 4180).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace factflow {

enum class Container { kJsonLines, kJsonArray, kJsonObject, kCsv };

std::string to_string(Container container);  // "JSON lines", "JSON array", "JSON object", "CSV"

// By the first two lines: [ is an array; { is an object if it goes on over several lines or holds
// `samples`, else JSON lines; anything else is CSV. `text` here and below: as
// text_in() of base/text_file.hpp gives it.
Container detect_container(std::string_view text);

// One record as it was found. `fields` is an object; CSV gives text values only.
struct Record {
  std::string where;     // "facts.jsonl:17" or "facts.json: record 17"
  std::int64_t row = 0;  // 0-based, broken records counted
  nlohmann::json fields;
  std::string problem;  // not empty: the record is broken, `fields` is null
};

// Calls `use` for each record in file order until it returns false. Records of more than 1 MiB (an
// object: 16 MiB), more than 64 levels, or that are no valid UTF-8 are handed over as broken.
// Throws InputError if the file as a whole makes no sense (a CSV header that is none).
using UseRecord = std::function<bool(Record&)>;
void read_records(Container container, std::string_view text, const std::string& file,
                  const UseRecord& use);

// One JSON value under the same limits but for the size: most `limit` bytes; throws InputError with
// an empty `where`.
nlohmann::json parse_json(std::string_view text, size_t limit = size_t{1} << 20);

}  // namespace factflow
