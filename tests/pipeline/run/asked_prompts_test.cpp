// What a configuration asks of which prompts: every knockout that some sweep wants, each once.
#include "pipeline/run/asked_prompts.hpp"

#include <fstream>

#include <gmock/gmock.h>

#include "base/error.hpp"
#include "model/mixers/mamba/mamba_shape.hpp"
#include "pipeline/run/run_plan.hpp"
#include "tests/pipeline/clean_runs.hpp"
#include "tests/pipeline/sections.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

using ::testing::AllOf;

constexpr std::uint32_t kA = 0, kB = 1;

class Asked : public ::testing::Test {
 protected:
  // Two models of four layers; `more` from the key select on. Ids 10, 11, ... of five prompts.
  void read(const std::string& more) {
    const std::string listed = scratch_.write("listed.txt", "10\n12\n99\n");
    std::string text =
        "name: x\ndataset: {path: f}\nmodels: [{name: a, path: p}, {name: b, path: q}]\n" + more;
    for (size_t at; (at = text.find("LISTED")) != std::string::npos;) text.replace(at, 6, listed);
    config_ = parse_config(text, "x.yaml");
    read_lists(config_);
    for (std::int64_t id = 10; id < 15; ++id)
      dataset_.prompts.push_back({id, "A is", "A", 0, " B", "r"});
    planned_ = {};
    for (const ModelConfig& model : config_.models) {
      PlannedModel& planned = planned_.models.emplace_back();
      planned.architecture.family = "mamba";
      planned.architecture.layers = 4;
      planned.architecture.hidden = 8;
      planned.architecture.vocabulary = 16;
      MambaShape shape;
      shape.inner = 16;
      planned.architecture.blocks.assign(4, {{std::make_shared<MambaShape>(shape)}});
      planned.parameters = 1000;
      planned_.job.models.emplace_back().name = model.name;
      plan_experiments(config_, dataset_.prompts, planned, planned_.job.models.back());
    }
  }

  AskedPrompts asked(const ExperimentKind& kind, std::uint32_t model,
                     const CleanRanks& ranks) const {
    return asked_prompts(config_, kind_numbered(kind.number()).value(), dataset_,
                         planned_.models[model], model, ranks);
  }
  SweepPlan plan_of(std::uint32_t model) const {
    return decode_sweep_plan(planned_.job.models[model].work.at(place_of_section("sweep")));
  }

  // "10: subject->last 1 3" for each prompt of a part, and likewise for each edge.
  std::vector<std::string> cells(std::uint32_t model, const CleanRanks& ranks) const {
    std::vector<std::string> cells;
    const AskedPrompts all = asked(sweep_kind(), model, ranks);
    const SweepPlan plan = plan_of(model);
    for (const AskedPart& part : all.parts)
      for (std::uint32_t i = part.begin; i < part.begin + part.count; ++i)
        for (const AskedItem& edge : part.asked) {
          std::string cell = std::to_string(dataset_.prompts[all.prompts[i]].id) + ": " +
                             label_of(plan.edges[edge.item]);
          for (const std::uint32_t series : edge.series)
            cell += " " + std::to_string(plan.series[series].size);
          cells.push_back(cell);
        }
    std::sort(cells.begin(), cells.end());
    return cells;
  }

  TemporaryDirectory scratch_;
  Config config_;
  Dataset dataset_;
  PlannedJob planned_;
};

const CleanRanks kRanks = {{1, 2, 1, 0, 3}, {1, 1, 4, 1, 1}};  // prompt 13 failed in model a

TEST_F(Asked, OneSweepIsOnePart) {
  read("sweep: {windows: {sizes: 3}, knockouts: {from: subject, to: last}}\n");
  EXPECT_THAT(cells(kA, kRanks), ElementsAre("10: subject->last 3"));  // right for both
  EXPECT_THAT(judges_of(config_, kA), ElementsAre(kA, kB));
  EXPECT_THAT(asked(heatmap_kind(), kA, kRanks).parts, IsEmpty());
  EXPECT_THAT(asked(evaluate_kind(), kA, kRanks).prompts, SizeIs(5));  // whatever is configured
}

