// The kind `sweep`: how many edges each cell says were blocked, against a count pair by pair; how
// many layers route differently, against the reference forward; and what is refused because it
// would block nothing.
#include "experiments/sweep/sweep.hpp"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "experiments/cell_arrays.hpp"
#include "experiments/sweep/sweep_edges.hpp"
#include "model/architecture.hpp"
#include "tests/experiments/demo_facts.hpp"
#include "tests/model/hybrid_configs.hpp"
#include "tests/model/random_checkpoint.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

nlohmann::json config_of(const std::string& name) {
  const nlohmann::json hybrid = small_hybrid_config(name);
  return hybrid.is_null() ? small_config(name) : hybrid;
}

// A small random model with the tokenizer of the demo kit; the parameter is its configuration.
class SweepOfSmallModels : public DemoFacts {
 protected:
  SweepOfSmallModels() : DemoFacts(sweep_kind()) {}

  void SetUp() override {
    DemoFacts::SetUp();
    Prompt first = capital_of(9, "France", " Europe");
    first.text = "France lies on the continent of";
    first.subject_begin = 0;
    prompts_.push_back(first);
  }
  bool shares_models() const override { return false; }  // each keeps its tensors
  std::string model_directory() const override {
    const std::filesystem::path tokenizer = source_dir() + "/demo/models/gpt2/tokenizer.json";
    nlohmann::json config = config_of(GetParam());
    config["vocab_size"] = Tokenizer::load(tokenizer).vocabulary_size();
    tensors_ = random_tensors(config, 5);
    write_checkpoint(scratch_.path(), config, tensors_);
    std::filesystem::copy_file(tokenizer, scratch_.path() / "tokenizer.json");
    return scratch_.path().string();
  }

  // What the cells of an edge, a prompt and a start say.
  std::int32_t cell(int window, const std::string& array_name, size_t edge, size_t prompt,
                    size_t start) const {
    const std::string path = fmt::format("knockout/window_{}", window);
    const size_t starts = axis<std::int32_t>(path, "start").size();
    return array<std::int32_t>(path, array_name)
        .at((edge * prompts_.size() + prompt) * starts + start);
  }

  TemporaryDirectory scratch_;
  mutable std::map<std::string, NamedTensor> tensors_;
};

// Of each layer of the configurations below: how many tokens its mixer reads (0 = all before it),
// and whether it is attention.
struct Layer {
  int reach;
  bool attention;
};
std::vector<Layer> layers_of(const std::string& name) {
  if (name == "qwen3") return {{0, true}, {3, true}, {3, true}};
  if (name == "mixtral") return {{4, true}, {4, true}, {4, true}};
  return {{0, false}, {0, true}, {0, false}};  // granite_hybrid
}

// Pair by pair.
std::int32_t count_of(const std::vector<int>& targets, const std::vector<int>& sources,
                      const Layer& layer, const std::string& path) {
  if (path == "attention" && !layer.attention) return 0;
  if (path == "recurrent" && layer.attention) return 0;
  std::int32_t count = 0;
  for (const int target : targets)
    for (const int source : sources)
      count += source <= target && (layer.reach == 0 || target - source < layer.reach) ? 1 : 0;
  return count;
}

class BlockedEdges : public SweepOfSmallModels {};

TEST_P(BlockedEdges, AreThoseOfEachLayerOfTheWindow) {
  const bool hybrid = GetParam() == "granite_hybrid";
  const std::vector<std::string> paths =
      hybrid ? std::vector<std::string>{"both", "attention", "recurrent"}
             : std::vector<std::string>{"both"};
  const std::vector<TokenRole> from = {TokenRole::kFirst, TokenRole::kSubject, TokenRole::kContext,
                                       TokenRole::kLast},
                               to = {TokenRole::kLast, TokenRole::kSubject};
  compute(
      plan(fmt::format("windows: {{sizes: [1, 2, 3]}}\nknockouts:\n"
                       "  - {{from: [first, subject, context, last], to: [last, subject], "
                       "path: [{}]}}\n",
                       fmt::join(paths, ", "))));
  const std::vector<Layer> layers = layers_of(GetParam());
  size_t none = 0, some = 0, edge = 0;
  for (const TokenRole target : to)
    for (const TokenRole source : from)
      for (const std::string& path : paths) {
        for (size_t p = 0; p < prompts_.size(); ++p) {
          const TokenizedPrompt prompt = tokens_of(p);
          for (const int window : {1, 2, 3})
            for (int start = 0; start + window <= 3; ++start) {
              std::int32_t expected = 0;
              for (int layer = start; layer < start + window; ++layer)
                expected += count_of(positions_of(target, prompt), positions_of(source, prompt),
                                     layers[static_cast<size_t>(layer)], path);
              EXPECT_EQ(cell(window, "blocked_edges", edge, p, static_cast<size_t>(start)),
                        expected)
                  << axis<std::string>("knockout", "edge")[edge] << ", prompt " << p << ", window "
                  << window << ", start " << start;
              (expected == 0 ? none : some) += 1;
            }
        }
        ++edge;
      }
  EXPECT_GT(none, 0U);
  EXPECT_GT(some, 0U);
}

