// `factflow conform` on random models: "published" numbers made by a forward written as the
// reference's library does it.
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>

#include "base/error.hpp"
#include "pipeline/commands/command.hpp"
#include "pipeline/conformance/conformance.hpp"
#include "tests/model/naive_forward.hpp"
#include "tests/model/random_checkpoint.hpp"
#include "tests/source_dir.hpp"

namespace factflow {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using Kind = ConformanceRow::Kind;
using Verdict = ConformanceRow::Verdict;

const std::string kDemo = source_dir() + "/demo/";
constexpr int kWindow = 2;

json flow(const std::string& from, const std::string& to, const std::string& features) {
  return {{"window", kWindow},
          {"from", from},
          {"to", to},
          {"features", features},
          {"prompts", json::object()}};
}

// The reference's categories as NaiveModel::Masking::kReference reads them.
ChannelSet kept(const std::string& features) {
  if (features == "ALL") return {};
  return {features == "FAST_DECAY" ? ChannelSet::Kind::kFast : ChannelSet::Kind::kSlow};
}

class Conform : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const Tokenizer tokenizer = Tokenizer::load(kDemo + "models/gpt2");
    json config = small_config(GetParam());
    config["vocab_size"] = tokenizer.vocabulary_size();
    if (config.contains("n_positions")) config["n_positions"] = 64;
    auto tensors = random_tensors(config, 5);
    // Flat distributions over the vocabulary, so that a difference anywhere shows in the answer's
    // probability.
    for (auto& [tensor, content] : tensors)
      if (tensor.ends_with("ln_f.weight") || tensor.ends_with("model.norm.weight") ||
          tensor.ends_with("norm_f.weight"))
        for (float& value : content.values) value *= 0.1F;
    write_checkpoint(directory_.path(), config, tensors);
    std::filesystem::copy(kDemo + "models/gpt2/tokenizer.json",
                          directory_.path() / "tokenizer.json");
    const NaiveModel reference(Checkpoint::open(directory_.path().string()),
                               NaiveModel::Masking::kReference);
    layers_ = reference.layers();
    dataset_ = read_dataset(DatasetConfig{.path = kDemo + "facts.jsonl"});
    published_ = publish(reference, tokenizer);
  }

  // One prompt that starts with its subject and two that do not.
  std::vector<Prompt> chosen() const {
    std::vector<Prompt> prompts;
    for (const bool first : {true, false})
      for (const Prompt& prompt : dataset_.prompts)
        if ((prompt.subject_begin == 0) == first && prompts.size() < (first ? 1U : 3U))
          prompts.push_back(prompt);
    return prompts;
  }

  json publish(const NaiveModel& reference, const Tokenizer& tokenizer) const {
    json model = {{"hub", "org/model"},
                  {"layers", layers_},
                  {"clean", json::array()},
                  {"flows", json::array()},
                  {"heatmaps", {{"window", kWindow}, {"prompts", json::object()}}}};
    for (const char* from : {"subject", "relation", "last", "first"})
      model["flows"].push_back(flow(from, "last", "ALL"));
    for (const char* from : {"context", "subject", "relation"})
      model["flows"].push_back(flow(from, "relation", "ALL"));
    for (const char* from : {"context", "subject"})
      model["flows"].push_back(flow(from, "subject", "ALL"));
    if (has_channels())
      for (const char* features : {"FAST_DECAY", "SLOW_DECAY"})
        model["flows"].push_back(flow("subject", "last", features));
    for (const Prompt& prompt : chosen()) {
      const TokenizedPrompt tokens = tokenize(tokenizer, prompt, AnswerRule::kFirstToken);
      const at::Tensor clean = reference.log_probabilities(tokens.ids, {});
      model["clean"].push_back({prompt.id, clean[tokens.answer].exp().item<double>(),
                                1 + (clean > clean[tokens.answer]).sum().item<int>()});
      for (json& one : model["flows"]) {
        const Block knockout = factflow::knockout(
            positions_of(parse_token_role(one["to"].get<std::string>()), tokens),
            positions_of(parse_token_role(one["from"].get<std::string>()), tokens),
            kept(one["features"]), {});
        one["prompts"][std::to_string(prompt.id)] = series(reference, tokens, knockout, true);
      }
      json& map = model["heatmaps"]["prompts"][std::to_string(prompt.id)];
      for (int token = 0; token < static_cast<int>(tokens.ids.size()); ++token)
        map.push_back(series(reference, tokens,
                             knockout(positions_of(TokenRole::kLast, tokens), {token}, {}, {}),
                             false));
    }
    return {{"models", {{"random", model}}}};
  }

  json series(const NaiveModel& reference, const TokenizedPrompt& tokens, const Block& edges,
              bool hits) const {
    std::string right;
    json row = json::array();
    for (int start = 0; start + kWindow <= layers_; ++start) {
      const at::Tensor log = reference.log_probabilities(
          tokens.ids, knockout(edges.targets, edges.sources, std::get<ChannelSet>(edges.selection),
                               {start, start + kWindow}));
      row.push_back(log[tokens.answer].exp().item<double>());
      right += (log > log[tokens.answer]).any().item<bool>() ? '0' : '1';
    }
    if (hits) row.insert(row.begin(), right);
    return row;
  }

  Conformance compare(const json& published) const {
    ModelSource source;
    source.path = directory_.path().string();
    source.answer = AnswerRule::kFirstToken;
    LoadedModel model(source, at::kCPU, Precision::kFp64, 0, "");
    return compare_with_published(read_published(published.dump(), "published", "random"), model,
                                  dataset_, 1e-9);
  }

  int command(const json& published, const std::string& name = "random") const {
    const std::string file = (directory_.path() / "published.json").string();
    std::ofstream(file) << published;
    return run(command_named("conform"),
               {"--model", name, "--path", directory_.path().string(), "--dataset",
                kDemo + "facts.jsonl", "--published", file, "--device", "cpu"});
  }

  static bool has_channels() {
    return read_architecture(small_config(GetParam()), "config.json").channels() > 0;
  }

  factflow::TemporaryDirectory directory_;
  Dataset dataset_;
  int layers_ = 0;
  json published_;
};

