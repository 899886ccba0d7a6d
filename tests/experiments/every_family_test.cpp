// Every kind of experiment beyond the papers on a small random model of every family: what a kind
// stores is what whole forwards in plain operations say, one prompt and one run at a time, in
// float64; and what a family cannot have is refused by its name.
#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <optional>
#include <set>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "experiments/answers/answers.hpp"
#include "experiments/drawn_prompts.hpp"
#include "experiments/intervene/intervene.hpp"
#include "experiments/parts/division.hpp"
#include "experiments/parts/parts.hpp"
#include "experiments/position/position.hpp"
#include "experiments/surge/surge.hpp"
#include "experiments/surge/surge_numbers.hpp"
#include "model/check_intervention.hpp"
#include "model/families/family.hpp"
#include "tests/experiments/demo_facts.hpp"
#include "tests/model/hybrid_configs.hpp"
#include "tests/model/random_checkpoint.hpp"

namespace factflow {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAreArray;
using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr double kClose = 1e-5;      // of numbers that are stored as float32
constexpr double kExact = 1e-9;      // as float64
constexpr double kSomething = 1e-3;  // the least that is cut, or nothing would be tested
constexpr int kWords = 1024;         // of the demo's tokenizer

// ---- the models

// The names that files have of what other files say under another one.
const std::map<std::string, json>& other_names() {
  static const std::map<std::string, json> configs = [] {
    const auto part = [](const char* type, const char* text) {
      return json{{"model_type", type}, {"text_config", small_hybrid_config(text)}};
    };
    json rwkv = small_hybrid_config("rwkv7");
    rwkv["model_type"] = "rwkv7_fla";
    return std::map<std::string, json>{
        {"qwen3_5_with_vision", part("qwen3_5", "qwen3_5")},
        {"qwen3_5_moe_with_vision", part("qwen3_5_moe", "qwen3_5_moe")},
        {"rwkv7_fla", rwkv}};
  }();
  return configs;
}

json config_of(const std::string& name) {
  json config = small_hybrid_config(name);
  if (const auto found = other_names().find(name); found != other_names().end())
    config = found->second;
  if (config.is_null()) config = small_config(name);
  (config.contains("text_config") ? config["text_config"] : config)["vocab_size"] = kWords;
  return config;
}

std::vector<std::string> models() {
  std::vector<std::string> all = {"gpt2",  "llama",        "mistral", "qwen2",     "gpt_neox",
                                  "mamba", "falcon_mamba", "mamba2",  "mamba_ssm", "mamba_ssm2"};
  for (const auto* more : {&small_decoders(), &small_hybrids()})
    all.insert(all.end(), more->begin(), more->end());
  for (const auto& [name, config] : other_names()) all.push_back(name);
  return all;
}

TEST(EveryFamily, OfTheTableIsAmongTheModels) {
  std::set<std::string> tested;
  for (const std::string& name : models())
    tested.insert(config_of(name).value("model_type", std::string()));
  for (const Family& family : families())
    EXPECT_TRUE(tested.contains(family.model_type))
        << family.model_type << " needs a small model in tests/model/random_checkpoint.cpp or "
        << "hybrid_configs.cpp, and its name in models()";
}

// A kind of the test's parameters, on a small model of a family.
class OfEveryFamily : public DemoFacts {
 protected:
  explicit OfEveryFamily(const ExperimentKind& kind) : DemoFacts(kind) {}

  void SetUp() override {
    DemoFacts::SetUp();
    prompts_.resize(3);
  }
  std::shared_ptr<LoadedModel> load() const override {
    const TemporaryDirectory directory;
    const json config = config_of(GetParam());
    write_checkpoint(directory.path(), config, random_tensors(config, 11));
    ModelSource source;
    source.path = directory.path();
    source.tokenizer = source_dir() + "/demo/models/gpt2";
    return load_from(source);
  }

