// The kind `sever`: paths are what the reference forward says when the site is cut in every layer,
// and keep the invariants of path-specific effects.
#include "experiments/sever/sever.hpp"

#include <algorithm>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/experiments/demo_facts.hpp"

namespace factflow {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr double kClose = 1e-6;  // stored numbers are float32

class Sever : public DemoFacts {
 protected:
  Sever() : DemoFacts(sever_kind()) {}

  bool transformer() const { return GetParam() == "gpt2" || GetParam() == "llama"; }
  // In the order of the axis.
  std::vector<std::string> severed() const { return axis<std::string>("sever/paths", "severed"); }
  template <class T>
  T cell(const std::string& name, const std::string& at, const std::string& what, size_t fact,
         int layer) const {
    const auto place = [](const std::vector<std::string>& names, const std::string& wanted) {
      return static_cast<size_t>(std::find(names.begin(), names.end(), wanted) - names.begin());
    };
    const size_t layer_count = static_cast<size_t>(layers()) + 1;
    const size_t row = (place(axis<std::string>("sever/paths", "at"), at) * severed().size() +
                        place(severed(), what)) *
                           prompts_.size() +
                       fact;
    return array<T>("sever/paths", name).at(row * layer_count + static_cast<size_t>(layer));
  }
  double p(const std::string& at, const std::string& what, size_t fact, int layer) const {
    return static_cast<double>(cell<float>("probability", at, what, fact, layer));
  }
  std::vector<size_t> facts() const {
    std::vector<size_t> found;
    for (size_t fact = 0; fact < prompts_.size(); ++fact)
      if (findings_[fact].failure.empty()) found.push_back(fact);
    return found;
  }
  // The path by whole forwards, as the definition has it: cut in every layer.
  double reference(const TokenizedPrompt& clean, const TokenizedPrompt& other, int token,
                   const std::string& what, int layer) const {
    std::vector<Intervention> together = {
        Write{Site::kH, {layer}, {token}, std::nullopt, OtherRun{clean.ids, {token}}}};
    std::vector<int> everywhere;
    for (int l = 0; l < layers(); ++l) everywhere.push_back(l);
    for (const std::string site : {"s", "g", "o", "mlp"})
      if (what == site || what.starts_with(site + "+") || what.ends_with("+" + site))
        together.emplace_back(Write{
            parse_site(site), everywhere, {token}, std::nullopt, OtherRun{other.ids, {token}}});
    return probability(other.ids, clean.answer, together);
  }
};

TEST_P(Sever, StoresWhatTheReferenceForwardSays) {
  compute(plan("{}"));
  EXPECT_THAT(axis<std::string>("sever/paths", "at"), ElementsAre("subject-last", "prompt-last"));
  if (transformer())
    EXPECT_THAT(severed(), ElementsAre("none", "o", "mlp", "o+mlp"));
  else
    EXPECT_THAT(severed(), ElementsAre("none", "s", "g", "o"));
  ASSERT_FALSE(facts().empty());
  const size_t fact = facts().front();
  const TokenizedPrompt clean = tokens_of(fact), other = counterpart("sever", fact);
  ASSERT_EQ(clean.ids.size(), other.ids.size());
  ASSERT_EQ(clean.subject, other.subject);
  EXPECT_NEAR(array<float>("sever", "high")[fact], probability(clean.ids, clean.answer), kClose);
  const double low = probability(other.ids, clean.answer);
  EXPECT_NEAR(array<float>("sever", "low")[fact], low, kClose);
  const int last = static_cast<int>(clean.ids.size()) - 1;
  for (const std::string at : {"subject-last", "prompt-last"})
    for (const std::string& what : severed())
      for (const int layer : {0, 1, layers() / 2, layers()}) {
        const int token = at == "subject-last" ? clean.subject.back() : last;
        const double expected = reference(clean, other, token, what, layer);
        EXPECT_NEAR(p(at, what, fact, layer), expected, kClose) << at << " " << what << layer;
        EXPECT_NEAR(cell<float>("log_change", at, what, fact, layer), std::log(expected / low),
                    1e-4)
            << at << " " << what << layer;
        EXPECT_GE(cell<std::int32_t>("rank", at, what, fact, layer), 1);
      }
}

// Behind the last layer nothing can be cut, the last token alone is read, and it is all that is
// read.
TEST_P(Sever, AllCurvesMeetBehindTheLastLayer) {
  compute(plan("{}"));
  ASSERT_FALSE(facts().empty());
  for (const size_t fact : facts())
    for (const std::string& what : severed()) {
      EXPECT_NEAR(p("prompt-last", what, fact, layers()), array<float>("sever", "high")[fact],
                  kClose);
      EXPECT_NEAR(p("subject-last", what, fact, layers()), array<float>("sever", "low")[fact],
                  kClose);
    }
}

// What is cut matters somewhere, or a cut that never fires would go unnoticed.
TEST_P(Sever, ACutChangesSomething) {
  compute(plan("{}"));
  for (const std::string& what : severed()) {
    if (what == kNothingSevered) continue;
    double largest = 0;
    for (const size_t fact : facts())
      for (int layer = 0; layer < layers(); ++layer)
        largest = std::max(largest, std::abs(p("prompt-last", what, fact, layer) -
                                             p("prompt-last", "none", fact, layer)));
    EXPECT_GT(largest, 1e-4) << what;
  }
}

// Mamba: the mixer's output is W_o (s * g), so s and g together are o.
TEST_P(Sever, ScanAndGateTogetherAreTheOutput) {
  if (transformer()) GTEST_SKIP() << "no gate";
  compute(plan("{sever: [o, s+g]}"));
  EXPECT_THAT(severed(), ElementsAre("none", "o", "s+g"));
  for (const size_t fact : facts())
    for (const std::string at : {"subject-last", "prompt-last"})
      for (int layer = 0; layer <= layers(); ++layer)
        EXPECT_NEAR(p(at, "o", fact, layer), p(at, "s+g", fact, layer), kClose);
}

// With all that a layer adds cut, the patched stream goes up unchanged but for what the other run
// adds: h of layer l' = h of layer l, clean, + the sum of o between, corrupted.
TEST_P(Sever, WithAllCutTheStreamIsTheSumOfTheOtherRunsParts) {
  compute(plan("{}"));
  ASSERT_FALSE(facts().empty());
  const size_t fact = facts().front();
  const TokenizedPrompt clean = tokens_of(fact), other = counterpart("sever", fact);
  const int last = static_cast<int>(clean.ids.size()) - 1, layer = layers() / 2;
  const ReferenceForward reference(model_->network());
  std::vector<SiteAt> sites = {{Site::kH, layer}, {Site::kH, layers()}};
  const auto of_clean = reference.run(clean.ids, {}, sites).values,
             of_other = reference.run(other.ids, {}, sites).values;
  const at::Tensor stream =
      of_clean.at(sites[0])[last] + of_other.at(sites[1])[last] - of_other.at(sites[0])[last];
  const std::vector<double> values(stream.data_ptr<double>(),
                                   stream.data_ptr<double>() + stream.numel());
  const Write above{Site::kH, {layers()}, {last}, std::nullopt, Vector{values}};
  EXPECT_NEAR(p("prompt-last", transformer() ? "o+mlp" : "o", fact, layer),
              probability(other.ids, clean.answer, {above}), kClose);
}

TEST_P(Sever, RefusesWhatCannotBeSevered) {
  EXPECT_THAT(refused("{sever: h}"), HasSubstr("h is what is patched"));
  EXPECT_THAT(refused("{sever: o+o}"), HasSubstr("names o twice"));
  EXPECT_THAT(refused("{sever: [o, o]}"), HasSubstr("repeats an earlier value"));
  EXPECT_THAT(refused("{sever: o+}"), HasSubstr("x.yaml"));
  EXPECT_THAT(refused("{sever: []}"), HasSubstr("is an empty list"));
  EXPECT_THAT(refused("{sever: norm}"), HasSubstr("x.yaml: key sever.sever: model any: "));
  EXPECT_THAT(refused(transformer() ? "{sever: g}" : "{sever: mlp}"), HasSubstr("has no site"));
  EXPECT_THAT(refused("{at: subject}"), HasSubstr("subject-last"));
  EXPECT_THAT(refused("[{seed: 1}, {seed: 2}]"), HasSubstr("key sever[1].seed: model any has"));
  EXPECT_THAT(refused("{window: 4}"), HasSubstr("window"));
}

TEST_P(Sever, IsWrittenAsItIsRead) {
  const std::string section =
      "{at: prompt-last, sever: [mlp+o, s], candidates: 3, seed: 9, prompts: 5}";
  const Entries entries = entries_in(section);
  const YamlNode written = sever_kind().form().write(entries, Purpose::kResolved).value();
  const auto& read = static_cast<const SeverConfig&>(*entries.at(0));
  EXPECT_EQ(read, static_cast<const SeverConfig&>(*entries_in(write_yaml(written)).at(0)));
  EXPECT_EQ(to_string(read.sever.at(0)), "o+mlp");
  EXPECT_THAT(read.at, ElementsAre(SeveredAt::kPromptLast));
  EXPECT_EQ(read.prompts, 5);
}

// Two entries of one model: what either asks, once.
TEST_P(Sever, JoinsEntries) {
  const PlannedWork planned = plan("[{sever: o, at: prompt-last}, {sever: [o, s]}]");
  EXPECT_THAT(planned.asked.at(0), SizeIs(2));
  EXPECT_THAT(planned.asked.at(1), SizeIs(6));
  EXPECT_EQ(planned.work->summary(), "6 curves of severed paths");
}

INSTANTIATE_TEST_SUITE_P(Models, Sever,
                         ::testing::Values("gpt2", "llama", "mamba", "mamba2", "falcon_mamba"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::erase(name, '_');
                           return name;
                         });

}  // namespace
}  // namespace factflow