TEST_F(Asked, SweepsOverlapAndEveryKnockoutIsAskedOnce) {
  read(
      "select: [{name: own, correct_for: self}, {name: list, ids: LISTED}]\n"
      "sweep:\n"
      "  - {windows: {sizes: [1, 3]}, knockouts: {from: subject, to: last}}\n"
      "  - {select: list, windows: {sizes: 3}, knockouts: {from: [subject, last], to: last}}\n"
      "  - {select: list, models: b, windows: {sizes: 2}, knockouts: {from: last, to: last, "
      "channels: "
      "slow}}\n");
  EXPECT_THAT(cells(kA, kRanks), ElementsAre("10: last->last 3", "10: subject->last 1 3",
                                             "12: last->last 3", "12: subject->last 1 3"));
  EXPECT_THAT(cells(kB, kRanks),
              ElementsAre("10: last->last 3", "10: last->last/slow 2", "10: subject->last 1 3",
                          "11: subject->last 1 3", "12: last->last 3", "12: last->last/slow 2",
                          "12: subject->last 3", "13: subject->last 1 3", "14: subject->last 1 3"));
  EXPECT_THAT(sets_of_kind(config_, place_of_section("sweep")), ElementsAre(0U, 1U));
  EXPECT_THAT(judges_of(config_, kA), ElementsAre(kA));
  EXPECT_THAT(shortfalls(config_, dataset_),
              ElementsAre(HasSubstr("listed.txt): 1 of 3 ids belongs to no usable prompt: 99")));
}

TEST_F(Asked, ARankWidensASet) {
  read(
      "select: {correct_for: a, rank: 3}\nsweep: {windows: {sizes: 1}, knockouts: {from: last, to: "
      "last}}\n");
  EXPECT_THAT(cells(kB, kRanks), ElementsAre("10: last->last 1", "11: last->last 1",
                                             "12: last->last 1", "14: last->last 1"));
  EXPECT_THAT(judges_of(config_, kB), ElementsAre(kA, kB));
}

TEST_F(Asked, HeatMapsByCountAndById) {
  read(
      "select: {correct_for: self}\n"
      "heatmaps: [{windows: [1, 2], prompts: 1}, {window: 3, ids: [10, 13, 12], models: a}]\n");
  const AskedPrompts a = asked(heatmap_kind(), kA, kRanks);
  ASSERT_THAT(a.parts, SizeIs(2));
  // All three windows of prompt 10, one of 12; 13 failed.
  EXPECT_THAT(a.prompts, ElementsAre(0U, 2U));
  EXPECT_THAT(a.part_of(0).asked.at(0).series, ElementsAre(0U, 1U, 2U));
  EXPECT_THAT(a.part_of(1).asked.at(0).series, ElementsAre(2U));
  EXPECT_THROW(a.part_of(2), std::out_of_range);
  EXPECT_THAT(asked(heatmap_kind(), kB, kRanks).prompts, ElementsAre(0U));
}

TEST_F(Asked, OnlyListsOfIdsReadOnlyTheirPrompts) {
  std::string lines;
  for (int id = 10; id < 15; ++id)
    lines += "{\"id\": " + std::to_string(id) +
             ", \"prompt\": \"A is\", \"subject\": \"A\", \"answer\": \"B\"}\n";
  const std::string file = scratch_.write("facts.jsonl", lines);
  read(
      "select: {ids: LISTED}\nsweep: {windows: {sizes: 1}, knockouts: {from: last, to: "
      "last}}\nheatmaps: "
      "{window: 1, ids: [14]}\n");
  config_.dataset.path = file;
  EXPECT_THAT(read_prompts(config_).prompts, SizeIs(3));
  config_.dataset.limit = 1;
  EXPECT_EQ(read_prompts(config_).prompts.at(0).id, 10);
  config_.select[0].rule = SelectConfig::Rule::kSelf;
  config_.dataset.limit = 0;
  EXPECT_THAT(read_prompts(config_).prompts, SizeIs(5));
}

TEST_F(Asked, AListIsReadOnce) {
  read("select: {ids: LISTED}\nsweep: {windows: {sizes: 1}, knockouts: {from: last, to: last}}\n");
  ASSERT_THAT(cells(kA, kRanks), ElementsAre("10: last->last 1", "12: last->last 1"));
  scratch_.write("listed.txt", "11\n");
  EXPECT_THAT(cells(kA, kRanks), ElementsAre("10: last->last 1", "12: last->last 1"));
}

TEST_F(Asked, UnitsCoverEveryPartOnce) {
  read(
      "select: [{name: own, correct_for: self}, {name: list, ids: LISTED}]\n"
      "sweep: [{windows: {sizes: 1}, knockouts: {from: subject, to: last}},\n"
      "        {select: list, windows: {sizes: 3}, knockouts: {from: last, to: last}}]\n"
      "heatmaps: {window: 2, ids: [11, 12]}\n");
  RunPlan plan(config_, dataset_, planned_);
  std::map<std::pair<std::string, std::int64_t>, int> times;  // (what, prompt) of model b
  for (const Task& task : plan.initial()) {
    const UnitName name = unit_named(task.id);
    std::vector<std::int32_t> ranks;
    for (std::uint32_t i = 0; i < name.count; ++i)
      ranks.push_back(kRanks[name.model][name.begin + i]);
    for (const Task& next : plan.completed(task.id, encode(clean_runs(ranks)))) {
      const Unit unit = decode_unit(next.payload);
      if (unit.model != kB) continue;
      for (const Prompt& prompt : unit.prompts) {
        if (unit.kind == heatmap_kind().number()) ++times[{"heatmap", prompt.id}];
        if (unit.kind != sweep_kind().number()) continue;
        for (const AskedItem& edge : unit.asked)
          ++times[{label_of(plan_of(kB).edges[edge.item]), prompt.id}];
      }
    }
  }
  EXPECT_EQ(times.size(), 4U + 2U + 2U);
  for (const auto& [what, count] : times)
    EXPECT_EQ(count, 1) << what.first << " of " << what.second;
}

