// A checked view of a JSON file: every wrong type, missing key and unknown key is an InputError
// with its place.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "base/text.hpp"

namespace factflow {

// `text` fit for a message: at most 60 bytes, control characters shown as '?'.
std::string printable(std::string_view text);

// A value and its place in the file. Refers to the document and the file name, which must outlive
// it.
class JsonNode {
 public:
  JsonNode(const nlohmann::json& value, const std::string& file) : value_(&value), file_(&file) {}

  const nlohmann::json& raw() const { return *value_; }
  const std::string& file() const { return *file_; }
  std::string where() const;  // "tokenizer.json: key model.merges[3]"

  // The value of `key`; `at` throws if it is absent or null, `find` gives nothing.
  JsonNode at(std::string_view key) const;
  std::optional<JsonNode> find(std::string_view key) const;
  void only_keys(const std::vector<std::string>& known) const;

  std::string string() const;
  bool boolean() const;
  bool boolean(std::string_view key, bool fallback) const;  // of an optional key
  int id() const;                                           // a token id: 0 .. 2^31 - 2
  std::vector<JsonNode> items() const;

  bool is_string() const;
  bool is_array() const;
  bool is_object() const;

  [[noreturn]] void fail(const std::string& problem,
                         const std::string& remedy = "correct the file") const;

 private:
  JsonNode child(const nlohmann::json& value, std::string path) const;
  const JsonNode& require(bool holds, std::string_view expected) const;

  const nlohmann::json* value_;
  const std::string* file_;
  std::string path_;
};

}  // namespace factflow
