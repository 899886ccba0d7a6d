// Everything that the analysis computes, before anything is written or drawn.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "analysis/attributions.hpp"
#include "analysis/baselines.hpp"
#include "analysis/carriers.hpp"
#include "analysis/claims.hpp"
#include "analysis/combined.hpp"
#include "analysis/curves.hpp"
#include "analysis/edits.hpp"
#include "analysis/effects.hpp"
#include "analysis/groups.hpp"
#include "analysis/linear_relations.hpp"
#include "analysis/mean_knockouts.hpp"
#include "analysis/paired.hpp"
#include "analysis/parts.hpp"
#include "analysis/paths.hpp"
#include "analysis/positions.hpp"
#include "analysis/run_data.hpp"
#include "analysis/sensitivity.hpp"
#include "analysis/severings.hpp"
#include "analysis/surges.hpp"
#include "analysis/traces.hpp"
#include "analysis/whole_answers.hpp"

namespace factflow {

struct StudyOptions {
  // The window size that findings are about; none = see finding_window().
  std::optional<std::int64_t> window;
  CleanLimits p_clean;
  BootstrapOptions bootstrap;
};

// In place of a set of prompts: these have none.
inline constexpr const char* kTraces = "traces";
inline constexpr const char* kEdits = "edits";  // of all sets
inline constexpr const char* kSeverings = "severed paths";
inline constexpr const char* kMeanKnockouts = "knockouts by means";
inline constexpr const char* kPartsOfEdges = "parts of edges";
inline constexpr const char* kRelations = "linear relations";
inline constexpr const char* kSurges = "the last token's surge";
inline constexpr const char* kAttributions = "gradient estimates";

// How many prompts the limits leave.
struct Kept {
  std::string model,
      prompts;  // name and set of the above prompts, or one prompts, or kTraces, kSeverings, ...
  std::size_t kept = 0, of = 0;
  bool operator==(const Kept&) const = default;
};

struct Study {
  RunData run;
  std::int64_t window = 0;  // of the findings
  CleanLimits p_clean;
  std::vector<Kept> kept;  // empty without limits
  // Prompts that all models get right, where the only sets differ from model to model; else empty.
  // See prompt_sets.hpp.
  std::vector<std::int64_t> common;
  // Every model, set of prompts, window and edge; of the common prompts only the finding window.
  std::vector<Curve> curves;
  std::vector<EdgeEffect> effects;
  std::vector<ChannelRatio> channels;  // likewise
  // At each model's finding window (window_of), over its main set:
  std::vector<EdgeEffect> main_effects;
  std::vector<ChannelRatio> main_channels;
  std::vector<GroupEffect> by_relation, by_subject_length, by_distance;
  std::vector<PairedDifference> paired;  // models that have the finding window
  bool all_pairs = true;                 // false: only pairs with the first model
  std::vector<SensitivityPair> sensitivity;
  std::vector<Claim> claims;
  // Every model, set of prompts, window and row of interventions; and at each model's finding
  // window, over every set.
  std::vector<Curve> intervention_curves;
  std::vector<EdgeEffect> intervention_effects, main_interventions;
  std::vector<ModelTraces> traces;  // of the models that have some
  std::vector<ModelEdits> edits;    // likewise
  std::vector<ModelMeanKnockouts> mean_knockouts;
  std::vector<ModelSevering> severings;   // likewise
  std::vector<ModelRelations> relations;  // likewise
  std::vector<ModelParts> parts;          // likewise
  // Of each model, set of prompts and window size whose rows of interventions are about paths.
  std::vector<ModelPaths> paths;
  // Of models of which some run cut edges on one path alone: hybrids, and their controls.
  std::vector<CarriedEdge> carriers;
  // Questions beyond the paper (docs/beyond.md), of the models that have answers.
  std::vector<Combined> combined;
  std::vector<Baselines> baselines;
  std::vector<Surge> surges;
  std::vector<PositionCurve> positions;
  std::vector<WholeAnswer> whole_answers;
  std::vector<ModelAttributions> attributions;
};

// Throws InputError if a file turns out to be damaged, or if options name what it does not hold.
Study make_study(RunData run, const StudyOptions& options);

}  // namespace factflow