  const Architecture& architecture() const { return model_->network().architecture(); }
  static int last_of(const TokenizedPrompt& prompt) {
    return static_cast<int>(prompt.ids.size()) - 1;
  }
  static std::vector<int> layers_in(size_t start, size_t size) {
    std::vector<int> layers(size);
    std::iota(layers.begin(), layers.end(), static_cast<int>(start));
    return layers;
  }
  static Block block_in(size_t start, size_t size, std::vector<int> sources,
                        std::vector<int> targets) {
    Block block;
    block.layers = layers_in(start, size);
    block.sources = std::move(sources);
    block.targets = std::move(targets);
    return block;
  }
  size_t starts(size_t size) const { return static_cast<size_t>(layers()) + 1 - size; }

  double log_of(const std::vector<int>& ids, int answer,
                const std::vector<Intervention>& together) const {
    return std::log(probability(ids, answer, together));
  }

  size_t place(const std::string& path, const std::string& name, const std::string& item) const {
    const auto& items = axis<std::string>(path, name);
    const auto found = std::find(items.begin(), items.end(), item);
    if (found == items.end()) throw std::out_of_range(path + " has no " + item);
    return static_cast<size_t>(found - items.begin());
  }
  // Of cells [item, prompt, start].
  double cell(const std::string& group, size_t item, size_t fact, size_t size, size_t start) const {
    return static_cast<double>(array<float>(fmt::format("{}/window_{}", group, size), "log_change")
                                   .at((item * prompts_.size() + fact) * starts(size) + start));
  }
  // How many edges are stored as lost: all that the blocks cut, or none where one of them cuts
  // nothing in any layer. In how many layers routing changes is stored for models with experts.
  void expect_edges(const std::string& group, size_t item, size_t fact, size_t size, size_t start,
                    const std::vector<Intervention>& together, const std::string& what) const {
    const std::string path = fmt::format("{}/window_{}", group, size);
    std::int64_t expected = 0;
    bool all_exist = true;
    for (const Intervention& one : together)
      if (const auto* block = std::get_if<Block>(&one)) {
        all_exist = all_exist && exists(*block);
        expected += blocked_edges(architecture(), *block);
      }
    const size_t at = (item * prompts_.size() + fact) * starts(size) + start;
    EXPECT_EQ(array<std::int32_t>(path, "blocked_edges").at(at), all_exist ? expected : 0) << what;
    if (architecture().routes())
      EXPECT_GE(array<std::int32_t>(path, "rerouted").at(at), 0) << what;
    else
      EXPECT_THROW(array<std::int32_t>(path, "rerouted"), std::out_of_range);
  }
  // Where no layer has the edge, since windows slide and convolutions are short, there is no
  // number.
  bool exists(Block block) const {
    block.layers = layers_in(0, static_cast<size_t>(layers()));
    return blocked_edges(architecture(), block) > 0;
  }
  void expect_change(double stored, double expected, const Block& block, const std::string& what) {
    if (!exists(block)) {
      EXPECT_TRUE(std::isnan(stored)) << what;
      EXPECT_EQ(expected, 0) << what;
      return;
    }
    EXPECT_NEAR(stored, expected, kClose) << what;
    largest_ = std::max(largest_, std::abs(expected));
  }

  double largest_ = 0;
};

std::string test_name(const ::testing::TestParamInfo<std::string>& test) {
  return test.param;
}

// ---- parts

class PartsOfEveryFamily : public OfEveryFamily {
 protected:
  PartsOfEveryFamily() : OfEveryFamily(parts_kind()) {}

  // What loses the edge subject -> last in a window: of slices by the decay that happens another
  // list in each layer, by the numbers that are stored, the largest first and ties in their order.
  std::vector<Intervention> lost(const EdgePart& part, const TokenizedPrompt& prompt, size_t start,
                                 size_t size, PartOf what) const {
    Block block = block_in(start, size, prompt.subject, {last_of(prompt)});
    const auto list = [&](std::vector<int> indices) {
      return what == PartOf::kHeads ? Selection(Heads{std::move(indices)})
                                    : Selection(Channels{std::move(indices)});
    };
    if (!part.happened) {
      block.selection = part.indices.empty() ? Selection(part.set) : list(part.indices);
      return {block};
    }
    const auto& decay = array<float>("parts/ranking", "decay");
    const size_t count = decay.size() / static_cast<size_t>(layers());
    std::vector<Intervention> together;
    for (const int layer : layers_in(start, size)) {
      const float* here = &decay[static_cast<size_t>(layer) * count];
      std::vector<int> order(count);
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return here[a] > here[b]; });
      const auto edge = [&](int k) {
        return order.begin() + static_cast<std::ptrdiff_t>(count) * k / part.set.slices;
      };
      block.layers = {layer};
      block.selection = list({edge(part.set.slice - 1), edge(part.set.slice)});
      together.emplace_back(block);
    }
    return together;
  }

  static constexpr const char* kAll =
      "each head, each quantile of 3, each quantile of 2 by exp(A dt), each random of 2 seed 4, "
      "each group of 3";
};

