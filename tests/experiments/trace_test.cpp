// The kind `trace`: which other subjects it takes, and that its maps are what the reference forward
// says and keep the invariants of causal tracing.
#include "experiments/trace/trace.hpp"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "experiments/counterfactual.hpp"
#include "fields/yaml_tree.hpp"
#include "tests/experiments/demo_facts.hpp"

namespace factflow {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

Entries entries_in(const std::string& section) {
  static const std::filesystem::path file = "x.yaml";
  return trace_kind().form().read(parse_yaml(section, file), Place{file, "trace"});
}

TEST(Counterfactuals, AreOtherSubjectsOfTheRelationWithOtherAnswers) {
  std::vector<Prompt> prompts = {
      capital_of(1, "France", " Paris"), capital_of(2, "Gaul", " Paris"),
      capital_of(3, "Japan", " Tokyo"),  capital_of(4, "Peru", " Lima"),
      capital_of(5, "Peru", " Lima"),    capital_of(6, "Egypt", " Cairo")};
  prompts[5].relation = "currency";
  const std::vector<Prompt> found = counterfactual_pool(prompts).counterfactuals(prompts[0], 8, 1);
  std::vector<std::string> texts;
  for (const Prompt& one : found) {
    texts.push_back(one.text);
    EXPECT_EQ(one.id, 1);
    EXPECT_EQ(one.answer, " Paris");
    EXPECT_EQ(one.text.substr(15, one.subject.size()), one.subject);
  }
  EXPECT_THAT(texts, UnorderedElementsAre("The capital of Japan is", "The capital of Peru is"));
  EXPECT_THAT(counterfactual_pool(prompts).counterfactuals(prompts[0], 1, 1), SizeIs(1));
  prompts[0].relation = "";
  EXPECT_THAT(counterfactual_pool(prompts).counterfactuals(prompts[0], 8, 1), IsEmpty());
}

TEST(Counterfactuals, DependOnTheSeedAndNotOnTheOrder) {
  std::vector<Prompt> prompts;
  for (int i = 0; i < 20; ++i)
    prompts.push_back(capital_of(i, "Land " + std::to_string(i), " Town " + std::to_string(i)));
  const auto first = [&](std::uint64_t seed) {
    return counterfactual_pool(prompts).counterfactuals(prompts[0], 1, seed).at(0).subject;
  };
  const std::string drawn = first(1);
  bool differs = false;
  for (std::uint64_t seed = 2; seed < 10; ++seed) differs = differs || first(seed) != drawn;
  EXPECT_TRUE(differs);
  std::reverse(prompts.begin() + 1, prompts.end());
  EXPECT_EQ(first(1), drawn);
}

TEST(TraceSection, IsWrittenAsItIsRead) {
  const Entries entries = entries_in(
      "sites: [h, o]\nwindow: 4\nh_window: 2\ndirections: [break, restore]\ncandidates: 3\n"
      "seed: 9\nprompts: 5\ncorruption: noise\nnoise: {copies: 4, sigma: 0.25}\n");
  const YamlNode written = trace_kind().form().write(entries, Purpose::kResolved).value();
  EXPECT_EQ(static_cast<const TraceConfig&>(*entries.at(0)),
            static_cast<const TraceConfig&>(*entries_in(write_yaml(written)).at(0)));
  const Entries three = entries_in("{prompts: 3}");
  const auto& usual = static_cast<const TraceConfig&>(*three.at(0));
  EXPECT_THAT(usual.directions, ElementsAre(TraceDirection::kRestore));
  EXPECT_THAT(usual.sites, IsEmpty());
}

class Trace : public DemoFacts {
 protected:
  Trace() : DemoFacts(trace_kind()) {}
};

// Layers of the window of `size` around `centre`, of `count`.
std::vector<int> window_around(int centre, int size, int count) {
  std::vector<int> layers;
  for (int layer = std::max(0, centre - size / 2); layer < std::min(count, centre + (size + 1) / 2);
       ++layer)
    layers.push_back(layer);
  return layers;
}

TEST_P(Trace, StoresWhatTheReferenceForwardSays) {
  const PlannedWork planned = plan("sites: [h, s, o]\nwindow: 4\ndirections: [restore, break]\n");
  compute(planned);
  const int layers = this->layers();
  int traced = 0;
  for (size_t fact = 0; fact < prompts_.size() && traced < 2; ++fact) {
    if (!findings_[fact].failure.empty()) {
      EXPECT_THAT(findings_[fact].failure, HasSubstr("other subjects of its relation"));
      continue;
    }
    ++traced;
    const TokenizedPrompt clean = tokens_of(fact), other = counterpart("trace", fact);
    ASSERT_EQ(clean.ids.size(), other.ids.size());
    ASSERT_EQ(clean.subject, other.subject);
    ASSERT_NE(clean.ids, other.ids);
    const double high = probability(clean.ids, clean.answer),
                 low = probability(other.ids, clean.answer);
    EXPECT_NEAR(array<float>("trace", "high")[fact], high, 1e-6);
    EXPECT_NEAR(array<float>("trace", "low")[fact], low, 1e-6);
    EXPECT_EQ(array<std::int32_t>("trace", "subject_begin")[fact], clean.subject.front());
    EXPECT_EQ(array<std::int32_t>("trace", "subject_end")[fact], clean.subject.back() + 1);
    const std::string name = std::to_string(prompts_[fact].id);
    const int last = static_cast<int>(clean.ids.size()) - 1;
    for (const std::string site : {"h", "s", "o"})
      for (const bool restore : {true, false}) {
        const int size = site == "h" ? 1 : 4, centres = site == "h" ? layers + 1 : layers;
        const auto& map = array<float>(std::string("trace_") + (restore ? "restore_" : "break_") +
                                           site + "/window_" + std::to_string(size),
                                       name);
        ASSERT_EQ(map.size(), clean.ids.size() * static_cast<size_t>(centres));
        const auto cell = [&](int token, int centre) {
          return map[static_cast<size_t>(token * centres + centre)];
        };
        const TokenizedPrompt &run = restore ? other : clean, &source = restore ? clean : other;
        for (const int token : {clean.subject.back(), last})
          for (const int centre : {0, layers / 2, centres - 1}) {
            const Write write{parse_site(site),
                              window_around(centre, size, centres),
                              {token},
                              std::nullopt,
                              OtherRun{source.ids, {token}}};
            EXPECT_NEAR(cell(token, centre), probability(run.ids, clean.answer, {write}), 1e-6)
                << site << " " << restore << " token " << token << " centre " << centre;
          }
        // Before the subject both runs are the same.
        EXPECT_EQ(cell(0, 0), static_cast<float>(restore ? array<float>("trace", "low")[fact]
                                                         : array<float>("trace", "high")[fact]));
        if (site != "h") continue;
        // Behind the last layer the last token alone is read, and it is all that is read.
        const double patched = restore ? high : low, not_patched = restore ? low : high;
        EXPECT_NEAR(cell(last, layers), patched, 1e-6);
        EXPECT_NEAR(cell(clean.subject.back(), layers), not_patched, 1e-6);
      }
  }
  EXPECT_GT(traced, 0);
}

// Means over copies of what the reference forward says of each.
TEST_P(Trace, FromNoiseStoresMeansOverCopies) {
  compute(plan("corruption: noise\nnoise: {copies: 3, sigma: 0.5}\nsites: [h, o]\nwindow: 4\n"));
  const auto& facts = group("trace");
  ASSERT_EQ(facts.attributes.size(), 3U);
  EXPECT_EQ(std::get<std::string>(facts.attributes[0].second), "noise");
  EXPECT_EQ(std::get<std::int64_t>(facts.attributes[1].second), 3);
  EXPECT_EQ(std::get<double>(facts.attributes[2].second), 0.5);
  EXPECT_THROW(array<std::string>("trace", "counterfactual"), std::out_of_range);
  EXPECT_THROW(array<std::int32_t>("trace_restore_h/window_1", "rank_1"), std::out_of_range);
  const NoisePlan noise = noise_plan(
      {3, 0.5}, 1, {name_, model_->network().architecture(), Placement::kFit, file_, prompts_});
  const TokenizedPrompt clean = tokens_of(0);
  const auto mean_of = [&](const std::vector<Intervention>& more) {
    double sum = 0;
    for (size_t copy = 0; copy < 3; ++copy) {
      std::vector<Intervention> together = noise_of(noise, 0.5, clean, copy);
      EXPECT_EQ(together.size(), clean.subject.size());
      together.insert(together.end(), more.begin(), more.end());
      sum += probability(clean.ids, clean.answer, together);
    }
    return sum / 3;
  };
  const double low = mean_of({}), high = probability(clean.ids, clean.answer);
  EXPECT_NEAR(array<float>("trace", "high")[0], high, 1e-6);
  EXPECT_NEAR(array<float>("trace", "low")[0], low, 1e-6);
  EXPECT_GT(std::abs(high - low), 1e-6);
  const int last = static_cast<int>(clean.ids.size()) - 1;
  for (const std::string site : {"h", "o"}) {
    const int size = site == "h" ? 1 : 4, centres = site == "h" ? layers() + 1 : layers();
    const std::string path = "trace_restore_" + site + "/window_" + std::to_string(size);
    const auto cell = [&](const char* name, int token, int centre) {
      return array<float>(path, name).at(static_cast<size_t>(token * centres + centre));
    };
    for (const int token : {clean.subject.back(), last})
      for (const int centre : {0, layers() / 2, centres - 1}) {
        const double expected = mean_of({Write{parse_site(site),
                                               window_around(centre, size, centres),
                                               {token},
                                               std::nullopt,
                                               OtherRun{clean.ids, {token}}}});
        EXPECT_NEAR(cell("1", token, centre), expected, 1e-6) << site << token << " " << centre;
        EXPECT_NEAR(cell("log_change_1", token, centre), std::log(expected / low), 1e-4);
      }
    EXPECT_NEAR(cell("1", 0, 0), low, 1e-6);  // before the subject there is no noise
    if (site == "h") EXPECT_NEAR(cell("1", last, layers()), high, 1e-6);
  }
}

TEST_P(Trace, ThreeDeviationsAreThoseOfTheSubjectsEmbeddings) {
  std::vector<double> values;
  for (size_t fact = 0; fact < prompts_.size(); ++fact) {
    const TokenizedPrompt prompt = tokens_of(fact);
    const at::Tensor h = model_->network().embedded(prompt.ids);
    for (const int token : prompt.subject)
      for (std::int64_t i = 0; i < h.size(1); ++i) values.push_back(h[token][i].item<double>());
  }
  const double expected = 3 * at::tensor(values, at::kDouble).std(/*unbiased=*/true).item<double>();
  compute(plan("corruption: noise\nnoise: {copies: 1}\nsites: h\n"));
  EXPECT_NEAR(std::get<double>(group("trace").attributes.at(2).second), expected, 1e-12 * expected);
  const NoisePlan noise = noise_plan(
      {1, 0}, 1, {name_, model_->network().architecture(), Placement::kFit, file_, prompts_});
  EXPECT_NEAR(deviation_of(noise, *model_), expected, 1e-12 * expected);
}

TEST_P(Trace, NoiseIsOfThePromptCopyAndTokenAlone) {
  const NoisePlan noise = noise_plan(
      {2, 0.5}, 1, {name_, model_->network().architecture(), Placement::kFit, file_, prompts_});
  const auto numbers = [&](const NoisePlan& plan, size_t fact, size_t copy) {
    const auto together = noise_of(plan, 0.5, tokens_of(fact), copy);
    return std::get<Vector>(std::get<Write>(together.at(0)).value).values;
  };
  const std::vector<double> first = numbers(noise, 0, 0);
  EXPECT_EQ(first, numbers(noise, 0, 0));
  EXPECT_NE(first, numbers(noise, 0, 1));
  EXPECT_NE(first, numbers(noise, 1, 0));
  NoisePlan other = noise;
  other.seed = 2;
  EXPECT_NE(first, numbers(other, 0, 0));
  const at::Tensor drawn = at::tensor(first, at::kDouble);
  const double standard_error = 0.5 / std::sqrt(static_cast<double>(first.size()));
  EXPECT_LT(std::abs(drawn.mean().item<double>()), 5 * standard_error);
  EXPECT_NEAR(drawn.std().item<double>(), 0.5, 5 * standard_error);
}

TEST_P(Trace, RefusesWhatNoiseCannotDo) {
  EXPECT_THAT(refused("corruption: noise\ndirections: [restore, break]\n"),
              HasSubstr("key trace.directions: noise can only be restored"));
  EXPECT_THAT(refused("noise: {copies: 3}\n"), HasSubstr("key trace.noise: there is no noise"));
  EXPECT_THAT(refused("corruption: noise\ncandidates: 3\n"),
              HasSubstr("key trace.candidates: noise needs no other subject"));
  EXPECT_THAT(refused("- {sites: h}\n- {sites: o, corruption: noise}\n"),
              HasSubstr("key trace[1].corruption: model any has another corruption"));
  EXPECT_THAT(refused("corruption: noise\nnoise: {copies: 0}\n"), HasSubstr("trace.noise.copies"));
  EXPECT_THAT(refused("corruption: noise\nnoise: {sigma: 0}\n"),
              HasSubstr("3 std, or a number above 0"));
  EXPECT_THAT(refused("corruption: noise\nnoise: {sigma: 4 std}\n"), HasSubstr("3 std"));
  EXPECT_THAT(refused("corruption: blur\n"), HasSubstr("noise"));
}

TEST_P(Trace, SitesByDefaultAreThoseOfThePapers) {
  const std::vector<Site> sites = sites_to_trace(model_->network().architecture());
  if (GetParam() == "gpt2")
    EXPECT_THAT(sites, ElementsAre(Site::kH, Site::kS, Site::kO, Site::kMlp));
  else
    EXPECT_THAT(sites, ElementsAre(Site::kH, Site::kA, Site::kS, Site::kG, Site::kY, Site::kO));
  const PlannedWork planned = plan("{prompts: 2}");
  EXPECT_THAT(planned.asked.at(0), SizeIs(sites.size()));
}

TEST_P(Trace, RefusesWhatTheModelDoesNotHave) {
  EXPECT_THAT(refused("sites: norm\n"), HasSubstr("x.yaml: key trace.sites: model any: "));
  EXPECT_THAT(refused(GetParam() == "gpt2" ? "sites: [h, g]\n" : "sites: [h, mlp]\n"),
              HasSubstr("has no site"));
  EXPECT_THAT(refused("window: 99\n"), HasSubstr("key trace.window: a window of 99 layers"));
}

INSTANTIATE_TEST_SUITE_P(Models, Trace, ::testing::Values("gpt2", "mamba", "mamba2"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace factflow
