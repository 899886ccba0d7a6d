// Every form of a prompt file, in every container, gives the same prompts.
#include "pipeline/input/dataset.hpp"

#include "tests/expect_input_error.hpp"
#include "tests/source_dir.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class DatasetTest : public ::testing::Test {
 protected:
  Dataset read(const std::string& name, std::string_view content,
               const std::string& format = "auto") {
    const Dataset dataset =
        read_dataset({.path = directory_.write(name, content), .format = format});
    for (const Prompt& prompt : dataset.prompts)
      EXPECT_EQ(
          prompt.text.substr(static_cast<size_t>(prompt.subject_begin), prompt.subject.size()),
          prompt.subject);
    return dataset;
  }
  TemporaryDirectory directory_;
};

void expect_prompt(const Prompt& prompt, std::int64_t id, const std::string& text,
                   const std::string& subject, std::int64_t begin, const std::string& answer,
                   const std::string& relation) {
  EXPECT_EQ(prompt.id, id);
  EXPECT_EQ(prompt.text, text);
  EXPECT_EQ(prompt.subject, subject);
  EXPECT_EQ(prompt.subject_begin, begin);
  EXPECT_EQ(prompt.answer, answer);
  EXPECT_EQ(prompt.relation, relation);
}

TEST_F(DatasetTest, ReadsOriginalCounterfact) {
  const Dataset dataset = read("cf.json", R"([
    {"case_id": 7, "requested_rewrite": {"prompt": "The capital of {} is", "relation_id": "P36",
     "target_new": {"str": "Rome"}, "target_true": {"str": "Paris", "id": "Q90"}, "subject": "France"},
     "paraphrase_prompts": ["a, [b] {c}"], "neighborhood_prompts": ["d", "e"]},
    {"case_id": 8, "requested_rewrite": {"prompt": "{}: {} is in", "relation_id": "P1",
     "target_true": {"str": "Asia"}, "subject": "Japan"}}
  ])");
  EXPECT_EQ(dataset.format, "counterfact, JSON array");
  ASSERT_EQ(dataset.prompts.size(), 2U);
  expect_prompt(dataset.prompts[0], 7, "The capital of France is", "France", 15, " Paris", "P36");
  expect_prompt(dataset.prompts[1], 8, "Japan: Japan is in", "Japan", 0, " Asia", "P1");
  EXPECT_THAT(dataset.bad, IsEmpty());
  EXPECT_EQ(dataset.prompts[0].new_answer, " Rome");
  EXPECT_THAT(dataset.prompts[0].paraphrases, ElementsAre("a, [b] {c}"));
  EXPECT_THAT(dataset.prompts[0].neighbours, ElementsAre("d", "e"));
  EXPECT_EQ(dataset.prompts[1].new_answer, "");
  EXPECT_THAT(dataset.prompts[1].paraphrases, IsEmpty());
}

constexpr const char* kTracing =
    R"({"relation": "The capital of {} is", "prompt": "The capital of France is", "subject": " France",)"
    R"( "target_true": " Paris", "target_false": " Rome", "relation_id": "P36", "original_idx": 5})";

TEST_F(DatasetTest, ReadsTheTracingFormInEveryContainer) {
  const std::string record = kTracing;
  const std::string csv =
      "relation,prompt,subject,target_true,target_false,relation_id,original_idx\n"
      "The capital of {} is,The capital of France is, France, Paris, Rome,P36,5\n";
  const std::pair<std::string, std::string> files[] = {
      {record + "\n", "counterfact-tracing, JSON lines"},
      {"\xEF\xBB\xBF" + record, "counterfact-tracing, JSON lines"},
      {"[" + record + "]", "counterfact-tracing, JSON array"},
      {csv, "counterfact-tracing, CSV"},
      {"\xEF\xBB\xBF" + csv, "counterfact-tracing, CSV"}};
  for (const auto& [content, format] : files) {
    const Dataset dataset = read("tracing", content);
    EXPECT_EQ(dataset.format, format);
    ASSERT_EQ(dataset.prompts.size(), 1U);
    expect_prompt(dataset.prompts[0], 5, "The capital of France is", "France", 15, " Paris", "P36");
    EXPECT_EQ(dataset.prompts[0].new_answer, " Rome");
  }
}

TEST_F(DatasetTest, TheTemplatePlacesTheSubject) {
  // "Apple" occurs twice; the template says that the second is meant.
  const Dataset dataset =
      read("t.jsonl", R"({"relation": "Apple pie and {} are", "prompt": "Apple pie and Apple are",)"
                      R"( "subject": "Apple", "target_true": " good"})"
                      "\n"
                      R"({"relation": "no template", "prompt": "Apple pie and Apple are",)"
                      R"( "subject": "Apple", "target_true": " good"})");
  ASSERT_EQ(dataset.prompts.size(), 2U);
  EXPECT_EQ(dataset.prompts[0].subject_begin, 14);
  EXPECT_EQ(dataset.prompts[1].subject_begin, 0);
  EXPECT_EQ(dataset.prompts[1].id, 1);  // the row
}

