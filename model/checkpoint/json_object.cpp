#include "model/checkpoint/json_object.hpp"

#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/error.hpp"
#include "model/checkpoint/untrusted.hpp"

namespace factflow {
namespace {

using nlohmann::json;

// Builds the value as the library's own builder does, and in addition refuses depth and repeated
// keys while reading: the library's callback parser could do so too, but takes quadratic time in
// the number of members.
class StrictBuilder : public nlohmann::json_sax<json> {
 public:
  StrictBuilder(std::string where, size_t max_depth)
      : where_(std::move(where)), max_depth_(max_depth) {}

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
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    const auto [member, is_new] = open_.back()->get_ref<json::object_t&>().try_emplace(name);
    if (!is_new)
      throw InputError(where_,
                       fmt::format("holds the key {} twice in one object", in_quotes(name)));
    member_ = &member->second;
    return true;
  }

  bool parse_error(size_t, const std::string&, const json::exception& error) override {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: ..." quotes the text it
    // stumbled over.
    std::string_view message = error.what();
    if (const size_t end = message.find("] "); end != message.npos) message.remove_prefix(end + 2);
    throw InputError(where_, fmt::format("is not valid JSON: {}", in_quotes(message)));
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
    if (open_.size() == max_depth_)
      throw InputError(where_, fmt::format("nests deeper than {} levels of JSON", max_depth_));
    open_.push_back(place(std::move(value)));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  std::string where_;
  size_t max_depth_;
  json root_;
  std::vector<json*> open_;  // stable: a container grows only while it is the last one open
  json* member_ = nullptr;   // where the value of the last key goes
};

}  // namespace

nlohmann::json parse_json_object(std::string_view text, const std::string& where,
                                 size_t max_depth) {
  StrictBuilder builder(where, max_depth);
  json::sax_parse(text.begin(), text.end(), &builder);
  json value = builder.take();
  if (!value.is_object())
    throw InputError(where, fmt::format("holds a JSON {}, expected an object", value.type_name()));
  return value;
}

}  // namespace factflow