TEST_P(PartsOfEveryFamily, AreWhatTheReferenceForwardSaysOrAreRefused) {
  const std::string section = fmt::format(
      "{{windows: {{sizes: [1, 2]}}, channels: [{}], cumulate: {{prompts: 2}}, ranking: {{prompts: "
      "2}}}}",
      kAll);
  const std::string mixing = architecture().mixing();
  if (mixing != "attention" && mixing != "mamba" && mixing != "mamba2") {
    EXPECT_THAT(refused(section),
                HasSubstr("key parts.channels: model any mixes tokens by " + mixing + ";"));
    return;
  }
  const PlannedWork planned = plan(section);
  std::vector<std::string> skipped;
  if (mixing == "mamba") skipped = {"subject->last/each head"};
  if (mixing == "attention")
    skipped = {"subject->last/each quantile of 3", "subject->last/each quantile of 2 by exp(A dt)"};
  EXPECT_THAT(planned.skipped, ElementsAreArray(skipped));
  compute(planned);

  const size_t fact = 1;
  const TokenizedPrompt prompt = tokens_of(fact);
  const double clean = log_of(prompt.ids, prompt.answer, {});
  const Divisible among = divisible_of(architecture());
  const Block whole = block_in(0, 1, prompt.subject, {last_of(prompt)});
  std::map<std::string, EdgePart> parts = {{"subject->last", {}}};
  for (const std::string division :
       {"each head", "each quantile of 3", "each quantile of 2 by exp(A dt)",
        "each random of 2 seed 4", "each group of 3"})
    if (!std::count(skipped.begin(), skipped.end(), "subject->last/" + division))
      for (const EdgePart& part : parts_of(parse_division(division), among))
        parts.emplace("subject->last/" + part.name, part);
  EXPECT_EQ(axis<std::string>("parts", "part").size(), parts.size());
  for (const auto& [name, part] : parts)
    for (const size_t size : {size_t{1}, size_t{2}})
      for (size_t start = 0; start < starts(size); ++start) {
        const auto together = lost(part, prompt, start, size, among.what);
        Block edge = whole;
        edge.layers = layers_in(start, size);
        expect_change(cell("parts", place("parts", "part", name), fact, size, start),
                      log_of(prompt.ids, prompt.answer, together) - clean, edge,
                      fmt::format("{} {} {}", name, size, start));
        expect_edges("parts", place("parts", "part", name), fact, size, start, together, name);
      }
  EXPECT_GT(largest_, kSomething);

  // Of each division and size: one more part is cut at a time, until nothing of the edge is left.
  size_t cumulations = 0;
  for (const ArrayGroup& group : groups_) {
    if (!group.path.starts_with("parts/cumulated_")) continue;
    ++cumulations;
    std::map<std::string, std::variant<std::int64_t, double, std::string>> said(
        group.attributes.begin(), group.attributes.end());
    const auto start = static_cast<size_t>(std::get<std::int64_t>(said["start"])),
               size = static_cast<size_t>(std::get<std::int64_t>(said["window"]));
    const auto& order = array<std::string>(group.path, "part");
    const auto& change = array<float>(group.path, "log_change");
    const size_t steps = order.size() / 2;
    for (size_t of = 0; of < 2; ++of) {
      std::vector<Intervention> together;
      for (size_t step = 0; step < steps; ++step) {
        for (const Intervention& one :
             lost(parts.at(order[of * steps + step]), prompt, start, size, among.what))
          together.push_back(one);
        EXPECT_NEAR(change.at((of * steps + step) * prompts_.size() + fact),
                    log_of(prompt.ids, prompt.answer, together) - clean, kClose)
            << group.path << " " << of << " " << step;
      }
    }
  }
  EXPECT_EQ(cumulations, 2 * (5 - skipped.size()));
}

