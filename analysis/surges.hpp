// The last token's surge: what the answer gains when the last token cannot read itself in the last
// layers, and what that consists of. docs/beyond.md defines every number.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "analysis/measured.hpp"
#include "analysis/run_data.hpp"
#include "analysis/verdicts.hpp"
#include "experiments/surge/surge_arrays.hpp"

namespace factflow {

// Of prompts whose answers lose or gain; means over prompts.
struct Surge {
  std::string model, family;
  std::int64_t layers = 0, window = 0;
  std::size_t prompts = 0, failed = 0, outside = 0;  // asked; without numbers; beyond the limits
  std::size_t n = 0, facts = 0;
  std::size_t gaining = 0;                   // prompts in which ln p rises
  Measured change;                           // of ln p of the answer
  std::array<Measured, kParts> parts;        // of which it is the sum
  std::array<Measured, kParts> shares;       // mean part / mean change
  Measured own_written, competitor_written;  // what the layers write more to each logit, knocked
                                             // less clean, at the clean run's scale
  Measured scale_ratio;                      // ln(scale knocked / scale clean)
  Measured competitor_change;                // of ln p of the competitor
  Measured lost_to_competitor;  // its part of what all other tokens lose of their probability
  double half_lost = 0;         // median of how few tokens hold half of that
  std::array<Measured, kSources> weights;  // mean over the layers that lose the edge
  // By depth 0 .. layers, [run]: mean ln p of the answer and of the competitor.
  std::array<std::vector<Measured>, kRuns> lens_answer, lens_competitor;
  std::vector<std::string> components;
  std::array<std::vector<double>, kRuns> written;  // [component] mean, to the answer's logit
  std::vector<Measured> written_more;              // [component] knocked less clean
  // The tokens that most often lose most, with how often, and the mean of what they lose there.
  struct Loser {
    std::string text;
    std::size_t prompts = 0;
    double loss = 0;
  };
  std::vector<Loser> losers;
  // Of every prompt with numbers, for the table.
  struct OfPrompt {
    std::int64_t id = 0;
    SurgeFinding found;
  };
  std::vector<OfPrompt> found;
};

std::vector<Surge> study_surges(const RunData& run, const CleanLimits& limits,
                                const BootstrapOptions& options);

// A claim for each of inhibition, competitor and scale: that it is most of the surge.
std::vector<Claim> judge_surges(const std::vector<Surge>& surges);
// "inhibition of the answer's own logit", ...: which part is most of the surge, or that none is.
std::string surge_in_words(const Surge& surge);

}  // namespace factflow
