// One wrong key at a time: each gives one line that names file, line, key and what to do.
#include <fstream>

#include "pipeline/input/config.hpp"
#include "tests/expect_input_error.hpp"

namespace factflow {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string error_of(const std::string& yaml) {
  return input_error_of([&] { parse_config(yaml, "x.yaml"); });
}

// The four lines that every configuration needs, then `more` from line 4 on.
std::string with(const std::string& more) {
  return error_of(
      "name: x\ndataset: {path: f}\nmodels: [{name: a, path: p}, {name: b, path: q}]\n" + more +
      "\n");
}
std::string with_dataset(const std::string& keys) {
  return error_of("name: x\ndataset: {path: f, " + keys + "}\nmodels: {name: a, path: p}\n");
}
std::string with_models(const std::string& models) {
  return error_of("name: x\ndataset: {path: f}\nmodels: " + models + "\n");
}
std::string with_knockouts(const std::string& knockouts) {
  return with("sweep:\n  windows: {sizes: 1}\n  knockouts:" + knockouts);
}

TEST(ConfigErrors, UnknownKeysComeWithASuggestion) {
  EXPECT_EQ(with("sweep:\n  windos: {sizes: 1}"),
            "x.yaml:5: key sweep.windos: unknown key 'windos', did you mean 'windows'?");
  EXPECT_THAT(with("zzzzzzzz: 1"), AllOf(StartsWith("x.yaml:4: key zzzzzzzz: unknown key"),
                                         HasSubstr("expected one of")));
  EXPECT_THAT(with_dataset("pth: g"),
              HasSubstr("key dataset.pth: unknown key 'pth', did you mean 'path'?"));
  EXPECT_THAT(with(std::string(500, 'k') + ": 1"), HasSubstr("unknown key"));
}

TEST(ConfigErrors, MissingKeys) {
  EXPECT_THAT(error_of("name: x\nmodels: {name: a, path: p}\n"),
              StartsWith("x.yaml:1: key dataset: is required but missing"));
  EXPECT_THAT(with_models("[{name: a}]"),
              StartsWith("x.yaml:3: key models[0].path: is required but missing"));
  EXPECT_THAT(with("sweep: {knockouts: {from: last, to: last}}"),
              HasSubstr("key sweep.windows: is required"));
  EXPECT_THAT(with("heatmaps: {prompts: 3}"), HasSubstr("key heatmaps.windows: is required"));
}

TEST(ConfigErrors, WrongTypes) {
  EXPECT_THAT(error_of("just text"),
              HasSubstr("expected a mapping of keys to values, found 'just text'"));
  EXPECT_THAT(error_of("- a\n"), HasSubstr("found a list"));
  EXPECT_THAT(with("run: fast"),
              HasSubstr("key run: expected a mapping of keys to values, found 'fast'"));
  EXPECT_THAT(with("run: {threads_per_rank: [1]}"), HasSubstr("found a list"));
  EXPECT_THAT(with_dataset("limit: many"),
              HasSubstr("key dataset.limit: expected a whole number from 1, found 'many'"));
  EXPECT_THAT(with_dataset("limit:"), HasSubstr("found nothing"));
  EXPECT_THAT(with_dataset("reference_ids: maybe"),
              HasSubstr("expected true or false, found 'maybe'"));
  EXPECT_THAT(error_of("name: {a: b}\ndataset: {path: f}\nmodels: {name: a, path: p}\n"),
              HasSubstr("found a mapping"));
  EXPECT_THAT(error_of("name: x\ndataset: {path: \"a\\nb\"}\nmodels: {name: a, path: p}\n"),
              HasSubstr("control character"));
  EXPECT_THAT(error_of("name: x\ndataset: {path: " + std::string(5000, 'a') +
                       "}\nmodels: {name: a, path: p}\n"),
              HasSubstr("at most 4096 bytes"));
}

TEST(ConfigErrors, NumbersOutOfRange) {
  for (const char* number : {"0", "-1", "1.5", "1e3", "99999999999999999999"})
    EXPECT_THAT(with_dataset(std::string("limit: ") + number),
                HasSubstr("expected a whole number from 1"))
        << number;
  EXPECT_THAT(with_dataset("ids: [1, -2]"),
              HasSubstr("key dataset.ids[1]: expected a whole number from 0"));
  EXPECT_THAT(with("heatmaps: {window: 0, prompts: 1}"),
              HasSubstr("key heatmaps.window: expected"));
  EXPECT_THAT(with("heatmaps: {window: 1, prompts: 0}"),
              HasSubstr("key heatmaps.prompts: expected"));
  EXPECT_THAT(with("run: {memory_limit: 0 GiB}"), HasSubstr("expected a size such as 8 GiB"));
  EXPECT_THAT(with("run: {memory_limit: 8 GB}"), HasSubstr("units: B, KiB, MiB, GiB, TiB"));
  EXPECT_THAT(with("run: {memory_limit: 9000000 TiB}"), HasSubstr("below 8388608 TiB"));
}

TEST(ConfigErrors, EmptyLists) {
  EXPECT_THAT(with_models("[]"), HasSubstr("key models: is an empty list"));
  EXPECT_THAT(with("sweep:\n  windows: {sizes: []}\n  knockouts: {from: last, to: last}"),
              HasSubstr("key sweep.windows.sizes: is an empty list"));
  EXPECT_THAT(with_knockouts(" []"), HasSubstr("key sweep.knockouts: is an empty list"));
  EXPECT_THAT(with_dataset("relations: []"), HasSubstr("is an empty list"));
}

TEST(ConfigErrors, Duplicates) {
  EXPECT_THAT(error_of("name: x\nname: y\n"),
              StartsWith("x.yaml:2: the key 'name' is given twice"));
  EXPECT_THAT(with_models("\n  - {name: a, path: p}\n  - {name: a, path: q}"),
              StartsWith("x.yaml:5: key models[1].name: repeats the name 'a' of models[0]"));
  EXPECT_THAT(with("sweep:\n  windows: {sizes: [3, 1, 3]}\n  knockouts: {from: last, to: last}"),
              StartsWith("x.yaml:5: key sweep.windows.sizes[2]: repeats"));
  EXPECT_THAT(with_knockouts("\n    - {from: [subject, last], to: last}\n    - {from: last, to: "
                             "last, channels: [slow, all]}"),
              StartsWith("x.yaml:8: key sweep.knockouts[1]: gives the edge last -> last, channels "
                         "all a second time, "
                         "first in sweep.knockouts[0]"));
  EXPECT_THAT(with_knockouts(" {from: [last, last], to: last}"), HasSubstr("repeats"));
  EXPECT_THAT(with("heatmaps: {window: 1, windows: 2, prompts: 1}"),
              HasSubstr("given beside 'windows'"));
  EXPECT_THAT(with("select: {correct_for: all, ids: f}"), HasSubstr("given beside 'correct_for'"));
}

TEST(ConfigErrors, SetsOfPrompts) {
  const std::string sweep = "\n    windows: {sizes: 1}\n    knockouts: {from: last, to: last}";
  EXPECT_THAT(with("select: [{name: s, correct_for: all}, {name: s, correct_for: self}]"),
              HasSubstr("key select[1].name: 's' is the name of select[0] too"));
  EXPECT_THAT(with("select: {name: first, correct_for: all}"),
              HasSubstr("a set cannot be called 'first'"));
  EXPECT_THAT(with("select: {ids: f, rank: 2}"),
              HasSubstr("key select.rank: is given beside 'ids'"));
  EXPECT_THAT(with("select: {answer: first}"),
              HasSubstr("key select.answer: unknown rule 'first', expected one of"));
  EXPECT_THAT(with("select: [{name: s}, {name: t, answer: first-token}]"),
              HasSubstr("key select[1].answer: is 'first-token', that of the first set is "
                        "'continuation'"));
  EXPECT_THAT(with("select: {correct_for: all, rank: 0}"), HasSubstr("key select.rank: expected"));
  EXPECT_THAT(with("sweep:\n  - select: own" + sweep),
              StartsWith("x.yaml:5: key sweep[0].select: unknown set of prompts 'own'"));
  EXPECT_THAT(with("sweep:\n  - models: [a, c]" + sweep),
              StartsWith("x.yaml:5: key sweep[0].models: unknown model 'c'"));
  EXPECT_THAT(
      with("sweep:\n  - windows: {sizes: 1}\n    knockouts: {from: last, to: last}\n"
           "  - windows: {sizes: 3, placement: centred}\n    knockouts: {from: last, to: last}"),
      HasSubstr("key sweep[1].windows.placement: differs from that of the first sweep"));
  EXPECT_THAT(with("heatmaps: {window: 1}"),
              HasSubstr("key heatmaps: expects either 'prompts' or 'ids'"));
  EXPECT_THAT(with("heatmaps: {window: 1, prompts: 1, ids: [2]}"),
              HasSubstr("expects either 'prompts' or 'ids'"));
  EXPECT_THAT(with("heatmaps: {window: 1, ids: [2], select: selected}"),
              HasSubstr("given beside 'ids'"));
  EXPECT_THAT(with("heatmaps: {window: 1, prompts: 1, models: x}"),
              HasSubstr("key heatmaps.models: unknown model"));
}

TEST(ConfigErrors, RolesAndChannels) {
  EXPECT_THAT(with_knockouts(" {from: subjct, to: last}"),
              AllOf(StartsWith("x.yaml:6: key sweep.knockouts.from: "),
                    HasSubstr("did you mean 'subject'?")));
  EXPECT_THAT(with_knockouts(" {from: [last, each], to: last}"),
              AllOf(HasSubstr("key sweep.knockouts.from[1]: "), HasSubstr("heatmaps")));
  EXPECT_THAT(with_knockouts(" {from: last, to: each}"), HasSubstr("heatmaps"));
  EXPECT_THAT(with_knockouts(" {from: last, to: last, channels: slw}"),
              HasSubstr("did you mean 'slow'?"));
  EXPECT_THAT(with_knockouts(" {from: last, to: last, channels: quantile 6/5}"),
              HasSubstr("quantile"));
}

TEST(ConfigErrors, NamesAndChoices) {
  EXPECT_THAT(error_of("name: ../etc\ndataset: {path: f}\nmodels: {name: a, path: p}\n"),
              HasSubstr("key name: expected a name of letters, digits"));
  EXPECT_THAT(with_models("{name: .hidden, path: p}"),
              HasSubstr("key models.name: expected a name"));
  for (const char* name : {"prompts", "failures"})
    EXPECT_THAT(with_models(std::string("{name: ") + name + ", path: p}"),
                AllOf(HasSubstr(std::string("a model cannot be called '") + name + "'"),
                      HasSubstr("results.h5 has something else of this name")));
  EXPECT_THAT(with_models("{name: self, path: p}"), HasSubstr("a model cannot be called 'self'"));
  EXPECT_THAT(with_models("{name: a, path: 'hf:gpt2'}"), HasSubstr("expected hf:ORG/NAME"));
  EXPECT_THAT(with_models("{name: a, path: 'hf:../../etc/passwd'}"),
              HasSubstr("expected hf:ORG/NAME"));
  EXPECT_THAT(with_models("{name: a, path: 'hf:a/b@../c'}"), HasSubstr("expected hf:ORG/NAME"));
  EXPECT_THAT(with("select: {correct_for: [a, c]}"),
              HasSubstr("key select.correct_for: unknown model 'c'"));
  EXPECT_THAT(with("select: {correct_for: al}"), HasSubstr("unknown model 'al'"));
  EXPECT_THAT(with("run: {device: cud}"), HasSubstr("did you mean 'cuda'?"));
  for (const auto& [given, meant] : {std::pair{"gpu", "cuda"},
                                     {"GPU", "cuda"},
                                     {"CUDA", "cuda"},
                                     {"gpu:1", "cuda:1"},
                                     {"cuda1", "cuda:1"},
                                     {"CPU", "cpu"},
                                     {"any", "auto"}})
    EXPECT_THAT(
        with(std::string("run: {device: '") + given + "'}"),
        HasSubstr(std::string("unknown device '") + given + "', did you mean '" + meant + "'?"));
  EXPECT_THAT(with("run: {precision: float32}"), HasSubstr("did you mean 'fp32'?"));
  EXPECT_THAT(with("run: {precision: bfloat16}"), HasSubstr("did you mean 'bf16'?"));
  EXPECT_THAT(with("run: {device: 'cuda:x'}"), HasSubstr("cuda:N with N from 0"));
  EXPECT_THAT(with("run: {precision: fp16}"), HasSubstr("unknown precision 'fp16', did you mean"));
  EXPECT_THAT(with("run: {precision: fp64, device: cuda}"), HasSubstr("fp64 runs on the CPU only"));
  EXPECT_THAT(with_dataset("format: counterfct"), HasSubstr("did you mean 'counterfact'?"));
  EXPECT_THAT(with("sweep:\n  windows: {sizes: 1, placement: centered}\n  knockouts: {from: last, "
                   "to: last}"),
              HasSubstr("did you mean 'centred'?"));
}

TEST(ConfigErrors, Files) {
  EXPECT_THAT(input_error_of([] { read_config("/no/such/file.yaml"); }),
              HasSubstr("/no/such/file.yaml"));
  EXPECT_THAT(input_error_of([] { read_config("/tmp"); }),
              HasSubstr("/tmp: is a directory, expected a configuration"));
}

}  // namespace
}  // namespace factflow
