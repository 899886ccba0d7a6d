// Where the reference implementation's knockouts are no causal knockouts: its forwards, written as
// its library does them, on random weights, against the causal ones. They must differ exactly where
// `factflow conform` leaves numbers out.
#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "pipeline/conformance/conformance.hpp"
#include "tests/model/naive_forward.hpp"
#include "tests/model/random_checkpoint.hpp"

namespace factflow {
namespace {

using Masking = NaiveModel::Masking;
using Kind = ChannelSet::Kind;

constexpr unsigned kSeed = 11;
const std::vector<int> kIds = {3, 17, 8, 22, 5, 11, 2};
constexpr int kTokens = 7;

double distance(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

// Prompts of two forms: the subject first, and the subject after a context.
std::vector<TokenizedPrompt> prompts() {
  return {{kIds, {}, {0, 1, 2}, 4}, {kIds, {}, {2, 3}, 4}};
}

// Of three layers: at the bottom, to the top, only the top, all.
const std::vector<Window> kWindows = {{0, 1}, {1, 3}, {2, 3}, {0, 3}};

class Quirk : public ::testing::TestWithParam<const char*> {
 protected:
  std::string family() const { return checkpoint_->config()["model_type"]; }
  bool has_channels() const {
    return read_architecture(checkpoint_->config(), "config.json").channels() > 0;
  }
  at::Tensor causal(const Block& knockout) const {
    return causal_.log_probabilities(kIds, knockout);
  }
  at::Tensor reference(const Block& knockout) const {
    return reference_.log_probabilities(kIds, knockout);
  }

  const std::shared_ptr<const Checkpoint> checkpoint_ = random_checkpoint(GetParam(), kSeed);
  const NaiveModel causal_{*checkpoint_}, reference_{*checkpoint_, Masking::kReference};
};

TEST_P(Quirk, DiffersExactlyWhereConformSaysSo) {
  std::vector<TokenRole> roles = {TokenRole::kLast, TokenRole::kSubject, TokenRole::kContext};
  if (!has_channels())
    roles.insert(roles.end(),
                 {TokenRole::kFirst, TokenRole::kRelation, TokenRole::kRelationMinusLast});
  int same = 0, other = 0;
  for (const TokenizedPrompt& prompt : prompts())
    for (const TokenRole to : roles)
      for (const TokenRole from : roles)
        for (const Window& window : kWindows) {
          const Block knockout =
              factflow::knockout(positions_of(to, prompt), positions_of(from, prompt), {}, window);
          const std::string reason = why_not_causal(family(), knockout, kTokens, causal_.layers());
          const double apart = distance(causal(knockout), reference(knockout));
          const std::string what = fmt::format("{}: {} -> {}, subject at {}, layers {} to {}: {}",
                                               family(), to_string(from), to_string(to),
                                               prompt.subject[0], window.begin, window.end, reason);
          if (reason.empty()) {
            EXPECT_LT(apart, 1e-10) << what;
            ++same;
          } else {
            EXPECT_GT(apart, 1e-7) << what;
            ++other;
          }
        }
  EXPECT_GT(same, 0);
  const std::set<std::string> quirky = {"gpt2", "llama", "qwen2"};
  EXPECT_EQ(other > 0, quirky.contains(family())) << other;
}

// An empty role makes no pair: the reference stores the plain model's answer.
TEST_P(Quirk, NoPairIsThePlainModel) {
  const Block nothing;
  for (const Block& knockout :
       {factflow::knockout({6}, {}, {}, {0, 2}), factflow::knockout({}, {0, 1}, {}, {1, 3})}) {
    EXPECT_EQ(why_not_causal(family(), knockout, kTokens, causal_.layers()), "");
    EXPECT_LT(distance(reference(knockout), causal(nothing)), 1e-12);
  }
}

// FAST_DECAY and SLOW_DECAY name the third that keeps the edge; the other features lose it, the
// middle third in both.
TEST_P(Quirk, CategoriesNameWhatIsKept) {
  if (!has_channels()) GTEST_SKIP() << "it has none";
  const auto with = [](Kind kind) { return knockout({6}, {2, 3}, {kind}, {0, 3}); };
  EXPECT_LT(distance(reference(with(Kind::kFast)), causal(with(Kind::kNotFast))), 1e-10);
  EXPECT_LT(distance(reference(with(Kind::kSlow)), causal(with(Kind::kNotSlow))), 1e-10);
  EXPECT_GT(distance(reference(with(Kind::kFast)), causal(with(Kind::kFast))), 1e-7);
  EXPECT_GT(distance(reference(with(Kind::kSlow)), causal(with(Kind::kSlow))), 1e-7);
  EXPECT_LT(distance(reference(with(Kind::kAll)), causal(with(Kind::kAll))), 1e-12);
}

INSTANTIATE_TEST_SUITE_P(Families, Quirk,
                         ::testing::Values("gpt2", "llama", "qwen2", "mamba", "falcon_mamba",
                                           "mamba2"),
                         [](const auto& instance) { return std::string(instance.param); });

}  // namespace
}  // namespace factflow
