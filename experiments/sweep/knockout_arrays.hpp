// The knockouts of a model in the results file: groups MODEL/knockout and MODEL/knockout/window_N.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "results/results_file.hpp"

namespace factflow {

// What the knockouts of one model have in common.
struct KnockoutAxes {
  std::vector<std::string> edges;     // "subject->last", "subject->last/slow"; unique
  std::vector<std::int64_t> prompts;  // ids of the selected prompts
  // [edge, prompt] blocked (target, source) pairs; 0 = the prompt has no such edge, kFailedPrompt =
  // it failed, kNotKnown = no sweep asked for it, or it is not computed yet
  std::vector<std::int64_t> blocked;
  // The sets of prompts of which the sweeps were made, the main one first. Empty: all prompts are
  // one set.
  std::vector<std::string> sets = {};  // names; unique
  // [set, prompt] 1 = the prompt belongs to the set, else 0.
  std::vector<std::int32_t> members = {};
};
inline constexpr std::int64_t kNotKnown = -1, kFailedPrompt = -2;

// All knockouts of one window size. NaN and rank 0: not computed, failed, or no such edge.
struct KnockoutWindow {
  std::int64_t window = 0;  // layers
  std::string placement;    // "fit": start = first layer; "centred": start = centre layer
  std::vector<std::int32_t> starts;
  std::vector<float> probability;  // [edge, prompt, start]
  std::vector<std::int32_t> rank;  // [edge, prompt, start]
  // [set, edge] 1 = a sweep asked for this edge of the set's prompts at this size, else 0. Empty
  // where the axes name no sets: everything was asked for.
  std::vector<std::int32_t> asked = {};
  // [edge, prompt, start] how many other tokens are exactly as likely; empty: not counted.
  std::vector<std::int32_t> tied = {};
};

ArrayGroup arrays_of(const KnockoutAxes& axes);
ArrayGroup arrays_of(const KnockoutAxes& axes, const KnockoutWindow& window);  // after the axes

// Knockouts are read by set of prompts: its prompts, and the edges and windows that sweeps asked
// for of this set; cells that another set's sweep asked for of the same prompts are NaN and rank 0.
// By default the first set, which is everything in a file of one set; kAllPrompts is every prompt
// and edge of all sets.
inline constexpr std::size_t kAllPrompts = static_cast<std::size_t>(-1);

// `model` is a name out of the reader's models. Throw InputError for what arrays_of() did not make.
// Names; empty: one set without a name.
std::vector<std::string> prompt_sets(const ResultsReader& reader, const std::string& model);
// Window sizes, ascending; empty if nothing was knocked out.
std::vector<std::int64_t> knockout_windows(const ResultsReader& reader, const std::string& model,
                                           std::size_t set = kAllPrompts);
KnockoutAxes knockout_axes(const ResultsReader& reader, const std::string& model,
                           std::size_t set = 0);
// `asked` is [edge] of knockout_axes(model, set), without sets 1 for each; of kAllPrompts it is
// [set, edge].
KnockoutWindow knockout_window(const ResultsReader& reader, const std::string& model,
                               std::int64_t window, std::size_t set = 0);

}  // namespace factflow
