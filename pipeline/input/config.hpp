// The YAML configuration of a run, checked and with all defaults filled in.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "experiments/experiment.hpp"
#include "model/checkpoint_choices.hpp"
#include "model/prompt.hpp"

namespace factflow {

struct DatasetConfig {
  std::string path = {};        // a file, or a directory of Relations files
  std::string format = "auto";  // see pipeline/input/dataset.hpp
  // The first N prompts that pass the filters; 0 = all, `limit: all` in YAML.
  std::int64_t limit = 0;
  std::int64_t sample = 0;  // N prompts drawn with `seed`, in dataset order; 0 = all, likewise
  std::uint64_t seed = 0;
  std::vector<std::string> relations = {};  // keep only these relation ids; empty = all
  std::vector<std::int64_t> ids = {};       // keep only these prompt ids; empty = all
  // Also record the reference code's numbers (docs/datasets.md).
  bool reference_ids = false;
  bool operator==(const DatasetConfig&) const = default;
};

struct ModelConfig {
  std::string name = {};       // group name in the results; letters, digits, '.', '_', '-'; unique
  std::string path = {};       // directory or hf:ORG/NAME[@REVISION]
  std::string tokenizer = {};  // directory or tokenizer.json; empty = the one in `path`
  HeadChoice head = HeadChoice::kConfigured;
  GatedNormChoice gated_norm = GatedNormChoice::kPerGroup;
  bool operator==(const ModelConfig&) const = default;
};

// A set of prompts. Each model has its own where the rule is kSelf.
struct SelectConfig {
  enum class Rule { kAllModels, kSelf, kTheseModels, kNone, kIds };
  Rule rule = Rule::kAllModels;
  std::vector<std::string> models = {};  // kTheseModels: names of this config
  std::string ids_file = {};             // kIds: JSON list or one id per line
  std::vector<std::int64_t> ids = {};    // kIds: what it held when read_prompts() read it
  std::string name = "selected";         // by which entries ask for the set; unique
  // A model counts as right if the answer's rank is at most this.
  int rank = 1;
  // Which token is the answer's; the same in all sets of a run.
  AnswerRule answer = AnswerRule::kContinuation;
  bool operator==(const SelectConfig&) const = default;
};

struct RunConfig {
  std::string device = "auto";     // auto | cpu | cuda | cuda:N
  std::string precision = "fp32";  // fp64 (CPU only) | fp32 | tf32x3, tf32, bf16 (GPU only)
  int threads_per_rank = 0;        // 0 = auto: the cores of a node divided among its ranks
  std::int64_t memory_limit = 0;   // bytes per rank for activations; 0 = auto. Accepts "8 GiB"
  bool share_gpus = false;         // more ranks than GPUs
  int heartbeat_timeout = 60;      // seconds after which a silent rank counts as lost
  bool self_check = true;          // hold the engine against whole forwards first
  bool operator==(const RunConfig&) const = default;
};

// A path as a configuration file writes it and as it was understood.
struct WrittenPath {
  std::string key;      // "models[1].path"
  int line = 0;         // of the file
  std::string written;  // "../demo/models/mamba"
  std::string path;     // absolute
  bool operator==(const WrittenPath&) const = default;
};

struct Config {
  // Where it was read from, and its paths there; not part of the resolved copy.
  std::filesystem::path file;
  std::vector<WrittenPath> paths = {};
  std::string name = {};
  DatasetConfig dataset;
  // hf:ORG/NAME is DIRECTORY/ORG/NAME or DIRECTORY/NAME; empty = the hub's cache.
  std::string models_directory = {};
  std::vector<ModelConfig> models;
  std::vector<SelectConfig> select = {SelectConfig{}};  // at least one
  // What each kind of experiment is asked; the union of a kind's entries is computed, everything
  // once.
  Sections experiments;
  RunConfig run;
  bool operator==(const Config&) const = default;
};

// What a command line replaces in a configuration; empty = nothing. Paths absolute.
struct ConfigOverrides {
  std::optional<std::int64_t> limit;  // dataset.limit
  std::string dataset;                // dataset.path
  std::string models_directory;
  std::vector<std::string> set = {};  // "run.precision=tf32": keys of any kind (set_key())
};
void apply(const ConfigOverrides& overrides, Config& config);

// The index in config.select of the set called `name`; the first for an empty name.
size_t prompt_set(const Config& config, const std::string& name);
// How all windows of the run are placed.
Placement placement_of(const Config& config);

// Throws InputError "FILE:LINE: key a.b.c: ..." for a syntax error, an unknown key (with the
// nearest known one), a wrong type, a value out of range, a duplicate, or a missing required key.
// Paths (dataset.path, models_directory, path and tokenizer of models, select.ids) are relative to
// the folder of the file, may begin with ~, and are absolute afterwards.
// `set`: keys that are set as if the file said so.
Config read_config(const std::filesystem::path& file, const std::vector<std::string>& set = {});
// The same from text, whose paths stay as they are written.
Config parse_config(const std::string& yaml, const std::filesystem::path& file);

// Throws InputError "FILE:LINE: key a.b: ..." if `path`, one of the configuration file's, does not
// exist; says so if it would relative to the working directory.
void require_path(const Config& config, const std::string& path);

// The same configuration with every default written out; parse_config(resolved_yaml(c)) == c. Two
// runs may share a directory if and only if their identities are equal: run.precision changes the
// numbers, the rest of run.* and models_directory do not (the digests of the checkpoints do).
std::string resolved_yaml(const Config& config);
std::string identity_yaml(const Config& config);

// A table of all keys with type, default and meaning, for `factflow run --help`.
std::string config_help();

}  // namespace factflow
