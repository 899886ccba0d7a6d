#include "experiments/stream_only.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/expect_input_error.hpp"

namespace factflow {
namespace {

using testing::HasSubstr;

void require(const nlohmann::json& config) {
  const std::string name = "m";
  const Architecture architecture = read_architecture(config, "config.json");
  const std::filesystem::path file = "run.yaml";
  const std::vector<Prompt> prompts;
  require_stream_only({name, architecture, Placement::kFit, file, prompts}, "lre.models");
}

TEST(StreamOnly, ModelsThatCarryMoreAreRefused) {
  EXPECT_THAT(input_error_of([] {
                require({{"model_type", "rwkv7"},
                         {"hidden_size", 12},
                         {"head_dim", 4},
                         {"num_hidden_layers", 2},
                         {"decay_low_rank_dim", 3},
                         {"a_low_rank_dim", 2},
                         {"v_low_rank_dim", 4},
                         {"gate_low_rank_dim", 5}});
              }),
              HasSubstr("run.yaml: key lre.models: model m is a rwkv7, whose layers pass on more"));
  EXPECT_NO_THROW(require({{"model_type", "gpt2"}}));
}

}  // namespace
}  // namespace factflow
