#include <cmath>
#include <limits>

#include "model/checkpoint/config_file.hpp"
#include "tests/checkpoint/support.hpp"

namespace factflow {
namespace {

using testing::HasSubstr;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::string error_of(const std::string& text) {
  return input_error([&] { parse_config(text, "config.json"); });
}

TEST(Config, ReadsNonFiniteNumbersInBothForms) {
  for (const char* text :
       {R"({"limit": [0.0, Infinity], "low": -Infinity, "odd": NaN})",
        R"({"limit": [0.0, {"__float__": "Infinity"}], "low": {"__float__": "-Infinity"},
                               "odd": {"__float__": "NaN"}})"}) {
    const nlohmann::json config = parse_config(text, "config.json");
    EXPECT_EQ(config["limit"], (nlohmann::json{0.0, kInfinity}));
    EXPECT_EQ(config["low"], -kInfinity);
    EXPECT_TRUE(std::isnan(config["odd"].get<double>()));
  }
}

TEST(Config, LeavesStringsAlone) {
  const nlohmann::json config =
      parse_config(R"({"a": "NaN, \"Infinity\" \\", "Infinity": "-Infinity"})", "config.json");
  EXPECT_EQ(config["a"], "NaN, \"Infinity\" \\");
  EXPECT_EQ(config["Infinity"], "-Infinity");
}

TEST(Config, RefusesWhatIsNoObject) {
  EXPECT_THAT(error_of("{\n \"a\": 1,\n}"),
              HasSubstr("config.json: is not valid JSON: 'parse error at line 3"));
  EXPECT_THAT(error_of("[1]"), HasSubstr("holds a JSON array, expected an object"));
  EXPECT_THAT(error_of(R"({"a": 1, "a": 2})"), HasSubstr("holds the key 'a' twice"));
  EXPECT_THAT(error_of(R"({"a": {"__float__": "huge"}})"),
              HasSubstr("found 'huge', expected Infinity"));
  EXPECT_THAT(error_of(R"({"a": {"__float__": 3}})"), HasSubstr("found 'number'"));
  EXPECT_THAT(error_of(R"({"a": Infinitys})"), HasSubstr("is not valid JSON"));
  EXPECT_THAT(error_of(R"({"a": -NaN})"), HasSubstr("is not valid JSON"));
  EXPECT_THAT(error_of(R"({"a": ")"), HasSubstr("is not valid JSON"));
  EXPECT_THAT(error_of("{\"a\":" + std::string(100, '[')),
              HasSubstr("nests deeper than 64 levels"));
}

TEST(Config, IsRequiredAndLimited) {
  const TemporaryDirectory directory;
  EXPECT_THAT(input_error([&] { read_config_file(directory.path()); }),
              HasSubstr("holds no config.json"));
  directory.write("config.json", "{}");
  std::filesystem::resize_file(directory.path() / "config.json", size_t{17} << 20);
  EXPECT_THAT(input_error([&] { read_config_file(directory.path()); }),
              HasSubstr("17.0 MiB large, expected at most 16"));
}

TEST(Config, ReadsTheDemoModels) {
  EXPECT_EQ(Checkpoint::read_config(demo_model("mamba2").string())["time_step_limit"][1],
            kInfinity);
  EXPECT_EQ(Checkpoint::read_config(demo_model("gpt2").string())["model_type"], "gpt2");
}

}  // namespace
}  // namespace factflow
