#include "fields/yaml_tree.hpp"

#include "tests/expect_input_error.hpp"

namespace factflow {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string error_of(const std::string& text) {
  return input_error_of([&] { parse_yaml(text, "x.yaml"); });
}

TEST(YamlTree, KeepsTextOrderAndLines) {
  const YamlNode root = parse_yaml("# comment\nb: [1, two]\na:\n  c: 'x: y'\n", "x.yaml");
  ASSERT_EQ(root.kind, YamlNode::Kind::kMap);
  EXPECT_EQ(root.keys, (std::vector<std::string>{"b", "a"}));
  EXPECT_EQ(root.key_lines, (std::vector<int>{2, 3}));
  EXPECT_EQ(root.find("b")->items[1].text, "two");
  EXPECT_EQ(root.find("a")->find("c")->text, "x: y");
  EXPECT_EQ(root.find("a")->find("c")->line, 4);
  EXPECT_EQ(root.find("d"), nullptr);
}

TEST(YamlTree, RefusesWhatItDoesNotHold) {
  EXPECT_THAT(error_of("a: &x 1\nb: 2\n"), StartsWith("x.yaml:1: YAML anchors"));
  EXPECT_THAT(error_of("a: !!binary aGk=\n"), HasSubstr("tags are not supported"));
  EXPECT_THAT(error_of("a: 1\nb: 2\na: 3\n"),
              StartsWith("x.yaml:3: the key 'a' is given twice, first in line 1"));
  EXPECT_THAT(error_of("a: 1\n---\nb: 1\n"), HasSubstr("more than one YAML document"));
  EXPECT_THAT(error_of("~: 1\n"), HasSubstr("a key is missing"));
  EXPECT_THAT(error_of("[a, b]: 1\n"), HasSubstr("a key must be text"));
  EXPECT_THAT(error_of("? \n: 1\n"), HasSubstr("a key must be text"));
  EXPECT_THAT(error_of("a: [1, 2\nb: 3\n"), HasSubstr("is not valid YAML"));
  EXPECT_THAT(error_of("a:\n- b: [\n"), HasSubstr("is not valid YAML"));
  EXPECT_THAT(error_of(""), HasSubstr("is empty"));
  EXPECT_THAT(error_of("a: \xff\n"), HasSubstr("not UTF-8"));
  EXPECT_THAT(error_of(std::string("a: \0b\n", 6)), HasSubstr("not UTF-8"));
}

TEST(YamlTree, BoundsDepthAndSize) {
  EXPECT_THAT(error_of(std::string(17, '[') + std::string(17, ']')),
              HasSubstr("nested more than 16 levels"));
  EXPECT_THAT(error_of(std::string(100000, '[')), StartsWith("x.yaml:1: "));
  EXPECT_THAT(error_of(std::string(100000, '{')), StartsWith("x.yaml:1: "));
  EXPECT_THAT(error_of(std::string((size_t{1} << 20) + 1, 'a')), HasSubstr("larger than 1 MiB"));
  std::string many;
  for (int i = 0; i < 2000; ++i) many += "k" + std::to_string(i) + ": 1\n";
  EXPECT_THAT(error_of(many), HasSubstr("more than 1000 keys"));
}

TEST(YamlTree, RefusesABombOfAliases) {
  std::string bomb = "a0: &a0 [x, x]\n";
  for (int i = 1; i < 40; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + before + ", " + before +
            "]\n";
  }
  EXPECT_THAT(error_of(bomb), StartsWith("x.yaml:1: YAML anchors"));
}

TEST(YamlTree, ATabIsNamed) {
  for (const char* text :
       {"a: 1\nb:\n\tc: 1\n", "a: 1\nb:\n  \tc: 1\n  d: 2\n", "a: 1\n\n\tb: 2\n"})
    EXPECT_EQ(error_of(text),
              "x.yaml:3: is indented with a tab; YAML takes spaces only: replace "
              "the tab")
        << text;
  EXPECT_NO_THROW(parse_yaml("a:\t1  # a\ttab\nb: [1,\n\t2]\n", "x.yaml"));
}

TEST(YamlTree, WrittenTextReadsBackAsTheSameTree) {
  const std::vector<std::string> words = {"plain", "yes", "No",     "null",   "~",    "",
                                          "5",     "007", "1e3",    "a: b",   "#x",   "it's",
                                          "\"",    "\\",  "a\tb\n", "é 北京", "-",    "*a",
                                          "&a",    "!t",  "[x]",    "{x}",    "true", " spaced "};
  YamlNode root = YamlNode::of_map();
  std::vector<YamlNode> list;
  for (const std::string& word : words) list.push_back(YamlNode::of_text(word));
  root.put("list", YamlNode::of_list(list));
  YamlNode inner = YamlNode::of_map();
  for (const std::string& word : words)
    if (!word.empty()) inner.put(word, YamlNode::of_text(word));
  root.put("maps", YamlNode::of_list({inner, inner}));
  root.put("inner", inner);
  const std::string text = write_yaml(root);
  const YamlNode back = parse_yaml(text, "x.yaml");
  EXPECT_EQ(write_yaml(back), text);
  ASSERT_EQ(back.find("list")->items.size(), words.size());
  for (size_t i = 0; i < words.size(); ++i) EXPECT_EQ(back.find("list")->items[i].text, words[i]);
  EXPECT_EQ(back.find("inner")->keys, inner.keys);
}

}  // namespace
}  // namespace factflow
