#include "experiments/lre/lre_arrays.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "experiments/stored_arrays.hpp"

namespace factflow {
namespace {

using hdf5::Group;
using hdf5::Shape;

constexpr const char* kGroup = "lre";

template <class T>
std::vector<T> numbered_from_zero(std::size_t count) {
  std::vector<T> numbers(count);
  std::iota(numbers.begin(), numbers.end(), T{0});
  return numbers;
}

template <class T>
void add(ArrayGroup& group, const char* name, std::vector<std::string> axes,
         const std::vector<T>& values, const char* units, const char* description) {
  group.arrays.push_back({name, std::move(axes), values, {units, description}});
}

void add_relations(ArrayGroup& group, const RelationResults& results) {
  add(group, "relation_name", {"relation"}, results.relations, "1", "the dataset's relation id");
  add(group, "words", {"relation"}, results.words, "1",
      "text of its prompts, with {} in the subject's place");
  add(group, "facts", {"relation"}, results.facts, "1", "subjects of the dataset");
  add(group, "largest_share", {"relation"}, results.largest_share, "1",
      "share of the commonest answer among them: what a constant answer gets right");
  add(group, "squared_shares", {"relation"}, results.squared_shares, "1",
      "sum of the squared shares of the answers: what answers drawn by their shares get right");
  add(group, "training_prompts", {"relation", "trial", "training"}, results.training, "1",
      "ids of the prompts that a trial is fitted on, which are also its examples");
}

void add_trials(ArrayGroup& group, const RelationResults& results) {
  add(group, "relation_of", {"prompt"}, results.relation_of, "1",
      "the prompt's relation; -1 = failed or not computed");
  add(group, "role", {"prompt", "trial"}, results.role, "1",
      "1 = the trial is fitted on this subject, 2 = the prompt is tested; 0 = failed or not "
      "computed");
  add(group, "answer_rank", {"prompt", "trial"}, results.answer_rank, "1",
      "1 + how many other tokens the model finds at least as likely as the answer's behind the "
      "trial's examples; 1 = a known fact, 0 = not tested");
  add(group, "answer_probability", {"prompt", "trial"}, results.answer_probability, "1",
      "probability of the answer's token there; NaN = not tested");
  add(group, "betas", {"beta"}, results.betas, "1", "factors of W s");
  const std::vector<std::string> axes = {"prompt", "trial", "layer", "beta"};
  add(group, "predicted", axes, results.predicted, "1",
      "likeliest token of the linear relation; -1 = the fact is not known");
  add(group, "predicted_rank", axes, results.predicted_rank, "1",
      "1 + how many other tokens it finds at least as likely as the answer's; 0 = not known");
}

void add_edits(ArrayGroup& group, const RelationResults& results) {
  add(group, "target", {"prompt", "trial"}, results.target, "1",
      "id of the prompt whose answer the edited subject is to have; -1 = none");
  const std::vector<std::string> axes = {"prompt", "trial", "layer", "rank"};
  add(group, "edited_rank", axes, results.edited_rank, "1",
      "1 + how many other tokens are at least as likely as the target's answer after the edit; 0 = "
      "no edit");
  add(group, "edited_probability", axes, results.edited_probability, "1",
      "probability of the target's answer after the edit; NaN = no edit");
}

template <class T>
void check_range(const Group& group, const char* name, const std::vector<T>& values, T least,
                 T most, const char* expected) {
  for (const T value : values)
    if (value < least || value > most) inconsistent(group, name, expected);
}

// Sizes of the axes.
struct Sizes {
  std::size_t relations, trials, training, prompts, layers, betas, ranks;
};

void read_trials(const Group& group, const Sizes& n, RelationResults& results) {
  results.relation_of = group.read<std::int32_t>("relation_of", {n.prompts});
  check_range(group, "relation_of", results.relation_of, -1,
              static_cast<std::int32_t>(n.relations) - 1, "expected relations of the group");
  const Shape trials{n.prompts, n.trials}, cells{n.prompts, n.trials, n.layers, n.betas};
  results.role = group.read<std::int32_t>("role", trials);
  check_range(group, "role", results.role, 0, 2, "expected 0, 1 or 2");
  results.answer_rank = group.read<std::int32_t>("answer_rank", trials);
  results.answer_probability = group.read<float>("answer_probability", trials);
  check_probabilities(group, "answer_probability", results.answer_probability);
  results.betas = group.read<double>("betas", {n.betas});
  results.predicted = group.read<std::int32_t>("predicted", cells);
  results.predicted_rank = group.read<std::int32_t>("predicted_rank", cells);
  for (std::size_t i = 0; i < results.role.size(); ++i) {
    const bool tested = results.role[i] == static_cast<std::int32_t>(TrialRole::kTested);
    if (results.answer_rank[i] < 0 || (results.answer_rank[i] > 0) != tested)
      inconsistent(group, "answer_rank", "expected ranks of at least 1 where a prompt is tested");
    if (tested && results.relation_of[i / n.trials] < 0)
      inconsistent(group, "relation_of", "expected the relation of every prompt that is tested");
    const std::size_t per_trial = n.layers * n.betas;
    for (std::size_t k = i * per_trial; k < (i + 1) * per_trial; ++k)
      if (results.predicted_rank[k] < 0 ||
          (results.predicted_rank[k] > 0) != (results.answer_rank[i] == 1))
        inconsistent(group, "predicted_rank", "expected ranks of at least 1 of known facts alone");
  }
}

}  // namespace

ArrayGroup arrays_of(const RelationResults& results) {
  ArrayGroup group{kGroup};
  const auto count = [](std::int32_t n) { return static_cast<std::size_t>(n); };
  group.axes = {{"relation",
                 numbered_from_zero<std::int32_t>(results.relations.size()),
                 {"1", "number of a relation in one wording"}},
                {"trial",
                 numbered_from_zero<std::int32_t>(count(results.trials)),
                 {"1", "number of the training set"}},
                {"training",
                 numbered_from_zero<std::int32_t>(count(results.training_count)),
                 {"1", "place in the training set"}},
                {"prompt", results.prompts, {"1", "id of the prompt in the dataset"}},
                {"layer", results.layers, {"layer", "the layer whose input is s, from 0"}},
                {"beta",
                 numbered_from_zero<std::int32_t>(results.betas.size()),
                 {"1", "number of the factor of W s"}}};
  add_relations(group, results);
  add_trials(group, results);
  if (results.ranks.empty()) return group;
  group.axes.push_back({"rank", results.ranks, {"1", "rank of the inverse of W"}});
  add_edits(group, results);
  return group;
}

bool has_relations(const ResultsReader& reader, const std::string& model) {
  return reader.arrays_of(model).has(kGroup);
}

RelationResults read_relations(const ResultsReader& reader, const std::string& model) {
  const Group group = reader.arrays_of(model).open_group(kGroup);
  RelationResults results;
  results.prompts = group.read_axis<std::int64_t>("prompt");
  reader.check_prompts(group, results.prompts);
  results.layers = group.read_axis<std::int32_t>("layer");
  check_unique(group, "layer", results.layers);
  if (group.has("rank")) results.ranks = group.read_axis<std::int32_t>("rank");
  const Sizes n{group.read_axis<std::int32_t>("relation").size(),
                group.read_axis<std::int32_t>("trial").size(),
                group.read_axis<std::int32_t>("training").size(),
                results.prompts.size(),
                results.layers.size(),
                group.read_axis<std::int32_t>("beta").size(),
                results.ranks.size()};
  results.trials = static_cast<std::int32_t>(n.trials);
  results.training_count = static_cast<std::int32_t>(n.training);
  results.relations = group.read<std::string>("relation_name", {n.relations});
  results.words = group.read<std::string>("words", {n.relations});
  results.facts = group.read<std::int32_t>("facts", {n.relations});
  results.largest_share = group.read<double>("largest_share", {n.relations});
  results.squared_shares = group.read<double>("squared_shares", {n.relations});
  for (const double share : results.largest_share)
    if (!(share >= 0 && share <= 1)) inconsistent(group, "largest_share", "expected shares");
  for (const double share : results.squared_shares)
    if (!(share >= 0 && share <= 1)) inconsistent(group, "squared_shares", "expected shares");
  results.training =
      group.read<std::int64_t>("training_prompts", {n.relations, n.trials, n.training});
  read_trials(group, n, results);
  if (results.ranks.empty()) return results;
  const Shape edits{n.prompts, n.trials, n.layers, n.ranks};
  results.target = group.read<std::int64_t>("target", {n.prompts, n.trials});
  results.edited_rank = group.read<std::int32_t>("edited_rank", edits);
  check_range(group, "edited_rank", results.edited_rank, 0,
              std::numeric_limits<std::int32_t>::max(), "expected ranks of at least 0");
  results.edited_probability = group.read<float>("edited_probability", edits);
  check_probabilities(group, "edited_probability", results.edited_probability);
  return results;
}

}  // namespace factflow
