// Whole runs of interventions, traces, severed paths, knockouts by means, gradient estimates and
// edits: the same numbers on any number of ranks and after a kill, and what is said of them.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "base/exit_codes.hpp"
#include "experiments/intervene/intervention_arrays.hpp"
#include "experiments/lre/lre_arrays.hpp"
#include "experiments/surge/surge_arrays.hpp"
#include "results/results_file.hpp"
#include "tests/source_dir.hpp"
#include "tests/system/program.hpp"
#include "tests/system/results_difference.hpp"
#include "tests/system/scenario.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class Kinds : public ::testing::Test {
 protected:
  Kinds() {
    Scenario scenario = tiny();
    scenario.limit = 12;
    scenario.models = {"gpt2", "mamba"};
    scenario.heatmaps = 0;
    config_ =
        scratch_
            .write("kinds.yaml",
                   scenario.yaml() +
                       "intervene:\n"
                       "  - windows: {sizes: [1, 5]}\n"
                       "    rows:\n"
                       "      - block: {from: subject, to: last, through: mixer}\n"
                       "      - set: {site: o, tokens: last, value: [mean, resample]}\n"
                       "      - add: {site: h, tokens: subject, value: {noise: 0.3}}\n"
                       "    references: {prompts: 5}\n"
                       "  - windows: {sizes: 3}\n"
                       "    prompts: 2\n"
                       "    rows: [{set: {site: h, tokens: each, value: zero}}]\n"
                       "trace: {sites: [h, o], directions: [restore, break], prompts: 6}\n"
                       "sever: {sever: o, prompts: 6}\n"
                       "attribution: {sites: [h, o], steps: 2, prompts: 5}\n"
                       "mean_knockout: {sets: [subject, prompt-last], window: 2, prompts: 5, "
                       "references: {prompts: 3}}\n"
                       "parts: {windows: {sizes: [1, 4]}, channels: [each quantile of 4, each "
                       "group of 3], cumulate: {prompts: 5}, prompts: 6}\n"
                       "surge: {layers: 2, prompts: 4}\n"
                       "position: {windows: {sizes: 3}, from: subject, lengths: [1, 6], "
                       "texts: (if memory serves), prompts: 4}\n"
                       "answers: {windows: {sizes: 3}, from: [subject, pattern is$], "
                       "prompts: 4}\n"
                       "edit:\n"
                       "  - {layers: [1], search: {iterations: 2}, contexts: {count: 1}, "
                       "covariance: {text: dataset}, prompts: 4, save: true}\n"
                       "  - {method: memit, memit: {facts: 3, weight: 1}, layers: [0, 1], search: "
                       "{iterations: 2}, contexts: {count: 1}, covariance: {text: dataset}, "
                       "prompts: 4, save: true}\n")
            .string();
  }
  std::string out(const std::string& name) const { return (scratch_ / name).string(); }
  Ended run(const std::string& name, int ranks) const {
    return run_program({"run", config_, "--out", out(name)}, {.ranks = ranks});
  }
  std::string difference(const std::string& one, const std::string& other) const {
    return results_difference(out(one) + "/results.h5", out(other) + "/results.h5");
  }

  // Once its journal is half as long as that of a whole run.
  void kill_half_way(const std::string& name, const std::string& whole) const {
    Program program({"run", config_, "--out", out(name)}, {.ranks = 2});
    const std::uintmax_t half =
        std::filesystem::file_size(out(whole) + "/journal/main.journal") / 2;
    std::error_code ignored;
    while (program.running() &&
           std::filesystem::file_size(out(name) + "/journal/main.journal", ignored) + 1 < half + 1)
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    program.signal_group(SIGKILL);
    program.wait();
  }

  TemporaryDirectory scratch_;
  std::string config_;
};

