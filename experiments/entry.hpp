// One entry of a kind's section of the configuration: whom it is for. Kinds derive their own
// entries from it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "fields/fields.hpp"

namespace factflow {

struct Entry {
  std::vector<std::string> models = {};  // names of this configuration; empty = all
  std::string select = {};               // name of a prompt set; empty = the first
  // In place of a set: these prompts, whatever the models say about them.
  std::vector<std::int64_t> ids = {};
  std::int64_t prompts = 0;  // only the first N prompts of the set; 0 = all
  bool operator==(const Entry&) const = default;
};

// What a section holds, each of the kind's own type.
using Entries = std::vector<std::shared_ptr<const Entry>>;

inline bool is_for(const Entry& entry, const std::string& model) {
  return entry.models.empty() ||
         std::find(entry.models.begin(), entry.models.end(), model) != entry.models.end();
}

// `entries` must be a section of the kind whose entries are T.
template <class T>
std::vector<T> entries_as(const Entries& entries) {
  std::vector<T> all;
  for (const std::shared_ptr<const Entry>& entry : entries)
    all.push_back(static_cast<const T&>(*entry));
  return all;
}

template <class T>
Form<Entries> section_form(Form<std::vector<T>> form) {
  Form<Entries> section{form.type, nullptr, nullptr, form.help, form.many};
  section.read = [read = form.read](const YamlNode& node, const Place& place) {
    Entries entries;
    for (T& one : read(node, place)) entries.push_back(std::make_shared<const T>(std::move(one)));
    return entries;
  };
  section.write = [write = form.write](const Entries& entries, Purpose purpose) {
    return write(entries_as<T>(entries), purpose);
  };
  return section;
}

inline constexpr const char* kFirstSet = "first";  // the word for the first of `select`

// The two keys that say for whom an entry is.
template <class T>
Fields<T> whom_fields() {
  return {
      field<T, std::vector<std::string>>(
          "models", &T::models, word_or("all", std::vector<std::string>{}, list_of(text())),
          "names of the models that this is for"),
      field<T, std::string>("select", &T::select, word_or(kFirstSet, std::string(), text()),
                            "name of the set of prompts; first = the first of `select`"),
  };
}

// "sweep.windows.sizes", or "sweep[1].windows.sizes" where the section has several entries.
std::string key_in_entry(const std::string& section, std::size_t index, std::size_t count,
                         const std::string& key);

}  // namespace factflow
