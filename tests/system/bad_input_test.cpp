// What is wrong with a configuration, a checkpoint, a tokenizer or a dataset is said in one line;
// exit code 2.
#include <cmath>
#include <functional>

#include <gmock/gmock.h>

#include "base/files.hpp"
#include "experiments/evaluate/evaluation_arrays.hpp"
#include "experiments/sweep/knockout_arrays.hpp"
#include "results/results_file.hpp"
#include "tests/system/damaged_model.hpp"
#include "tests/system/program.hpp"
#include "tests/system/scenario.hpp"

namespace factflow::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr const char* kTensor = "transformer.h.3.mlp.c_fc.weight";  // of the demo's gpt2

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  if (at == std::string::npos) throw std::logic_error("nothing to replace: " + from);
  return text.replace(at, from.size(), to);
}

class BadInput : public ::testing::Test {
 protected:
  static Scenario small() {
    Scenario scenario;
    scenario.name = "bad";
    scenario.limit = 4;
    scenario.models = {"gpt2"};
    scenario.knockouts = kKnockoutsOfTransformers;
    scenario.heatmaps = 0;
    return scenario;
  }
  // Alone and on two ranks: exit code 2 and one line that holds all of `expected`; nothing is left
  // in the way.
  void expect_refused(const std::string& config, const std::vector<std::string>& expected) const {
    for (const int ranks : {0, 2}) {
      const std::string out = (scratch_.path() / "out").string();
      const Ended ended = run_program({"run", config, "--out", out}, {.ranks = ranks});
      EXPECT_EQ(ended.code, 2) << ended.all();
      ASSERT_THAT(ended.complaints(), SizeIs(1)) << ended.all();
      for (const std::string& words : expected)
        EXPECT_THAT(ended.complaints()[0], HasSubstr(words));
    }
  }
  void expect_text_refused(const std::string& yaml,
                           const std::vector<std::string>& expected) const {
    expect_refused(scratch_.write("bad.yaml", yaml), expected);
  }
  void expect_model_refused(const DamagedModel& model,
                            const std::vector<std::string>& expected) const {
    Scenario scenario = small();
    scenario.models = {model.path()};
    expect_text_refused(scenario.yaml(), expected);
  }
  // A copy of gpt2 whose weights file `change` has worked on.
  DamagedModel changed(const std::function<void(Safetensors&)>& change) const {
    DamagedModel model(scratch_, "gpt2", "damaged");
    Safetensors file(model.weights());
    change(file);
    model.write("model.safetensors", file.bytes());
    return model;
  }

  TemporaryDirectory scratch_;
};

// ---- configurations

TEST_F(BadInput, ConfigTypo) {
  expect_text_refused(
      replaced(small().yaml(), "windows:", "windos:"),
      {"bad.yaml:7: key sweep.windos: unknown key 'windos', did you mean 'windows'?"});
}

TEST_F(BadInput, ConfigWrongType) {
  expect_text_refused(replaced(small().yaml(), "limit: 4", "limit: many"),
                      {"bad.yaml:2: key dataset.limit", "expected", "'many'"});
}

TEST_F(BadInput, ConfigThatIsNoYaml) {
  expect_text_refused("name: [", {"bad.yaml:"});
}

TEST_F(BadInput, MissingFiles) {
  expect_refused("/nowhere/config.yaml", {"/nowhere/config.yaml", "No such file"});
  expect_text_refused(replaced(small().yaml(), "facts.jsonl", "fact.jsonl"), {"demo/fact.jsonl"});
  expect_text_refused(replaced(small().yaml(), "models/gpt2", "models/gpt3"), {"demo/models/gpt3"});
  DamagedModel model(scratch_, "gpt2", "incomplete");
  std::filesystem::remove(model.weights());
  expect_model_refused(model, {"incomplete", "model.safetensors"});
}

TEST_F(BadInput, UnknownRole) {
  expect_text_refused(replaced(small().yaml(), "[subject, last]", "[subjekt, last]"),
                      {"bad.yaml:9: key sweep.knockouts[0].from[0]", "'subjekt'", "subject"});
}

TEST_F(BadInput, WindowLargerThanTheModel) {
  expect_text_refused(replaced(small().yaml(), "[1, 5]", "[1, 13]"),
                      {"bad.yaml: key sweep.windows.sizes: a window of 13 layers does not fit "
                       "model gpt2, which has 12"});
}

// ---- checkpoints

TEST_F(BadInput, TruncatedWeights) {
  const DamagedModel model(scratch_, "gpt2", "damaged");
  std::filesystem::resize_file(model.weights(), std::filesystem::file_size(model.weights()) - 1000);
  expect_model_refused(model, {"damaged/model.safetensors"});
  std::filesystem::resize_file(model.weights(), 5);
  expect_model_refused(model, {"damaged/model.safetensors"});
}

