// Units that were foreseen, of the loaded model and of another one, give what units that come
// unannounced give.
#include "workers/worker.hpp"

#include <atomic>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "experiments/evaluate/evaluate.hpp"
#include "experiments/heatmap/heatmap.hpp"
#include "experiments/sweep/sweep.hpp"
#include "experiments/table.hpp"
#include "tests/source_dir.hpp"
#include "workers/job.hpp"
#include "workers/unit.hpp"

namespace factflow {
namespace {

// What each kind does with a Transformer of the demo, which has as many layers as its Mamba.
std::vector<std::string> work() {
  SweepConfig sweep;
  sweep.windows.sizes = {3};
  sweep.knockouts = {{{TokenRole::kSubject, TokenRole::kLast}, {TokenRole::kLast}}};
  HeatmapsConfig heatmaps;
  heatmaps.windows = {3};
  const std::string config = source_dir() + "/demo/models/gpt2/config.json";
  std::ifstream in(config);
  const Architecture architecture = read_architecture(nlohmann::json::parse(in), config);
  const std::string name = "any";
  const std::filesystem::path file = "x.yaml";
  const std::vector<Prompt> none;
  const ModelToPlan model{name, architecture, Placement::kFit, file, none};
  std::vector<std::string> works;
  for (const ExperimentKind* kind : experiment_kinds()) {
    Entries entries;
    if (kind == &sweep_kind()) entries = {std::make_shared<const SweepConfig>(sweep)};
    if (kind == &heatmap_kind()) entries = {std::make_shared<const HeatmapsConfig>(heatmaps)};
    works.push_back(kind->plan(entries, model).work->bytes());
  }
  return works;
}

Job two_models() {
  Job job;
  job.device = "cpu";
  job.threads_per_rank = 1;
  for (const char* name : {"gpt2", "mamba"}) {
    ModelJob& model = job.models.emplace_back();
    model.name = name;
    model.path = model.tokenizer = std::string(source_dir() + "/demo/models/") + name;
    model.work = work();
    model.asked = {{}, {{0, {0}}, {1, {0}}}, {{0, {0}}}};
    model.asked.resize(experiment_kinds().size());
  }
  return job;
}

// One without a subject in its text, so without tokens of it.
std::vector<Prompt> prompts() {
  std::vector<Prompt> some;
  for (const std::string subject : {"France", "Japan", "", "Peru"}) {
    Prompt prompt;
    prompt.id = static_cast<std::int64_t>(some.size());
    prompt.text = "The capital of " + subject + " is";
    prompt.subject = subject;
    prompt.subject_begin = 15;
    prompt.answer = " Paris";
    some.push_back(prompt);
  }
  return some;
}

std::vector<std::string> units() {
  std::vector<std::string> payloads;
  for (const std::uint32_t model : {0u, 0u, 1u, 1u, 0u}) {
    payloads.push_back(encode(Unit{evaluate_kind().number(), model, prompts(), {}}));
    payloads.push_back(encode(Unit{sweep_kind().number(), model, prompts(), {{0, {0}}, {1, {0}}}}));
    payloads.push_back(encode(Unit{heatmap_kind().number(), model, prompts(), {{0, {0}}}}));
  }
  return payloads;
}

// Results in the order of units(), without the seconds that they took.
std::vector<std::string> compute_all(bool foresee, int ranks_on_node = 1) {
  Worker worker(two_models(), "cpu", ranks_on_node, "here");
  const std::vector<std::string> payloads = units();
  const std::atomic<bool> cancelled{false};
  std::vector<std::string> results;
  for (size_t i = 0; i < payloads.size(); ++i) {
    if (foresee && i + 1 < payloads.size()) worker.foresee(i + 1, payloads[i + 1]);
    const std::string bytes = worker.compute(i, payloads[i], cancelled);
    EXPECT_EQ(report_of(bytes).failed, 1u);
    UnitResult result = decode_result(bytes);
    result.report.seconds = 0;
    EXPECT_FALSE(result.prompts.at(2).failure.empty());
    EXPECT_TRUE(result.prompts.at(2).values.empty());
    EXPECT_FALSE(result.prompts.at(3).values.empty());
    EXPECT_EQ(result.facts.layers, 12);
    results.push_back(encode(result));
  }
  return results;
}

TEST(Worker, ForeseenUnitsGiveTheSameResults) {
  EXPECT_EQ(compute_all(true), compute_all(false));
}

// The split into passes, which decides the last bits, is the plan's alone.
TEST(Worker, AnyNumberOfRanksOnANodeGivesTheSameBits) {
  EXPECT_EQ(compute_all(false, 1'000'000), compute_all(false));
}

TEST(Worker, WhatWasForeseenMayNeverCome) {
  Worker worker(two_models(), "cpu", 1, "here");
  const std::vector<std::string> payloads = units();
  const std::atomic<bool> cancelled{false};
  worker.foresee(1, payloads[1]);  // before any model is loaded
  worker.compute(0, payloads[0], cancelled);
  worker.foresee(7, payloads[7]);
  worker.foresee(8, "no unit");
  EXPECT_ANY_THROW(worker.compute(8, "no unit", cancelled));
  worker.compute(7, payloads[7], cancelled);
  worker.foresee(9, payloads[9]);
}

}  // namespace
}  // namespace factflow