// A window without an edge is the clean run, as long as another one has some.
TEST_P(BlockedEdges, WhereThereAreNoneTheRunIsTheCleanOne) {
  compute(plan("windows: {sizes: [1]}\nknockouts: {from: first, to: last}\n"));
  const auto& probability = array<float>("knockout/window_1", "probability");
  size_t found = 0;
  for (size_t p = 0; p < prompts_.size(); ++p) {
    const TokenizedPrompt prompt = tokens_of(p);
    const double clean = DemoFacts::probability(prompt.ids, prompt.answer);
    for (size_t start = 0; start < 3; ++start) {
      if (cell(1, "blocked_edges", 0, p, start) != 0 || std::isnan(probability[3 * p + start]))
        continue;
      EXPECT_NEAR(probability[3 * p + start], clean, 1e-6 * clean);
      ++found;
    }
  }
  if (GetParam() == "qwen3") {
    EXPECT_GT(found, 0U);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, BlockedEdges,
                         ::testing::Values("qwen3", "mixtral", "granite_hybrid"),
                         [](const auto& test) { return test.param; });

// ---- mixtures

class Rerouted : public SweepOfSmallModels {
 protected:
  // [layer] of the reference forward: the experts of each token, nothing in a layer without a
  // mixture.
  std::vector<std::vector<std::set<std::int64_t>>> routes(
      const std::vector<int>& ids, const std::vector<Intervention>& interventions) const {
    std::vector<SiteAt> reads;
    for (int layer = 0; layer < layers(); ++layer) reads.push_back({Site::kMlpIn, layer});
    const ReferenceForward::Result result =
        ReferenceForward(model_->network()).run(ids, interventions, reads);
    std::vector<std::vector<std::set<std::int64_t>>> all;
    for (int layer = 0; layer < layers(); ++layer) {
      auto& of_layer = all.emplace_back();
      const auto router =
          tensors_.find(fmt::format("model.layers.{}.{}.gate.weight", layer,
                                    GetParam() == "mixtral" ? "block_sparse_moe" : "mlp"));
      if (router == tensors_.end()) continue;
      const at::Tensor weight =
          at::tensor(router->second.values).view(router->second.shape).to(at::kDouble);
      const at::Tensor experts = std::get<1>(
          result.values.at({Site::kMlpIn, layer}).to(at::kDouble).matmul(weight.t()).topk(2, 1));
      for (std::int64_t token = 0; token < experts.size(0); ++token)
        of_layer.push_back(
            {experts[token][0].item<std::int64_t>(), experts[token][1].item<std::int64_t>()});
    }
    return all;
  }
};

TEST_P(Rerouted, LayersAreThoseOfTheReferenceForward) {
  const c10::InferenceMode inference;
  compute(
      plan("windows: {sizes: [1, 2]}\nknockouts:\n"
           "  - {from: [subject, last], to: [last, subject]}\n"));
  const std::vector<TokenRole> from = {TokenRole::kSubject, TokenRole::kLast},
                               to = {TokenRole::kLast, TokenRole::kSubject};
  size_t same = 0, different = 0, edge = 0;
  for (const TokenRole target : to)
    for (const TokenRole source : from) {
      for (size_t p = 0; p < prompts_.size(); ++p) {
        const TokenizedPrompt prompt = tokens_of(p);
        const auto clean = routes(prompt.ids, {});
        const std::vector<int> targets = positions_of(target, prompt),
                               sources = positions_of(source, prompt);
        for (const int window : {1, 2})
          for (int start = 0; start + window <= layers(); ++start) {
            const auto knocked =
                routes(prompt.ids, {knockout(targets, sources, {}, {start, start + window})});
            std::int32_t expected = 0;
            for (size_t layer = 0; layer < clean.size(); ++layer)
              expected += clean[layer] != knocked[layer] ? 1 : 0;
            const bool exists =
                cell(window, "blocked_edges", edge, p, static_cast<size_t>(start)) > 0;
            EXPECT_EQ(cell(window, "rerouted", edge, p, static_cast<size_t>(start)),
                      exists ? expected : 0)
                << axis<std::string>("knockout", "edge")[edge] << ", prompt " << p << ", window "
                << window << ", start " << start;
            (expected == 0 ? same : different) += 1;
          }
      }
      ++edge;
    }
  EXPECT_GT(same, 0U);
  EXPECT_GT(different, 0U);
}

INSTANTIATE_TEST_SUITE_P(Models, Rerouted, ::testing::Values("mixtral", "qwen3_moe"),
                         [](const auto& test) { return test.param; });

class DenseSweep : public DemoFacts {
 protected:
  DenseSweep() : DemoFacts(sweep_kind()) {}
};

TEST_P(DenseSweep, HasNoRouting) {
  compute(plan("windows: {sizes: [2]}\nknockouts: {from: subject, to: last}\n"));
  EXPECT_THROW(array<std::int32_t>("knockout/window_2", "rerouted"), std::out_of_range);
  EXPECT_THAT(array<std::int32_t>("knockout/window_2", "blocked_edges"),
              AllOf(Each(Ge(1)), Contains(2)));
}

// An empty set of channels blocks nothing.
TEST_P(DenseSweep, OfNoChannelsBlocksNoEdge) {
  compute(
      plan("windows: {sizes: [1]}\nknockouts: {from: context, to: last, "
           "channels: [all, quantile 1/1000]}\n"));
  const auto& edges = axis<std::string>("knockout", "edge");
  const auto& blocked = array<std::int32_t>("knockout/window_1", "blocked_edges");
  const size_t each = blocked.size() / edges.size();
  for (size_t i = 0; i < blocked.size(); ++i)
    EXPECT_EQ(blocked[i] > 0, i < each) << edges[i / each];
}

INSTANTIATE_TEST_SUITE_P(Models, DenseSweep, ::testing::Values("mamba2"),
                         [](const auto& test) { return test.param; });

// ---- what blocks nothing

// Models by the names of their configurations, with prompts about capitals.
class Refused : public ::testing::Test {
 protected:
  Refused() {
    for (const char* subject : {"France", "Japan"})
      prompts_.push_back(capital_of(static_cast<std::int64_t>(prompts_.size()), subject, " Paris"));
  }

  // What is said of a section of a run of these models; "" if it is not refused.
  std::string said(const std::vector<std::string>& models, const std::string& section,
                   bool tokens = true) {
    std::vector<Architecture> architectures;
    for (const std::string& name : models)
      architectures.push_back(read_architecture(config_of(name), "config.json"));
    std::vector<ModelOfRun> run;
    for (size_t m = 0; m < models.size(); ++m) {
      run.push_back({{models[m], architectures[m], Placement::kFit, file_, prompts_}, nullptr});
      if (tokens)
        run.back().tokens = [this](const Prompt& prompt) -> std::optional<TokenizedPrompt> {
          return tokenize(tokenizer_, prompt, AnswerRule::kContinuation);
        };
    }
    try {
      const Entries entries =
          sweep_kind().form().read(parse_yaml(section, file_), Place{file_, "sweep"});
      sweep_kind().check(entries, run);
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  }
  static std::string knockouts(const std::string& lines) {
    return "windows: {sizes: [1]}\nknockouts: " + lines + "\n";
  }

  const std::filesystem::path file_ = "x.yaml";
  const Tokenizer tokenizer_ = Tokenizer::load(source_dir() + "/demo/models/gpt2/tokenizer.json");
  std::vector<Prompt> prompts_;
};

TEST_F(Refused, APathThatNoModelHas) {
  const std::string recurrent = knockouts("{from: subject, to: last, path: [both, recurrent]}"),
                    attention = knockouts("{from: subject, to: last, path: attention}");
  EXPECT_THAT(said({"gpt2", "llama"}, recurrent),
              AllOf(HasSubstr("x.yaml: key sweep.knockouts.path: recurrent blocks no edge"),
                    HasSubstr("mix tokens by attention")));
  EXPECT_THAT(said({"mamba"}, attention), HasSubstr("sweep.knockouts.path: attention"));
  EXPECT_EQ(said({"gpt2", "mamba"}, recurrent), "");
  EXPECT_EQ(said({"granite_hybrid"}, recurrent), "");
  EXPECT_EQ(said({"granite_hybrid"}, attention), "");
  EXPECT_EQ(said({}, recurrent), "");
}

TEST_F(Refused, ChannelsThatNoModelHas) {
  const std::string two = knockouts(
      "\n  - {from: first, to: last}\n  - {from: subject, to: last, channels: [all, slow]}");
  EXPECT_THAT(said({"gpt2"}, two), HasSubstr("key sweep.knockouts[1].channels: slow"));
  EXPECT_EQ(said({"gpt2", "mamba2"}, two), "");
  EXPECT_THAT(said({"rwkv7"}, two), HasSubstr("key sweep.knockouts[1].channels: slow"));
  // In a hybrid they are of one path.
  EXPECT_THAT(said({"bamba"}, two), HasSubstr("key sweep.knockouts[1].channels: slow"));
  EXPECT_EQ(said({"bamba"}, knockouts("{from: first, to: last, channels: slow, path: recurrent}")),
            "");
  // Too few for the set to have any.
  EXPECT_THAT(said({"mamba2"}, knockouts("{from: first, to: last, channels: quantile 1/1000}")),
              HasSubstr("channels: quantile 1/1000 blocks no edge: the models that it is for have "
                        "too few channels or heads there"));
  EXPECT_THAT(said({"mamba"}, knockouts("{from: first, to: last, parts: head 0}")),
              HasSubstr("key sweep.knockouts.parts: head 0"));
  EXPECT_EQ(said({"mamba", "gpt2"}, knockouts("{from: first, to: last, parts: head 0}")), "");
}

TEST_F(Refused, WhatTheModelsOfTheEntryLack) {
  const std::string entry =
      "- {models: [gpt2], windows: {sizes: [1]}, knockouts: {from: subject, to: last, channels: "
      "slow}}\n"
      "- {windows: {sizes: [1]}, knockouts: {from: first, to: last}}\n";
  EXPECT_THAT(said({"mamba", "gpt2"}, entry), HasSubstr("key sweep[0].knockouts.channels: slow"));
  EXPECT_EQ(said({"mamba"}, entry), "");
}

TEST_F(Refused, EdgesThatNoPromptHas) {
  const std::string backwards = knockouts("{from: [subject, last], to: first}");
  EXPECT_THAT(said({"gpt2", "mamba"}, backwards),
              HasSubstr("key sweep.knockouts: subject->first blocks no edge in any of 2 prompts"));
  EXPECT_EQ(said({"gpt2"}, backwards, /*tokens=*/false), "");  // not known
  // One prompt that begins with its subject is enough.
  prompts_.back().text = "Japan has its capital in";
  prompts_.back().subject_begin = 0;
  EXPECT_THAT(said({"gpt2"}, backwards), HasSubstr("last->first"));
  EXPECT_EQ(said({"gpt2"}, knockouts("{from: subject, to: first}")), "");
  EXPECT_EQ(said({"gpt2"}, knockouts("{from: context, to: subject}")), "");
  prompts_.clear();
  EXPECT_EQ(said({"gpt2"}, backwards), "");
}

// Four tokens, in every layer: what stands further back is no edge.
TEST_F(Refused, EdgesBeyondTheReachOfEveryLayer) {
  const std::string first = knockouts("{from: first, to: last}");
  EXPECT_THAT(said({"mixtral"}, first),
              HasSubstr("first->last blocks no edge in any of 2 prompts"));
  EXPECT_EQ(said({"qwen3"}, first), "");
  EXPECT_EQ(said({"mixtral", "gpt2"}, first), "");
  EXPECT_EQ(said({"mixtral"}, knockouts("{from: last, to: last}")), "");
}

}  // namespace
}  // namespace factflow
