// From results files to the data of an analysis: one run, or several that are compared.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "analysis/run_data.hpp"
#include "experiments/attribution/attribution_arrays.hpp"
#include "experiments/edit/edit_arrays.hpp"
#include "experiments/heatmap/heatmap_arrays.hpp"
#include "experiments/intervene/intervention_arrays.hpp"
#include "experiments/parts/parts_arrays.hpp"
#include "experiments/sever/sever_arrays.hpp"
#include "experiments/surge/surge_arrays.hpp"
#include "experiments/trace/trace_arrays.hpp"
#include "results/results_file.hpp"

namespace factflow {

// Of several runs, models are called "RUN/MODEL". Prompts that are equal in text, subject and
// answer are one prompt, whatever their ids; a prompt whose id belongs to another one gets a new
// id. The readers must outlive the data. Throws InputError for damaged files.
RunData load_runs(const std::vector<const ResultsReader*>& readers);

// Names in ModelData::repeats which models are checkpoints that stand before them. A checkpoint
// counts once: as the first of its names that was swept over the main set.
void name_repeated(std::vector<ModelData>& models);

// The cells of the model's set of prompts: of its knockouts, or of its interventions.
WindowData load_window(const ModelData& model, std::int64_t window);

// Heat maps, by the ids of RunData::prompts. `group`: of knockouts, or of one of
// intervention_maps() or trace_maps().
std::vector<std::int64_t> heatmap_windows(const ModelData& model,
                                          const std::string& group = "heatmap");  // ascending
std::vector<std::int64_t> heatmap_prompts(const ModelData& model, std::int64_t window,
                                          const std::string& group = "heatmap");
HeatmapResult load_heatmap(const ModelData& model, std::int64_t window, std::int64_t prompt,
                           const std::string& group = "heatmap");
// The rows of interventions that take one token after the other, with their maps.
std::vector<InterventionMap> intervention_maps(const ModelData& model);

// Which facts were traced, by the ids of RunData::prompts. Throws InputError if the model has none.
TracedFacts load_traced_facts(const ModelData& model);
// The same of those whose paths were severed, and these.
TracedFacts load_severed_facts(const ModelData& model);
SeveredPaths load_severed_paths(const ModelData& model);
// The same of those with gradient estimates, and these beside the exact effects.
TracedFacts load_attributed_facts(const ModelData& model);
AttributedEffects load_attributed_effects(const ModelData& model);
// Of all prompts that were asked about.
CellAxes load_mean_knockout_axes(const ModelData& model);
// Likewise of parts of edges, alone and several together; the latter's prompts are the axes'.
CellAxes load_part_axes(const ModelData& model);
std::vector<CumulatedParts> load_cumulated_parts(const ModelData& model);
CellAxes load_position_axes(const ModelData& model);
CellAxes load_answers_axes(const ModelData& model);
SurgeResult load_surge(const ModelData& model, std::int64_t window);

// The model's edits, by the ids of RunData::prompts. Throws InputError if it has none.
EditResults load_edits(const ModelData& model);

}  // namespace factflow
