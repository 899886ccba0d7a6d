#include "fields/yaml_setting.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <vector>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "fields/plain_text.hpp"

namespace factflow {
namespace {

struct Step {
  std::string key;
  std::optional<size_t> item = {};
};

class Setting {
 public:
  explicit Setting(const std::string& text) : text_(text) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0)
      refuse("expected KEY=VALUE", "for instance --set run.precision=tf32");
    for (size_t begin = 0; begin <= equals;) {
      const size_t end = std::min(text.find('.', begin), equals);
      steps_.push_back(step(text.substr(begin, end - begin)));
      begin = end + 1;
    }
    value_ = value_of(text.substr(equals + 1));
  }

  void apply(YamlNode& root) const {
    YamlNode* node = &root;
    for (size_t i = 0; i < steps_.size(); ++i) {
      node = &child(*node, steps_[i].key);
      if (steps_[i].item) node = &item(*node, *steps_[i].item, steps_[i].key);
      if (i + 1 < steps_.size() && node->kind == YamlNode::Kind::kNothing)
        node->kind = YamlNode::Kind::kMap;
    }
    *node = value_;
  }

 private:
  [[noreturn]] void refuse(const std::string& problem, const std::string& remedy) const {
    throw InputError("--set " + excerpt(text_), problem, remedy);
  }

  Step step(const std::string& part) const {
    const size_t bracket = part.find('[');
    Step step{part.substr(0, bracket)};
    if (bracket != std::string::npos) {
      size_t index = 0;
      const char *begin = part.data() + bracket + 1, *end = part.data() + part.size();
      const auto [stop, error] = std::from_chars(begin, end, index);
      if (error != std::errc() || stop + 1 != end || *stop != ']')
        refuse(fmt::format("expected a number in brackets after {}", in_quotes(step.key)),
               "items are counted from 0: models[0].path");
      step.item = index;
    }
    if (step.key.empty()) refuse("has an empty key", "write it as KEY.KEY=VALUE");
    return step;
  }

  // What stands after "key: " in a file.
  YamlNode value_of(const std::string& text) const {
    YamlNode root = parse_yaml("value: " + text, "--set " + excerpt(text_));
    if (root.items.size() != 1) refuse("is more than one value", "quote it if it is text");
    forget_lines(root);
    return std::move(root.items.front());
  }

  static void forget_lines(YamlNode& node) {
    node.line = 0;
    for (int& line : node.key_lines) line = 0;
    for (YamlNode& one : node.items) forget_lines(one);
  }

  YamlNode& child(YamlNode& node, const std::string& key) const {
    if (node.kind == YamlNode::Kind::kList)
      refuse(fmt::format("the key before {} is a list", in_quotes(key)),
             "say which of its entries: [0] is the first");
    if (node.kind != YamlNode::Kind::kMap)
      refuse(fmt::format("the key before {} is {}, which has no keys", in_quotes(key),
                         node.description()),
             "set it as a whole: KEY={key: value}");
    const auto known = std::find(node.keys.begin(), node.keys.end(), key);
    if (known != node.keys.end()) return node.items[static_cast<size_t>(known - node.keys.begin())];
    node.put(key, {});
    return node.items.back();
  }

  YamlNode& item(YamlNode& node, size_t index, const std::string& key) const {
    const size_t count = node.kind == YamlNode::Kind::kList ? node.items.size() : 0;
    // A section that may be a list may stand as its only entry.
    if (node.kind == YamlNode::Kind::kMap && index == 0) return node;
    if (index >= count)
      refuse(fmt::format("{} has no entry {}", in_quotes(key), index),
             fmt::format("it has {}, counted from 0", counted(count, "entry", "entries")));
    return node.items[index];
  }

  const std::string& text_;
  std::vector<Step> steps_;
  YamlNode value_;
};

}  // namespace

void set_key(YamlNode& root, const std::string& setting) {
  Setting(setting).apply(root);
}

}  // namespace factflow
