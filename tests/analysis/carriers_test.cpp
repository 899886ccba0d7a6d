// Who carries the facts in hybrids: names of edges, which layers have which mixers, numbers by
// hand, and verdicts that are known, each from numbers that would say something else if attention
// and state changed places.
#include "analysis/carriers.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <stdexcept>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "analysis/analyse.hpp"
#include "analysis/carrier_report.hpp"
#include "experiments/evaluate/evaluation_arrays.hpp"
#include "tests/analysis/study_test.hpp"

namespace factflow {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

ModelInfo with_layers(std::vector<std::string> layers) {
  ModelInfo info{"tiny", "qwen3_5_text", "", 6, 8, 100, 1000, "", ""};
  info.layers = static_cast<std::int64_t>(layers.size());
  info.layer_blocks = std::move(layers);
  return info;
}

TEST(PathsOfEdges, ArePartsOfTheirNames) {
  const EdgeName edge = parse_edge("subject->last (attention)");
  EXPECT_EQ(edge.target, "last");
  EXPECT_EQ(edge.path, "attention");
  EXPECT_FALSE(edge.whole());
  EXPECT_EQ(edge.flow(), "subject->last (attention)");
  EXPECT_EQ(edge.ends(), "subject->last");
  EXPECT_EQ(edge.display(), "subject \u2192 last (attention)");
  const EdgeName slow = parse_edge("subject->last/slow (recurrent)");
  EXPECT_EQ(slow.channels, "slow");
  EXPECT_EQ(slow.path, "recurrent");
  EXPECT_EQ(slow.flow(), "subject->last (recurrent)");
  EXPECT_EQ(slow.display(), "subject \u2192 last (slow channels, recurrent)");
  const EdgeName both = parse_edge("subject->last/slow");
  EXPECT_EQ(both.path, "both");
  EXPECT_EQ(both.flow(), "subject->last");
  EXPECT_TRUE(parse_edge("subject->last").whole());
}

TEST(MixersOfLayers, AreReadFromTheirBlocks) {
  const ModelInfo info =
      with_layers({"gated_delta, mlp", "attention, mixture", "attention + mamba2, mlp",
                   "shared_block, mamba2", "rwkv7, channel_mix", "mlp"});
  EXPECT_EQ(mixers_in_letters(info), "RABBR-");
  const std::vector<LayerMixers> mixers = mixers_of(info);
  const MixerCount fit = count_mixers(mixers, "fit", 3, 1);  // layers 1 to 3
  EXPECT_EQ(fit.attention, 3);
  EXPECT_EQ(fit.recurrent, 2);
  const MixerCount centred = count_mixers(mixers, "centred", 3, 0);  // layers 0 and 1
  EXPECT_EQ(centred.attention, 1);
  EXPECT_EQ(centred.recurrent, 1);
  EXPECT_EQ(count_mixers(mixers, "centred", 3, 5).recurrent, 1);  // 4 and 5
  // A mixture mixes no tokens: this is a Transformer.
  EXPECT_EQ(mixing_of(with_layers({"attention, mixture"})), Mixing::kAttention);
  EXPECT_EQ(mixing_of(with_layers({"rwkv7, channel_mix"})), Mixing::kState);
}

// Mean relative changes in percent of the three cuts at one start.
struct Cuts {
  double attention, recurrent, both;
};

constexpr std::size_t kFacts = 20;
constexpr std::int64_t kWindow = 2;

class Carriers : public StudyTest {
 protected:
  // What happens to a fact's prompt at a start: its source role, start and number.
  using Changes = std::function<Cuts(const std::string&, std::int32_t, std::size_t)>;

  // Of one model; `paths` are those that were swept.
  struct Model {
    ModelInfo info;
    std::vector<std::string> sources;
    std::vector<std::string> paths = {"attention", "recurrent", "both"};
    std::size_t facts = kFacts;
  };