int count(const Conformance& conformance, Kind kind, Verdict verdict) {
  return static_cast<int>(std::count_if(
      conformance.rows.begin(), conformance.rows.end(),
      [&](const ConformanceRow& row) { return row.kind == kind && row.verdict == verdict; }));
}

TEST_P(Conform, NumbersOfTheReferenceAgreeOrAreExplained) {
  const Conformance conformance = compare(published_);
  EXPECT_TRUE(conformance.conforms()) << describe(conformance);
  EXPECT_EQ(count(conformance, Kind::kClean, Verdict::kAgrees), 3);
  const int agree = count(conformance, Kind::kKnockout, Verdict::kAgrees),
            explained = count(conformance, Kind::kKnockout, Verdict::kExplained);
  const std::string name = GetParam();
  if (name == "gpt2") {
    EXPECT_EQ(agree + explained, 27);
    // Token 0 loses its only key: relation <- relation and <- context in the prompts that do not
    // begin with their subject, subject
    // <- subject in the one that does.
    EXPECT_EQ(explained, 5) << describe(conformance);
  } else if (!has_channels()) {
    // No context: the plain model.
    EXPECT_EQ(agree, 2) << describe(conformance);
    EXPECT_EQ(count(conformance, Kind::kHeatmap, Verdict::kAgrees), 3);  // numbers of tokens
  } else {
    EXPECT_EQ(agree, 33) << describe(conformance);
    EXPECT_EQ(explained, 0);
  }
}

TEST_P(Conform, EveryPerturbedNumberIsReported) {
  json& model = published_["models"]["random"];
  const std::string id = std::to_string(chosen()[0].id);  // begins with its subject: no context
  model["clean"][0][1] = model["clean"][0][1].get<double>() + 1e-4;
  EXPECT_EQ(count(compare(published_), Kind::kClean, Verdict::kDiffers), 1);
  // Context -> relation: compared in every family.
  json& context = model["flows"][4]["prompts"][id];
  context[1] = context[1].get<double>() + 1e-4;
  EXPECT_EQ(count(compare(published_), Kind::kKnockout, Verdict::kDiffers), 1);
  context[0] = "11";
  EXPECT_THAT(
      describe(compare(published_)),
      HasSubstr("differs: prompt " + id + ", context->relation, windows of 2: start 0: published"));
  json& rank = model["clean"][1][2];
  rank = rank.get<int>() * 2 + 10;
  EXPECT_EQ(count(compare(published_), Kind::kClean, Verdict::kDiffers), 2);
  model["heatmaps"]["prompts"][id].push_back(model["heatmaps"]["prompts"][id][0]);
  EXPECT_THAT(describe(compare(published_)), HasSubstr("number of tokens: published"));
}

TEST_P(Conform, ExitCodes) {
  EXPECT_EQ(command(published_), 0);
  json off = published_;
  json& model = off["models"]["random"];
  model["clean"][2][1] = model["clean"][2][1].get<double>() + 1e-3;
  EXPECT_EQ(command(off), 1);
  EXPECT_THROW(command(published_, "randm"), InputError);
  model["layers"] = layers_ + 1;
  EXPECT_THROW(command(off), InputError);
  EXPECT_THROW(command({{"models", 3}}), InputError);
  published_["models"]["random"]["clean"].push_back({999'999, 0.5, 1});
  EXPECT_THROW(command(published_), InputError);  // no such prompt
}

INSTANTIATE_TEST_SUITE_P(Families, Conform,
                         ::testing::Values("gpt2", "llama", "qwen2", "mamba", "mamba2"),
                         [](const auto& instance) { return std::string(instance.param); });

}  // namespace
}  // namespace factflow
