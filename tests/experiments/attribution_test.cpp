// The kind `attribution`: exact effects are what the reference forward says of each patch, and the
// estimates the slopes of p(answer) on the way of each value.
#include "experiments/attribution/attribution.hpp"

#include <algorithm>
#include <cmath>

#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "experiments/trace/trace.hpp"
#include "tests/experiments/demo_facts.hpp"

namespace factflow {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr double kClose = 1e-6;  // stored numbers are float32
const std::string kEffects = "attribution/effects";

class Attribution : public DemoFacts {
 protected:
  Attribution() : DemoFacts(attribution_kind()) {}

  std::vector<std::string> sites() const { return axis<std::string>(kEffects, "site"); }
  double effect(const std::string& name, const std::string& site, size_t fact, int token,
                int layer) const {
    const std::vector<std::string> all = sites();
    const auto place = static_cast<size_t>(std::find(all.begin(), all.end(), site) - all.begin());
    const size_t tokens = axis<std::int32_t>(kEffects, "token").size(),
                 layer_count = axis<std::int32_t>(kEffects, "layer").size();
    return static_cast<double>(
        array<float>(kEffects, name)
            .at(((place * prompts_.size() + fact) * tokens + static_cast<size_t>(token)) *
                    layer_count +
                static_cast<size_t>(layer)));
  }
  int layers_of(const std::string& site) const { return layers() + (site == "h" ? 1 : 0); }
  // The first `count` prompts that have a counterpart among all of the plan. What is asked of
  // others is computed for nothing where one is looked at.
  void compute_first(const PlannedWork& planned, size_t count = 1) {
    std::vector<Prompt> first;
    for (const TokenizedPrompt& one : model_->tokenize_usable(prompts_)) {
      const std::vector<TokenizedPrompt> others =
          model_->tokenize_usable(planned.work->references({&one, 1}));
      if (first.size() < count &&
          std::any_of(others.begin(), others.end(), [&](const TokenizedPrompt& other) {
            return other.ids.size() == one.ids.size();
          }))
        first.push_back(one.prompt);
    }
    prompts_ = first;
    compute(planned);
    ASSERT_EQ(prompts_.size(), count);
    for (const Finding& one : findings_) ASSERT_EQ(one.failure, "");
  }

  // Where p(answer) of the corrupted run goes as one value goes from corrupted to clean.
  class Way {
   public:
    Way(const Network& network, const TokenizedPrompt& clean, const TokenizedPrompt& other,
        SiteAt at, int token)
        : reference_(network), clean_(clean), other_(other), at_(at), token_(token) {
      const at::NoGradGuard no_graph;
      from_ = reference_.run(other.ids, {}, {&at, 1}).values.at(at)[token];
      to_ = reference_.run(clean.ids, {}, {&at, 1}).values.at(at)[token];
    }
    // `share` of the way on.
    double p_at(double share) const {
      const at::NoGradGuard no_graph;
      const TensorWrite write{at_, token_, from_ + share * (to_ - from_)};
      const at::Tensor logits = reference_.run(other_.ids, {}, {}, {&write, 1}).logits;
      return logits[static_cast<std::int64_t>(other_.ids.size()) - 1]
          .softmax(0)[clean_.answer]
          .item<double>();
    }
    double slope_at(double share) const {
      constexpr double kStep = 1e-5;
      return (p_at(share + kStep) - p_at(share - kStep)) / (2 * kStep);
    }

