// Bad records are listed and the reading goes on; a file without any prompt is refused.
#include <nlohmann/json.hpp>

#include "pipeline/input/dataset.hpp"
#include "tests/expect_input_error.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;

constexpr const char* kGood = R"({"prompt": "x y is", "subject": "y", "answer": "z", "id": 1000})";

class DatasetErrorsTest : public ::testing::Test {
 protected:
  // The reason why the record, in line 2 below a good one, was left out.
  std::string reason_of(const std::string& line) {
    const std::string path = directory_.write(
        "f.jsonl", std::string(kGood) + "\n" + line + "\n" + [] {
          std::string other = kGood;
          return other.replace(other.find("1000"), 4, "1001");
        }());
    const Dataset dataset = read_dataset({.path = path});
    EXPECT_EQ(dataset.prompts.size(), 2U);
    if (dataset.bad.size() != 1) return "";
    EXPECT_EQ(dataset.bad[0].where, path + ":2");
    return dataset.bad[0].reason;
  }
  std::string error_of(std::string_view content, DatasetConfig config = {}) {
    config.path = directory_.write("f", content);
    return input_error_of([&] { read_dataset(config); });
  }
  TemporaryDirectory directory_;
};

TEST_F(DatasetErrorsTest, BadRecordsAreListedWithTheirReason) {
  EXPECT_THAT(reason_of("{\"prompt\": "),
              HasSubstr("not valid JSON: 'parse error at line 1, column"));
  EXPECT_THAT(reason_of("[1]"), HasSubstr("expected a JSON object"));
  EXPECT_THAT(reason_of(R"({"subject": "y", "answer": "z"})"),
              HasSubstr("the field prompt is missing"));
  EXPECT_THAT(reason_of(R"({"prompt": "x y", "subject": 5, "answer": "z"})"),
              HasSubstr("expected text for subject, found number"));
  EXPECT_THAT(reason_of(R"({"prompt": " ", "subject": "y", "answer": "z"})"),
              HasSubstr("prompt is empty"));
  EXPECT_THAT(reason_of(R"({"prompt": "x y", "subject": "", "answer": "z"})"),
              HasSubstr("subject is empty"));
  EXPECT_THAT(reason_of(R"({"prompt": "x y", "subject": "y", "answer": " "})"),
              HasSubstr("answer is empty"));
  EXPECT_THAT(reason_of(R"({"prompt": "x y", "subject": "w", "answer": "z"})"),
              HasSubstr("the subject 'w' does not occur in the prompt"));
  EXPECT_THAT(reason_of("{\"prompt\": \"x y\xff\", \"subject\": \"y\", \"answer\": \"z\"}"),
              HasSubstr("not UTF-8"));
  EXPECT_THAT(reason_of(R"({"prompt": "x \ud800 y", "subject": "y", "answer": "z"})"),
              HasSubstr("not valid JSON"));
  EXPECT_THAT(reason_of(R"({"prompt": "x \u0000 y", "subject": "y", "answer": "z"})"),
              HasSubstr("NUL"));
  EXPECT_THAT(reason_of(R"({"prompt": "x y", "subject": "y", "answer": "z", "id": 1000})"),
              AllOf(HasSubstr("repeats the id 1000, first in"), HasSubstr("f.jsonl:1")));
  EXPECT_THAT(reason_of(R"({"prompt": "x y", "subject": "y", "answer": "z", "id": -1})"),
              HasSubstr("whole number"));
  EXPECT_THAT(reason_of(R"({"prompt": "x y", "subject": "y", "answer": "z", "id": 1.5})"),
              HasSubstr("whole number"));
  EXPECT_THAT(
      reason_of(R"({"prompt": "x y", "subject": "y", "answer": "z", "id": 18446744073709551615})"),
      HasSubstr("whole number"));
  EXPECT_THAT(reason_of(R"({"prompt": "x y", "subject": "y", "answer": "z", "id": 1e999})"),
              HasSubstr("too large"));
  EXPECT_THAT(reason_of(R"({"prompt": "x y", "subject": "y", "answer": "z", "id": "seven"})"),
              HasSubstr("whole number"));
  EXPECT_THAT(reason_of(R"({"prompt": "x y", "subject": "y", "answer": "z", "relation": ["r"]})"),
              HasSubstr("expected text for relation"));
  EXPECT_THAT(reason_of("{\"prompt\": \"" + std::string(size_t{1} << 20, 'x') + "\"}"),
              HasSubstr("is longer than"));
  EXPECT_THAT(reason_of("{\"prompt\": " + std::string(100000, '[')),
              HasSubstr("nests deeper than 64"));
}

