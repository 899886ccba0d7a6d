// Difficult strings in two tokenizers of our own, against what the Hugging Face library makes of
// them.
#include <fstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "model/tokenizer/tokenizer.hpp"
#include "tests/source_dir.hpp"

namespace factflow {
namespace {

class TrickyTexts : public testing::TestWithParam<std::string> {};

TEST_P(TrickyTexts, HaveTheLibrarysIds) {
  const std::filesystem::path folder =
      std::filesystem::path(source_dir()) / "tests" / "oracle" / "tokenizers";
  const Tokenizer tokenizer = Tokenizer::load(folder / GetParam());
  const auto expected = nlohmann::json::parse(std::ifstream(folder / (GetParam() + ".json")));
  ASSERT_GT(expected.at("tricky").size(), 10u);
  for (const auto& row : expected.at("tricky")) {
    const std::string text = row.at("text");
    EXPECT_EQ(nlohmann::json(tokenizer.encode(text).ids), row.at("ids")) << row.at("text");
    EXPECT_EQ(nlohmann::json(tokenizer.encode(text, false).ids), row.at("ids_no_special"))
        << row.at("text");
  }
}

INSTANTIATE_TEST_SUITE_P(Styles, TrickyTexts, testing::Values("falcon-style", "mistral-style"),
                         [](const auto& test) {
                           return test.param.substr(0, test.param.find('-'));
                         });

}  // namespace
}  // namespace factflow
