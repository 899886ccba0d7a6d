// What the plan says of memory and disk, against what the engine and the journal take.
#include "pipeline/run/plan_memory.hpp"

#include <atomic>
#include <cmath>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "experiments/table.hpp"
#include "model/kept_numbers.hpp"
#include "model/replay/replay.hpp"
#include "model/tokenizer/tokenizer.hpp"
#include "pipeline/coordination/journal_format.hpp"
#include "tests/pipeline/clean_runs.hpp"
#include "tests/source_dir.hpp"
#include "tests/temporary_directory.hpp"
#include "workers/worker.hpp"

namespace factflow {
namespace {

constexpr const char* kYaml = R"(
name: plan
dataset: {{path: '{0}/demo/facts.jsonl', limit: 24}}
models: [{{name: {1}, path: '{0}/demo/models/{1}'}}]
select: {{correct_for: none}}
sweep:
  windows: {{sizes: [1, 5]}}
  knockouts:
    - {{from: [subject, last], to: last}}
    - {{from: relation, to: subject}}
heatmaps: {{window: 5, prompts: 3}}
run: {{device: cpu, threads_per_rank: 1{2}}}
)";

class PlannedMemory : public ::testing::TestWithParam<const char*> {
 protected:
  static Config config(const std::string& more = "") {
    return parse_config(fmt::format(kYaml, source_dir(), GetParam(), more), "plan.yaml");
  }
  // The buffers of an engine that has computed every unit.
  static std::int64_t measured(const Config& config, const Dataset& dataset,
                               const PlannedJob& planned) {
    const ModelJob& job = planned.job.models[0];
    const auto network = Network::load(
        std::make_shared<const Checkpoint>(Checkpoint::open(job.path)), at::kCPU, Precision::kFp32);
    const Tokenizer tokenizer = Tokenizer::load(job.tokenizer);
    ReplayEngine engine(*network, config.run.memory_limit);
    RunPlan plan(config, dataset, planned);
    for (const Task& task : all_tasks(plan)) {
      const Unit unit = decode_unit(task.payload);
      const Work& work = *planned.models[0].experiments.at(kind_numbered(unit.kind).value()).work;
      std::vector<TokenizedPrompt> references;
      for (const Prompt& prompt : work.references({}))
        references.push_back(tokenize(tokenizer, prompt, job.answer));
      std::vector<ReplayRequest> requests;
      for (const Prompt& prompt : unit.prompts)
        requests.push_back(
            work.request(unit.asked, tokenize(tokenizer, prompt, job.answer), references));
      engine.run(requests);
    }
    return engine.buffer_bytes();
  }
  static std::vector<Task> all_tasks(RunPlan& plan) {
    std::vector<Task> tasks = plan.initial();
    for (size_t i = 0; i < tasks.size(); ++i) {
      const UnitName name = unit_named(tasks[i].key());
      if (name.kind != evaluate_kind().number()) continue;
      const std::vector<std::int32_t> right(name.count, 1);
      for (Task& task : plan.completed(tasks[i].id, encode(clean_runs(right))))
        tasks.push_back(std::move(task));
    }
    return tasks;
  }
};

// Second moments of keys: 8 bytes times the square of the key's width, for each edited layer once.
TEST_P(PlannedMemory, TellsWhatEditsKeep) {
  const auto kept = [](const std::string& edit) {
    const Config one =
        parse_config(fmt::format("name: plan\n"
                                 "dataset: {{path: '{0}/demo/facts.jsonl', limit: 24}}\n"
                                 "models: [{{name: {1}, path: '{0}/demo/models/{1}'}}]\n"
                                 "select: {{correct_for: none}}\n{2}"
                                 "run: {{device: cpu, threads_per_rank: 1}}\n",
                                 source_dir(), GetParam(), edit),
                     "plan.yaml");
    const Dataset dataset = read_dataset(one.dataset);
    const PlannedJob planned = build_job(one, dataset.prompts, Completeness::kWhole);
    const PlanSize size = size_of_plan(one, dataset, planned, false);
    EXPECT_EQ(size.kept, bytes_kept(planned.models[0]));
    return size;
  };
  const std::string more = ", covariance: {text: dataset}}\n";
  const double none = kept("").kept, one = kept("edit: {layers: [1]" + more).kept,
               two = kept("edit: {layers: [1, 2]" + more).kept,
               identity = kept("edit: {layers: [1], covariance: {text: none}}\n").kept;
  EXPECT_EQ(none, 0);
  EXPECT_EQ(identity, 0);
  EXPECT_GT(one, 0);
  EXPECT_EQ(two, 2 * one);
  const double width = std::sqrt(one / 8);
  EXPECT_EQ(width, std::round(width));
  EXPECT_GE(kept("edit: {layers: [1, 2]" + more).host_memory - kept("").host_memory, two);
}

// By the model's own tokenizer.
TEST_P(PlannedMemory, MeasuresTokensOfPrompts) {
  const Config one = config();
  const Dataset dataset = read_dataset(one.dataset);
  PlannedJob planned = build_job(one, dataset.prompts, Completeness::kWhole);
  EXPECT_EQ(planned.models[0].tokens, 0);
  measure_tokens(dataset, planned);
  const Tokenizer tokenizer = Tokenizer::load(planned.job.models[0].tokenizer);
  double tokens = 0;
  for (const Prompt& prompt : dataset.prompts)
    tokens +=
        static_cast<double>(tokenize(tokenizer, prompt, planned.job.models[0].answer).ids.size());
  EXPECT_DOUBLE_EQ(planned.models[0].tokens, tokens / static_cast<double>(dataset.prompts.size()));
}

TEST_P(PlannedMemory, ActivationsAreThoseOfTheEngine) {
  for (const std::string& more : {std::string(), std::string(", memory_limit: 2 MiB")}) {
    const Config one = config(more);
    const Dataset dataset = read_dataset(one.dataset);
    const PlannedJob planned = build_job(one, dataset.prompts, Completeness::kWhole);
    const auto expected = static_cast<double>(activations_of_model(one, dataset, planned, 0)),
               found = static_cast<double>(measured(one, dataset, planned));
    // Each buffer keeps the size that its largest pass wanted, so where there are several passes
    // all buffers together are somewhat larger than those of any one.
    EXPECT_GE(expected, (more.empty() ? 0.9 : 0.8) * found) << more;
    EXPECT_LE(expected, 1.5 * found) << more;
  }
}

TEST_P(PlannedMemory, TheJournalIsThatOfTheResults) {
  const Config one = config();
  const Dataset dataset = read_dataset(one.dataset);
  const PlannedJob planned = build_job(one, dataset.prompts, Completeness::kWhole);
  double expected = 0;
  for (const WorkLine& line : work_of_model(one, dataset, planned, 0))
    expected += line.estimate.journal;
  RunPlan plan(one, dataset, planned);
  Worker worker(planned.job, "cpu", 1, "here");
  const std::atomic<bool> cancelled{false};
  double found = 0;
  for (const Task& task : all_tasks(plan))
    found += static_cast<double>(worker.compute(task.id, task.payload, cancelled).size() +
                                 kRecordBytes + kFrameHeaderBytes);
  EXPECT_NEAR(expected / found, 1, 0.1);
}

// OPT-350m's embedding of 512 numbers a token is multiplied into two matrices of 1,024 each.
TEST(PlannedWeights, CountWhatProjectionsAreMultipliedInto) {
  const TemporaryDirectory model;
  const auto kept = [&](const std::string& more) {
    model.write("config.json",
                R"({"model_type": "opt", "num_hidden_layers": 24, "hidden_size": 1024,
      "ffn_dim": 4096, "num_attention_heads": 16, "do_layer_norm_before": false, "vocab_size": 50272)" +
                    more + "}");
    const Config config =
        parse_config(fmt::format("name: x\ndataset: {{path: '{}/demo/facts.jsonl'}}\n"
                                 "models: [{{name: opt, path: '{}'}}]\n"
                                 "run: {{device: cpu}}\n",
                                 source_dir(), model.path().string()),
                     "x.yaml");
    const PlannedJob planned = build_job(config, {}, Completeness::kConfigOnly);
    EXPECT_EQ(planned.job.models[0].kept, planned.models[0].kept);
    return std::pair(planned.models[0].parameters, planned.models[0].kept);
  };
  const auto [whole, kept_whole] = kept("");
  EXPECT_EQ(kept_whole, whole);
  for (const bool tied : {true, false}) {
    const auto [parameters, numbers] =
        kept(fmt::format(", \"word_embed_proj_dim\": 512, \"tie_word_embeddings\": {}", tied));
    // The layers are the same; two matrices stand in place of one, or of two, and of the
    // projections.
    EXPECT_EQ(numbers, whole + 50272 * 1024) << tied;
    EXPECT_EQ(parameters, whole - 50272 * 1024 + (tied ? 1 : 2) * 50272 * 512 + 2 * 512 * 1024);
  }
  // 0.33 billion parameters; 1.6 GB in float32, not 1.3.
  const std::int64_t numbers = kept(", \"word_embed_proj_dim\": 512").second;
  EXPECT_NEAR(static_cast<double>(bytes_of_weights("fp32", numbers)), 1.63e9, 0.01e9);
}

// What is counted is what a loaded model has.
TEST(PlannedWeights, AreThoseOfALoadedModel) {
  const nlohmann::json config = {
      {"model_type", "opt"}, {"num_hidden_layers", 1},        {"hidden_size", 8},
      {"ffn_dim", 12},       {"num_attention_heads", 2},      {"word_embed_proj_dim", 6},
      {"vocab_size", 40},    {"max_position_embeddings", 16}, {"do_layer_norm_before", false}};
  const Architecture architecture = read_architecture(config, "config.json");
  const auto network = Network::random(architecture, at::kCPU, Precision::kFp32, 1);
  EXPECT_EQ(network->head().inputs(), 8);
  EXPECT_EQ(network->embedded({0, 39}).size(1), 8);
  EXPECT_EQ(numbers_kept(architecture, network->parameters()),
            network->parameters() - (40 * 6 + 2 * 6 * 8) + 40 * 8 +
                network->head().inputs() * network->head().outputs());
}

INSTANTIATE_TEST_SUITE_P(Models, PlannedMemory,
                         ::testing::Values("gpt2", "llama", "mamba", "mamba2", "falcon_mamba"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace factflow
