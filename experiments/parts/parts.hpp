// Which parts of an edge carry it: every head, slice of the decay ranking, random slice or group of
// channels loses the edge alone, in every window of some sizes; and how many of them it takes, by
// knocking them out together, one more at a time. docs/beyond.md.
#pragma once

#include <cstdint>
#include <vector>

#include "experiments/experiment.hpp"
#include "experiments/parts/division.hpp"
#include "model/knockout.hpp"

namespace factflow {

const ExperimentKind& parts_kind();

// Prompts by whose single effects parts are put in order.
struct CumulateConfig {
  int prompts = 0;         // of the dataset; 0 = nothing is knocked out together
  std::uint64_t seed = 1;  // draws them, and the order that is the control
  bool operator==(const CumulateConfig&) const = default;
};

// Prompts in whose tokens the decay that happens is measured, for divisions by exp(A dt).
struct RankingConfig {
  int prompts = 0;         // of the dataset; 0: kUsualRanking, or all where there are fewer
  std::uint64_t seed = 1;  // draws them
  bool operator==(const RankingConfig&) const = default;
};
inline constexpr int kUsualRanking = 64;

struct PartsConfig : Entry {
  std::vector<TokenRole> from = {TokenRole::kSubject};
  std::vector<TokenRole> to = {TokenRole::kLast};
  WindowsConfig windows = {};
  std::vector<Division> channels = {};
  CumulateConfig cumulate;
  RankingConfig ranking;
  bool operator==(const PartsConfig&) const = default;
};
Form<std::vector<PartsConfig>> parts_form();

}  // namespace factflow