TEST_F(DatasetErrorsTest, BadCsvRecordsAreListed) {
  const std::string path = directory_.write(
      "f.csv", "prompt,subject,answer\nx y,y,z\nx y,y\n\"x\ny\",y,\"z\"\nx y,\xff,z\nx y,y,z,z\n");
  const Dataset dataset = read_dataset({.path = path});
  EXPECT_EQ(dataset.prompts.size(), 2U);
  ASSERT_EQ(dataset.bad.size(), 3U);
  EXPECT_EQ(dataset.bad[0].where, path + ":3");
  EXPECT_EQ(dataset.bad[0].reason, "expected 3 values, found 2");
  EXPECT_EQ(dataset.bad[1].where, path + ":6");
  EXPECT_THAT(dataset.bad[1].reason, HasSubstr("not UTF-8"));
  EXPECT_EQ(dataset.bad[2].where, path + ":7");
}

TEST_F(DatasetErrorsTest, ABrokenElementOfAnArrayCostsNoOther) {
  const std::string path = directory_.write(
      "f.json", R"([{"prompt": "a,]} y", "subject": "y", "answer": "\"z"}, {"prompt": oops}, 5,
                   {"prompt": "x y", "subject": "y", "answer": "z"}])");
  const Dataset dataset = read_dataset({.path = path});
  EXPECT_EQ(dataset.prompts.size(), 2U);
  EXPECT_EQ(dataset.prompts[1].id, 3);
  ASSERT_EQ(dataset.bad.size(), 2U);
  EXPECT_EQ(dataset.bad[0].where, path + ": record 2");
  EXPECT_EQ(dataset.bad[1].reason, "expected a JSON object");
}

TEST_F(DatasetErrorsTest, ACutArrayIsReported) {
  const std::string good = std::string("[") + kGood;
  Dataset dataset = read_dataset({.path = directory_.write("f.json", good)});
  ASSERT_EQ(dataset.bad.size(), 1U);
  EXPECT_THAT(dataset.bad[0].reason, HasSubstr("not closed"));
  dataset = read_dataset({.path = directory_.write("f.json", good + "] x")});
  ASSERT_EQ(dataset.bad.size(), 1U);
  EXPECT_THAT(dataset.bad[0].reason, HasSubstr("something follows"));
  dataset = read_dataset({.path = directory_.write("f.json", good + ", {\"prompt\": \"cut")});
  EXPECT_EQ(dataset.bad.size(), 2U);
}

TEST_F(DatasetErrorsTest, ABrokenFirstLineHidesNoFormat) {
  EXPECT_EQ(
      read_dataset({.path = directory_.write("f", std::string("oops\n") + kGood)}).prompts.size(),
      1U);
  EXPECT_EQ(
      read_dataset({.path = directory_.write("f", std::string("{oops\n") + kGood)}).prompts.size(),
      1U);
  EXPECT_EQ(
      read_dataset({.path = directory_.write("f", std::string(kGood) + "\noops")}).prompts.size(),
      1U);
}

TEST_F(DatasetErrorsTest, BadRelationSamplesAreListed) {
  const std::string path =
      directory_.write("r.json", R"({"name": "n", "prompt_templates": ["{} is"],
    "samples": [{"subject": "a", "object": 5}, {"subject": "b", "object": "c"}, 7]})");
  const Dataset dataset = read_dataset({.path = path});
  ASSERT_EQ(dataset.prompts.size(), 1U);
  EXPECT_EQ(dataset.prompts[0].id, 1);
  ASSERT_EQ(dataset.bad.size(), 2U);
  EXPECT_EQ(dataset.bad[1].where, path + ": record 3");
  EXPECT_THAT(error_of(R"({"name": "n", "prompt_templates": [], "samples": []})"),
              HasSubstr("prompt_templates"));
  EXPECT_THAT(
      error_of(
          R"({"name": "n", "prompt_templates": ["x"], "samples": [{"subject": "a", "object": "b"}]})"),
      HasSubstr("has no {}"));
}

