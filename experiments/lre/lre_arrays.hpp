// Linear relational embeddings of a model in the results file: group MODEL/lre.
//
// Axes: relation (a relation in one wording), training (what a trial is fitted on), trial, prompt,
// layer (the stream that enters it), beta (numbered; the array `betas` has the values), rank (of
// the inverse; missing, with all that has it, if nothing was edited).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "results/results_file.hpp"

namespace factflow {

// Fewer known test prompts give a trial no faithfulness: as published, more than five.
inline constexpr int kFewestKnown = 6;

enum class TrialRole : std::int32_t {
  kNone = 0,      // failed or not computed
  kTraining = 1,  // the trial is fitted on this subject
  kTested = 2
};

struct RelationResults {
  // Of each relation in one wording that a computed prompt belongs to.
  std::vector<std::string> relations, words;  // the dataset's id; the text, {} for the subject
  std::vector<std::int32_t> facts;            // subjects of the dataset
  // What constant answers and answers drawn by their shares get right.
  std::vector<double> largest_share, squared_shares;
  std::vector<std::int64_t> training;  // [relation, trial, training] ids

  std::vector<std::int64_t> prompts;      // ids
  std::vector<std::int32_t> relation_of;  // [prompt] place in `relations`; -1 = failed
  std::int32_t trials = 0, training_count = 0;
  std::vector<std::int32_t> layers;
  std::vector<double> betas;
  std::vector<std::int32_t> ranks;

  // [prompt, trial]. answer_rank: 1 = the model itself gives the answer behind the trial's
  // examples, so the fact is known; 0 = not tested. target: id of the prompt whose answer an edit
  // is after; -1 = none.
  std::vector<std::int32_t> role, answer_rank;
  std::vector<float> answer_probability;
  std::vector<std::int64_t> target;
  // [prompt, trial, layer, beta] of known facts: the likeliest token, and the answer's rank; -1 and
  // 0 = not known.
  std::vector<std::int32_t> predicted, predicted_rank;
  // [prompt, trial, layer, rank] of known facts with a target: rank and probability of the target's
  // answer after the edit; 0 and NaN = none.
  std::vector<std::int32_t> edited_rank;
  std::vector<float> edited_probability;
};
ArrayGroup arrays_of(const RelationResults& results);

bool has_relations(const ResultsReader& reader, const std::string& model);
// Throws InputError for what arrays_of() did not make.
RelationResults read_relations(const ResultsReader& reader, const std::string& model);

}  // namespace factflow
