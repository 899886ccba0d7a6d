#include "base/json_text.hpp"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/text.hpp"
#include "base/text_file.hpp"

namespace factflow {
namespace {

using nlohmann::json;

// A number that JSON lacks becomes an object with this key, a control character that no real key
// holds unless it is escaped so.
constexpr std::string_view kNumberKey = "\x01number";
constexpr std::string_view kNumberWords[] = {"NaN", "Infinity", "-Infinity"};

double number_of(std::string_view word) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (word == "NaN") return std::numeric_limits<double>::quiet_NaN();
  return word == "Infinity" ? kInfinity : -kInfinity;
}

// The end of the string that begins at text[begin] == '"', or the end of the text.
size_t end_of_string(std::string_view text, size_t begin) {
  for (size_t i = begin + 1; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      return i + 1;
    }
  }
  return text.size();
}

// Bare NaN, Infinity and -Infinity outside strings, rewritten in a form that is JSON.
std::string in_strict_json(std::string_view text) {
  std::string strict;
  strict.reserve(text.size() + 64);
  for (size_t i = 0; i < text.size();) {
    const size_t end = text[i] == '"' ? end_of_string(text, i) : i + 1;
    std::string_view piece = text.substr(i, end - i), word;
    if (text[i] == 'N' || text[i] == 'I' || text[i] == '-')
      for (const std::string_view one : kNumberWords)
        if (text.substr(i).starts_with(one)) word = one;
    if (word.empty())
      strict += piece;
    else
      strict += fmt::format(R"({{"\u0001number":"{}"}})", piece = word);
    i += piece.size();
  }
  return strict;
}

// Builds the value as the library's own builder does, and in addition refuses depth and repeated
// keys while reading: the library's callback parser could do so too, but takes quadratic time in
// the number of members.
class JsonBuilder : public nlohmann::json_sax<json> {
 public:
  JsonBuilder(const std::string& where, const JsonRules& rules, const std::string& remedy)
      : where_(where), rules_(rules), remedy_(remedy) {}

  json take() { return std::move(root_); }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t&) override { return false; }  // never called for JSON text

  bool start_object(size_t) override { return open(json::object()); }
  bool start_array(size_t) override { return open(json::array()); }
  bool end_object() override {
    json& object = *open_.back();
    if (object.size() == 1 && object.begin().key() == kNumberKey && object.begin()->is_string())
      object = number_of(object.begin()->get<std::string>());
    return close();
  }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    const auto [member, is_new] = open_.back()->get_ref<json::object_t&>().try_emplace(name);
    if (!is_new && rules_.unique_keys)
      throw InputError(where_,
                       fmt::format("holds the key {} twice in one object", in_quotes(name)));
    member_ = &member->second;
    return true;
  }

  bool parse_error(size_t, const std::string&, const json::exception& error) override {
    constexpr int kOutOfRange = 406;
    if (error.id == kOutOfRange)
      throw InputError(where_, "holds a number that is too large", remedy_);
    // "[json.exception.parse_error.101] parse error at line 1, column 2: ..." quotes the text it
    // stumbled over.
    std::string_view message = error.what();
    if (const size_t end = message.find("] "); end != message.npos) message.remove_prefix(end + 2);
    throw InputError(where_, fmt::format("is not valid JSON: {}", in_quotes(message)), remedy_);
  }

 private:
  json* place(json value) {
    if (open_.empty()) return &(root_ = std::move(value));
    if (open_.back()->is_array()) return &open_.back()->emplace_back(std::move(value));
    return &(*member_ = std::move(value));
  }
  bool add(json value) {
    place(std::move(value));
    return true;
  }
  bool open(json value) {
    if (open_.size() == rules_.max_depth)
      throw InputError(where_,
                       fmt::format("nests deeper than {} levels of JSON", rules_.max_depth));
    open_.push_back(place(std::move(value)));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  const std::string& where_;
  const JsonRules& rules_;
  const std::string& remedy_;
  json root_;
  std::vector<json*> open_;  // stable: a container grows only while it is the last one open
  json* member_ = nullptr;   // where the value of the last key goes
};

bool may_hold_number_words(std::string_view text) {
  return text.find("NaN") != text.npos || text.find("Infinity") != text.npos;
}

}  // namespace

json parse_json_text(std::string_view text, const std::string& where, const JsonRules& rules,
                     const std::string& remedy) {
  std::string strict;
  if (may_hold_number_words(text)) text = strict = in_strict_json(text);
  JsonBuilder builder(where, rules, remedy);
  json::sax_parse(text.begin(), text.end(), &builder);
  return builder.take();
}

json read_json_file(const std::filesystem::path& path, size_t limit) {
  return parse_json_text(read_text_file(path, limit), path.string());
}

}  // namespace factflow
