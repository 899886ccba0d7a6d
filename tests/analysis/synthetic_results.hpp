// Made-up but plausible results files: what the tests of the analysis and its figures are tried on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "experiments/edit/edit_arrays.hpp"

namespace factflow {

struct SyntheticModel {
  std::string name;
  std::string family;
  int layers = 12;
  double parameters = 1e8;
  // A letter for each layer: A attention, R recurrent, B both; "": what the family says. With both
  // kinds it has edges on single paths, of which these are the shares of what both do.
  std::string mixers = {};
  double attention_share = 0.85, state_share = 0.1;
};

struct SyntheticOptions {
  std::vector<SyntheticModel> models;
  int prompts = 40;  // of the dataset; all are selected
  int first_id = 100;
  int relations = 12;
  int phrasings = 1;  // prompts of each fact
  std::vector<int> windows = {1, 5, 9};
  std::string placement = "fit";
  std::string precision = "fp32";
  std::string answer = "continuation";
  std::string selection = "right for all models";
  std::vector<std::string> edges;  // "subject->last/slow"; channel sets only for state-space models
  double no_edge_share = 0.3;      // of the prompts, for edges out of `context`
  double one_word_share = 0;       // of the prompts: their subject is one token
  double failed_share = 0.02;      // of the prompts, per model
  int heatmap_prompts = 2;
  std::vector<int> heatmap_windows = {9};
  bool knockouts = true;  // false: no sweep and no heat maps
  // Rows of interventions, at the same windows; those with "context" in their name touch nothing
  // in prompts without context.
  std::vector<std::string> rows;
  // Rows that take one token after the other: maps of the prompts that have heat maps.
  std::vector<std::string> map_rows;
  // Of the first so many prompts, at the sites that the model has; 0 = none. Some fail, and some
  // have another subject that hardly lowers the answer's probability.
  int traced = 0;
  bool trace_broken = true;              // in both directions
  std::vector<int> trace_windows = {6};  // of all sites but h, whose window is one layer
  // Of the first so many prompts, in these layers (as far as the model has them) of each matrix; 0
  // = none. Some fail.
  int edited = 0;
  std::vector<int> edit_layers = {2};
  bool edit_sets = false;  // two sets: all of them, and every third with the first layer alone
  int severed = 0;         // likewise: of the first so many prompts, paths
  int mean_knocked = 0;    // likewise: knockouts by means
  int parts = 0;           // likewise: parts of edges
  int attributed = 0;      // likewise: gradient estimates
  int related = 0;         // likewise: linear relations, without failures
  // Each model is swept over prompts of its own: it gets the others wrong.
  bool own_prompts = false;
  // Two sets: "half" (every other prompt; not for the last model) and "own".
  bool named_sets = false;
  bool scripts = false;  // prompts in many of them, each with a heat map
  bool hostile = false;  // texts that would run in a browser if they were taken for markup
  bool complete = true;  // false: the last model has no knockouts past half of its prompts
  std::uint64_t seed = 1;
};

// Rows with names of every kind, some long, and rows with maps.
void add_interventions(SyntheticOptions& options);
// Traces, and subjects of one token and of two.
void add_traces(SyntheticOptions& options);
// Edits of every matrix, in a few layers.
void add_edits(SyntheticOptions& options);
void add_severings(SyntheticOptions& options);  // of as many
void add_mean_knockouts(SyntheticOptions& options);
void add_parts(SyntheticOptions& options);
void add_attributions(SyntheticOptions& options);
void add_relations(SyntheticOptions& options);
// Five families, six edges and all channel sets: small enough for a test, rich enough for a report.
SyntheticOptions synthetic_report();
// Hybrids of each verdict and controls, edges on paths.
SyntheticOptions synthetic_hybrids();
// 15 models, 574 prompts, six windows, every source, channel sets, heat maps at four windows: a
// published sweep and its appendix, about 150 MB.
SyntheticOptions synthetic_sweep();

// Edits that say how they were made, and nothing else.
EditResults synthetic_edit_results();

void write_synthetic_results(const std::filesystem::path& file, const SyntheticOptions& options);

}  // namespace factflow