TEST_F(BadInput, HeaderThatPointsOutsideTheFile) {
  expect_model_refused(changed([](Safetensors& file) {
                         file.header[kTensor]["data_offsets"][1] = std::uint64_t{1} << 60;
                       }),
                       {"damaged/model.safetensors", kTensor});
}

TEST_F(BadInput, OverlappingTensors) {
  expect_model_refused(changed([](Safetensors& file) {
                         file.header[kTensor]["data_offsets"] =
                             file.header["transformer.h.4.mlp.c_fc.weight"]["data_offsets"];
                       }),
                       {"damaged/model.safetensors", "transformer.h."});
}

TEST_F(BadInput, HugeShape) {
  expect_model_refused(
      changed([](Safetensors& file) {
        file.header[kTensor]["shape"] = {std::uint64_t{1} << 62, std::uint64_t{1} << 62};
      }),
      {"damaged/model.safetensors", kTensor});
}

TEST_F(BadInput, MissingAndExtraTensors) {
  expect_model_refused(changed([](Safetensors& file) {
                         file.header["renamed"] = file.header[kTensor];
                         file.header.erase(kTensor);
                       }),
                       {"damaged", kTensor});
}

TEST_F(BadInput, NotANumberAmongTheWeights) {
  Scenario scenario = small();
  const DamagedModel model = changed([](Safetensors& file) {
    std::memcpy(file.data.data() + file.header[kTensor]["data_offsets"][0].get<size_t>() + 20,
                "\xff\xff", 2);
  });
  // Found when the weights are loaded: what another model has given by then is kept.
  scenario.models = {"mamba", model.path()};
  scenario.select = "self";
  expect_text_refused(scenario.yaml(), {"damaged/model.safetensors: tensor " +
                                        std::string(kTensor) + ": 1 of 65536 values are NaN"});
  remove_tree(model.path());
  std::filesystem::copy(demo_path("models/gpt2"), model.path());
  const std::string out = (scratch_.path() / "out").string();
  const Ended repaired =
      run_program({"run", (scratch_.path() / "bad.yaml").string(), "--out", out});
  EXPECT_EQ(repaired.code, 0) << repaired.all();
}

TEST_F(BadInput, TokenizerOfAnUnknownType) {
  const DamagedModel model(scratch_, "gpt2", "damaged");
  nlohmann::json tokenizer = nlohmann::json::parse(read_file(model.file("tokenizer.json")));
  tokenizer["model"]["type"] = "Telepathy";
  model.write("tokenizer.json", tokenizer.dump());
  expect_model_refused(model, {"damaged/tokenizer.json", "'Telepathy'"});
}

TEST_F(BadInput, ModelOfAnUnknownType) {
  const DamagedModel model(scratch_, "gpt2", "damaged");
  nlohmann::json config = nlohmann::json::parse(read_file(model.file("config.json")));
  config["model_type"] = "gpt22";
  model.write("config.json", config.dump());
  expect_model_refused(model, {"damaged/config.json", "'gpt22'"});
}

TEST_F(BadInput, CheckReadsTheConfigurationBeforeTheWeights) {
  scratch_.write("model/config.json", R"({"model_type": "qwen4"})");
  scratch_.write("model/model.safetensors", "no weights");
  const Ended ended = run_program({"check", "--model", (scratch_.path() / "model").string()});
  EXPECT_EQ(ended.code, 2) << ended.all();
  EXPECT_THAT(ended.err, HasSubstr("config.json: key model_type: unknown model family 'qwen4'; "
                                   "supported families: gpt2, llama"));
}

// ---- prompts: the run goes on without them

TEST_F(BadInput, BadRecordsAreListedAndTheRunGoesOn) {
  Scenario scenario = small();
  scenario.select = "none";
  scenario.dataset = scratch_.write(
      "facts.jsonl",
      R"({"prompt": "The capital of France is", "subject": "France", "target_true": " Paris"})"
      "\n"
      R"({"prompt": "The capital of)"
      "\n"
      R"({"prompt": "The capital of France is", "subject": "Spain", "target_true": " Madrid"})"
      "\n"
      R"({"prompt": "", "subject": "France", "target_true": " Paris"})"
      "\n"
      R"({"prompt": "The capital of France is", "subject": "France", "target_true": ""})"
      "\n");
  for (const int ranks : {0, 2}) {
    const std::string out = (scratch_.path() / fmt::format("out-{}", ranks)).string();
    const Ended ended = run_program(
        {"run", scratch_.write("bad.yaml", scenario.yaml()), "--out", out}, {.ranks = ranks});
    EXPECT_EQ(ended.code, 0) << ended.all();
    EXPECT_THAT(ended.err, HasSubstr("4 bad records left out"));
    EXPECT_THAT(ended.err, HasSubstr("4 failures are listed in"));
    const ResultsReader reader(out + "/results.h5");
    EXPECT_EQ(reader.prompts().id.size(), 1U);
    ASSERT_EQ(reader.failures().size(), 4U);
    const std::vector<std::pair<int, std::string>> expected = {
        {2, "JSON"}, {3, "subject"}, {4, "prompt"}, {5, "target_true"}};
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_EQ(reader.failures()[i].stage, "dataset");
      EXPECT_THAT(reader.failures()[i].reason,
                  HasSubstr(fmt::format("facts.jsonl:{}: ", expected[i].first)));
      EXPECT_THAT(reader.failures()[i].reason, HasSubstr(expected[i].second));
    }
  }
}

