// Linear relational embeddings: in how many known facts the affine map of a relation gives the
// model's answer (faithfulness), and in how many its inverse turns the answer into another
// subject's (causality). Source: Hernandez et al. 2024 (arXiv 2308.09124), sections 4 and 5; as
// applied to Mamba by Sharma, Atkinson and Bau (arXiv 2404.03646), section 6.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "analysis/run_data.hpp"

namespace factflow {

inline constexpr std::size_t kRecalls = 3;  // the answer among the first 1, 2, 3

// A mean over trials and its standard error; NaN for no trial, and for the error of a single one.
struct TrialMean {
  double value = std::numeric_limits<double>::quiet_NaN();
  double error = std::numeric_limits<double>::quiet_NaN();
};
TrialMean mean_of_trials(const std::vector<double>& values);

// One layer of a relation.
struct RelationLayer {
  std::int32_t layer = -1;
  // In each trial at the beta that is right most often (the least of equals), of known facts.
  TrialMean recall[kRecalls];
  double beta = std::numeric_limits<double>::quiet_NaN();  // mean over trials
  // At the rank that is right most often over all trials (the least of equals). NaN and -1 =
  // nothing was edited.
  TrialMean causality;
  std::int32_t rank = -1;
  double faithfulness() const { return recall[0].value; }
};

// One relation in one wording, of one model.
struct RelationScore {
  std::string relation, words;
  std::size_t facts = 0;                         // subjects of the dataset
  std::size_t prompts = 0;                       // asked of this model
  std::size_t trials = 0;                        // with enough known facts, of which the rest is
  double known = 0;                              // mean over all trials
  double largest_share = 0, squared_shares = 0;  // what constant and drawn answers get right
  std::vector<RelationLayer> layers;             // ascending; empty: see `left_out`
  std::size_t best = 0;                          // of the highest faithfulness, the first of equals
  std::size_t best_edited = 0;                   // of the highest causality
  std::string left_out;                          // why there are no numbers; "" if there are some

  const RelationLayer& best_layer() const { return layers.at(best); }
  const RelationLayer& most_causal() const { return layers.at(best_edited); }
};

struct ModelRelations {
  std::string model, family;
  std::int64_t layers = 0;
  std::int32_t training = 0, trials = 0;
  bool edited = false;
  std::vector<RelationScore> relations;  // in the order of the results
  std::size_t kept = 0, of = 0;          // tests within the limits of clean probability, and all

  std::size_t scored() const;  // relations with numbers
  // Means over them, at the best layer of each; NaN for none.
  double mean_faithfulness() const;
  double mean_causality() const;
  std::size_t above_half() const;  // of faithfulness
};

// Of all models that have some. The clean probability that limits admit is the answer's behind the
// trial's examples.
std::vector<ModelRelations> study_relations(const RunData& run, const CleanLimits& limits);

// "8 of 12 relations have numbers; left out: 4 ..."
std::string relations_in_words(const ModelRelations& model);

}  // namespace factflow
