// Numbers of the answer for every item (an edge, a row of interventions), prompt and window, in the
// results file: groups MODEL/GROUP and MODEL/GROUP/window_N.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "experiments/stored_arrays.hpp"
#include "results/results_file.hpp"

namespace factflow {

// How a kind of experiment calls its cells.
struct CellNames {
  std::string group;       // "knockout"
  std::string item;        // the axis: "edge"
  std::string item_means;  // what its names are
  std::string size;        // the array [item, prompt] of what an item touches: "edges"
  std::string size_means;  // what its numbers are from 0 on; arrays_of() says what -1 to -3 are
  // Words of descriptions.
  std::string done;     // "with the edge blocked"
  std::string nothing;  // "no such edge"
  std::string asking;   // "sweep"
};

// What the cells of one model have in common.
struct CellAxes {
  std::vector<std::string> items;     // "subject->last", "subject->last/slow"; unique
  std::vector<std::int64_t> prompts;  // ids of the selected prompts
  // [item, prompt] what it touches there: blocked (target, source) pairs, say; 0 = nothing,
  // kNotKnown = it is not computed yet, kFailedPrompt = it failed, kNotAsked = nobody asked for it.
  // Older files have kNotKnown where nobody asked, too.
  std::vector<std::int64_t> blocked;
  // The sets of prompts that were asked about, the main one first. Empty: all prompts are one set.
  std::vector<std::string> sets = {};  // names; unique
  // [set, prompt] 1 = the prompt belongs to the set, else 0.
  std::vector<std::int32_t> members = {};
};
inline constexpr std::int64_t kNotKnown = -1, kFailedPrompt = -2, kNotAsked = -3;

// All cells of one window size. NaN and rank 0: not computed, failed, or nothing to touch.
struct CellWindow {
  std::int64_t window = 0;  // layers
  std::string placement;    // "fit": start = first layer; "centred": start = centre layer
  std::vector<std::int32_t> starts;
  std::vector<float> probability;  // [item, prompt, start]
  std::vector<std::int32_t> rank;  // [item, prompt, start]
  // [set, item] 1 = this item was asked for of the set's prompts at this size, else 0. Empty where
  // the axes name no sets: everything was asked for.
  std::vector<std::int32_t> asked = {};
  // [item, prompt, start] how many other tokens are exactly as likely; empty: not counted.
  std::vector<std::int32_t> tied = {};
  // [item, prompt, start] ln(p / p_clean), from logits in the model's wide numbers: it says
  // something where p is too small for a float; empty: not stored.
  std::vector<float> log_change = {};
  // [item, prompt, start] how many edges (target, source) the layers of the window lost, summed
  // layer by layer over their mixers; 0 = none of these layers has such an edge, kNotCounted = not
  // computed or failed; empty: an older file.
  std::vector<std::int32_t> blocked_edges = {};
  // [item, prompt, start] in how many layers some token that was replayed goes to other experts
  // than in the clean run, kNotCounted as above; empty: the model has no experts.
  std::vector<std::int32_t> rerouted = {};
};

ArrayGroup arrays_of(const CellNames& names, const CellAxes& axes);
// After the axes.
ArrayGroup arrays_of(const CellNames& names, const CellAxes& axes, const CellWindow& window);

// Cells are read by set of prompts: its prompts, and the items and windows that were asked for of
// this set; cells that were asked for of another set with the same prompts are NaN and rank 0. By
// default the first set, which is everything in a file of one set; kAllPrompts is every prompt and
// item of all sets.
inline constexpr std::size_t kAllPrompts = static_cast<std::size_t>(-1);

// `model` is a name out of the reader's models. Throw InputError for what arrays_of() did not make.
// Names; empty: one set without a name.
std::vector<std::string> prompt_sets(const CellNames& names, const ResultsReader& reader,
                                     const std::string& model);
// Window sizes, ascending; empty if there is none.
std::vector<std::int64_t> cell_windows(const CellNames& names, const ResultsReader& reader,
                                       const std::string& model, std::size_t set = kAllPrompts);
CellAxes cell_axes(const CellNames& names, const ResultsReader& reader, const std::string& model,
                   std::size_t set = 0);
// `asked` is [item] of cell_axes(names, reader, model, set), without sets 1 for each; of
// kAllPrompts it is [set, item].
CellWindow cell_window(const CellNames& names, const ResultsReader& reader,
                       const std::string& model, std::int64_t window, std::size_t set = 0);

}  // namespace factflow
