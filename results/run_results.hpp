// The results file of a run (results.h5), schema version 2, as structs with a writer and a reader.
// docs/results.md is the description for readers in other languages.
//
// Neither class is thread-safe: use one from one thread at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace factflow {

inline constexpr std::int64_t kResultsSchemaVersion = 2;
inline constexpr const char* kResultsFileName = "results.h5";

// Attributes of the root: what ran, on what, and how far it came.
struct RunInfo {
  std::string name;
  std::string created;  // UTC, ISO 8601: "2025-07-01T12:00:00Z"
  std::string factflow_version;
  std::string config;     // the resolved YAML
  std::string selection;  // in words: "right for all of gpt2, mamba"
  // Names of all that the configuration has; the results may lack some so far.
  std::vector<std::string> models = {};
  std::string answer;  // the rule that chose the answers' tokens: "continuation", "first-token"
  std::string dataset_path, dataset_digest, dataset_format;
  std::string libtorch, host, device, precision;
  double elapsed_seconds = 0;  // computing time so far, over all starts of the run; 0 = unknown
  bool complete = false;       // every planned unit is in
  std::int64_t units_done = 0, units_planned = 0;
};

// The dataset's prompts, after its filters. All vectors have one element per prompt; reference_id
// may be empty.
struct PromptTable {
  std::vector<std::int64_t> id;  // unique
  std::vector<std::string> text, subject, answer, relation;
  std::vector<std::int64_t> reference_id;
};

// A unit, prompt or dataset record that gave no numbers.
struct FailureRecord {
  std::string model;   // "" for the stage "dataset"
  std::string stage;   // "dataset", "evaluate", "sweep", "heatmap"
  std::string prompt;  // the prompt's id, or "" if the failure is not one prompt's
  std::string reason;
};

struct ModelInfo {
  std::string name;  // letters, digits, '.', '_', '-'; not "prompts" or "failures"
  // The checkpoint's model_type: "gpt2", "llama", "mamba", "mamba2", "falcon_mamba", ...
  std::string family;
  std::string path;
  std::int64_t layers = 0, hidden_size = 0, vocabulary = 0, parameters = 0;
  std::string checkpoint_digest, tokenizer_digest;
};

// The clean run. Vectors over [prompt], the top_* ones over [prompt, top] row-major.
struct EvaluationResult {
  std::vector<std::int64_t> prompt;  // ids, a subset of PromptTable::id
  std::vector<float> probability;    // of the answer's token; NaN where the prompt failed
  // 1 + how many other tokens are at least as likely; 0 where the prompt failed.
  std::vector<std::int32_t> rank;
  std::vector<std::int32_t> answer_token;  // vocabulary id; -1 where the prompt failed
  std::vector<std::string> answer_text;    // of that token; "" where the prompt failed
  // 1 = the prompt's own tokens are others when the answer follows.
  std::vector<std::int32_t> changes;
  std::vector<std::int32_t> token_count;
  std::vector<std::int32_t> subject_begin, subject_end;  // token range [begin, end)
  std::int64_t top = 5;
  std::vector<std::int32_t> top_token;
  std::vector<float> top_probability;
  std::vector<std::string> top_text;
  // How many other tokens are exactly as likely as the answer; empty: not counted.
  std::vector<std::int32_t> tied = {};
};

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

// Knockouts "one token -> last" of one prompt.
struct HeatmapResult {
  std::int64_t window = 0;
  std::string placement = "fit";  // as in KnockoutWindow
  std::int64_t prompt = 0;
  std::vector<std::string> tokens;   // texts
  std::vector<std::int32_t> starts;  // the same for all prompts of one window
  std::vector<float> probability;    // [token, start]
  // Vocabulary ids of the tokens, of which part of a character has no text; empty: not stored.
  std::vector<std::int32_t> token_ids = {};
};

// Writes one file, model by model and window by window, so that no more than one window of one
// model need be in memory. Everything goes to a hidden file beside `path`; publish() syncs and
// renames it, so `path` is complete and consistent whenever it exists, and an object that is
// destroyed unpublished leaves what was there. Throws RunError if the disk refuses, InputError for
// a model name that cannot be one, and std::logic_error for vectors whose sizes disagree, names
// used twice, or calls out of order (a caller's bug).
class ResultsWriter {
 public:
  ResultsWriter(const std::filesystem::path& path, const RunInfo& info, const PromptTable& prompts);
  ~ResultsWriter();
  ResultsWriter(const ResultsWriter&) = delete;
  ResultsWriter& operator=(const ResultsWriter&) = delete;

  // Each of the next is about the model begun last.
  void begin_model(const ModelInfo& model);
  void write_evaluation(const EvaluationResult& evaluation);
  void write_axes(const KnockoutAxes& axes);
  void write_window(const KnockoutWindow& window);  // after write_axes
  void write_heatmap(const HeatmapResult& heatmap);

  void publish(const std::vector<FailureRecord>& failures);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Reads such a file. Throws InputError for a file that is missing, damaged, of another schema
// version, or inconsistent.
class ResultsReader {
 public:
  explicit ResultsReader(const std::filesystem::path& path);
  ~ResultsReader();
  ResultsReader(ResultsReader&&) noexcept;

  const RunInfo& info() const;
  const std::string& hdf5_version() const;  // of the library that wrote the file
  const std::string& digest() const;        // of the file: "xxh3:..."
  const PromptTable& prompts() const;
  const std::vector<FailureRecord>& failures() const;
  const std::vector<ModelInfo>& models() const;  // in the order in which they were written

  // `model` is a name out of models().
  bool has_evaluation(const std::string& model) const;
  EvaluationResult evaluation(const std::string& model) const;
  // Knockouts are read by set of prompts: its prompts, and the edges and windows that sweeps asked
  // for of this set; cells that another set's sweep asked for of the same prompts are NaN and rank
  // 0. By default the first set, which is everything in a file of one set; kAllPrompts is every
  // prompt and edge of all sets.
  std::vector<std::string> prompt_sets(
      const std::string& model) const;  // names; empty: one set without a name
  static constexpr std::size_t kAllPrompts = static_cast<std::size_t>(-1);
  // Window sizes, ascending; empty if nothing was knocked out.
  std::vector<std::int64_t> windows(const std::string& model, std::size_t set = kAllPrompts) const;
  KnockoutAxes axes(const std::string& model, std::size_t set = 0) const;
  // `asked` is [edge] of axes(model, set), without sets 1 for each; of kAllPrompts it is [set,
  // edge].
  KnockoutWindow window(const std::string& model, std::int64_t window, std::size_t set = 0) const;
  // Of the model's windows and heat maps, which a run places alike; "" if there are none.
  std::string placement(const std::string& model) const;
  std::vector<std::int64_t> heatmap_windows(const std::string& model) const;  // ascending
  std::vector<std::int64_t> heatmap_prompts(const std::string& model, std::int64_t window) const;
  HeatmapResult heatmap(const std::string& model, std::int64_t window, std::int64_t prompt) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace factflow
