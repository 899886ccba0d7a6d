// What edits, gradient estimates and linear relations may ask of hybrids, as far as a configuration
// tells: layers of two branches, and models that carry more than the stream.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "experiments/attribution/attribution.hpp"
#include "experiments/edit/edit.hpp"
#include "experiments/lre/lre.hpp"
#include "fields/yaml_tree.hpp"
#include "tests/expect_input_error.hpp"
#include "tests/model/hybrid_configs.hpp"

namespace factflow {
namespace {

using testing::HasSubstr;

PlannedWork planned(const ExperimentKind& kind, const std::string& model,
                    const std::string& section) {
  const std::filesystem::path file = "run.yaml";
  const Architecture architecture = read_architecture(small_hybrid_config(model), "config.json");
  const std::vector<Prompt> prompts;
  const Entries entries =
      kind.form().read(parse_yaml(section, file), Place{file, std::string(kind.section())});
  return kind.plan(entries, {model, architecture, Placement::kFit, file, prompts});
}

std::string refused(const ExperimentKind& kind, const std::string& model,
                    const std::string& section) {
  return input_error_of([&] { planned(kind, model, section); });
}

TEST(HybridPlans, EditsOfTheMatricesThatThereAre) {
  const ExperimentKind& edit = edit_kind();
  EXPECT_EQ(planned(edit, "rwkv7", "{matrices: [W_o, W_down], layers: all}").asked[0].size(), 6U);
  EXPECT_THAT(refused(edit, "rwkv7", "{matrices: [W_g], layers: [1]}"),
              HasSubstr("key edit.matrices: model rwkv7: layer 1 (rwkv7, channel_mix) has no "
                        "matrix W_g"));
  EXPECT_EQ(planned(edit, "zamba2", "{matrices: [W_o], layers: all}").asked[0].size(), 3U);
  EXPECT_EQ(planned(edit, "zamba2", "{matrices: [W_a, W_xbc, W_g], layers: all}").asked[0].size(),
            3U)
      << "of the layer without a shared block";
  EXPECT_THAT(refused(edit, "zamba2", "{matrices: [W_a], layers: [0]}"),
              HasSubstr("layer 0 (shared_block, mamba2) has no matrix W_a"));
  EXPECT_THAT(refused(edit, "zamba2", "{matrices: [W_down], layers: all}"),
              HasSubstr("no layer has a matrix W_down"));
  EXPECT_THAT(refused(edit, "qwen3_5", "{matrices: [W_g], layers: [0]}"),
              HasSubstr("has no matrix W_g"));
}

TEST(HybridPlans, EstimatesAtTheSitesThatEveryLayerHas) {
  const ExperimentKind& attribution = attribution_kind();
  EXPECT_EQ(planned(attribution, "rwkv7", "{}").asked[0].size(), 6U) << "h, s, g, y, o, mlp";
  EXPECT_EQ(planned(attribution, "zamba2", "{}").asked[0].size(), 4U) << "h, a, g, y";
  EXPECT_EQ(planned(attribution, "falcon_h1", "{}").asked[0].size(), 9U)
      << "h, a, s and o of both branches, g, y, mlp";
  EXPECT_EQ(planned(attribution, "falcon_h1", "{sites: [o.attention]}").asked[0].size(), 1U);
  EXPECT_THAT(refused(attribution, "zamba2", "{sites: [o.attention]}"),
              HasSubstr("key attribution.sites: model zamba2: layer 1 (mamba2) has no site "
                        "o.attention: it has one branch, with o"));
  EXPECT_THAT(refused(attribution, "rwkv7", "{sites: [o.recurrent]}"),
              HasSubstr("rwkv7 has no site o.recurrent"));
}

// A relation is fitted between h of one layer and of the last, whatever tokens carry beside it.
TEST(HybridPlans, RelationsOfModelsThatCarryMoreThanTheStream) {
  for (const char* model : {"rwkv7", "zamba2"})
    EXPECT_THAT(refused(lre_kind(), model, "{layers: [9]}"),
                HasSubstr(std::string("key lre.layers: layer 9 of model ") + model +
                          ", which goes up to 3"));
}

}  // namespace
}  // namespace factflow
