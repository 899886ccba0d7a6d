// The published numbers that the program carries, and what is refused in place of them.
#include "pipeline/conformance/published.hpp"

#include <gmock/gmock.h>

#include "tests/expect_input_error.hpp"

namespace factflow {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(Published, TheProgramCarriesSixModels) {
  for (const char* name :
       {"gpt2-355M", "llama3.2-1B", "mamba1-130M", "mamba2-130M", "qwen2-0.5B", "qwen2.5-0.5B"}) {
    const PublishedModel model = read_published(published_numbers(), "here", name);
    EXPECT_EQ(model.clean.size(), 11U) << name;
    EXPECT_EQ(model.heatmaps.size(), 5U) << name;
    EXPECT_EQ(model.flows.size(), std::string(name).starts_with("qwen")    ? 3U
                                  : std::string(name).starts_with("mamba") ? 11U
                                                                           : 9U);
    for (const PublishedFlow& flow : model.flows)
      for (const auto& [id, series] : flow.prompts)
        EXPECT_EQ(model.clean.at(id).rank, 1) << name << " " << id;
  }
  const PublishedModel mamba = read_published(published_numbers(), "here", "mamba1-130M");
  EXPECT_EQ(mamba.layers, 24);
  EXPECT_FLOAT_EQ(static_cast<float>(mamba.heatmaps.at(5564).at(0).at(0)), 0.38861551880836487F);
}

// A row of a heat map is the flow from that token: first and last token are flows of their own.
TEST(Published, HeatMapsAndFlowsAreTheSameNumbers) {
  int compared = 0;
  for (const char* name :
       {"gpt2-355M", "llama3.2-1B", "mamba1-130M", "mamba2-130M", "qwen2-0.5B", "qwen2.5-0.5B"}) {
    const PublishedModel model = read_published(published_numbers(), "here", name);
    for (const PublishedFlow& flow : model.flows) {
      if (flow.to != TokenRole::kLast ||
          (flow.from != TokenRole::kFirst && flow.from != TokenRole::kLast))
        continue;
      for (const auto& [id, map] : model.heatmaps) {
        const auto series = flow.prompts.find(id);
        if (series == flow.prompts.end()) continue;
        EXPECT_EQ(flow.from == TokenRole::kFirst ? map.front() : map.back(),
                  series->second.probability)
            << name << " " << id;
        compared += static_cast<int>(series->second.probability.size());
      }
    }
  }
  EXPECT_EQ(compared, 612);
}

std::string error_of(const std::string& text, const std::string& name = "m") {
  return input_error_of([&] { read_published(text, "numbers.json", name); });
}
std::string with(const std::string& clean, const std::string& flows,
                 const std::string& heatmaps = "{\"window\":2,\"prompts\":{}}") {
  return error_of("{\"models\":{\"m\":{\"hub\":\"o/m\",\"layers\":3,\"clean\":" + clean +
                  ",\"flows\":" + flows + ",\"heatmaps\":" + heatmaps + "}}}");
}
std::string with_flow(const std::string& features, const std::string& row) {
  return with("[[5,0.5,1]]", R"([{"window":2,"from":"subject","to":"last","features":")" +
                                 features + "\",\"prompts\":{" + row + "}}]");
}

TEST(Published, OtherTextsAreRefused) {
  for (const char* text :
       {"", "[]", "{}", "{\"models\":3}", "{\"models\":{\"m\":{}}}", "{\"models\":{\"m\":[1]}}"})
    EXPECT_THAT(error_of(text), StartsWith("numbers.json: ")) << text;
  EXPECT_THAT(error_of("{\"models\":{\"mamba\":{}}}", "mambo"),
              HasSubstr("unknown published model 'mambo', did you mean 'mamba'?"));
  EXPECT_THAT(with("[[5,1.5,1]]", "[]"), HasSubstr("expected a probability, found 1.5"));
  EXPECT_THAT(with_flow("ALL", "\"5\":[\"10\",0.1]"),
              HasSubstr("prompt 5 has other numbers of windows than 2"));
  EXPECT_THAT(with_flow("ALL", "\"6\":[\"10\",0.1,0.2]"),
              HasSubstr("prompt 6 has knockouts but no clean run"));
  EXPECT_THAT(with_flow("ALL", "\"x\":[\"10\",0.1,0.2]"),
              HasSubstr("expected a case id, found 'x'"));
  EXPECT_THAT(with_flow("FAST", "\"5\":[\"10\",0.1,0.2]"),
              HasSubstr("expected ALL, FAST_DECAY or SLOW_DECAY"));
  EXPECT_THAT(with("[[5,0.5,1]]", "[]", "{\"window\":2,\"prompts\":{\"5\":[[0.1]]}}"),
              HasSubstr("heat map of prompt 5"));
  EXPECT_THAT(with("[[5,0.5,1]]", "[]", "{\"window\":9,\"prompts\":{\"5\":[[0.1]]}}"),
              HasSubstr("heat map of prompt 5"));
}

}  // namespace
}  // namespace factflow
