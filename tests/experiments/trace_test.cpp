// The kind `trace`: which other subjects it takes, and that its maps are what the reference forward
// says and keep the invariants of causal tracing.
#include "experiments/trace/trace.hpp"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "experiments/counterfactual.hpp"
#include "fields/yaml_tree.hpp"
#include "model/reference/reference.hpp"
#include "model/threads.hpp"
#include "tests/source_dir.hpp"

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

Prompt capital_of(std::int64_t id, const std::string& subject, const std::string& answer) {
  Prompt prompt;
  prompt.id = id;
  prompt.text = "The capital of " + subject + " is";
  prompt.subject = subject;
  prompt.subject_begin = 15;
  prompt.answer = answer;
  prompt.relation = "capital";
  return prompt;
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
      "seed: 9\nprompts: 5\n");
  const YamlNode written = trace_kind().form().write(entries, Purpose::kResolved).value();
  EXPECT_EQ(static_cast<const TraceConfig&>(*entries.at(0)),
            static_cast<const TraceConfig&>(*entries_in(write_yaml(written)).at(0)));
  const Entries three = entries_in("{prompts: 3}");
  const auto& usual = static_cast<const TraceConfig&>(*three.at(0));
  EXPECT_THAT(usual.directions, ElementsAre(TraceDirection::kRestore));
  EXPECT_THAT(usual.sites, IsEmpty());
}

class Trace : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    set_threads(1, 1);
    std::int64_t id = 0;
    for (const auto& [subject, answer] :
         {std::pair("France", " Paris"), std::pair("Japan", " Tokyo"), std::pair("Peru", " Lima"),
          std::pair("Egypt", " Cairo"), std::pair("Italy", " Rome"), std::pair("Spain", " Madrid"),
          std::pair("Kenya", " Nairobi"), std::pair("Cuba", " Havana")})
      prompts_.push_back(capital_of(++id, subject, answer));
    ModelSource source;
    source.path = source.tokenizer = source_dir() + "/demo/models/" + GetParam();
    model_ = std::make_unique<LoadedModel>(source, at::kCPU, Precision::kFp64, 0, "here");
  }

  PlannedWork plan(const std::string& section) const {
    return trace_kind().plan(entries_in(section), {name_, model_->network().architecture(),
                                                   Placement::kFit, file_, prompts_});
  }

  void compute(const PlannedWork& planned) {
    std::vector<std::uint32_t> all;
    for (std::uint32_t i = 0; i < prompts_.size(); ++i) all.push_back(i);
    const Subjects subjects{prompts_, all, {{"all", all}}, {{0, planned.asked.at(0)}}};
    const auto work = trace_kind().work_from(planned.work->bytes());
    const auto maker = work->arrays(subjects);
    findings_ = work->compute(*model_, planned.asked[0], model_->tokenize_usable(prompts_));
    for (size_t i = 0; i < prompts_.size(); ++i)
      if (findings_[i].failure.empty())
        maker->add(all[i], planned.asked[0], findings_[i].values);
      else
        maker->add_failed(all[i], planned.asked[0]);
    groups_ = maker->groups();
  }

  template <class T>
  const std::vector<T>& array(const std::string& path, const std::string& name) const {
    for (const ArrayGroup& group : groups_)
      if (group.path == path)
        for (const LabelledArray& one : group.arrays)
          if (one.name == name) return std::get<std::vector<T>>(one.values);
    throw std::out_of_range(path + "/" + name);
  }

  double probability(const std::vector<int>& ids, int answer,
                     const std::vector<Intervention>& interventions = {}) const {
    const ReferenceForward reference(model_->network());
    return std::exp(reference.log_probabilities(ids, interventions)[answer].item<double>());
  }

  // The prompt about the subject that a fact was traced with.
  TokenizedPrompt counterpart(size_t fact) const {
    Prompt other = prompts_[fact];
    other.text = "The capital of " + array<std::string>("trace", "counterfactual")[fact] + " is";
    other.subject = array<std::string>("trace", "counterfactual")[fact];
    return model_->tokenize_usable({other}).at(0);
  }

  const std::string name_ = "any";
  const std::filesystem::path file_ = "x.yaml";
  std::vector<Prompt> prompts_;
  std::unique_ptr<LoadedModel> model_;
  std::vector<Finding> findings_;
  std::vector<ArrayGroup> groups_;
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
  const int layers = model_->network().architecture().layers;
  int traced = 0;
  for (size_t fact = 0; fact < prompts_.size() && traced < 2; ++fact) {
    if (!findings_[fact].failure.empty()) {
      EXPECT_THAT(findings_[fact].failure, HasSubstr("other subjects of its relation"));
      continue;
    }
    ++traced;
    const TokenizedPrompt clean = model_->tokenize_usable({prompts_[fact]}).at(0),
                          other = counterpart(fact);
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
  const auto refused = [&](const std::string& section) -> std::string {
    try {
      plan(section);
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(refused("sites: norm\n"), HasSubstr("x.yaml: key trace.sites: model any: "));
  EXPECT_THAT(refused(GetParam() == "gpt2" ? "sites: [h, g]\n" : "sites: [h, mlp]\n"),
              HasSubstr("has no site"));
  EXPECT_THAT(refused("window: 99\n"), HasSubstr("key trace.window: a window of 99 layers"));
}

INSTANTIATE_TEST_SUITE_P(Models, Trace, ::testing::Values("gpt2", "mamba", "mamba2"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace factflow