TEST_F(BadInput, ADatasetOfBadRecordsOnlyIsRefused) {
  Scenario scenario = small();
  scenario.dataset = scratch_.write("facts.jsonl", "nothing\n");
  expect_text_refused(scenario.yaml(), {"facts.jsonl"});
}

TEST_F(BadInput, AnOutputThatIsNoNumberFailsItsPromptOnly) {
  // Positions from 8 on overflow: longer prompts come out as NaN, shorter ones are not touched.
  const DamagedModel model = changed([](Safetensors& file) {
    std::vector<float> positions(64 * 128, 0.01F);
    std::fill(positions.begin() + 8 * 128, positions.end(), 3e38F);
    file.fill("transformer.wpe.weight", positions);
  });
  Scenario scenario = small();
  scenario.models = {model.path()};
  scenario.select = "none";
  scenario.limit = 12;
  scenario.heatmaps = 2;
  const std::string out = (scratch_.path() / "out").string();
  const Ended ended =
      run_program({"run", scratch_.write("bad.yaml", scenario.yaml()), "--out", out}, {.ranks = 2});
  EXPECT_EQ(ended.code, 0) << ended.all();
  const ResultsReader reader(out + "/results.h5");
  const EvaluationResult evaluation = read_evaluation(reader, "damaged");
  const size_t failed =
      static_cast<size_t>(std::count(evaluation.rank.begin(), evaluation.rank.end(), 0));
  EXPECT_GT(failed, 0U);
  EXPECT_LT(failed, evaluation.rank.size());
  EXPECT_EQ(reader.failures().size(), failed);
  for (const FailureRecord& failure : reader.failures()) {
    EXPECT_EQ(failure.stage, "evaluate");
    EXPECT_THAT(failure.reason, HasSubstr("not a finite number"));
  }
  EXPECT_EQ(knockout_axes(reader, "damaged").prompts.size(), evaluation.rank.size() - failed);
}

// Every token is as likely as the answer: nothing is right, clean or knocked out.
TEST_F(BadInput, AHeadOfZerosHasNoRightAnswer) {
  const DamagedModel model = changed([](Safetensors& file) {
    const std::vector<std::size_t> shape = file.header.at("transformer.wte.weight").at("shape");
    file.fill("transformer.wte.weight", std::vector<float>(shape[0] * shape[1], 0.0F));
  });
  Scenario scenario = small();
  scenario.models = {model.path()};
  scenario.select = "none";
  const std::string out = (scratch_.path() / "out").string();
  const Ended ended =
      run_program({"run", scratch_.write("bad.yaml", scenario.yaml()), "--out", out}, {.ranks = 2});
  EXPECT_EQ(ended.code, 0) << ended.all();
  const ResultsReader reader(out + "/results.h5");
  const auto vocabulary = static_cast<std::int32_t>(reader.models()[0].vocabulary);
  const EvaluationResult evaluation = read_evaluation(reader, "damaged");
  EXPECT_THAT(evaluation.rank, ::testing::Each(vocabulary));
  EXPECT_THAT(evaluation.tied, ::testing::Each(vocabulary - 1));
  const CellWindow window =
      knockout_window(reader, "damaged", knockout_windows(reader, "damaged")[0]);
  ASSERT_FALSE(window.rank.empty());
  for (size_t i = 0; i < window.rank.size(); ++i) {
    EXPECT_EQ(window.rank[i], std::isnan(window.probability[i]) ? 0 : vocabulary);
    EXPECT_EQ(window.tied[i], std::isnan(window.probability[i]) ? 0 : vocabulary - 1);
  }
  const Ended analysed = run_program({"analyse", out});
  EXPECT_THAT(analysed.out, HasSubstr("answers are exactly as likely as another token"));
  EXPECT_THAT(read_file(out + "/tables/models.csv"), HasSubstr("accuracy_high,tied,"));
}