TEST_F(DatasetErrorsTest, FilesWithoutPromptsAreRefused) {
  EXPECT_THAT(error_of(""), HasSubstr("is empty"));
  EXPECT_THAT(error_of("[]"), HasSubstr("no record of a known format; found no record at all"));
  EXPECT_THAT(error_of("{\"question\": \"x\"}"),
              AllOf(HasSubstr("with the fields question"), HasSubstr("minimal")));
  EXPECT_THAT(error_of("a,b\n1,2\n"), HasSubstr("with the fields a, b"));
  EXPECT_THAT(error_of("a,a\n1,2\n"), HasSubstr("names the column 'a' twice"));
  EXPECT_THAT(error_of("{\n \"name\": \"n\",\n oops\n}"), HasSubstr("not valid JSON"));
  EXPECT_THAT(error_of(R"({"prompt": "x", "subject": "y", "answer": "z"})"),
              AllOf(HasSubstr("holds no usable prompt; the first of 1 bad record: "),
                    HasSubstr("does not occur")));
  EXPECT_THAT(error_of(kGood, {.format = "counterfact"}),
              HasSubstr("requested_rewrite is missing"));
  EXPECT_THAT(error_of(kGood, {.format = "relations"}), HasSubstr("the field name is missing"));
  EXPECT_THAT(error_of(std::string("\x89PNG\r\n\x1a\n\0\0", 10)), HasSubstr("not UTF-8"));
}

TEST_F(DatasetErrorsTest, AnUnknownFormatIsToldWhatItLacks) {
  EXPECT_THAT(error_of(R"({"prompt": "x y", "answer": "z"})"),
              HasSubstr("f:1 with the fields answer, prompt, which lacks subject for the format "
                        "minimal"));
  EXPECT_THAT(error_of(R"({"prompt": "x y", "subjct": "y", "answer": "z"})"),
              HasSubstr("which lacks subject (is it 'subjct'?) for the format minimal"));
  EXPECT_THAT(error_of(R"({"prompt": "x y", "attribute": "z"})"),
              HasSubstr("which lacks subject for the format known-1000"));
  EXPECT_THAT(error_of("prompt,answer\nx y,z\n"), HasSubstr("which lacks subject"));
  EXPECT_THAT(error_of(R"({"name": "n", "samples": []})"),
              HasSubstr("which lacks prompt_templates for the format relations"));
  EXPECT_THAT(error_of("prompt;subject;answer\nx y;y;z\n"),
              HasSubstr("separate the columns with commas"));
}

TEST_F(DatasetErrorsTest, WhatIsNoTextIsSaid) {
  EXPECT_THAT(error_of(std::string("\x1f\x8b\x08\0", 4)),
              AllOf(HasSubstr("f: is compressed with gzip; unpack it: gunzip --keep '"),
                    HasSubstr(directory_.path().string())));
  EXPECT_THAT(error_of("PAR1\x15\x04"),
              AllOf(HasSubstr("is a Parquet file; save it as JSON lines"), HasSubstr("to_json")));
  EXPECT_THAT(error_of("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"),
              HasSubstr("is a pointer that git-lfs left in place of the file; fetch the file: git "
                        "lfs pull"));
  EXPECT_THAT(error_of("\n<!DOCTYPE html>\n<html>"), HasSubstr("is a web page"));
  EXPECT_THAT(error_of(std::string("\xff\xfe{\0", 4)), HasSubstr("is text in UTF-16"));
  const std::string path = directory_.write("r/one.json", "PAR1");
  EXPECT_THAT(input_error_of([&] { read_dataset({.path = (directory_ / "r").string()}); }),
              HasSubstr("one.json: is a Parquet file"));
  const std::string ids = directory_.write("ids", "\x1f\x8b");
  EXPECT_THAT(input_error_of([&] { read_ids(ids); }), HasSubstr("ids: is compressed with gzip"));
}