INSTANTIATE_TEST_SUITE_P(Models, PartsOfEveryFamily, ::testing::ValuesIn(models()), test_name);

// ---- surge

class SurgeOfEveryFamily : public OfEveryFamily {
 protected:
  SurgeOfEveryFamily() : OfEveryFamily(surge_kind()) {}

  double number(const std::string& name, size_t fact, size_t at, size_t count) const {
    return array<double>("surge/layers_2", name).at(fact * count + at);
  }
};

TEST_P(SurgeOfEveryFamily, IsWhatTheReferenceForwardSaysOrIsRefused) {
  if (architecture().logits_cap != 0) {
    EXPECT_THAT(refused("{layers: 2}"),
                AllOf(HasSubstr("key surge.layers: model any caps its logits"),
                      HasSubstr("models: [...]")));
    return;
  }
  compute(plan("{layers: 2}"));
  EXPECT_THAT(array<std::int32_t>("surge/layers_2", "status"), Each(1));
  const ReferenceForward forward(model_->network());
  const auto depths = static_cast<size_t>(layers()) + 1;
  const auto& components = axis<std::string>("surge/layers_2", "component");
  for (size_t fact = 0; fact < prompts_.size(); ++fact) {
    const TokenizedPrompt prompt = tokens_of(fact);
    const int last = last_of(prompt);
    const std::vector<Intervention> itself = {block_in(depths - 3, 2, {last}, {last})};
    double change = 0;
    for (const size_t run : {kClean, kKnocked}) {
      std::vector<SiteAt> sites;
      for (int layer = 0; layer <= layers(); ++layer) sites.push_back({Site::kH, layer});
      const auto found =
          forward.run(prompt.ids, run == kClean ? std::span<const Intervention>() : itself, sites);
      const double log_p = found.logits[last].log_softmax(-1)[prompt.answer].item<double>();
      EXPECT_NEAR(number("log_probability", fact, run, kRuns), log_p, 1e-7);
      change += run == kClean ? -log_p : log_p;
      for (size_t depth = 0; depth < depths; ++depth) {
        const at::Tensor stream = found.values.at(sites[depth])[last].unsqueeze(0);
        EXPECT_NEAR(number("lens_answer", fact, run * depths + depth, kRuns * depths),
                    lens(model_->network(), stream)[0][prompt.answer].item<double>(), 1e-7)
            << run << " " << depth;
      }
      // All that is written is the stream.
      double written = 0;
      for (size_t i = 0; i < components.size(); ++i)
        written +=
            number("answer_written", fact, run * components.size() + i, kRuns * components.size());
      const SplitLogits clean =
          split_logits(model_->network(),
                       forward.run(prompt.ids, {}, {{sites.back()}}).values.at(sites.back())[last])
              .value();
      const at::Tensor end = found.values.at(sites.back())[last].unsqueeze(0);
      EXPECT_NEAR(written,
                  clean.scale * direct_of(model_->network(), end)[0][prompt.answer].item<double>(),
                  1e-7);
    }
    double sum = 0;
    for (size_t part = 0; part < kParts; ++part) sum += number("part_value", fact, part, kParts);
    EXPECT_NEAR(sum, change, 1e-7);
    largest_ = std::max(largest_, std::abs(change));
  }
  EXPECT_GT(largest_, kSomething);
}

INSTANTIATE_TEST_SUITE_P(Models, SurgeOfEveryFamily, ::testing::ValuesIn(models()), test_name);

// ---- position

class PositionOfEveryFamily : public OfEveryFamily {
 protected:
  PositionOfEveryFamily() : OfEveryFamily(position_kind()) {}
};

