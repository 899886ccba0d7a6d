// Edits of single facts: how often the new answer comes out, also where the question is put in
// other words, how often the neighbours keep theirs, and what else moved. Sources: Meng et al.
// (arXiv 2202.05262), section 3; Sharma, Atkinson and Bau (arXiv 2404.03646), section 4.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "analysis/effects.hpp"
#include "analysis/run_data.hpp"
#include "experiments/edit/edit_arrays.hpp"

namespace factflow {

// All in percent, means over prompts that were edited; of several questions of a kind, a prompt has
// their mean. Success: NLL(new) < NLL(true) after a rewrite prompt or paraphrase, NLL(true) <
// NLL(new) after a neighbour; equal ones are no success in either. Magnitude: exp(-NLL(new)) -
// exp(-NLL(true)), of neighbours the other way round. Accuracy: every token of the answer (new; of
// neighbours true) is the likeliest one. Score: harmonic mean of the three mean success rates.
enum class EditMeasure {
  kEfficacy,
  kParaphrase,
  kNeighbourhood,
  kScore,
  kEfficacyMagnitude,
  kParaphraseMagnitude,
  kNeighbourhoodMagnitude,
  kEfficacyAccuracy,
  kParaphraseAccuracy,
  kNeighbourhoodAccuracy
};
inline constexpr std::size_t kEditMeasures = 10;
// As columns: "es", "ps", "ns", "s", "em", "pm", "nm", "es_acc", "ps_acc", "ns_acc".
const char* to_string(EditMeasure measure);
using EditValues = std::array<double, kEditMeasures>;  // NaN = no such question, or no value

// NaN if one is; 0 if one is 0.
double harmonic_mean(double a, double b, double c);

// How the answers to the questions of one prompt stand. `row`: index of the first of its questions
// in `judgement`. kScore stays NaN: it is of means.
EditValues edit_values(const EditResults& results, const EditJudgement& judgement, std::size_t row);

struct EditEstimate {
  double value = 0;   // mean; NaN for n = 0
  double std = 0;     // standard deviation over prompts (n in the divisor), none of kScore
  Interval interval;  // of rates Wilson's over facts, of magnitudes t, of kScore bootstrap
  std::size_t n = 0;  // prompts; of kScore, those of the fewest
  std::size_t facts = 0;
  double unedited = 0;  // the same of the same prompts before any edit
};

// One edit (a matrix in a layer, or in several at once) of the prompts of a set.
struct EditScore {
  std::string prompts;  // name of the set
  bool main_set = true;
  std::size_t edit = 0;                             // on the axis of EditResults
  std::string matrix;                               // "W_o", "memit W_o"
  std::int64_t layer = 0;                           // of several the highest
  std::string layers;                               // "3", "3-5"
  std::size_t asked = 0, without = 0, outside = 0;  // prompts; failed or missing; clean limits
  std::array<EditEstimate, kEditMeasures> measures;
  const EditEstimate& of(EditMeasure measure) const {
    return measures[static_cast<std::size_t>(measure)];
  }
};

// What an edit does to prompts of other facts.
struct MovedPrompts {
  std::string prompts;
  std::size_t edit = 0;
  OtherFact kind = OtherFact::kUnrelated;
  std::size_t n = 0, facts = 0;  // (edited prompt, other prompt) pairs; facts that were edited
  double log_change = 0;         // mean change of ln p of the other prompt's own answer
  Interval interval;             // t interval, clustered by edited fact
  double size = 0;               // mean |change|
  double top_changed = 0;        // share of pairs with another likeliest token, percent
  Interval top_interval;         // Wilson's, over edited facts
  double kl = 0;                 // mean KL(before || after) of the next token, nats
};

struct ModelEdits {
  std::string model, family;
  std::int64_t layers = 0;
  Mixing mixing = Mixing::kAttention;
  bool repeated = false;  // the same checkpoint under a second name
  EditResults results;    // prompts by the ids of RunData::prompts
  // [prompt of results]
  std::vector<std::size_t> prompt_row;  // in PromptTable
  std::vector<std::size_t> fact;        // of one subject and relation: the same number
  std::vector<double> clean;            // the answer's clean probability; NaN if unknown
  std::vector<char> admitted;           // whether the limits of that leave it
  std::vector<EditScore> scores;        // of every set, every edit that it asked for
  std::vector<MovedPrompts> moved;      // likewise, of every kind that has values

  // Whether the rewrite prompt has been answered after it: a failed edit has not, nor has one that
  // is not computed yet.
  bool has_value(std::size_t edit, std::size_t prompt) const;
  // Whether an edit of a prompt has a part in means of a set.
  bool used(std::size_t set, std::size_t edit, std::size_t prompt) const;
  // Index of the first of its questions in EditResults::before, or after.
  std::size_t row_before(std::size_t prompt) const;
  std::size_t row_after(std::size_t edit, std::size_t prompt) const;
  // Of the main set, the edit of the highest score of a matrix, the first of equals; nullptr if
  // none has a score.
  const EditScore* best(const std::string& matrix) const;
  std::vector<std::string> matrices()
      const;  // as in EditScore, in the order of the edits, each once
};

// "456 of 480 edits (12 of each of 40 prompts); left out: 24 without a value"
std::string edits_in_words(const ModelEdits& edits);
// A sentence for each of these models.
std::vector<std::string> edit_counts(const std::vector<ModelEdits>& edits);
// Whether something that was asked for has no part in means.
bool lacks_edits(const ModelEdits& edits);

// Of every model that has edits. Throws InputError for a damaged file.
std::vector<ModelEdits> study_edits(const RunData& run, const CleanLimits& limits,
                                    const BootstrapOptions& bootstrap);

// Success rates by fact, of which scores of resamples are made.
struct SuccessSums {
  using Three = std::array<double, 3>;  // efficacy, paraphrase, neighbourhood
  std::vector<Three> sum, count;        // [fact number]
  bool has(std::size_t fact) const { return count[fact][0] > 0; }
  // `facts`: which count; `times`: how often each of these does, nullptr = once. NaN without
  // values.
  double score(const std::vector<std::size_t>& facts, const std::uint16_t* times = nullptr) const;
};
SuccessSums success_sums(const ModelEdits& edits, std::size_t set, std::size_t edit);

}  // namespace factflow