// Five prompts of one file, ids 0 to 4, of which `more` (from the key dataset on) takes some.
class Lists : public ::testing::Test {
 protected:
  Config config(const std::string& more) {
    std::string lines;
    for (int id = 0; id < 5; ++id)
      lines += R"({"prompt": "A is", "subject": "A", "answer": "B"})"
               "\n";
    std::string text = "name: x\nmodels: {name: a, path: p}\n" + more;
    const std::string facts = scratch_.write("facts.jsonl", lines),
                      listed = scratch_.write("listed.txt", "2\n4\n77\n78\n"),
                      wrong = scratch_.write("wrong.txt", "77\n78\n");
    for (const auto& [word, file] :
         {std::pair{"FACTS", facts}, std::pair{"LISTED", listed}, std::pair{"WRONG", wrong}})
      for (size_t at; (at = text.find(word)) != std::string::npos;)
        text.replace(at, std::string(word).size(), file);
    return parse_config(text, "x.yaml");
  }
  std::string refusal(const std::string& more) {
    try {
      Config read = config(more);
      read_prompts(read);
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  }
  std::vector<std::string> said(const std::string& more) {
    Config read = config(more);
    const Dataset dataset = read_prompts(read);
    return shortfalls(read, dataset);
  }

  static constexpr const char* kSweep =
      "sweep: {windows: {sizes: 3}, knockouts: {from: subject, to: last}}\n";
  TemporaryDirectory scratch_;
};

TEST_F(Lists, OfWhichNoIdIsAPromptsAreRefusedByName) {
  EXPECT_THAT(refusal("dataset: {path: FACTS}\nselect: {ids: WRONG}\n" + std::string(kSweep)),
              AllOf(HasSubstr("no prompt is left"), HasSubstr("77, 78")));
  EXPECT_THAT(
      refusal("dataset: {path: FACTS}\nselect: [{name: own, correct_for: self}, {name: "
              "list, ids: WRONG}]\n" +
              std::string(kSweep)),
      AllOf(HasSubstr("prompt set list"), HasSubstr("wrong.txt"),
            HasSubstr("none of its 2 ids belongs to a usable prompt"), HasSubstr("77, 78")));
  EXPECT_THAT(refusal("dataset: {path: FACTS}\nheatmaps: [{window: 3, prompts: 2}, {window: 3, "
                      "ids: [77]}]\n"),
              AllOf(HasSubstr("heatmaps[1].ids"), HasSubstr("77")));
  EXPECT_THAT(refusal("dataset: {path: FACTS, ids: [1, 77, 78]}\n" + std::string(kSweep)),
              HasSubstr("no usable prompt has the ids 77, 78 of dataset.ids"));
}

TEST_F(Lists, OfWhichSomeIdsAreMissingAreNamed) {
  EXPECT_THAT(said("dataset: {path: FACTS}\nselect: {ids: LISTED}\n" + std::string(kSweep)),
              ElementsAre(HasSubstr("2 of 4 ids belong to no usable prompt: 77, 78")));
  EXPECT_THAT(
      said("dataset: {path: FACTS, limit: 1}\nselect: {ids: LISTED}\n" + std::string(kSweep)),
      ElementsAre(HasSubstr("77, 78"),
                  HasSubstr("1 of 4 ids is left out by the filters of the dataset: 4")));
  EXPECT_THAT(said("dataset: {path: FACTS}\n" + std::string(kSweep)), IsEmpty());
}

TEST_F(Lists, FewerPromptsThanLimitOrSampleWouldTakeAreSaid) {
  EXPECT_THAT(said("dataset: {path: FACTS, limit: 9}\n" + std::string(kSweep)),
              ElementsAre("dataset.limit is 9, but only 5 prompts pass the other filters"));
  EXPECT_THAT(said("dataset: {path: FACTS, sample: 7, limit: 9}\n" + std::string(kSweep)),
              ElementsAre("dataset.sample is 7, but only 5 prompts pass the other filters"));
  EXPECT_THAT(said("dataset: {path: FACTS, limit: 5}\n" + std::string(kSweep)), IsEmpty());
}

}  // namespace
}  // namespace factflow
