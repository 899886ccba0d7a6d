// What the analysis keeps in memory of one or several results files: everything but the cells of
// knockouts and interventions, which are read window by window.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "experiments/evaluate/evaluation_arrays.hpp"
#include "experiments/intervene/intervention_arrays.hpp"
#include "experiments/sweep/knockout_arrays.hpp"
#include "results/results_file.hpp"

namespace factflow {

// "subject->last/slow (recurrent)" in its parts. A label of another form becomes a source without a
// target.
struct EdgeName {
  std::string label;
  std::string source, target;
  std::string channels = "all";  // the channels that lose the edge
  std::string path = "both";     // the mixers that do: "attention", "recurrent" or "both"
  bool all_channels() const { return channels == "all"; }
  bool whole() const { return all_channels() && path == "both"; }
  std::string ends() const;  // "subject->last"
  std::string flow() const;  // without the channels: "subject->last", "subject->last (recurrent)"
  // "subject → last", "subject → last (slow channels)", "subject → last (attention)"
  std::string display() const;
};
EdgeName parse_edge(const std::string& label);
// The name of a row of interventions, which may be any text: nothing is taken out of it, "->" is
// displayed as an arrow.
EdgeName name_of_row(const std::string& label);

// How many answers of the clean runs are exactly as likely as another token, which counts against
// them.
std::size_t count_tied(const EvaluationResult& evaluation);

// Which mixers of tokens a layer has. Recurrent are all but attention, as `path` has it.
struct LayerMixers {
  bool attention = false, recurrent = false;
  bool operator==(const LayerMixers&) const = default;
};
std::vector<LayerMixers> mixers_of(const ModelInfo& info);  // [layer]
// A letter for each layer: A attention, R recurrent, B both, - none.
std::string mixers_in_letters(const ModelInfo& info);
// How many layers of a window have each kind.
struct MixerCount {
  std::int64_t attention = 0, recurrent = 0;
};
MixerCount count_mixers(const std::vector<LayerMixers>& mixers, const std::string& placement,
                        std::int64_t window, std::int64_t start);

// How the layers of a model mix tokens.
enum class Mixing { kAttention, kState, kBoth };
Mixing mixing_of(const ModelInfo& info);

// Names of sets of prompts: of the only one of a run that names none, and of the one that
// prompt_sets.hpp makes.
inline constexpr const char* kUnnamedSet = "selected";
inline constexpr const char* kCommonSet = "shared";

// A model with one set of prompts, and what was done to it: knockouts, or rows of interventions.
struct ModelData {
  ModelInfo info;                             // of several runs, the name is "RUN/MODEL"
  EvaluationResult evaluation;                // empty if the model was not evaluated
  const CellNames* kind = &knockout_names();  // or intervention_names(): of its cells
  CellAxes axes;                              // empty if nothing was knocked out
  std::vector<std::int64_t> windows;          // sizes that were asked for of this set
  std::vector<EdgeName> edges;                // of axes.items: edges, or rows
  std::string prompt_set = kUnnamedSet;
  // The first set of its run, which findings, claims and comparisons are about.
  bool main_set = true;
  // The model before it that is the same checkpoint (equal digests); else "". Claims and sentences
  // count a checkpoint once.
  std::string repeats;
  // Of axes.prompts:
  // The answer's probability in the clean run; NaN if unknown.
  std::vector<double> clean;
  std::vector<std::size_t> prompt_row;  // row in PromptTable
  // Prompts of one subject and relation say one fact; facts are numbered as they appear.
  std::vector<std::size_t> fact;
  std::vector<std::size_t> evaluation_row;  // row in `evaluation`; its size if there is none
  // Where its cells are, see load_runs.hpp.
  const ResultsReader* reader = nullptr;
  std::string stored_name;
  std::size_t stored_set = 0;
  std::vector<std::size_t> stored_rows;  // of axes.prompts among the stored set's prompts
  std::map<std::int64_t, std::int64_t> stored_ids;  // of the prompts whose id was changed
};

// Prompts whose clean probability is outside are left out, model by model.
struct CleanLimits {
  double low = 0, high = 1;
  bool any() const { return low > 0 || high < 1; }
  // Rounding may carry a probability a little past 1.
  bool admit(double p) const { return p >= low && (high == 1 || p <= high); }
};

// Where numbers come from.
struct RunSource {
  std::string name;  // of the run; no two are alike
  RunInfo info;
  std::string hdf5_version, digest;
};

struct RunData {
  std::string name;
  std::vector<RunSource> sources;  // at least one
  PromptTable prompts;
  std::vector<FailureRecord> failures;
  std::vector<ModelData> models;  // each once, with the main set of its run (or no prompts if it
                                  // was not swept over it)
  // Models again, with each of their other sets; without evaluations.
  std::vector<ModelData> other_sets;
  // Models again, with their rows of interventions, once for each set of prompts; without
  // evaluations. Findings, claims and comparisons are not about these.
  std::vector<ModelData> interventions;
};

// The evaluation of the model of this name; nullptr if the run has no such model.
const EvaluationResult* evaluation_of(const RunData& run, const std::string& model);

// One window of one model, joined with its clean run. `model` must outlive it.
struct WindowData {
  const ModelData* model = nullptr;
  CellWindow cells;                // of all of the model's edges
  std::vector<std::size_t> edges;  // indices of those that were asked for at this size, ascending

  std::size_t starts() const { return cells.starts.size(); }
  double depth(std::size_t start) const;  // start / layers, in [0, 1)
  std::size_t cell(std::size_t edge, std::size_t prompt, std::size_t start) const {
    return (edge * model->axes.prompts.size() + prompt) * starts() + start;
  }
  // Whether it happened and its relative change is defined: p and p_clean > 0 are known and the
  // edge exists, or the row has something to touch.
  bool valid(std::size_t edge, std::size_t prompt, std::size_t start) const;
  double change(std::size_t edge, std::size_t prompt,
                std::size_t start) const;  // 100 (p - p_clean) / p_clean, or NaN
  // ln(p / p_clean), as it is stored; else of p and p_clean, p at least 1.2e-38 (the smallest
  // normal float32). NaN likewise.
  double log_change(std::size_t edge, std::size_t prompt, std::size_t start) const;
  // The prompts (indices into axes.prompts) that are valid at every start.
  std::vector<std::size_t> complete_prompts(std::size_t edge) const;
};

// The window size that findings are about: `wanted` if it is given; else 9, as in the published
// figures, if every model has it and at least 16 layers; else the largest that all (or most) have
// and that covers no more than a third of the shallowest model, so that a start still says
// something about depth. Of sweeps; of interventions, if there are no sweeps. 0 if there is none.
// Throws InputError for a `wanted` that no model was swept over; without sweeps, that no
// intervention or map has.
std::int64_t finding_window(const RunData& run, std::optional<std::int64_t> wanted);
// The same for one model: `common` if it has it, else its largest.
std::int64_t window_of(const ModelData& model, std::int64_t common);

}  // namespace factflow
