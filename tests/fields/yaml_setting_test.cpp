#include "fields/yaml_setting.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"

namespace factflow {
namespace {

using testing::HasSubstr;

YamlNode tree() {
  return parse_yaml(
      "run: {precision: fp32}\nmodels:\n  - {path: a}\n  - {path: b}\nsweep: {knockouts: x}\n",
      "x.yaml");
}

std::string after(const std::string& setting) {
  YamlNode root = tree();
  set_key(root, setting);
  return write_yaml(root);
}

std::string with(const std::string& yaml) {
  return write_yaml(parse_yaml(yaml, "expected"));
}

TEST(YamlSetting, ReplacesOrAddsAValueOfAnyKind) {
  const std::string models = "models:\n  - {path: a}\n  - {path: b}\n",
                    sweep = "sweep: {knockouts: x}\n";
  EXPECT_EQ(after("run.precision=tf32"), with("run: {precision: tf32}\n" + models + sweep));
  EXPECT_EQ(after("run.threads=2"), with("run: {precision: fp32, threads: 2}\n" + models + sweep));
  EXPECT_EQ(after("run={device: cpu}"), with("run: {device: cpu}\n" + models + sweep));
  EXPECT_EQ(after("models[1].path=c=d"),
            with("run: {precision: fp32}\nmodels:\n  - {path: a}\n  - {path: c=d}\n" + sweep));
  EXPECT_EQ(after("sweep.windows.sizes=[1, 5]"),
            with("run: {precision: fp32}\n" + models +
                 "sweep: {knockouts: x, windows: {sizes: [1, 5]}}\n"));
  // A section that may be a list may stand as its only entry.
  EXPECT_EQ(after("sweep[0].knockouts=y"),
            with("run: {precision: fp32}\n" + models + "sweep: {knockouts: y}\n"));
  EXPECT_EQ(after("name='a: b'"),
            with("run: {precision: fp32}\n" + models + sweep + "name: 'a: b'\n"));
}

TEST(YamlSetting, ValuesThatAreSetStandInNoLine) {
  YamlNode root = tree();
  set_key(root, "run={device: cpu}");
  EXPECT_EQ(root.find("run")->line, 0);
  EXPECT_EQ(root.find("run")->find("device")->line, 0);
}

TEST(YamlSetting, WhatCannotBeSetIsNamed) {
  const std::pair<const char*, const char*> cases[] = {
      {"run.precision", "expected KEY=VALUE"},
      {"=1", "expected KEY=VALUE"},
      {"run..x=1", "has an empty key"},
      {".=1", "has an empty key"},
      {"models.path=c", "is a list; say which of its entries"},
      {"models[2].path=c", "'models' has no entry 2; it has 2 entries"},
      {"models[x].path=c", "expected a number in brackets after 'models'"},
      {"models[1=c", "expected a number in brackets after 'models'"},
      {"models[1]x=c", "expected a number in brackets after 'models'"},
      {"run.precision.x=1", "which has no keys"},
      {"run[1].x=1", "'run' has no entry 1"},
      {"run={device: cpu", "--set run={device: cpu"},
      {"name=a\nrun: b", "--set name=a"},
  };
  for (const auto& [setting, expected] : cases) {
    try {
      after(setting);
      FAIL() << setting;
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr(expected)) << setting;
      EXPECT_THAT(error.what(), HasSubstr("--set ")) << setting;
    }
  }
}

}  // namespace
}  // namespace factflow