TEST_F(DatasetTest, ReadsTheFlatForm) {
  const Dataset dataset =
      read("f.jsonl",
           R"({"case_id": 3, "prompt": "Łódź is in", "subject": "Łódź", "target_true": "Poland"})");
  EXPECT_EQ(dataset.format, "counterfact-flat, JSON lines");
  expect_prompt(dataset.prompts.at(0), 3, "Łódź is in", "Łódź", 0, " Poland", "");
}

TEST_F(DatasetTest, ReadsKnown1000) {
  const Dataset dataset = read("k.json", R"([
{
"known_id": 0, "subject": "Vinson Massif", "attribute": "Antarctica", "template": "{} is located in the continent",
"prediction": " of Antarctica.", "prompt": "Vinson Massif is located in the continent of", "relation_id": "P30"
}
])");
  EXPECT_EQ(dataset.format, "known-1000, JSON array");
  expect_prompt(dataset.prompts.at(0), 0, "Vinson Massif is located in the continent of",
                "Vinson Massif", 0, " Antarctica", "P30");
}

constexpr const char* kRelation = R"({
  "name": "capital", "prompt_templates": ["The capital of {} is", "{}'s capital:"],
  "samples": [{"subject": "France ", "object": "Paris"}, {"subject": "Italy", "object": "Rome"}]
})";

TEST_F(DatasetTest, ReadsARelationsFileWithASampleALine) {
  const Dataset dataset =
      read("r.json",
           "{\"name\": \"capital\", \"prompt_templates\": [\"{} is\"], \"samples\": [\n"
           "{\"subject\": \"France\", \"object\": \"Paris\"},\n"
           "{\"subject\": \"Italy\", \"object\": \"Rome\"}\n]}\n");
  EXPECT_EQ(dataset.format, "relations, JSON object");
  EXPECT_EQ(dataset.prompts.size(), 2U);
}

TEST_F(DatasetTest, ReadsARelationsFile) {
  const Dataset dataset = read("r.json", kRelation);
  EXPECT_EQ(dataset.format, "relations, JSON object");
  ASSERT_EQ(dataset.prompts.size(), 2U);
  expect_prompt(dataset.prompts[0], 0, "The capital of France is", "France", 15, " Paris",
                "capital");
  expect_prompt(dataset.prompts[1], 1, "The capital of Italy is", "Italy", 15, " Rome", "capital");
  const Dataset one_line = read(
      "r1.json",
      R"({"name": "n", "prompt_templates": ["{} x"], "samples": [{"subject": "s", "object": "o"}]})");
  EXPECT_EQ(one_line.format, "relations, JSON object");
}

TEST_F(DatasetTest, ReadsADirectoryOfRelationsFilesInOrder) {
  directory_.write("b.json", kRelation);
  directory_.write(
      "a.json",
      R"({"name": "n", "prompt_templates": ["{} x"], "samples": [{"subject": "s", "object": "o"}]})");
  directory_.write("c.json", "not JSON");
  directory_.write("notes.txt", "not read");
  const Dataset dataset = read_dataset({.path = directory_.path().string()});
  EXPECT_EQ(dataset.format, "relations, directory");
  ASSERT_EQ(dataset.prompts.size(), 3U);
  EXPECT_EQ(dataset.prompts[0].text, "s x");
  EXPECT_EQ(dataset.prompts[2].id, 2);
  ASSERT_EQ(dataset.bad.size(), 1U);
  EXPECT_TRUE(dataset.bad[0].where.ends_with("c.json"));
  EXPECT_EQ(dataset.digest.size(), 32U);
}

TEST_F(DatasetTest, ReadsTheMinimalForm) {
  const Dataset lines = read(
      "m.jsonl",
      "{\"prompt\": \"France's capital is\", \"subject\": \"France\", \"answer\": \"  Paris \"}\n\n"
      "{\"prompt\": \"x y\", \"subject\": \"y\", \"answer\": \"z\", \"id\": 40, \"relation\": "
      "\"r\"}\n");
  EXPECT_EQ(lines.format, "minimal, JSON lines");
  ASSERT_EQ(lines.prompts.size(), 2U);
  expect_prompt(lines.prompts[0], 0, "France's capital is", "France", 0, " Paris", "");
  expect_prompt(lines.prompts[1], 40, "x y", "y", 2, " z", "r");
  const Dataset csv =
      read("m.csv", "prompt,subject,answer\n\"Say \"\"France, now\"\"\",France,yes\n");
  EXPECT_EQ(csv.format, "minimal, CSV");
  expect_prompt(csv.prompts.at(0), 0, "Say \"France, now\"", "France", 5, " yes", "");
  const Dataset object =
      read("m.json", "{\n\"prompt\": \"x y\",\n\"subject\": \"y\",\n\"answer\": \"z\"\n}\n");
  EXPECT_EQ(object.format, "minimal, JSON object");
}