  void write(const std::vector<Model>& models, const Changes& changes) const {
    PromptTable prompts;
    EvaluationResult clean;
    for (std::size_t i = 0; i < kFacts; ++i) {
      prompts.id.push_back(static_cast<std::int64_t>(i));
      prompts.text.push_back("text " + std::to_string(i));
      prompts.subject.push_back("subject " + std::to_string(i));
      prompts.answer.emplace_back(" x");
      prompts.relation.emplace_back("r");
    }
    clean.prompt = prompts.id;
    clean.probability.assign(kFacts, 0.5F);
    clean.rank.assign(kFacts, 1);
    clean.answer_token = clean.token_count = std::vector<std::int32_t>(kFacts, 3);
    clean.answer_text = prompts.answer;
    clean.changes = clean.subject_begin = clean.tied = std::vector<std::int32_t>(kFacts, 0);
    clean.subject_end.assign(kFacts, 1);
    clean.top = 0;
    RunInfo run;
    run.name = "hybrids";
    run.complete = true;
    ResultsWriter writer(folder_ / "results.h5", run, prompts);
    for (const Model& model : models) {
      writer.begin_model(model.info);
      writer.write(arrays_of(clean));
      CellAxes axes;
      for (const std::string& source : model.sources)
        for (const std::string& path : model.paths)
          axes.items.push_back(source + "->last" + (path == "both" ? "" : " (" + path + ")"));
      for (std::size_t i = 0; i < model.facts; ++i)
        axes.prompts.push_back(static_cast<std::int64_t>(i));
      axes.blocked.assign(axes.items.size() * model.facts, 1);
      writer.write(arrays_of(axes));
      for (const std::int64_t size : {std::int64_t{1}, kWindow}) {
        CellWindow window{size, "fit", {}, {}, {}};
        for (std::int32_t start = 0; start + size <= model.info.layers; ++start)
          window.starts.push_back(start);
        for (const std::string& source : model.sources)
          for (const std::string& path : model.paths)
            for (std::size_t fact = 0; fact < model.facts; ++fact)
              for (const std::int32_t start : window.starts) {
                const Cuts cuts = changes(source, start, fact);
                const double change = path == "attention"   ? cuts.attention
                                      : path == "recurrent" ? cuts.recurrent
                                                            : cuts.both;
                window.probability.push_back(static_cast<float>(0.5 * (1 + change / 100)));
                window.rank.push_back(1);
              }
        writer.write(arrays_of(axes, window));
      }
    }
    writer.publish({});
  }
  Study study() {
    readers_.emplace_back(folder_ / "results.h5");
    StudyOptions options;
    options.bootstrap.resamples = 200;
    return make_study(load_runs({&readers_.back()}), options);
  }
  // At the widest window.
  static const CarriedEdge& edge(const Study& study, const std::string& label,
                                 const std::string& model = "tiny") {
    for (const CarriedEdge& one : study.carriers)
      if (one.widest && one.edge.label == label && one.model == model) return one;
    throw std::out_of_range(label);
  }
  static const Claim& claim(const Study& study, const std::string& words) {
    for (const Claim& claim : study.claims)
      if (claim.text.find(words) != std::string::npos) return claim;
    throw std::out_of_range(words);
  }
  // In turn, three to one.
  static Model hybrid(std::vector<std::string> sources) {
    return {with_layers({"gated_delta, mlp", "gated_delta, mlp", "gated_delta, mlp",
                         "attention, mlp", "gated_delta, mlp", "gated_delta, mlp"}),
            std::move(sources)};
  }
  static Model all_verdicts() {
    return hybrid({"subject", "first", "relation-minus-last", "context", "last", "all"});
  }
  // Facts differ a little, and the sum of what is added is 0.
  static double wobble(std::size_t fact) { return fact % 4 < 2 ? 0.5 : -0.5; }
};

// Start 3 is the strongest of those whose windows have layer 3, the only one with attention.
Cuts verdict_cuts(const std::string& source, std::int32_t start, std::size_t fact) {
  const double w = fact % 4 < 2 ? 0.5 : -0.5;
  const double part = start == 3 ? 1 : 0.2;
  Cuts cuts{0, 0, 0};
  if (source == "subject") cuts = {-54, -6, -60};              // attention
  if (source == "first") cuts = {-3, -48, -60};                // state
  if (source == "relation-minus-last") cuts = {-12, -3, -60};  // either
  if (source == "context") cuts = {-54, -42, -60};             // needed
  if (source == "last") cuts = {-18, -27, -60};                // parts
  // Half of the facts by attention, the others by the state: on the mean nothing can be told.
  if (source == "all") cuts = fact / 2 % 2 == 0 ? Cuts{-58, -4, -60} : Cuts{-6, -50, -60};
  return {part * cuts.attention + w, part * cuts.recurrent - w, part * cuts.both + w};
}

TEST_F(Carriers, VerdictsAreWhatTheCutsSay) {
  write({all_verdicts()}, verdict_cuts);
  const Study study = this->study();
  struct Expected {
    const char* edge;
    Carrier carrier;
    double attention, state, together;  // percent of both
  };
  for (const Expected& expected :
       {Expected{"subject->last", Carrier::kAttention, 90, 10, 0},
        Expected{"first->last", Carrier::kState, 5, 80, 15},
        Expected{"relation-minus-last->last", Carrier::kEither, 20, 5, 75},
        Expected{"context->last", Carrier::kNeeded, 90, 70, -60},
        Expected{"last->last", Carrier::kParts, 30, 45, 25},
        Expected{"all->last", Carrier::kOpen, 100 * 32 / 60.0, 45, 100 * 1 / 60.0}}) {
    const CarriedEdge& of = edge(study, expected.edge);
    EXPECT_EQ(carrier_of(of), expected.carrier) << expected.edge << " " << shares_in_words(of);
    EXPECT_EQ(of.n, kFacts);
    EXPECT_THAT(of.chosen, ElementsAre(3, 3));
    EXPECT_NEAR(of.both.value, -60, 0.01);
    EXPECT_NEAR(of.attention_share.value, expected.attention, 0.01) << expected.edge;
    EXPECT_NEAR(of.recurrent_share.value, expected.state, 0.01) << expected.edge;
    EXPECT_NEAR(of.together_share.value, expected.together, 0.02) << expected.edge;
    EXPECT_NEAR(of.interaction.value, -0.6 * expected.together, 0.02) << expected.edge;
    EXPECT_LT(of.attention_share.interval.low, of.attention_share.value);
    EXPECT_GT(of.attention_share.interval.high, of.attention_share.value);
  }
}

// The same numbers with both paths exchanged say the opposite, where there is one.
TEST_F(Carriers, ExchangedPathsExchangeTheVerdicts) {
  write({all_verdicts()}, [](const std::string& source, std::int32_t start, std::size_t fact) {
    const Cuts cuts = verdict_cuts(source, start, fact);
    return Cuts{cuts.recurrent, cuts.attention, cuts.both};
  });
  const Study study = this->study();
  EXPECT_EQ(carrier_of(edge(study, "subject->last")), Carrier::kState);
  EXPECT_EQ(carrier_of(edge(study, "first->last")), Carrier::kAttention);
  EXPECT_NEAR(edge(study, "relation-minus-last->last").attention_share.value, 5, 0.01);
  EXPECT_NEAR(edge(study, "context->last").attention_share.value, 70, 0.01);
  EXPECT_NEAR(edge(study, "last->last").attention_share.value, 45, 0.01);
  EXPECT_EQ(claim(study, "The state carries subject").verdict, Verdict::kHolds);
  EXPECT_EQ(claim(study, "Attention carries subject").verdict, Verdict::kDoesNotHold);
}

TEST_F(Carriers, ClaimsAreTheFourStatementsOfEachEdge) {
  write({all_verdicts()}, verdict_cuts);
  const Study study = this->study();
  const char* statements[] = {"Attention carries ", "The state carries ",
                              "Either attention or the state suffices for ",
                              "Both attention and the state are needed for "};
  const auto verdicts = [&](const std::string& source) {
    std::vector<Verdict> all;
    for (const char* statement : statements)
      all.push_back(claim(study, statement + source + " \u2192 last").verdict);
    return all;
  };
  constexpr Verdict kYes = Verdict::kHolds, kNo = Verdict::kDoesNotHold,
                    kOpen = Verdict::kCannotTell;
  EXPECT_THAT(verdicts("subject"), ElementsAre(kYes, kNo, kNo, kNo));
  EXPECT_THAT(verdicts("first"), ElementsAre(kNo, kYes, kNo, kNo));
  EXPECT_THAT(verdicts("relation-minus-last"), ElementsAre(kNo, kNo, kYes, kNo));
  EXPECT_THAT(verdicts("context"), ElementsAre(kNo, kNo, kNo, kYes));
  EXPECT_THAT(verdicts("last"), ElementsAre(kNo, kNo, kNo, kNo));
  EXPECT_THAT(verdicts("all"), ElementsAre(kOpen, kOpen, kNo, kOpen));
  const Claim& first = claim(study, "Attention carries subject");
  EXPECT_THAT(first.models[0].reason,
              AllOf(HasSubstr("attention alone 90 % ["), HasSubstr("the state alone 10 % ["),
                    HasSubstr("only together 0 % [")));
  EXPECT_THAT(first.models[0].evidence,
              AllOf(HasSubstr("both -60.0 %"), HasSubstr("window of 2, start 3"),
                    HasSubstr("20 prompts of 20 facts")));
}

// Without the rule the strongest start would be 0, where only the state can be cut.
TEST_F(Carriers, WindowsWithoutOneKindOfMixersAreNotCompared) {
  write({hybrid({"subject"})}, [](const std::string&, std::int32_t start, std::size_t fact) {
    if (start < 2) return Cuts{0, -90 + wobble(fact), -90 + wobble(fact)};
    return Cuts{(start == 2 ? -36.0 : -10.0) + wobble(fact), -4, start == 2 ? -40.0 : -15.0};
  });
  const Study study = this->study();
  const CarriedEdge& of = edge(study, "subject->last");
  EXPECT_EQ(of.starts, 5U);
  EXPECT_EQ(of.choices, 2U);  // windows 2-3 and 3-4
  EXPECT_THAT(of.chosen, ElementsAre(2, 2));
  EXPECT_EQ(carrier_of(of), Carrier::kAttention);
  // Windows of one layer have one kind of mixers each.
  const auto single = std::find_if(study.carriers.begin(), study.carriers.end(),
                                   [](const CarriedEdge& one) { return one.window == 1; });
  ASSERT_NE(single, study.carriers.end());
  EXPECT_FALSE(single->widest);
  EXPECT_EQ(single->missing, "no window of 1 layer has mixers of both kinds");
  EXPECT_EQ(carrier_of(*single), Carrier::kOpen);
}

// Even facts fall most at start 2, odd ones at start 3: each half is measured where the other one
// falls, so that nothing was picked for the numbers it gives.
TEST_F(Carriers, TheWindowIsChosenOnTheOtherHalfOfTheFacts) {
  write({hybrid({"subject"})}, [](const std::string&, std::int32_t start, std::size_t fact) {
    const bool own = (fact % 2 == 0) == (start == 2);
    if (start != 2 && start != 3) return Cuts{0, 0, 0};
    return own ? Cuts{-80, -10, -90} : Cuts{-5, -35, -50};
  });
  const Study study = this->study();
  const CarriedEdge& of = edge(study, "subject->last");
  EXPECT_THAT(of.chosen, ElementsAre(3, 2));  // of the even facts, of the odd ones
  EXPECT_NEAR(of.both.value, -50, 1e-5);
  EXPECT_NEAR(of.attention.value, -5, 1e-5);
  EXPECT_NEAR(of.recurrent.value, -35, 1e-5);
  EXPECT_NEAR(of.log_interaction.value, std::log(0.5) - std::log(0.95) - std::log(0.65), 1e-5);
}

TEST_F(Carriers, WhatCannotBeToldSaysWhy) {
  Model few = hybrid({"subject"}), weak = hybrid({"subject"}), lone = hybrid({"subject"}),
        one = hybrid({"subject"});
  few.info.name = "few";
  few.facts = 9;
  one.info.name = "one";
  one.facts = 1;
  lone.info.name = "lone";
  lone.paths = {"attention", "both"};
  weak.info.name = "weak";
  weak.sources = {"last"};
  write({few, one, lone, weak}, [](const std::string& source, std::int32_t, std::size_t fact) {
    return source == "last" ? Cuts{wobble(fact), 0, 2 * wobble(fact)}
                            : Cuts{-50 + wobble(fact), -5, -60};
  });
  const Study study = this->study();
  const auto reason = [&](const char* model, const char* label) {
    const CarriedEdge& of = edge(study, label, model);
    EXPECT_EQ(carrier_of(of), Carrier::kOpen) << model;
    return judge_carrier(of, Carrier::kAttention).reason;
  };
  EXPECT_EQ(reason("few", "subject->last"), "9 prompts of 9 facts, asked are 10 facts");
  EXPECT_EQ(reason("one", "subject->last"), "1 prompt of 1 fact, asked are 10 facts");
  EXPECT_EQ(reason("lone", "subject->last"), "not swept with path: recurrent");
  EXPECT_EQ(reason("weak", "last->last"), "cutting both lowers the probability by less than 10 %");
  // Numbers without intervals all the same.
  EXPECT_NEAR(edge(study, "subject->last", "one").both.value, -60, 1e-4);
  EXPECT_TRUE(std::isnan(edge(study, "subject->last", "few").both.interval.low));
}

TEST_F(Carriers, ModelsOfOneKindAreControlsAndMakeNoClaims) {
  Model transformer{with_layers(std::vector<std::string>(6, "attention, mixture")), {"subject"}},
      recurrent{with_layers(std::vector<std::string>(6, "rwkv7, channel_mix")), {"subject"}};
  transformer.info.name = "transformer";
  transformer.paths = {"attention", "both"};
  recurrent.info.name = "rwkv";
  recurrent.paths = {"recurrent"};
  write({transformer, all_verdicts(), recurrent}, verdict_cuts);
  const Study study = this->study();
  const CarriedEdge& of = edge(study, "subject->last", "transformer");
  EXPECT_TRUE(of.is_control());
  EXPECT_EQ(of.choices, of.starts);
  EXPECT_NEAR(of.both.value, -60, 0.01);
  EXPECT_TRUE(std::isnan(of.attention_share.value));
  // Its only path stands for both where nothing else was swept.
  EXPECT_NEAR(edge(study, "subject->last", "rwkv").both.value, -6, 0.01);
  EXPECT_THAT(models_with_carriers(study), ElementsAre("tiny"));
  for (const Claim& claim : study.claims) {
    if (!claim.source.starts_with("hybrids")) continue;
    for (const ModelVerdict& model : claim.models) EXPECT_EQ(model.model, "tiny");
  }
  const std::string page = carriers_html(study);
  EXPECT_THAT(page, HasSubstr("control: attention only"));
  EXPECT_THAT(page, HasSubstr("control: recurrent only"));
  EXPECT_LT(page.find(">tiny<"), page.find(">transformer<"));
  // Alone they have nothing to compare.
  write({transformer}, verdict_cuts);
  EXPECT_THAT(this->study().carriers, IsEmpty());
}

TEST_F(Carriers, FiguresTableAndReportShowThem) {
  write({all_verdicts()}, verdict_cuts);
  const AnalysisSummary summary = analyse(folder_, quick());
  EXPECT_EQ(summary.problem, "");
  for (const char* stem :
       {"carriers", "carriers_layers_tiny", "carriers_depth_tiny_w1", "carriers_depth_tiny_w2"})
    for (const char* ending : {".svg", ".pdf", ".png", "_column.pdf"})
      EXPECT_GT(std::filesystem::file_size(folder_ / "figures" / (std::string(stem) + ending)),
                1000U)
          << stem << ending;
  EXPECT_THAT(text("figures/carriers_depth_tiny_w2.svg"),
              AllOf(HasSubstr("attention cut"), HasSubstr("state cut"), HasSubstr("both cut")));
  EXPECT_THAT(text("figures/carriers.svg"), HasSubstr("either suffices"));
  const std::string page = text("report.html");
  EXPECT_THAT(
      page, AllOf(HasSubstr("<section id=\"carriers\">"), HasSubstr("Who carries it</a>"),
                  HasSubstr(">attention carries it</span>"),
                  HasSubstr(">the state carries it</span>"), HasSubstr(">either suffices</span>"),
                  HasSubstr(">both are needed</span>"), HasSubstr(">each carries a part</span>")));
  EXPECT_THAT(summary.findings, HasSubstr("Who carries the facts"));
  // The question stands in the table at the head of the page as well.
  EXPECT_THAT(page, HasSubstr("Attention or the state: who carries subject \u2192 last?"));
  EXPECT_LT(page.find("who carries subject"), page.find("<section id=\"findings\">"));
  EXPECT_THAT(text("tables/questions.csv"), HasSubstr("carrier,tiny,attention carries it,"));
  EXPECT_THAT(text("tables/carriers.csv"), HasSubstr("either suffices"));
  EXPECT_THAT(text("tables/claims.csv"), HasSubstr("Attention carries subject"));
  EXPECT_THAT(text("tables/models.csv"), HasSubstr("RRRARR"));
  EXPECT_THAT(text("tables/curves.csv"),
              HasSubstr("subject->last (attention),subject,last,all,attention,"));
  // One panel an edge, and those that were cut on both paths alone.
  EXPECT_TRUE(std::filesystem::exists(folder_ / "figures/models.svg"));
  EXPECT_THAT(text("figures/models.svg"), Not(HasSubstr("(attention)")));
}

TEST_F(Carriers, RunsWithoutPathsHaveNothingOfIt) {
  Model model = hybrid({"subject"});
  model.paths = {"both"};
  write({model}, verdict_cuts);
  const Study study = this->study();
  EXPECT_THAT(study.carriers, IsEmpty());
  EXPECT_EQ(carriers_html(study), "");
  EXPECT_THAT(carrier_rows(study), IsEmpty());
}

}  // namespace
}  // namespace factflow