TEST_F(Kinds, GiveTheSameNumbersOnAnyRanksAndAfterAKill) {
  const Ended alone = run("alone", 0);
  ASSERT_EQ(alone.code, 0) << alone.all();
  EXPECT_THAT(alone.err, HasSubstr("interventions in 12 of 12 prompts computed"));
  EXPECT_THAT(alone.err, HasSubstr("selected prompts traced"));
  EXPECT_THAT(alone.err, HasSubstr("selected prompts edited"));
  EXPECT_THAT(alone.err, HasSubstr("selected prompts with paths severed"));
  EXPECT_THAT(alone.err, HasSubstr("selected prompts with gradient estimates"));
  EXPECT_THAT(alone.err, HasSubstr("selected prompts knocked out by means"));
  EXPECT_THAT(alone.err, HasSubstr("selected prompts with parts knocked out"));
  EXPECT_THAT(alone.err, HasSubstr("selected prompts looked at for the surge"));
  EXPECT_THAT(alone.err, HasSubstr("selected prompts moved by neutral text"));
  EXPECT_THAT(alone.err, HasSubstr("selected prompts judged by whole answers"));
  EXPECT_TRUE(ResultsReader(out("alone") + "/results.h5").info().complete);
  const Ended three = run("three", 3);
  ASSERT_EQ(three.code, 0) << three.all();
  EXPECT_EQ(difference("alone", "three"), "");
  kill_half_way("killed", "alone");
  const Ended continued = run("killed", 1);
  ASSERT_EQ(continued.code, 0) << continued.all();
  EXPECT_EQ(difference("alone", "killed"), "");
  const Ended analysed = run_program({"analyse", out("alone")});
  EXPECT_EQ(analysed.code, 0) << analysed.all();
  EXPECT_EQ(analysed.err, "");
}

TEST_F(Kinds, LinearRelationsGiveTheSameNumbersOnAnyRanksAndAfterAKill) {
  config_ =
      scratch_
          .write("lre.yaml",
                 fmt::format("name: lre\n"
                             "dataset: {{path: {}/demo/relations/continent.json, limit: 20}}\n"
                             "models: [{{name: gpt2, path: {}/demo/models/gpt2}}]\n"
                             "select: {{correct_for: none}}\n"
                             "lre: {{layers: [2, 5], betas: [1, 2], ranks: [8], train: 2, "
                             "trials: 2, examples: false}}\n"
                             "run: {{device: cpu, precision: fp32, threads_per_rank: 1}}\n",
                             source_dir(), source_dir()))
          .string();
  const Ended alone = run("alone", 0);
  ASSERT_EQ(alone.code, 0) << alone.all();
  EXPECT_TRUE(has_relations(ResultsReader(out("alone") + "/results.h5"), "gpt2"));
  const Ended three = run("three", 3);
  ASSERT_EQ(three.code, 0) << three.all();
  EXPECT_EQ(difference("alone", "three"), "");
  kill_half_way("killed", "alone");
  const Ended continued = run("killed", 1);
  ASSERT_EQ(continued.code, 0) << continued.all();
  EXPECT_EQ(difference("alone", "killed"), "");
}

// Entries that ask for different prompts: what one of them does not ask for is not missing.
TEST_F(Kinds, WhatNobodyAskedForIsNotWaitedFor) {
  Scenario scenario = tiny();
  scenario.heatmaps = 0;
  scenario.limit = 12;
  config_ = scratch_
                .write("others.yaml",
                       scenario.yaml() +
                           "intervene:\n"
                           "  - {windows: {sizes: 1}, prompts: 6, rows: {block: {from: subject, "
                           "to: last}}}\n"
                           "  - {windows: {sizes: 1}, prompts: 2, rows: {block: {from: first, to: "
                           "last}}}\n"
                           "surge: [{layers: 2, prompts: 4}, {layers: 3, prompts: 3}]\n")
                .string();
  ASSERT_EQ(run("others", 0).code, 0);
  const ResultsReader reader(out("others") + "/results.h5");
  const CellAxes axes = cell_axes(intervention_names(), reader, "gpt2", kAllPrompts);
  ASSERT_EQ(axes.items, (std::vector<std::string>{"subject->last", "first->last"}));
  ASSERT_EQ(axes.blocked.size(), 12U);
  for (size_t prompt = 0; prompt < 6; ++prompt) {
    EXPECT_GT(axes.blocked[prompt], 0);
    EXPECT_EQ(axes.blocked[6 + prompt], prompt < 2 ? 1 : kNotAsked);
  }
  EXPECT_EQ(read_surge(reader, "gpt2", 3).status,
            (std::vector<std::int32_t>{1, 1, 1, kSurgeNotAsked}));
  const Ended analysed = run_program({"analyse", out("others")});
  EXPECT_EQ(analysed.code, 0) << analysed.all();
  EXPECT_THAT(analysed.all(), Not(HasSubstr("not computed yet")));
  std::ifstream file(out("others") + "/report.html");
  const std::string report{std::istreambuf_iterator<char>(file), {}};
  EXPECT_THAT(report, HasSubstr("asked were 3, of which 0 failed"));
  EXPECT_THAT(report, Not(HasSubstr(", 4 not computed yet")));
}

