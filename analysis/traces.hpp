// Causal traces: how much of the answer's probability comes back when one value of the clean run
// is written into the run of another subject, and how much is lost the other way round. Means over
// facts, by group of tokens, as the published figures show them. Sources: Sharma, Atkinson and Bau
// (arXiv 2404.03646), section 3; Meng et al. (arXiv 2202.05262), section 2.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "analysis/run_data.hpp"
#include "analysis/statistics.hpp"
#include "experiments/trace/trace_arrays.hpp"

namespace factflow {

// Effects are shares of high - low, the answer's probability with the prompt's own subject less
// that with the other one. A fact with less than this has no part in means: what is divided by next
// to nothing is noise, and outweighs all other facts. The bound is ours; neither paper has one.
inline constexpr double kLeastDifference = 0.05;

// Restored: (p - low) / (high - low); broken: (high - p) / (high - low). 0 = the patch does
// nothing, 1 = it makes one run's probability the other's.
double indirect_effect(TraceDirection direction, double p, double low, double high);

enum class FactUse { kUsed, kNoValue, kSmallDifference, kOutsideLimits };
// "" for one that is used, else why it is not.
std::string to_string(FactUse use);

struct TracedFact {
  std::int64_t prompt = 0;     // id
  std::size_t prompt_row = 0;  // row in PromptTable
  std::size_t fact = 0;        // prompts of one subject and relation have the same number
  std::string counterfactual;
  double high = 0, low = 0;                              // probabilities; NaN = no value
  int subject_begin = -1, subject_end = -1, tokens = 0;  // -1 and 0 = no value
  FactUse use = FactUse::kNoValue;
};

// With their places in `prompts`, and which of them have a part in means.
std::vector<TracedFact> facts_of(const TracedFacts& stored, const PromptTable& prompts,
                                 const CleanLimits& limits);
std::size_t count_of(const std::vector<TracedFact>& facts, FactUse use);
// "57 of 60 ONES; left out: 2 without a value, 1 with high - low < 0.05"
std::string facts_in_words(const std::vector<TracedFact>& facts, const std::string& one,
                           const std::string& ones);

// The six rows of the published maps. Of a prompt of T tokens, with the subject in [a, b):
//   kSharma  prefix [0, a); subject [:-2] = [a, b - 2); subject [-2] = b - 2; subject [-1] = b - 1;
//            further [b, T - 1); last T - 1. A row's effect is the mean over its tokens in each
//            prompt, then over prompts.
//   kRome    first subject a; middle subject [a + 1, b - 1); last subject b - 1; first after b;
//            further [b + 1, T - 1); last T - 1. All tokens of all prompts are pooled.
// A token may belong to two groups (a subject of one token, a subject that ends the prompt).
enum class TraceGrouping { kSharma, kRome };
inline constexpr std::size_t kTokenGroups = 6;
struct TokenRange {
  int begin = 0, end = 0;  // empty if the prompt has no such token
};
std::array<TokenRange, kTokenGroups> token_groups(TraceGrouping grouping, int subject_begin,
                                                  int subject_end, int tokens);
const char* to_string(TraceGrouping grouping);  // "sharma", "rome"
// Of kSharma, those that findings and claims are about.
inline constexpr std::size_t kSubjectLastGroup = 3, kLastGroup = 5;
const char* name_of_group(TraceGrouping grouping, std::size_t group);

// One group of tokens at one centre.
struct TracePoint {
  std::size_t n = 0;        // values of the mean: prompts, or tokens of kRome's groups
  std::size_t prompts = 0;  // with such a token
  std::size_t facts = 0;    // of those prompts
  double effect = 0;        // mean indirect effect; NaN for n = 0
  Interval interval;        // t interval, clustered by fact
  // Mean of p / (high - low), which the code of Sharma et al. draws; NaN where nothing is restored.
  double published = 0;
};

// Effects of one prompt at the last token of its subject and at its own last one; [centre], NaN =
// no value.
struct LastTokens {
  std::size_t prompt_row = 0, fact = 0;
  bool apart = true;  // false: the subject ends the prompt, both are one token
  std::vector<double> of_subject, of_prompt;
};

// One map: a model's mean effects of one site, direction and window size.
struct TraceAverage {
  std::string model, family;
  std::int64_t layers = 0;
  TraceDirection direction = TraceDirection::kRestore;
  std::string site;
  std::int64_t window = 0;
  std::string placement;
  std::vector<std::int32_t> centres;
  std::size_t prompts = 0;              // used
  std::vector<LastTokens> last_tokens;  // of those
  // [grouping][group][centre]
  std::array<std::array<std::vector<TracePoint>, kTokenGroups>, 2> points;

  const std::vector<TracePoint>& of(TraceGrouping grouping, std::size_t group) const {
    return points[static_cast<std::size_t>(grouping)][group];
  }
};

// The papers call h the stream behind a layer, which is what enters our next one: theirs is one
// less, -1 = the embeddings.
std::int32_t published_layer(const std::string& site, std::int32_t centre);

// Where a group's mean effect is largest, the first of equals. No selection is corrected for: the
// interval is of this point alone. centre = -1 if there is no value.
struct TracePeak {
  std::int32_t centre = -1;
  TracePoint point;
};
TracePeak peak_of(const TraceAverage& average, TraceGrouping grouping, std::size_t group);

struct ModelTraces {
  std::string model;
  std::int64_t layers = 0;
  Mixing mixing = Mixing::kAttention;
  bool repeated = false;  // the same checkpoint under a second name
  Corruption corruption = Corruption::kSubject;
  std::int64_t noise_copies = 0;  // of noise
  double noise_deviation = 0;     // likewise
  std::vector<TracedFact> facts;
  std::vector<TraceAverage> averages;

  std::size_t count(FactUse use) const;
};

// "restore", "restore from noise"
std::string in_words(const ModelTraces& traces, TraceDirection direction);

// "57 of 60 traced prompts; left out: 2 without a value, 1 with high - low < 0.05"
std::string facts_in_words(const ModelTraces& traces);

// Of every model that has traces. `level` = confidence level of the intervals. Throws InputError
// for a damaged file.
std::vector<ModelTraces> study_traces(const RunData& run, const CleanLimits& limits, double level);

}  // namespace factflow
