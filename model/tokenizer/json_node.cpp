#include "model/tokenizer/json_node.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/text.hpp"
#include "model/tokenizer/unicode.hpp"

namespace factflow {
std::string printable(std::string_view text) {
  std::string shown(text.substr(0, 60));
  for (char& c : shown)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  return lossy_utf8(shown) + (shown.size() < text.size() ? "..." : "");
}

std::string JsonNode::where() const {
  return path_.empty() ? *file_ : *file_ + ": key " + path_;
}

void JsonNode::fail(const std::string& problem, const std::string& remedy) const {
  throw InputError(where(), problem, remedy);
}

JsonNode JsonNode::child(const nlohmann::json& value, std::string path) const {
  JsonNode node(value, *file_);
  node.path_ = std::move(path);
  return node;
}

const JsonNode& JsonNode::require(bool holds, std::string_view expected) const {
  if (!holds) fail("expected " + std::string(expected) + ", found " + value_->type_name());
  return *this;
}

std::optional<JsonNode> JsonNode::find(std::string_view key) const {
  require(is_object(), "an object");
  const auto found = value_->find(std::string(key));
  if (found == value_->end() || found->is_null()) return std::nullopt;
  return child(*found, path_.empty() ? std::string(key) : path_ + "." + std::string(key));
}

JsonNode JsonNode::at(std::string_view key) const {
  auto found = find(key);
  if (!found) fail("key " + std::string(key) + " is missing");
  return *std::move(found);
}

void JsonNode::only_keys(const std::vector<std::string>& known) const {
  require(is_object(), "an object");
  for (const auto& [key, value] : value_->items()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    fail(unknown_word("option", printable(key), known), "use a tokenizer without it");
  }
}

std::string JsonNode::string() const {
  return require(is_string(), "a string").value_->get<std::string>();
}

bool JsonNode::boolean() const {
  return require(value_->is_boolean(), "true or false").value_->get<bool>();
}

bool JsonNode::boolean(std::string_view key, bool fallback) const {
  const auto node = find(key);
  return node ? node->boolean() : fallback;
}

int JsonNode::id() const {
  constexpr std::uint64_t kLimit = std::numeric_limits<std::int32_t>::max();
  require(value_->is_number_unsigned(), "a token id (a whole number from 0)");
  const auto id = value_->get<std::uint64_t>();
  if (id >= kLimit) fail("token id " + std::to_string(id) + " is too large");
  return static_cast<int>(id);
}

std::vector<JsonNode> JsonNode::items() const {
  require(is_array(), "an array");
  std::vector<JsonNode> nodes;
  nodes.reserve(value_->size());
  for (size_t i = 0; i < value_->size(); ++i)
    nodes.push_back(child((*value_)[i], path_ + "[" + std::to_string(i) + "]"));
  return nodes;
}

bool JsonNode::is_string() const {
  return value_->is_string();
}
bool JsonNode::is_array() const {
  return value_->is_array();
}
bool JsonNode::is_object() const {
  return value_->is_object();
}

}  // namespace factflow