TEST_F(Kinds, AreToldOnlyWhereTheyAreAsked) {
  Scenario scenario = tiny();
  scenario.heatmaps = 0;
  const std::string plain = scratch_.write("plain.yaml", scenario.yaml()).string();
  const Ended ended = run_program({"run", plain, "--out", out("plain")});
  ASSERT_EQ(ended.code, 0) << ended.all();
  for (const char* kind :
       {"interventions", "traced", "to trace", "edited", "to edit", "heat maps", "sever",
        "by means", "gradient", "surge", "neutral text", "whole answers"})
    EXPECT_THAT(ended.all(), Not(HasSubstr(kind)));
  const Ended plan = run_program({"plan", config_});
  EXPECT_THAT(plan.out, HasSubstr("interventions, "));
  EXPECT_THAT(plan.out, HasSubstr("traces, restore h, restore o, break h, break o"));
  EXPECT_THAT(plan.out, HasSubstr("edits, W_down 1"));
  EXPECT_THAT(plan.out, HasSubstr("edits, W_o 1, memit W_o 0-1"));
  EXPECT_THAT(plan.out, HasSubstr("attributions, gradient and integrated in 2 steps of h, o"));
  EXPECT_THAT(plan.out, HasSubstr("severed paths, none at subject-last, o at subject-last"));
}

TEST_F(Kinds, RefuseWhatAModelDoesNotHaveBeforeAnythingIsComputed) {
  Scenario scenario = tiny();
  const auto refused = [&](const std::string& more) {
    const std::string config = scratch_.write("refused.yaml", scenario.yaml() + more).string();
    const Ended ended = run_program({"run", config, "--out", out("refused")});
    EXPECT_EQ(ended.code, kExitBadInput) << more;
    return ended.err;
  };
  EXPECT_THAT(refused("intervene: {windows: {sizes: 2}, rows: [{set: {site: g, tokens: last, "
                      "value: zero}}]}\n"),
              HasSubstr("key intervene.rows[0] (g(last) = zero): model gpt2: gpt2 has no site g"));
  EXPECT_THAT(refused("intervene: {windows: {sizes: 2}, rows: [{block: {from: subject, to: last, "
                      "through: convolution}}]}\n"),
              HasSubstr("attention has no edges through a convolution"));
  EXPECT_THAT(refused("intervene: {windows: {sizes: 2}, rows: [{set: {site: o, tokens: last, "
                      "value: mean}}], references: {prompts: 20}}\n"),
              HasSubstr("the dataset has only 4 prompts"));
  EXPECT_THAT(refused("trace: {sites: [y]}\n"), HasSubstr("key trace.sites: model gpt2"));
  EXPECT_THAT(refused("trace: {window: 40}\n"), HasSubstr("key trace.window"));
  EXPECT_THAT(refused("edit: {matrices: W_g}\n"), HasSubstr("key edit.matrices: model gpt2"));
  EXPECT_THAT(refused("edit: {covariance: {text: none.txt}}\n"), HasSubstr("none.txt"));
  EXPECT_THAT(refused("sever: {sever: [o, g]}\n"), HasSubstr("key sever.sever: model gpt2"));
  EXPECT_THAT(refused("attribution: {sites: [h, g]}\n"),
              HasSubstr("key attribution.sites: model gpt2"));
  EXPECT_THAT(refused("mean_knockout: {modes: mean-a}\n"),
              HasSubstr("key mean_knockout.modes: mean-a: model gpt2"));
  EXPECT_THAT(refused("trace: {corruption: noise, directions: break}\n"),
              HasSubstr("key trace.directions: noise can only be restored"));
}

}  // namespace
}  // namespace factflow::testing
