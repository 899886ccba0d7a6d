// The results file of a run (results.h5), schema version 2: what ran, on which prompts and models,
// what failed, and the labelled arrays of its experiments, of which nothing here knows what they
// mean. docs/results.md is the description for readers in other languages.
//
// Neither class is thread-safe: use one from one thread at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "results/hdf5_file.hpp"
#include "results/labelled_arrays.hpp"

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
  std::string stage;   // "dataset", or the name of an experiment kind
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
  // [layers] what each layer is, in the order of the computation: "mamba", or "attention, mlp", or
  // in parallel "attention + mlp".
  std::vector<std::string> layer_blocks = {};
  // How many runs the engine was held against whole forwards in before the first number was kept,
  // the largest |log((p + 1e-6) / (q + 1e-6))| of an answer's probabilities, and of which run; 0
  // runs: it was not.
  std::int64_t check_runs = 0;
  double check_largest = 0;
  std::string check_of = {};
};

// Writes one file, model by model and group by group, so that no more than one group of one model
// need be in memory. Everything goes to a hidden file beside `path`; publish() syncs and renames
// it, so `path` is complete and consistent whenever it exists, and an object that is destroyed
// unpublished leaves what was there. Throws RunError if the disk refuses, InputError for a model
// name that cannot be one, and std::logic_error for vectors whose sizes disagree, names used twice,
// or calls out of order (a caller's bug).
class ResultsWriter {
 public:
  ResultsWriter(const std::filesystem::path& path, const RunInfo& info, const PromptTable& prompts);
  ~ResultsWriter();
  ResultsWriter(const ResultsWriter&) = delete;
  ResultsWriter& operator=(const ResultsWriter&) = delete;

  void begin_model(const ModelInfo& model);
  // Of the model begun last.
  void write(const ArrayGroup& group);

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

  // What experiments stored of a model out of models().
  const ModelInfo& model(const std::string& name) const;
  hdf5::Group arrays_of(const std::string& model) const;
  // Throws InputError unless these ids, the axis "prompt" of the group, are different ones of
  // prompts().
  void check_prompts(const hdf5::Group& group, const std::vector<std::int64_t>& ids) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace factflow