TEST_F(DatasetTest, TheFormatCanBeForced) {
  const char* both =
      R"({"prompt": "x y", "subject": "y", "answer": "A", "target_true": "T", "case_id": 9})";
  EXPECT_EQ(read("b.jsonl", both).prompts[0].answer, " T");
  EXPECT_EQ(read("b.jsonl", both, "minimal").prompts[0].answer, " A");
  EXPECT_EQ(read("b.jsonl", both, "minimal").format, "minimal, JSON lines");
}

TEST_F(DatasetTest, DigestIsThatOfTheBytes) {
  const Dataset dataset =
      read("f.jsonl", "{\"prompt\": \"x y\", \"subject\": \"y\", \"answer\": \"z\"}\n");
  EXPECT_EQ(dataset.digest, "ac1d4dd143ff711688e0f8cb8b99395c");  // XXH3_128bits in one go
  EXPECT_NE(
      read("g.jsonl", "{\"prompt\": \"x y\", \"subject\": \"y\", \"answer\": \"w\"}\n").digest,
      dataset.digest);
}

TEST_F(DatasetTest, FiltersKeepPromptsAndReferenceIdsTogether) {
  std::string content;
  for (int i = 0; i < 21919; ++i)
    content += "{\"case_id\": " + std::to_string(i) +
               ", \"prompt\": \"x y\", \"subject\": \"y\", \"target_true\": \"z\"}\n";
  const std::string path = directory_.write("all.jsonl", content);
  const Dataset dataset =
      read_dataset({.path = path, .ids = {5564, 1892, 9864}, .reference_ids = true});
  ASSERT_EQ(dataset.prompts.size(), 3U);
  EXPECT_EQ(dataset.prompts[0].id, 1892);
  EXPECT_THAT(dataset.reference_ids, ElementsAre(74, 53, 21918));
  EXPECT_THAT(read_dataset({.path = path, .limit = 2}).reference_ids, IsEmpty());
}

TEST_F(DatasetTest, OriginalIdxIsTheReferenceNumberAlready) {
  const std::string path = directory_.write("t.jsonl", kTracing);
  EXPECT_THAT(read_dataset({.path = path, .reference_ids = true}).reference_ids, ElementsAre(5));
}

TEST_F(DatasetTest, ReadsTheDemoFacts) {
  const Dataset dataset = read_dataset({.path = source_dir() + "/demo/facts.jsonl"});
  EXPECT_EQ(dataset.format, "counterfact-tracing, JSON lines");
  EXPECT_EQ(dataset.prompts.size(), 2204U);
  EXPECT_THAT(dataset.bad, IsEmpty());
}

TEST_F(DatasetTest, NumbersThatOnlyPythonWritesMayStandInUnusedFields) {
  for (const std::string number : {"NaN", "Infinity", "-Infinity"}) {
    const std::string record =
        R"({"prompt": "x y is", "subject": "y", "answer": "NaN", "score": )" + number +
        ", \"list\": [" + number + ", {\"a\": " + number + "}]}";
    for (const std::string& content : {record, "[" + record + "]"}) {
      const Dataset dataset = read("nan", content);
      EXPECT_THAT(dataset.bad, IsEmpty());
      ASSERT_EQ(dataset.prompts.size(), 1U);
      EXPECT_EQ(dataset.prompts[0].answer, " NaN");
    }
  }
  // What a table has for an empty cell.
  const Dataset dataset = read(
      "empty", R"({"prompt": "x y", "subject": "y", "answer": "z", "id": NaN, "relation": NaN})");
  ASSERT_EQ(dataset.prompts.size(), 1U);
  expect_prompt(dataset.prompts[0], 0, "x y", "y", 2, " z", "");
}

TEST_F(DatasetTest, IdsMayBeFloatsOfWholeNumbers) {
  const std::string json = R"({"prompt": "x y", "subject": "y", "answer": "z", "id": 7.0})";
  const std::string csv = "prompt,subject,answer,id\nx y,y,z,7.0\n";
  for (const std::string& content : {json, csv}) {
    const Dataset dataset = read("float", content);
    EXPECT_THAT(dataset.bad, IsEmpty());
    ASSERT_EQ(dataset.prompts.size(), 1U);
    EXPECT_EQ(dataset.prompts[0].id, 7);
  }
  EXPECT_THAT(read_ids(directory_.write("a", "3.0\n 1.00\n2")), ElementsAre(3, 1, 2));
  EXPECT_THAT(read_ids(directory_.write("b", "[5.0, 4]")), ElementsAre(5, 4));
}

TEST_F(DatasetTest, ReadsFilesOfIds) {
  EXPECT_THAT(read_ids(directory_.write("a", "# chosen\n3\n\n 1 \n2")), ElementsAre(3, 1, 2));
  EXPECT_THAT(read_ids(directory_.write("b", " [5, 4]\n")), ElementsAre(5, 4));
  EXPECT_THAT(read_ids(directory_.write("c",
                                        "\xEF\xBB\xBF"
                                        "3\r\n1\r\n")),
              ElementsAre(3, 1));
  EXPECT_THAT(read_ids(directory_.write("d", "\xEF\xBB\xBF[5, 4]")), ElementsAre(5, 4));
}

}  // namespace
}  // namespace factflow
