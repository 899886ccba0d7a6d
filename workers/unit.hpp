// Units of work and their results, as they travel between ranks and lie in the journal.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/prompt.hpp"
#include "workers/job.hpp"

namespace factflow {

enum class Stage : std::uint8_t { kEvaluate = 1, kSweep = 2, kHeatmap = 3 };
const char* name_of(Stage stage);  // "evaluate", "sweep", "heatmap"

// A slice of the prompts of one stage of one model: one clean run serves everything that is asked
// of a prompt.
struct Unit {
  Stage stage = Stage::kEvaluate;
  std::uint32_t model = 0;  // index in Job::models
  std::vector<Prompt> prompts;
  std::vector<AskedEdge> edges;         // kSweep: what is asked of each prompt
  std::vector<std::uint32_t> heatmaps;  // kHeatmap: which of ModelJob::heatmaps
};

// What was loaded, for the record; sent along with every evaluation.
struct ModelFacts {
  std::string family;
  std::int64_t layers = 0, hidden_size = 0, vocabulary = 0, parameters = 0;
  std::string checkpoint_digest, tokenizer_digest;
  std::string libraries, device, host;
};

struct PromptEvaluation {
  std::string failure;  // why there are no numbers; empty = there are
  float probability = 0;
  std::int32_t rank = 0, tied = 0;  // as in Answer
  std::int32_t answer_token = 0;
  std::string answer_text;  // the token's
  bool changes = false;     // as in TokenizedPrompt
  std::int32_t token_count = 0;
  std::int32_t subject_begin = 0, subject_end = 0;  // token range [begin, end)
  std::vector<std::int32_t> top_token;
  std::vector<float> top_probability;
  std::vector<std::string> top_text;
};

// What every kind of result says about itself first.
struct UnitReport {
  double seconds = 0;        // of computing
  std::uint32_t failed = 0;  // prompts with a failure
  std::string model_digest;  // of the checkpoint and the tokenizer that were loaded
};

struct EvaluationUnit {
  UnitReport report;
  ModelFacts facts;
  std::vector<PromptEvaluation> prompts;
};

struct PromptSweep {
  std::string failure;
  // [asked edge] (target, source) pairs; 0 = no such edge.
  std::vector<std::int64_t> blocked;
  // [asked edge][start], its window sizes after each other; NaN = no edge.
  std::vector<std::vector<float>> probability;
  std::vector<std::vector<std::int32_t>> rank, tied;  // likewise; 0 = no edge
};
struct SweepUnit {
  UnitReport report;
  std::vector<PromptSweep> prompts;
};

struct PromptHeatmap {
  std::string failure;
  std::vector<std::string> tokens;              // texts
  std::vector<std::int32_t> token_ids;          // in the vocabulary
  std::vector<std::vector<float>> probability;  // [asked window size][token * starts + start]
};
struct HeatmapUnit {
  UnitReport report;
  std::vector<PromptHeatmap> prompts;
};

std::string encode(const Unit& unit);
std::string encode(const EvaluationUnit& result);
std::string encode(const SweepUnit& result);
std::string encode(const HeatmapUnit& result);
// Throw RunError for bytes that encode() did not make.
Unit decode_unit(const std::string& bytes);
EvaluationUnit decode_evaluation(const std::string& bytes);
SweepUnit decode_sweep(const std::string& bytes);
HeatmapUnit decode_heatmap(const std::string& bytes);
UnitReport report_of(const std::string& result);  // of any kind of result, without reading the rest

}  // namespace factflow
