// What happens to the last token when it cannot read itself in the last layers, in the results
// file: groups MODEL/surge/layers_N, N = how many of the last layers lose the edge last -> last.
// docs/beyond.md defines every number.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "results/results_file.hpp"

namespace factflow {

// The two runs of every prompt, an axis of most arrays.
inline constexpr std::size_t kClean = 0, kKnocked = 1, kRuns = 2;

// The parts that the change of ln p consists of, an axis; their sum is the change.
inline constexpr std::size_t kOwnLogit = 0, kCompetitor = 1, kOtherTokens = 2, kScale = 3,
                             kParts = 4;
const std::vector<std::string>& surge_part_names();

inline constexpr std::int32_t kSurgeNotAsked = -3;

// From where the last token reads in a layer.
inline constexpr std::size_t kFromFirst = 0, kFromItself = 1, kFromOthers = 2, kSources = 3;
const std::vector<std::string>& surge_source_names();

// Of one prompt.
struct SurgeFinding {
  std::vector<double> log_probability;  // [run] of the answer
  std::vector<std::int32_t> rank;       // [run]
  std::vector<double> parts;            // [part]
  std::vector<double> scale;            // [run] what the final norm multiplies by
  std::int32_t competitor = -1;         // token id: the clean run's likeliest other token
  std::string competitor_text;
  std::vector<double> competitor_log;              // [run] ln p of it
  std::vector<std::int32_t> loser;                 // [loser] token ids, the largest loss first
  std::vector<std::string> loser_text;             // [loser]
  std::vector<double> loser_clean, loser_knocked;  // [loser] probabilities
  double lost = 0;             // sum of all losses of probability, the answer's own aside
  std::int32_t half_lost = 0;  // how few tokens hold half of it
  std::vector<double> lens_answer, lens_competitor;        // [run, depth] ln p read off the stream
  std::vector<std::int32_t> lens_rank;                     // [run, depth] of the answer
  std::vector<double> answer_written, competitor_written;  // [run, component]
  std::vector<double> weight;                              // [layer, source]
};

// Of one model.
struct SurgeResult {
  std::int64_t window = 0;            // layers that lose the edge, the last ones
  std::vector<std::int64_t> prompts;  // ids
  std::int64_t layers = 0, losers = 0;
  std::vector<std::string> components;  // "embedding", "0 o", "0 mlp", ..., "rest"
  // [prompt] 1 = there, 0 = not computed yet, -2 = failed, kSurgeNotAsked = nobody asked for it
  std::vector<std::int32_t> status;
  std::vector<SurgeFinding> found;  // [prompt]; without numbers unless status is 1
};
ArrayGroup arrays_of(const SurgeResult& result);

bool has_surge(const ResultsReader& reader, const std::string& model);
// Numbers of layers, ascending. Both throw InputError for what the function above did not make.
std::vector<std::int64_t> surge_windows(const ResultsReader& reader, const std::string& model);
SurgeResult read_surge(const ResultsReader& reader, const std::string& model, std::int64_t window);

}  // namespace factflow
