// Who carries the facts where a model has attention and other mixers of tokens: the same edge cut
// on attention alone, on the recurrent mixers alone and on both, in the same windows of the same
// prompts. docs/hybrids.md defines every number.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "analysis/fact_resamples.hpp"
#include "analysis/run_data.hpp"
#include "analysis/verdicts.hpp"

namespace factflow {

// What shares of the effect say. "The state" stands for all mixers but attention.
enum class Carrier { kAttention, kState, kEither, kNeeded, kParts, kOpen };
// "attention carries it", "the state carries it", "either suffices", "both are needed",
// "each carries a part", "cannot tell"
std::string to_string(Carrier carrier);

// One edge of one model, set of prompts and window size. Numbers are of the prompts in which all
// three cuts are valid at every start. The window is chosen on half of the facts and measured on
// the other half, and the other way round, so that it was not picked for the numbers it gives.
// Of a model with one kind of mixers only `both` is known: it is a control.
struct CarriedEdge {
  std::string model, family;
  Mixing mixing = Mixing::kBoth;
  std::string mixers;   // of its layers, mixers_in_letters()
  std::string prompts;  // set of prompts
  bool main_set = true, repeated = false;
  std::int64_t layers = 0, window = 0;
  bool widest = true;       // of the windows that the model was swept over
  EdgeName edge;            // on both paths
  std::string missing;      // why there are no numbers; else ""
  std::size_t starts = 0;   // of the sweep
  std::size_t choices = 0;  // of them, those whose windows have mixers of both kinds
  std::size_t n = 0, facts = 0;
  std::vector<std::int32_t> chosen;  // measured on the even facts, and on the odd ones
  // Mean relative changes of the answer's probability, percent.
  Resampled attention, recurrent, both;
  // Percent of `both`: each alone, and what only both cuts together take away (100 less the two).
  Resampled attention_share, recurrent_share, together_share;
  Resampled interaction;      // both - (attention + recurrent), percentage points
  Resampled log_interaction;  // the same of mean ln(p / p_clean)

  bool is_control() const { return mixing != Mixing::kBoth; }
};

// Of every model, set of prompts, window and edge that some model's sweep cut on one path alone.
std::vector<CarriedEdge> study_carriers(const RunData& run, const BootstrapOptions& bootstrap);

// Percent of the effect: less is little, more is most of it.
inline constexpr double kHalfOfEffect = 50;
// Whether one of the first four is true of the edge.
Judged judge_carrier(const CarriedEdge& edge, Carrier carrier);
// The one that holds; kParts where all four are refuted. Of controls: kOpen.
Carrier carrier_of(const CarriedEdge& edge);
// "attention alone 91 % [85, 96] of both, the state alone 5 % [1, 9], only together 4 % [-2, 9]"
std::string shares_in_words(const CarriedEdge& edge);
// "layer 5", "layers 3 to 7 and 4 to 8": which windows were measured.
std::string chosen_in_words(const CarriedEdge& edge);
// "9 recurrent and 3 attention of 12 layers", "attention in all 12 layers"
std::string mixers_in_words(const CarriedEdge& edge);

// Of each edge the four statements, each about the hybrids of the run at their widest windows.
std::vector<Claim> judge_carriers(const std::vector<CarriedEdge>& carriers);

}  // namespace factflow
