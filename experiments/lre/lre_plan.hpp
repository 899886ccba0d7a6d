// What is asked of one model's linear relations, and what is found about a prompt.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/bytes.hpp"
#include "experiments/lre/worded_relation.hpp"

namespace factflow {

struct LrePlan {
  std::vector<WordedRelation> relations;
  std::vector<int> layers, ranks;
  std::vector<double> betas;
  TrainingDraw draw;
  bool examples = true;
  int width = 0, model_layers = 0;  // of the model

  // Those that a trial's prompts stand behind, without the one that is asked about.
  std::vector<std::uint32_t> examples_of(const WordedRelation& relation, std::size_t trial,
                                         const std::string& subject) const;
};

// Arrays as in RelationResults.
struct TrialFinding {
  std::int32_t role = 0, answer_rank = 0;
  double answer_probability = 0;
  std::int64_t target = -1;
  std::vector<std::int32_t> predicted, predicted_rank;  // [layer, beta]
  std::vector<std::int32_t> edited_rank;                // [layer, rank]
  std::vector<float> edited_probability;
};
struct RelationFinding {
  std::uint32_t relation = 0;  // of the plan
  std::vector<TrialFinding> trials;
};

template <class Archive>
void serialize(Archive& archive, RelationFact& f) {
  archive(f.id, f.subject, f.answer);
}
template <class Archive>
void serialize(Archive& archive, WordedRelation& r) {
  archive(r.relation, r.before, r.after, r.facts, r.training);
}
template <class Archive>
void serialize(Archive& archive, TrainingDraw& d) {
  archive(d.count, d.trials, d.seed, d.fewest_tests);
}
template <class Archive>
void serialize(Archive& archive, LrePlan& p) {
  archive(p.relations, p.layers, p.ranks, p.betas, p.draw, p.examples, p.width, p.model_layers);
}
template <class Archive>
void serialize(Archive& archive, TrialFinding& t) {
  archive(t.role, t.answer_rank, t.answer_probability, t.target, t.predicted, t.predicted_rank,
          t.edited_rank, t.edited_probability);
}
template <class Archive>
void serialize(Archive& archive, RelationFinding& r) {
  archive(r.relation, r.trials);
}

}  // namespace factflow
