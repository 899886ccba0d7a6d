#include "fields/yaml_tree.hpp"

#include <algorithm>
#include <sstream>

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include "base/error.hpp"
#include "fields/plain_text.hpp"

namespace factflow {
namespace {

constexpr size_t kDeepest = 16;
constexpr size_t kMostKeys = 1000;  // in one mapping: looking for duplicates takes their square
constexpr size_t kLargestText = size_t{1} << 20;

// Builds the tree from the parser's events and refuses what the tree does not hold.
class TreeBuilder final : public YAML::EventHandler {
 public:
  explicit TreeBuilder(const std::filesystem::path& file) : file_(file) {}

  YamlNode take_root() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override { add({.line = mark.line + 1}); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { refuse_anchor(mark.line + 1); }
  void OnAnchor(const YAML::Mark& mark, const std::string&) override {
    refuse_anchor(mark.line + 1);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                const std::string& value) override {
    refuse_tag(mark.line + 1, tag);
    add({.kind = YamlNode::Kind::kText, .line = mark.line + 1, .text = value});
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    open(YamlNode::Kind::kList, mark.line + 1, tag);
  }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {
    open(YamlNode::Kind::kMap, mark.line + 1, tag);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapEnd() override { close(); }

 private:
  // A list or map that is not closed yet; a map waits for a key first, then for its value.
  struct Open {
    YamlNode node;
    bool has_key = false;
    std::string key = {};
    int key_line = 0;
  };

  [[noreturn]] void refuse(int line, const std::string& problem, const std::string& remedy) const {
    throw InputError(fmt::format("{}:{}", file_.string(), line), problem, remedy);
  }
  [[noreturn]] void refuse_anchor(int line) const {
    refuse(line, "YAML anchors and aliases (& and *) are not supported", "write the value out");
  }
  void refuse_tag(int line, const std::string& tag) const {
    if (!tag.empty() && tag != "?" && tag != "!")
      refuse(line, fmt::format("YAML tags are not supported, found {}", in_quotes(tag)),
             "remove the tag");
  }

  void open(YamlNode::Kind kind, int line, const std::string& tag) {
    refuse_tag(line, tag);
    if (expects_key())
      refuse(line, "a key must be text, found a list or mapping", "quote it if it is text");
    if (stack_.size() >= kDeepest)
      refuse(line, fmt::format("is nested more than {} levels deep", kDeepest), "");
    stack_.push_back({.node = {.kind = kind, .line = line}});
  }

  void close() {
    YamlNode node = std::move(stack_.back().node);
    stack_.pop_back();
    add(std::move(node));
  }

  bool expects_key() const {
    return !stack_.empty() && stack_.back().node.kind == YamlNode::Kind::kMap &&
           !stack_.back().has_key;
  }

  void add(YamlNode node) {
    if (stack_.empty()) {
      root_ = std::move(node);
    } else if (expects_key()) {
      add_key(std::move(node));
    } else if (Open& parent = stack_.back(); parent.node.kind == YamlNode::Kind::kList) {
      parent.node.items.push_back(std::move(node));
    } else {
      parent.node.put(std::move(parent.key), std::move(node), parent.key_line);
      parent.has_key = false;
    }
  }

  void add_key(YamlNode node) {
    Open& parent = stack_.back();
    if (node.kind != YamlNode::Kind::kText) refuse(node.line, "a key is missing before ':'", "");
    const auto& keys = parent.node.keys;
    if (keys.size() >= kMostKeys)
      refuse(node.line, fmt::format("is a mapping of more than {} keys", kMostKeys), "");
    if (const auto first = std::find(keys.begin(), keys.end(), node.text); first != keys.end())
      refuse(node.line,
             fmt::format("the key {} is given twice, first in line {}", in_quotes(node.text),
                         parent.node.key_lines[static_cast<size_t>(first - keys.begin())]),
             "keep one of them");
    parent.has_key = true;
    parent.key = std::move(node.text);
    parent.key_line = node.line;
  }

  const std::filesystem::path& file_;
  std::vector<Open> stack_;
  YamlNode root_;
};

// The first line that is indented with a tab, or 0.
int line_with_tab(std::string_view text) {
  for (int line = 1; !text.empty(); ++line) {
    const size_t begin = text.find_first_not_of(' ');
    if (begin != text.npos && text[begin] == '\t') return line;
    text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
  }
  return 0;
}

// Text that YAML readers take for nothing but text when it stands without quotes.
bool is_plain(std::string_view text) {
  static constexpr std::string_view kWords[] = {"true", "false", "yes", "no", "on",
                                                "off",  "null",  "y",   "n"};
  const bool number =
      !text.empty() && text.find_first_not_of("0123456789") == text.npos && text[0] != '0';
  if (number || text == "0") return true;
  if (text.empty() || !((text[0] >= 'a' && text[0] <= 'z') || (text[0] >= 'A' && text[0] <= 'Z')))
    return false;
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  if (lower == text && (text == "true" || text == "false")) return true;
  if (std::find(std::begin(kWords), std::end(kWords), lower) != std::end(kWords)) return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.' || c == '/';
  });
}

std::string write_text(std::string_view text) {
  if (is_plain(text)) return std::string(text);
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string write_inline(const YamlNode& node) {
  if (node.kind == YamlNode::Kind::kNothing) return "null";
  if (node.kind == YamlNode::Kind::kText) return write_text(node.text);
  std::string out;
  for (size_t i = 0; i < node.items.size(); ++i) {
    if (i > 0) out += ", ";
    if (node.kind == YamlNode::Kind::kMap) out += write_text(node.keys[i]) + ": ";
    out += write_inline(node.items[i]);
  }
  return node.kind == YamlNode::Kind::kMap ? "{" + out + "}" : "[" + out + "]";
}

bool holds_maps(const YamlNode& node) {
  return std::any_of(node.items.begin(), node.items.end(),
                     [](const YamlNode& item) { return item.kind == YamlNode::Kind::kMap; });
}

void write_block(const YamlNode& map, size_t indent, std::string& out) {
  const std::string margin(indent, ' ');
  for (size_t i = 0; i < map.items.size(); ++i) {
    const YamlNode& value = map.items[i];
    out += margin + write_text(map.keys[i]) + ":";
    if (value.kind == YamlNode::Kind::kMap && !value.items.empty()) {
      out += "\n";
      write_block(value, indent + 2, out);
    } else if (value.kind == YamlNode::Kind::kList && holds_maps(value)) {
      out += "\n";
      for (const YamlNode& item : value.items) out += margin + "  - " + write_inline(item) + "\n";
    } else {
      out += " " + write_inline(value) + "\n";
    }
  }
}

}  // namespace

YamlNode YamlNode::of_text(std::string text) {
  return {.kind = Kind::kText, .text = std::move(text)};
}

YamlNode YamlNode::of_list(std::vector<YamlNode> items) {
  return {.kind = Kind::kList, .items = std::move(items)};
}

void YamlNode::put(std::string key, YamlNode value, int key_line) {
  keys.push_back(std::move(key));
  key_lines.push_back(key_line);
  items.push_back(std::move(value));
}

const YamlNode* YamlNode::find(std::string_view key) const {
  const auto found = std::find(keys.begin(), keys.end(), key);
  return found == keys.end() ? nullptr : &items[static_cast<size_t>(found - keys.begin())];
}

std::string YamlNode::description() const {
  switch (kind) {
    case Kind::kNothing:
      return "nothing";
    case Kind::kText:
      return in_quotes(text);
    case Kind::kList:
      return items.empty() ? "an empty list" : "a list";
    case Kind::kMap:
      return "a mapping";
  }
  return "nothing";
}

YamlNode parse_yaml(const std::string& text, const std::filesystem::path& file) {
  if (text.size() > kLargestText)
    throw InputError(file.string(), "is larger than 1 MiB", "split it");
  if (!is_clean_utf8(text))
    throw InputError(file.string(), "is not UTF-8 text", "save it as UTF-8");
  std::istringstream stream(text);
  TreeBuilder builder(file);
  try {
    YAML::Parser parser(stream);
    if (!parser.HandleNextDocument(builder)) throw InputError(file.string(), "is empty", "");
    YamlNode root = builder.take_root();
    TreeBuilder second(file);
    if (parser.HandleNextDocument(second))
      throw InputError(file.string(), "holds more than one YAML document",
                       "keep one document per file");
    return root;
  } catch (const YAML::Exception& error) {
    if (const int line = line_with_tab(text); line > 0)
      throw InputError(fmt::format("{}:{}", file.string(), line), "is indented with a tab",
                       "YAML takes spaces only: replace the tab");
    throw InputError(fmt::format("{}:{}", file.string(), std::max(error.mark.line, 0) + 1),
                     fmt::format("is not valid YAML: {}", error.msg), "");
  }
}

std::string write_yaml(const YamlNode& node) {
  if (node.kind != YamlNode::Kind::kMap || node.items.empty()) return write_inline(node) + "\n";
  std::string out;
  write_block(node, 0, out);
  return out;
}

}  // namespace factflow