TEST_P(PositionOfEveryFamily, IsWhatTheReferenceForwardSays) {
  compute(
      plan("{windows: {sizes: 2}, from: [subject, first], lengths: [2, 3], texts: [(as they "
           "say), (so they tell)]}"));
  const size_t fact = 1;
  const TokenizedPrompt prompt = tokens_of(fact);
  const auto& drawn = array<std::int32_t>("position", "neutral");
  for (const std::string text : {"before", "between"})
    for (const std::ptrdiff_t length : {0, 2, 3}) {
      const auto end = drawn.begin() + static_cast<std::ptrdiff_t>((fact + 1) * 3);
      const int at = text == "before" ? 0 : prompt.subject.back() + 1;
      std::vector<int> ids = prompt.ids, subject = prompt.subject;
      ids.insert(ids.begin() + at, end - length, end);
      if (text == "before")
        for (int& position : subject) position += static_cast<int>(length);
      const double clean = log_of(ids, prompt.answer, {});
      for (const std::string role : {"subject", "first"}) {
        const std::string name = fmt::format("{}->last | {} {}", role, text, length);
        const size_t item = place("position", "item", name);
        EXPECT_NEAR(
            array<double>("position", "clean_log_probability").at(item * prompts_.size() + fact),
            clean, kExact);
        for (size_t start = 0; start < starts(2); ++start) {
          const Block block = block_in(start, 2, role == "first" ? std::vector<int>{0} : subject,
                                       {static_cast<int>(ids.size()) - 1});
          expect_change(cell("position", item, fact, 2, start),
                        log_of(ids, prompt.answer, {block}) - clean, block,
                        fmt::format("{} {}", name, start));
          expect_edges("position", item, fact, 2, start, {block}, name);
        }
      }
    }
  EXPECT_GT(largest_, kSomething);
}

INSTANTIATE_TEST_SUITE_P(Models, PositionOfEveryFamily, ::testing::ValuesIn(models()), test_name);

// ---- answers

class AnswersOfEveryFamily : public OfEveryFamily {
 protected:
  AnswersOfEveryFamily() : OfEveryFamily(answers_kind()) {}

  // ln p of each of the answer's tokens behind the prompt, with what `block` says.
  std::vector<double> tokens_log(size_t fact, std::optional<Block> block) const {
    std::vector<int> ids = tokens_of(fact).ids;
    std::vector<double> logs;
    if (block) block->targets.clear();
    for (const int token : model_->answer_tokens(prompts_[fact].text, prompts_[fact].answer)) {
      std::vector<Intervention> together;
      if (block) {
        block->targets.push_back(static_cast<int>(ids.size()) - 1);
        together.emplace_back(*block);
      }
      logs.push_back(log_of(ids, token, together));
      ids.push_back(token);
    }
    return logs;
  }
};

TEST_P(AnswersOfEveryFamily, AreWhatTheReferenceForwardSays) {
  compute(plan("{windows: {sizes: 2}, from: [subject, relation-minus-last]}"));
  EXPECT_THAT(array<std::int32_t>("answers", "tokens"), Contains(Gt(1)));
  double apart = 0;
  for (size_t fact = 0; fact < prompts_.size(); ++fact) {
    const TokenizedPrompt prompt = tokens_of(fact);
    const std::vector<double> clean = tokens_log(fact, {});
    const double clean_whole = std::accumulate(clean.begin(), clean.end(), 0.0);
    EXPECT_NEAR(array<double>("answers", "clean_first").at(fact), clean[0], kExact);
    EXPECT_NEAR(array<double>("answers", "clean_whole").at(fact), clean_whole, kExact);
    for (const TokenRole role : {TokenRole::kSubject, TokenRole::kRelationMinusLast})
      for (size_t start = 0; start < starts(2); ++start) {
        const Block block = block_in(start, 2, positions_of(role, prompt), {last_of(prompt)});
        const std::vector<double> blocked = tokens_log(fact, block);
        const double first = blocked[0] - clean[0],
                     whole = std::accumulate(blocked.begin(), blocked.end(), 0.0) - clean_whole;
        const std::string edge = to_string(role) + "->last | ";
        expect_change(
            cell("answers", place("answers", "item", edge + "first token"), fact, 2, start), first,
            block, edge + "first");
        expect_edges("answers", place("answers", "item", edge + "first token"), fact, 2, start,
                     {block}, edge);
        if (exists(block))
          expect_change(
              cell("answers", place("answers", "item", edge + "whole answer"), fact, 2, start),
              whole, block, edge + "whole");
        apart = std::max(apart, std::abs(whole - first));
      }
  }
  EXPECT_GT(largest_, kSomething);
  EXPECT_GT(apart, kSomething);
}

