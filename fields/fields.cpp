#include "fields/fields.hpp"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "fields/plain_text.hpp"

namespace factflow {
namespace {

constexpr size_t kLongestText = 4096;  // as long as the longest path

// Appends `words` broken into lines of at most `width` characters, each after `margin` spaces.
void append_wrapped(std::string& out, std::string_view words, size_t margin, size_t width) {
  size_t column = 0;
  while (!words.empty()) {
    const size_t end = std::min(words.find(' '), words.size());
    if (column == 0 || column + 1 + end > width) {
      out += (column == 0 ? "" : "\n") + std::string(margin, ' ');
      column = margin;
    } else {
      out += ' ';
      ++column;
    }
    out += words.substr(0, end);
    column += end;
    words.remove_prefix(std::min(end + 1, words.size()));
  }
  out += '\n';
}

}  // namespace

void reject(const Place& place, int line, const std::string& problem, const std::string& remedy) {
  // Line 0: it was not read from the file (--set).
  const std::string where =
      line > 0 ? fmt::format("{}:{}", place.file.string(), line) : place.file.string();
  throw InputError(place.key.empty() ? where : where + ": key " + place.key, problem, remedy);
}

void reject_type(const Place& place, const YamlNode& node, const std::string& type) {
  reject(place, node.line, fmt::format("expected {}, found {}", type, node.description()));
}

void check_keys(const YamlNode& node, const Place& place, const std::vector<KnownKey>& known) {
  std::vector<std::string> names;
  for (const KnownKey& key : known) {
    names.push_back(key.key);
    if (!key.alias.empty()) names.push_back(key.alias);
  }
  for (size_t i = 0; i < node.keys.size(); ++i) {
    bool is_known = false;
    for (const std::string& name : names) is_known = is_known || name == node.keys[i];
    if (is_known) continue;
    const std::string shown = excerpt(node.keys[i]);
    reject(place.child(shown), node.key_lines[i], unknown_word("key", shown, names));
  }
  for (const KnownKey& key : known) {
    const bool has_key = node.find(key.key) != nullptr;
    const bool has_alias = !key.alias.empty() && node.find(key.alias) != nullptr;
    if (key.required && !has_key && !has_alias)
      reject(place.child(key.key), node.line, "is required but missing", "add it");
    if (has_key && has_alias)
      reject(place.child(key.alias), node.line, fmt::format("is given beside '{}'", key.key),
             "keep one of them");
  }
}

std::string read_text(const YamlNode& node, const Place& place, const std::string& type) {
  if (node.kind != YamlNode::Kind::kText || node.text.empty()) reject_type(place, node, type);
  const auto is_control = [](unsigned char c) { return c < 0x20 || c == 0x7F; };
  if (std::any_of(node.text.begin(), node.text.end(), is_control))
    reject(place, node.line,
           fmt::format("expected {} on one line, found a control character", type));
  if (node.text.size() > kLongestText)
    reject(place, node.line, fmt::format("expected {} of at most {} bytes", type, kLongestText));
  return node.text;
}

Form<std::string> text() {
  return {"text",
          [](const YamlNode& node, const Place& place) { return read_text(node, place, "text"); },
          [](const std::string& value, Purpose) { return YamlNode::of_text(value); }};
}

Form<bool> yes_or_no() {
  return {"true | false",
          [](const YamlNode& node, const Place& place) {
            const std::string given = read_text(node, place, "true or false");
            if (given != "true" && given != "false") reject_type(place, node, "true or false");
            return given == "true";
          },
          [](const bool& value, Purpose) { return YamlNode::of_text(value ? "true" : "false"); }};
}

Form<bool> on_or_off() {
  return {"on | off",
          [](const YamlNode& node, const Place& place) {
            const std::string given = read_text(node, place, "on or off");
            if (given != "on" && given != "off") reject_type(place, node, "on or off");
            return given == "on";
          },
          [](const bool& value, Purpose) { return YamlNode::of_text(value ? "on" : "off"); }};
}

std::string whole_number_type(std::int64_t smallest, std::int64_t largest) {
  if (largest == std::numeric_limits<std::int64_t>::max())
    return fmt::format("a whole number from {}", smallest);
  return fmt::format("a whole number from {} to {}", smallest, largest);
}

std::int64_t read_whole_number(const YamlNode& node, const Place& place, std::int64_t smallest,
                               std::int64_t largest) {
  const std::string type = whole_number_type(smallest, largest);
  const std::optional<std::int64_t> value = parse_whole_number(read_text(node, place, type));
  if (!value || *value < smallest || *value > largest) reject_type(place, node, type);
  return *value;
}

Form<std::int64_t> prompt_id() {
  return text_form(
      "a whole number from 0",
      [](const std::string& given) {
        const std::optional<std::int64_t> id = parse_id(given);
        if (!id)
          throw InputError(
              "", fmt::format("expected a whole number from 0, found {}", in_quotes(given)));
        return *id;
      },
      [](std::int64_t id) { return std::to_string(id); });
}

void parse_at(const YamlNode& node, const Place& place, const std::function<void()>& parse) {
  try {
    parse();
  } catch (const InputError& error) {
    reject(place, node.line, error.problem(), error.remedy());
  }
}

std::string help_text(const std::string& title, const std::vector<HelpLine>& lines) {
  constexpr size_t kWidth = 100;
  std::string out = title + "\n";
  std::string_view section;
  for (const HelpLine& line : lines) {
    const std::string_view top = std::string_view(line.key).substr(0, line.key.find_first_of(".["));
    if (top != section) out += '\n';
    section = top;
    append_wrapped(out, fmt::format("{}: {} [{}]", line.key, line.type, line.fallback), 2, kWidth);
    append_wrapped(out, line.meaning, 6, kWidth);
  }
  return out;
}

}  // namespace factflow
