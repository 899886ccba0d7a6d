// YAML as a small tree with line numbers. Narrower than YAML on purpose: one document, no anchors,
// aliases or tags, text keys that occur once, bounded depth; every scalar stays text until a field
// asks for something else.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace factflow {

struct YamlNode {
  enum class Kind { kNothing, kText, kList, kMap };
  Kind kind = Kind::kNothing;
  int line = 0;                        // 1-based; 0 in trees that were not read from a file
  std::string text = {};               // kText
  std::vector<YamlNode> items = {};    // kList: the elements; kMap: the values
  std::vector<std::string> keys = {};  // kMap: one per value
  std::vector<int> key_lines = {};     // kMap: one per key

  static YamlNode of_text(std::string text);
  static YamlNode of_list(std::vector<YamlNode> items);
  static YamlNode of_map() { return {.kind = Kind::kMap}; }

  void put(std::string key, YamlNode value, int key_line = 0);
  // nullptr if this is no map or the key is not there.
  const YamlNode* find(std::string_view key) const;

  // "nothing", "'text'", "a list", "a mapping": what a message says was found.
  std::string description() const;
};

// Throws InputError "FILE:LINE: ..." for anything that is not a single document of the kind above.
YamlNode parse_yaml(const std::string& text, const std::filesystem::path& file);

// Maps and lists of maps as blocks, lists of text on one line; ends with a newline. parse_yaml
// reads back the same tree.
std::string write_yaml(const YamlNode& node);

}  // namespace factflow