TEST_F(DatasetErrorsTest, ASubjectThatIsOnlyWrittenDifferentlyIsSaid) {
  const auto reason = [&](const std::string& prompt, const std::string& subject) {
    return reason_of(
        nlohmann::json{{"prompt", prompt}, {"subject", subject}, {"answer", "z"}}.dump());
  };
  EXPECT_THAT(reason("Caf\u00e9 is in", "Cafe\u0301"),
              HasSubstr("does not occur in the prompt, which holds it in another Unicode form "
                        "(this one NFD, the text NFC): write both alike"));
  EXPECT_THAT(reason("Cafe\u0301 is in", "Caf\u00e9"), HasSubstr("(this one NFC, the text NFD)"));
  EXPECT_THAT(reason("paris is in", "Paris"), HasSubstr("with other upper and lower case"));
  EXPECT_THAT(reason("CAFE\u0301 is in", "caf\u00e9"), HasSubstr("upper and lower case"));
  EXPECT_THAT(reason("New\u00a0York is in", "New York"), HasSubstr("only look alike"));
  EXPECT_THAT(reason("London is in", "Paris"), EndsWith("does not occur in the prompt"));
}

TEST_F(DatasetErrorsTest, WhatLiesOnANetworkMustBeDownloaded) {
  EXPECT_THAT(input_error_of([] { read_dataset({.path = "hf:org/facts"}); }),
              HasSubstr("hf download --repo-type dataset org/facts"));
  EXPECT_THAT(input_error_of([] { read_dataset({.path = "https://x.org/facts.jsonl"}); }),
              HasSubstr("is an address of the network, expected a file; download it"));
}

TEST_F(DatasetErrorsTest, FilesThatCannotBeReadAreRefused) {
  EXPECT_THAT(input_error_of([] { read_dataset({.path = "/no/such/file"}); }),
              HasSubstr("/no/such/file"));
  const std::string path = directory_.path().string();
  EXPECT_THAT(input_error_of([&] { read_dataset({.path = path}); }),
              HasSubstr("holds no .json file"));
  EXPECT_THAT(input_error_of([&] { read_dataset({.path = path, .format = "minimal"}); }),
              HasSubstr("is a directory"));
}

TEST_F(DatasetErrorsTest, EndlessBadRecordsEndTheReading) {
  std::string content = std::string(kGood) + "\n";
  for (int i = 0; i < 100000; ++i) content += "x\n";
  EXPECT_THAT(error_of(content), HasSubstr("100,000 bad records and more"));
}

TEST_F(DatasetErrorsTest, FormatsAreChecked) {
  EXPECT_THAT(error_of(kGood, {.format = "minimum"}),
              HasSubstr("unknown dataset format 'minimum', did you mean 'minimal'?"));
}

TEST_F(DatasetErrorsTest, ReferenceIdsNeedTheWholeFile) {
  EXPECT_THAT(
      error_of(R"({"case_id": 1, "prompt": "x y", "subject": "y", "target_true": "z"})",
               {.reference_ids = true}),
      AllOf(HasSubstr("reference_ids number the 21919 records"), HasSubstr("use the whole file")));
}

TEST_F(DatasetErrorsTest, BadFilesOfIds) {
  const auto ids_error = [&](std::string_view content) {
    const std::string path = directory_.write("ids", content);
    return input_error_of([&] { read_ids(path); });
  };
  EXPECT_THAT(ids_error("1\nx\n"), HasSubstr("ids:2: expected a whole number from 0, found 'x'"));
  EXPECT_THAT(ids_error("[1, \"2\"]"), HasSubstr("ids: record 2: expected a whole number"));
  EXPECT_THAT(ids_error("1\n1\n"), HasSubstr("repeats the id 1"));
  EXPECT_THAT(ids_error("\n"), HasSubstr("holds no id"));
  EXPECT_THAT(ids_error("[1"), HasSubstr("not valid JSON"));
  for (const char* bad : {"7.5", "7.", ".0", "7.0.0", "1e3", "-7.0"})
    EXPECT_THAT(ids_error(bad), HasSubstr("expected a whole number"));
  EXPECT_THAT(ids_error("[9007199254740993.0]"), HasSubstr("expected a whole number"));
  EXPECT_THAT(ids_error("[7, 7.0]"), HasSubstr("repeats the id 7"));
}

}  // namespace
}  // namespace factflow
