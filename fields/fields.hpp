// A declarative table of configuration fields: one entry per key gives reading, checking, default,
// help and the resolved copy. A Form says how one kind of value is read and written; a Field ties a
// Form to a member of a struct.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "fields/yaml_tree.hpp"

namespace factflow {

// Where a value stands, for messages.
struct Place {
  const std::filesystem::path& file;
  std::string key;  // "sweep.windows.sizes[2]"; empty for the whole file

  Place child(const std::string& name) const {
    return {file, key.empty() ? name : key + "." + name};
  }
  Place item(size_t index) const { return {file, key + "[" + std::to_string(index) + "]"}; }
};

// Throws InputError "FILE:LINE: key a.b.c: PROBLEM; REMEDY".
[[noreturn]] void reject(const Place& place, int line, const std::string& problem,
                         const std::string& remedy = "");

// Throws reject(): "expected TYPE, found ...".
[[noreturn]] void reject_type(const Place& place, const YamlNode& node, const std::string& type);

// What a configuration is written for: for the reader, or to tell whether two runs compute the same
// numbers.
enum class Purpose { kResolved, kIdentity };

struct HelpLine {
  std::string key, type, fallback, meaning;
};

template <class V>
struct Form {
  std::string type;                                                 // "a whole number, 1 or more"
  std::function<V(const YamlNode&, const Place&)> read;             // throws InputError
  std::function<std::optional<YamlNode>(const V&, Purpose)> write;  // nothing: the value is absent
  std::function<std::vector<HelpLine>()> help = nullptr;            // sections: the fields inside
  bool many = false;                                                // a list of sections, for help
};

struct FieldOptions {
  bool required = false;
  std::string_view alias = {};  // a second name, for reading only
  bool in_identity = true;      // false: changes where and how fast, but not what is computed
};

template <class T>
struct Field {
  std::string key, type, meaning;
  FieldOptions options;
  std::function<void(T&, const YamlNode&, const Place&)> read;
  std::function<std::optional<YamlNode>(const T&, Purpose)> write;
  std::function<std::vector<HelpLine>()> help;
  bool many = false;
};

template <class T>
using Fields = std::vector<Field<T>>;

template <class T, class V>
Field<T> field(const std::string& key, V T::*member, Form<V> form, const std::string& meaning,
               FieldOptions options = {}) {
  Field<T> made{key,     form.type, meaning,   std::move(options),
                nullptr, nullptr,   form.help, form.many};
  made.read = [member, read = form.read](T& out, const YamlNode& node, const Place& place) {
    out.*member = read(node, place);
  };
  made.write = [member, write = form.write](const T& value, Purpose purpose) {
    return write(value.*member, purpose);
  };
  return made;
}

// A field that is the whole of T: for values that several keys share.
template <class T>
Field<T> field_of_all(const std::string& key, const std::string& type, const std::string& meaning,
                      std::function<void(T&, const YamlNode&, const Place&)> read,
                      std::function<std::optional<YamlNode>(const T&)> write) {
  return {key,
          type,
          meaning,
          {},
          std::move(read),
          [write = std::move(write)](const T& value, Purpose) { return write(value); },
          nullptr,
          false};
}

// Checks the keys of a mapping against the table: unknown ones, and a key beside its alias.
struct KnownKey {
  std::string key, alias;
  bool required;
};
void check_keys(const YamlNode& node, const Place& place, const std::vector<KnownKey>& known);

template <class T>
T read_fields(const Fields<T>& fields, const YamlNode& node, const Place& place) {
  if (node.kind != YamlNode::Kind::kMap) reject_type(place, node, "a mapping of keys to values");
  std::vector<KnownKey> known;
  for (const Field<T>& f : fields)
    known.push_back({f.key, std::string(f.options.alias), f.options.required});
  check_keys(node, place, known);
  T out{};
  for (const Field<T>& f : fields) {
    for (const std::string& name : {f.key, std::string(f.options.alias)}) {
      const YamlNode* value = name.empty() ? nullptr : node.find(name);
      if (value != nullptr) f.read(out, *value, place.child(name));
    }
  }
  return out;
}

template <class T>
YamlNode write_fields(const Fields<T>& fields, const T& value, Purpose purpose) {
  YamlNode map = YamlNode::of_map();
  for (const Field<T>& f : fields) {
    if (purpose == Purpose::kIdentity && !f.options.in_identity) continue;
    if (std::optional<YamlNode> node = f.write(value, purpose)) map.put(f.key, std::move(*node));
  }
  return map;
}

// One line per key that holds a value; the default is what an untouched T writes.
template <class T>
std::vector<HelpLine> help_of(const Fields<T>& fields) {
  std::vector<HelpLine> lines;
  for (const Field<T>& f : fields) {
    if (f.help) {
      for (HelpLine line : f.help()) {
        line.key = f.key + (f.many ? "[]." : ".") + line.key;
        lines.push_back(std::move(line));
      }
      continue;
    }
    std::string fallback = "required";
    if (!f.options.required) {
      const std::optional<YamlNode> node = f.write(T{}, Purpose::kResolved);
      const bool is_one = node && node->kind == YamlNode::Kind::kList && node->items.size() == 1;
      fallback = node ? write_yaml(is_one ? node->items[0] : *node) : "none\n";
      fallback.pop_back();
    }
    lines.push_back({f.key, f.type, fallback, f.meaning});
  }
  return lines;
}

template <class T>
Form<T> section(Fields<T> fields) {
  const auto table = std::make_shared<const Fields<T>>(std::move(fields));
  return {"a section",
          [table](const YamlNode& node, const Place& place) {
            return read_fields(*table, node, place);
          },
          [table](const T& value, Purpose purpose) { return write_fields(*table, value, purpose); },
          [table] { return help_of(*table); }};
}

// One value or more, each once; what is no list counts as a list of one.
template <class V>
Form<std::vector<V>> list_of(Form<V> form) {
  const auto read = [form](const YamlNode& node, const Place& place) {
    if (node.kind != YamlNode::Kind::kList) return std::vector<V>{form.read(node, place)};
    if (node.items.empty()) reject(place, node.line, "is an empty list", "give at least one value");
    std::vector<V> values;
    std::set<std::string> seen;
    for (size_t i = 0; i < node.items.size(); ++i) {
      values.push_back(form.read(node.items[i], place.item(i)));
      const std::string text = write_yaml(form.write(values.back(), Purpose::kResolved).value());
      if (!seen.insert(text).second)
        reject(place.item(i), node.items[i].line, "repeats an earlier value of the list",
               "remove it");
    }
    return values;
  };
  const auto write = [form](const std::vector<V>& values,
                            Purpose purpose) -> std::optional<YamlNode> {
    std::vector<YamlNode> items;
    for (const V& value : values) items.push_back(form.write(value, purpose).value());
    return YamlNode::of_list(std::move(items));
  };
  return {form.help ? form.type : form.type + " or a list", read, write, form.help,
          form.help != nullptr};
}

// A list of which one element is written without the list, and none not at all.
template <class V>
Form<std::vector<V>> one_or_several(Form<V> form) {
  Form<std::vector<V>> list = list_of(form);
  list.write = [one = form.write, several = list.write](const std::vector<V>& values,
                                                        Purpose purpose) {
    if (values.empty()) return std::optional<YamlNode>();
    return values.size() == 1 ? one(values[0], purpose) : several(values, purpose);
  };
  return list;
}

// A word in place of a value, for instance `all` in place of a number.
template <class V>
Form<V> word_or(const std::string& word, V meant, Form<V> form) {
  const std::string type = word + ", or " + form.type;
  return {type,
          [word, meant, form, type](const YamlNode& node, const Place& place) {
            if (node.kind == YamlNode::Kind::kText && node.text == word) return meant;
            if (node.kind == YamlNode::Kind::kNothing) reject_type(place, node, type);
            return form.read(node, place);
          },
          [word, meant, form](const V& value, Purpose purpose) {
            return value == meant ? std::optional(YamlNode::of_text(word))
                                  : form.write(value, purpose);
          }};
}

// A further check of a value that could be read; `check(value, node, place)` throws by reject().
template <class V, class Check>
Form<V> checked(Form<V> form, Check check) {
  const auto read = form.read;
  form.read = [read, check](const YamlNode& node, const Place& place) {
    V value = read(node, place);
    check(value, node, place);
    return value;
  };
  return form;
}

// A table of keys for people, in lines of at most 100 characters, under `title`.
std::string help_text(const std::string& title, const std::vector<HelpLine>& lines);

Form<std::string> text();  // any text that is not empty
Form<bool> yes_or_no();
Form<bool> on_or_off();          // true | false
Form<std::int64_t> prompt_id();  // a whole number from 0; 7.0 is one
std::string read_text(const YamlNode& node, const Place& place, const std::string& type);
std::int64_t read_whole_number(const YamlNode& node, const Place& place, std::int64_t smallest,
                               std::int64_t largest);
std::string whole_number_type(std::int64_t smallest, std::int64_t largest);

template <class V>
Form<V> whole_number(V smallest, V largest) {
  return {
      whole_number_type(static_cast<std::int64_t>(smallest), static_cast<std::int64_t>(largest)),
      [smallest, largest](const YamlNode& node, const Place& place) {
        return static_cast<V>(read_whole_number(node, place, static_cast<std::int64_t>(smallest),
                                                static_cast<std::int64_t>(largest)));
      },
      [](const V& value, Purpose) { return YamlNode::of_text(std::to_string(value)); }};
}

// Runs `parse` on the text; an InputError of it is thrown again with this place.
void parse_at(const YamlNode& node, const Place& place, const std::function<void()>& parse);

// Text that `parse` turns into a value or refuses with an InputError; `show` is its inverse.
template <class Parse, class Show>
auto text_form(const std::string& type, Parse parse, Show show)
    -> Form<std::invoke_result_t<Parse, const std::string&>> {
  using V = std::invoke_result_t<Parse, const std::string&>;
  return {type,
          [type, parse](const YamlNode& node, const Place& place) {
            const std::string given = read_text(node, place, type);
            V value{};
            parse_at(node, place, [&] { value = parse(given); });
            return value;
          },
          [show](const V& value, Purpose) { return YamlNode::of_text(show(value)); }};
}

}  // namespace factflow