INSTANTIATE_TEST_SUITE_P(Models, AnswersOfEveryFamily, ::testing::ValuesIn(models()), test_name);

// ---- intervene: paths, combined knockouts, baselines

class InterveneOfEveryFamily : public OfEveryFamily {
 protected:
  InterveneOfEveryFamily() : OfEveryFamily(intervene_kind()) {}

  bool has_in_all_layers(Site site) const {
    return std::all_of(architecture().blocks.begin(), architecture().blocks.end(),
                       [&](const LayerShape& layer) {
                         const std::vector<Site> sites = sites_of(layer);
                         return std::count(sites.begin(), sites.end(), site) > 0;
                       });
  }
  static std::string section(const std::string& rows) {
    return fmt::format("{{windows: {{sizes: [1, 2]}}, rows: [{}], references: {{prompts: 3}}}}",
                       rows);
  }
  // Holds a row against whole forwards, in every window and prompt; `actions` says what it is.
  template <class Actions>
  void expect_row(const std::string& name, Actions actions) {
    const size_t row = place("intervention", "row", name);
    for (size_t fact = 0; fact < prompts_.size(); ++fact) {
      const TokenizedPrompt prompt = tokens_of(fact);
      const double clean = log_of(prompt.ids, prompt.answer, {});
      for (const size_t size : {size_t{1}, size_t{2}})
        for (size_t start = 0; start < starts(size); ++start) {
          const std::vector<Intervention> together = actions(prompt, fact, start, size);
          const double expected = log_of(prompt.ids, prompt.answer, together) - clean,
                       stored = cell("intervention", row, fact, size, start);
          const std::string what = fmt::format("{} {} {} {}", name, fact, size, start);
          const bool all_exist =
              std::all_of(together.begin(), together.end(), [&](const Intervention& one) {
                const auto* block = std::get_if<Block>(&one);
                return block == nullptr || exists(*block);
              });
          if (all_exist)
            EXPECT_NEAR(stored, expected, kClose) << what;
          else
            EXPECT_TRUE(std::isnan(stored)) << what;
          expect_edges("intervention", row, fact, size, start, together, what);
          if (all_exist) largest_ = std::max(largest_, std::abs(expected));
        }
    }
  }
};

TEST_P(InterveneOfEveryFamily, PathsAreWhatTheReferenceForwardSaysOrAreRefused) {
  using Through = Block::Through;
  std::string rows = "{block: {from: [subject, first], to: last}}";
  const std::string convolution = "{block: {from: first, to: last, through: convolution}}";
  const bool taps = architecture().taps() > 0;
  if (taps)
    rows += ", {block: {from: relation-minus-last, to: last, through: [convolution, mixer]}}";
  else
    EXPECT_THAT(refused(section(convolution)),
                AllOf(HasSubstr("key intervene.rows[0] (first->last through convolution): model "
                                "any: "),
                      HasSubstr("no edges through a convolution")));
  std::vector<Site> silenced;
  for (const Site site : {Site::kG, Site::kSkip, Site::kS, Site::kO, Site::kMlp}) {
    const std::string row =
        fmt::format("{{set: {{site: {}, tokens: subject, value: zero}}}}", to_string(site));
    if (has_in_all_layers(site)) {
      silenced.push_back(site);
      rows += ", " + row;
    } else {
      EXPECT_THAT(refused(section(row)),
                  AllOf(HasSubstr("model any: "), HasSubstr("no site " + to_string(site))));
    }
  }
  compute(plan(section(rows)));
  const auto blocked = [](TokenRole role, Through through) {
    return [=](const TokenizedPrompt& prompt, size_t, size_t start, size_t size) {
      Block block = block_in(start, size, positions_of(role, prompt), {last_of(prompt)});
      block.through = through;
      return std::vector<Intervention>{block};
    };
  };
  expect_row("subject->last", blocked(TokenRole::kSubject, Through::kState));
  expect_row("first->last", blocked(TokenRole::kFirst, Through::kState));
  if (taps) {
    expect_row("relation-minus-last->last through convolution",
               blocked(TokenRole::kRelationMinusLast, Through::kConvolution));
    expect_row("relation-minus-last->last through mixer",
               blocked(TokenRole::kRelationMinusLast, Through::kMixer));
  }
  for (const Site site : silenced)
    expect_row(to_string(site) + "(subject) = zero",
               [&](const TokenizedPrompt& prompt, size_t, size_t start, size_t size) {
                 return std::vector<Intervention>{
                     Write{site, layers_in(start, size), prompt.subject, std::nullopt, Zero{}}};
               });
  EXPECT_GT(largest_, kSomething);
}