   private:
    ReferenceForward reference_;
    const TokenizedPrompt &clean_, &other_;
    SiteAt at_;
    int token_;
    at::Tensor from_, to_;
  };
};

TEST_P(Attribution, StoresWhatTheReferenceForwardSays) {
  compute_first(plan("{steps: 2}"));
  const size_t fact = 0;
  const TokenizedPrompt clean = tokens_of(fact), other = counterpart("attribution", fact);
  ASSERT_EQ(clean.ids.size(), other.ids.size());
  const double low = probability(other.ids, clean.answer);
  EXPECT_NEAR(array<float>("attribution", "high")[fact], probability(clean.ids, clean.answer),
              kClose);
  EXPECT_NEAR(array<float>("attribution", "low")[fact], low, kClose);
  const int last = static_cast<int>(clean.ids.size()) - 1;
  EXPECT_GE(sites().size(), 3U);
  double largest = 0;
  for (const std::string& site : sites())
    for (const int token : {clean.subject.back(), last})
      for (const int layer : {0, layers() / 2, layers_of(site) - 1}) {
        SCOPED_TRACE(site + " " + std::to_string(token) + " " + std::to_string(layer));
        const Way way(model_->network(), clean, other, {parse_site(site), layer}, token);
        EXPECT_NEAR(effect("exact", site, fact, token, layer), way.p_at(1) - low, kClose);
        const double start = way.slope_at(0), mean = (way.slope_at(0.25) + way.slope_at(0.75)) / 2;
        EXPECT_NEAR(effect("gradient", site, fact, token, layer), start,
                    1e-4 * std::abs(start) + kClose);
        EXPECT_NEAR(effect("integrated", site, fact, token, layer), mean,
                    1e-4 * std::abs(mean) + kClose);
        largest = std::max(largest, std::abs(mean));
      }
  EXPECT_GT(largest, 1e-3);
}

// The exact side is the map of the kind `trace`, to the last stored bit.
TEST_P(Attribution, ExactEffectsAreThoseOfTraces) {
  const PlannedWork planned = plan("{sites: [h, o], methods: gradient}");
  const Entries traced =
      trace_kind().form().read(parse_yaml("{sites: [h, o], window: 1}", file_), {file_, "trace"});
  const PlannedWork trace = trace_kind().plan(
      traced, {name_, model_->network().architecture(), Placement::kFit, file_, prompts_});
  compute_first(planned);
  const size_t fact = 0;
  const double low = array<float>("attribution", "low")[fact];
  const Subjects subjects{prompts_, {0}, {}, {}};
  const auto maker = trace.work->arrays(subjects);
  const auto findings =
      trace.work->compute(*model_, trace.asked.at(0), model_->tokenize_usable(prompts_));
  maker->add(0, trace.asked[0], findings.at(fact).values);
  const std::vector<ArrayGroup> maps = maker->groups();
  const auto map_of = [&](const std::string& site) -> const std::vector<float>& {
    for (const ArrayGroup& group : maps)
      if (group.path == "trace_restore_" + site + "/window_1")
        for (const LabelledArray& array : group.arrays)
          if (array.name == std::to_string(prompts_[fact].id))
            return std::get<std::vector<float>>(array.values);
    throw std::out_of_range(site);
  };
  for (const std::string site : {"h", "o"}) {
    const std::vector<float>& map = map_of(site);
    const int tokens = static_cast<int>(tokens_of(fact).ids.size());
    for (int token = 0; token < tokens; ++token)
      for (int layer = 0; layer < layers_of(site); ++layer)
        EXPECT_NEAR(
            effect("exact", site, fact, token, layer),
            static_cast<double>(map.at(static_cast<size_t>(token * layers_of(site) + layer))) - low,
            1e-7);
  }
}

// What h at the last token carries behind the last layer is everything, and of other tokens
// nothing; before the subject both runs are equal.
TEST_P(Attribution, HasWhatMustHoldOfAnyModel) {
  compute_first(plan("{sites: h, steps: 24}"), 3);
  for (size_t fact = 0; fact < prompts_.size(); ++fact) {
    const TokenizedPrompt clean = tokens_of(fact);
    const double whole =
        array<float>("attribution", "high")[fact] - array<float>("attribution", "low")[fact];
    const int last = static_cast<int>(clean.ids.size()) - 1;
    EXPECT_NEAR(effect("exact", "h", fact, last, layers()), whole, kClose);
    // The midpoint rule's error, of a probability that may rise and fall on the way.
    EXPECT_NEAR(effect("integrated", "h", fact, last, layers()), whole, 0.02);
    for (const std::string name : {"exact", "gradient", "integrated"}) {
      EXPECT_EQ(effect(name, "h", fact, clean.subject.back(), layers()), 0);
      for (int token = 0; token < clean.subject.front(); ++token)
        for (int layer = 0; layer <= layers(); ++layer)
          EXPECT_EQ(effect(name, "h", fact, token, layer), 0) << name << token << layer;
    }
  }
}

// A prompt's numbers do not depend on which others are in its unit.
TEST_P(Attribution, OfAPromptAloneIsTheSame) {
  const PlannedWork planned = plan("{sites: [h, o], steps: 2}");
  prompts_.resize(4);
  compute(planned);
  const std::vector<ArrayGroup> together = groups_;
  std::vector<std::uint32_t> all;
  for (std::uint32_t i = 0; i < prompts_.size(); ++i) all.push_back(i);
  const Subjects subjects{prompts_, all, {{"all", all}}, {{0, planned.asked.at(0)}}};
  const auto maker = planned.work->arrays(subjects);
  const auto prompts = model_->tokenize_usable(prompts_);
  for (std::uint32_t i = 0; i < prompts.size(); ++i) {
    const Finding alone = planned.work->compute(*model_, planned.asked[0], {&prompts[i], 1}).at(0);
    EXPECT_EQ(alone.failure, findings_[i].failure);
    if (alone.failure.empty()) maker->add(i, planned.asked[0], alone.values);
  }
  groups_ = maker->groups();
  for (const std::string name : {"exact", "gradient", "integrated"}) {
    const std::vector<float> alone = array<float>(kEffects, name);
    groups_ = together;
    const std::vector<float>& beside = array<float>(kEffects, name);
    ASSERT_EQ(alone.size(), beside.size());
    for (size_t i = 0; i < alone.size(); ++i)
      ASSERT_TRUE(std::isnan(alone[i]) ? std::isnan(beside[i])
                                       : std::abs(alone[i] - beside[i]) < 1e-6F)
          << name << " " << i << ": " << alone[i] << " alone, " << beside[i];
    groups_ = maker->groups();
  }
}

TEST_P(Attribution, RefusesWhatItCannotEstimate) {
  EXPECT_THAT(refused("{sites: norm}"), HasSubstr("x.yaml: key attribution.sites: model any: "));
  const bool gated = GetParam() != "gpt2" && GetParam() != "llama";
  EXPECT_THAT(refused(gated ? "{sites: mlp}" : "{sites: g}"), HasSubstr("has no site"));
  EXPECT_THAT(refused("{methods: gradient, steps: 7}"),
              HasSubstr("key attribution.steps: only method integrated has steps"));
  EXPECT_THAT(refused("{methods: slope}"), HasSubstr("unknown method 'slope'"));
  EXPECT_THAT(refused("{methods: []}"), HasSubstr("is an empty list"));
  EXPECT_THAT(refused("{steps: 0}"), HasSubstr("attribution.steps"));
  EXPECT_THAT(refused("{window: 4}"), HasSubstr("window"));
  EXPECT_THAT(refused("[{seed: 1}, {seed: 2}]"), HasSubstr("key attribution[1].seed: model any"));
  EXPECT_THAT(refused("[{steps: 3}, {steps: 4}]"),
              HasSubstr("key attribution[1].methods: model any has other methods or steps"));
  EXPECT_THAT(
      [&] {
        kind_.plan(entries_in("{}"), {name_, model_->network().architecture(), Placement::kFit,
                                      file_, prompts_, Precision::kBf16});
      },
      ::testing::ThrowsMessage<InputError>(
          HasSubstr("key run.precision: gradients are computed in fp32, tf32 or fp64, not in "
                    "bf16")));
}

TEST_P(Attribution, IsWrittenAsItIsRead) {
  const std::string section =
      "{sites: [o, h], methods: [integrated], steps: 9, candidates: 3, seed: 9, prompts: 5}";
  const Entries entries = entries_in(section);
  const YamlNode written = attribution_kind().form().write(entries, Purpose::kResolved).value();
  const auto& read = static_cast<const AttributionConfig&>(*entries.at(0));
  EXPECT_EQ(read, static_cast<const AttributionConfig&>(*entries_in(write_yaml(written)).at(0)));
  EXPECT_THAT(read.methods, ElementsAre(EstimateMethod::kIntegrated));
  EXPECT_EQ(read.steps, 9);
  EXPECT_EQ(read.prompts, 5);
}

// Two entries of one model: what either asks, once. What nobody asked for is no array.
TEST_P(Attribution, JoinsEntries) {
  const PlannedWork planned =
      plan("[{sites: o, methods: gradient}, {sites: [h, o], methods: gradient}]");
  EXPECT_EQ(planned.asked.at(0).size(), 1U);
  EXPECT_EQ(planned.asked.at(1).size(), 2U);
  EXPECT_EQ(planned.work->summary(), "2 sites with gradient estimates");
  EXPECT_EQ(planned.work->describe(planned.asked[1]), "attributions, gradient of o, h");
  compute(planned);
  EXPECT_THROW(array<float>(kEffects, "integrated"), std::out_of_range);
}

// A patch's cost is that of its columns, an estimate's that of its passes.
TEST_P(Attribution, TellsItsCost) {
  const auto columns = [&](const std::string& section) {
    const PlannedWork planned = plan(section);
    double sum = 0;
    for (const Replays& replays : planned.work->replays(planned.asked[0], 6))
      for (const Window& window : replays.windows)
        sum += replays.times * replays.columns * (layers() - window.begin);
    return sum;
  };
  const double gradient = columns("{sites: o, methods: gradient}"),
               one = columns("{sites: o, methods: integrated, steps: 1}"),
               two = columns("{sites: o, methods: integrated, steps: 2}"),
               three = columns("{sites: o, methods: integrated, steps: 3}");
  EXPECT_LT(gradient, one);
  EXPECT_NEAR(three - two, two - one, 1e-9 * three);
  EXPECT_GT(two - one, 0);
}

INSTANTIATE_TEST_SUITE_P(Models, Attribution,
                         ::testing::Values("gpt2", "llama", "mamba", "mamba2", "falcon_mamba"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::erase(name, '_');
                           return name;
                         });

}  // namespace
}  // namespace factflow