// As with the tokens that chat versions of a tokenizer add.
TEST_F(BadInput, ATokenBeyondTheVocabularyFailsItsPromptOnly) {
  const DamagedModel model(scratch_, "gpt2", "damaged");
  nlohmann::json tokenizer = nlohmann::json::parse(read_file(model.file("tokenizer.json")));
  nlohmann::json added = tokenizer["added_tokens"][0];
  added["content"] = "Ruritania";
  added["id"] = 1024;  // the model has 1,024 rows
  tokenizer["added_tokens"].push_back(added);
  model.write("tokenizer.json", tokenizer.dump());
  Scenario scenario = small();
  scenario.models = {model.path()};
  scenario.select = "none";
  scenario.dataset = scratch_.write(
      "facts.jsonl",
      R"({"prompt": "The capital of France is", "subject": "France", "answer": "Paris"})"
      "\n"
      R"({"prompt": "The capital of Ruritania is", "subject": "Ruritania", "answer": "Strelsau"})"
      "\n");
  const std::string out = (scratch_.path() / "out").string();
  const Ended ended =
      run_program({"run", scratch_.write("bad.yaml", scenario.yaml()), "--out", out});
  EXPECT_EQ(ended.code, 0) << ended.all();
  const ResultsReader reader(out + "/results.h5");
  ASSERT_EQ(reader.failures().size(), 1U);
  EXPECT_THAT(reader.failures()[0].reason, HasSubstr("has the token 1024, the model only 1024"));
  EXPECT_EQ(knockout_axes(reader, "damaged").prompts.size(), 1U);
}

// By every command that looks at a configuration; what one model has, others may lack.
TEST_F(BadInput, KnockoutsThatBlockNothing) {
  for (const auto& [line, words] :
       {std::pair("{from: subject, to: last, channels: slow}",
                  "key sweep.knockouts[1].channels: slow blocks no edge"),
        std::pair("{from: subject, to: last, path: recurrent}",
                  "key sweep.knockouts[1].path: recurrent blocks no edge"),
        std::pair("{from: last, to: first}",
                  "key sweep.knockouts[1]: last->first blocks no edge in any of 4 prompts")}) {
    Scenario scenario = small();
    scenario.knockouts = fmt::format("    - {{from: first, to: last}}\n    - {}\n", line);
    expect_text_refused(scenario.yaml(), {words});
    for (const char* command : {"validate", "plan"}) {
      const Ended ended = run_program({command, scratch_.write("bad.yaml", scenario.yaml())});
      EXPECT_EQ(ended.code, 2) << command << ended.all();
      ASSERT_THAT(ended.complaints(), SizeIs(1)) << ended.all();
      EXPECT_THAT(ended.complaints()[0], HasSubstr(words));
    }
    if (std::string(line).find("first") != std::string::npos) continue;
    scenario.models = {"gpt2", "mamba"};
    const Ended both = run_program({"plan", scratch_.write("bad.yaml", scenario.yaml())});
    EXPECT_EQ(both.code, 0) << both.all();
    EXPECT_THAT(both.out, HasSubstr("skips subject->last"));
  }
}

TEST_F(BadInput, AListOfIdsThatNoPromptHas) {
  const std::string list = scratch_.write("list.txt", "900001\n900002\n");
  const std::string yaml = replaced(small().yaml(), "correct_for: all", "ids: " + list);
  expect_text_refused(yaml, {"no prompt is left", "900001, 900002"});
  const Ended validated = run_program({"validate", scratch_.write("bad.yaml", yaml)});
  EXPECT_EQ(validated.code, 2) << validated.all();
  EXPECT_THAT(validated.err, HasSubstr("900001, 900002"));
  scratch_.write("list.txt", "0\n900002\n");
  const Ended some = run_program({"validate", (scratch_.path() / "bad.yaml").string()});
  EXPECT_EQ(some.code, 0) << some.all();
  EXPECT_THAT(some.out, HasSubstr("1 of 2 ids belongs to no usable prompt: 900002"));
}

// ---- output directories

TEST_F(BadInput, AFileInPlaceOfTheOutputDirectory) {
  const std::string config = scratch_.write("bad.yaml", small().yaml());
  const Ended ended = run_program({"run", config, "--out", config});
  EXPECT_EQ(ended.code, 2) << ended.all();
  ASSERT_THAT(ended.complaints(), SizeIs(1)) << ended.all();
  EXPECT_THAT(ended.complaints()[0], HasSubstr("bad.yaml"));
}

TEST_F(BadInput, ResultsOfAnotherVersionAreNotOverwritten) {
  const std::string config = scratch_.write("bad.yaml", small().yaml()),
                    out = (scratch_.path() / "out").string();
  std::filesystem::create_directory(out);
  scratch_.write("out/results.h5", "not ours");
  const Ended ended = run_program({"run", config, "--out", out});
  EXPECT_EQ(ended.code, 1) << ended.all();
  EXPECT_THAT(ended.complaints(), SizeIs(1)) << ended.all();
  EXPECT_EQ(read_file(out + "/results.h5"), "not ours");
}

}  // namespace
}  // namespace factflow::testing
