// Everything that the analysis computes, before anything is written or drawn.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "analysis/claims.hpp"
#include "analysis/curves.hpp"
#include "analysis/effects.hpp"
#include "analysis/groups.hpp"
#include "analysis/paired.hpp"
#include "analysis/run_data.hpp"

namespace factflow {

struct StudyOptions {
  std::int64_t window = 0;  // the window size that findings are about; 0 = see finding_window()
  BootstrapOptions bootstrap;
};

struct Study {
  RunData run;
  std::int64_t window = 0;             // of the findings
  std::vector<Curve> curves;           // every model, window and edge
  std::vector<EdgeEffect> effects;     // likewise
  std::vector<ChannelRatio> channels;  // every model and window
  // At each model's finding window (window_of):
  std::vector<EdgeEffect> main_effects;
  std::vector<GroupEffect> by_relation, by_subject_length, by_distance;
  std::vector<PairedDifference> paired;  // models that have the finding window
  bool all_pairs = true;                 // false: only pairs with the first model
  std::vector<Claim> claims;
};

// Throws InputError if the file turns out to be damaged.
Study make_study(const ResultsReader& reader, const StudyOptions& options);

}  // namespace factflow