TEST_P(InterveneOfEveryFamily, CombinedKnockoutsAreWhatTheReferenceForwardSays) {
  compute(
      plan(section("{together: [{block: {from: subject, to: last}}, {block: {from: first, to: "
                   "last}}]}, {block: {from: subject, to: last}}, {block: {from: first, to: "
                   "last}}")));
  const auto edge = [](const TokenizedPrompt& prompt, bool first, size_t start, size_t size) {
    return block_in(start, size, first ? std::vector<int>{0} : prompt.subject, {last_of(prompt)});
  };
  expect_row("subject->last & first->last",
             [&](const TokenizedPrompt& prompt, size_t, size_t start, size_t size) {
               return std::vector<Intervention>{edge(prompt, false, start, size),
                                                edge(prompt, true, start, size)};
             });
  for (const bool first : {false, true})
    expect_row(first ? "first->last" : "subject->last",
               [&](const TokenizedPrompt& prompt, size_t, size_t start, size_t size) {
                 return std::vector<Intervention>{edge(prompt, first, start, size)};
               });
  EXPECT_GT(largest_, kSomething);
}

TEST_P(InterveneOfEveryFamily, BaselinesAreWhatTheReferenceForwardSays) {
  // Two mixers in one layer have no o of their own.
  const Site site = has_in_all_layers(Site::kO) ? Site::kO : Site::kH;
  const std::string at = to_string(site) + "(subject-last) = ";
  const PlannedWork planned = plan(section(
      fmt::format("{{set: {{site: {}, tokens: subject-last, value: [zero, mean, resample]}}}}",
                  to_string(site))));
  compute(planned);
  std::vector<std::vector<int>> runs;
  for (const TokenizedPrompt& one : model_->tokenize_usable(planned.work->references({})))
    runs.push_back(one.ids);
  ASSERT_THAT(runs, SizeIs(3));
  const auto set_to = [&](const auto& value_for) {
    return [&, value_for](const TokenizedPrompt& prompt, size_t fact, size_t start, size_t size) {
      return std::vector<Intervention>{Write{
          site, layers_in(start, size), {prompt.subject.back()}, std::nullopt, value_for(fact)}};
    };
  };
  expect_row(at + "zero", set_to([](size_t) { return Value(Zero{}); }));
  expect_row(at + "mean", set_to([&](size_t) { return Value(MeanOfRuns{runs}); }));
  expect_row(at + "resample", set_to([&](size_t fact) {
               const std::int64_t donor = array<std::int64_t>("intervention", "donor").at(fact);
               EXPECT_NE(donor, prompts_[fact].id);
               for (size_t other = 0; other < prompts_.size(); ++other)
                 if (prompts_[other].id == donor) {
                   const TokenizedPrompt lender = tokens_of(other);
                   return Value(OtherRun{lender.ids, {lender.subject.back()}});
                 }
               throw std::out_of_range("no such donor");
             }));
}

INSTANTIATE_TEST_SUITE_P(Models, InterveneOfEveryFamily, ::testing::ValuesIn(models()), test_name);

}  // namespace
}  // namespace factflow
