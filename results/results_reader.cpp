#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <sstream>
#include <utility>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "results/hdf5_file.hpp"
#include "results/reserved_names.hpp"
#include "results/results_file.hpp"
#include "results/seal.hpp"

namespace factflow {
namespace {

using hdf5::Group;

constexpr std::int64_t kMaxTop = 1000;
constexpr std::int64_t kMostLayers = 1'000'000;  // of a model
constexpr const char* kDamaged = "the file is damaged or was not written by factflow";

[[noreturn]] void inconsistent(const Group& group, const std::string& name,
                               const std::string& problem) {
  throw InputError(group.where(name), problem, kDamaged);
}

void check_schema(const Group& root) {
  const std::string file = root.where();
  if (!root.has_attribute("schema_version"))
    throw InputError(file, "has no attribute 'schema_version'",
                     "this is no results file of factflow");
  const std::int64_t version = root.integer_attribute("schema_version");
  if (version != kResultsSchemaVersion)
    throw InputError(
        file, fmt::format("has schema version {}, expected {}", version, kResultsSchemaVersion),
        "analyse it with the version of factflow that wrote it");
}

RunInfo read_info(const Group& root) {
  RunInfo info;
  info.name = root.text_attribute("name");
  info.created = root.text_attribute("created");
  info.factflow_version = root.text_attribute("factflow_version");
  info.config = root.text_attribute("config");
  info.selection = root.text_attribute("selection");
  std::istringstream models(root.text_attribute("models"));  // no name has a space
  for (std::string name; models >> name;) info.models.push_back(name);
  info.answer = root.text_attribute("answer");
  info.dataset_path = root.text_attribute("dataset_path");
  info.dataset_digest = root.text_attribute("dataset_digest");
  info.dataset_format = root.text_attribute("dataset_format");
  info.libtorch = root.text_attribute("libtorch");
  info.host = root.text_attribute("host");
  info.device = root.text_attribute("device");
  info.precision = root.text_attribute("precision");
  info.elapsed_seconds = root.real_attribute("elapsed_seconds");
  info.complete = root.integer_attribute("complete") != 0;
  info.units_done = root.integer_attribute("units_done");
  info.units_planned = root.integer_attribute("units_planned");
  return info;
}

template <typename T>
void check_unique(const Group& group, const std::string& name, const std::vector<T>& values) {
  if (std::set<T>(values.begin(), values.end()).size() != values.size())
    inconsistent(group, name, "expected values that differ from each other");
}

PromptTable read_prompts(const Group& group) {
  PromptTable table;
  table.id = group.read_axis<std::int64_t>("prompt");
  check_unique(group, "prompt", table.id);
  const hdf5::Shape shape{table.id.size()};
  table.text = group.read<std::string>("text", shape);
  table.subject = group.read<std::string>("subject", shape);
  table.answer = group.read<std::string>("answer", shape);
  table.relation = group.read<std::string>("relation", shape);
  if (group.has("reference_id"))
    table.reference_id = group.read<std::int64_t>("reference_id", shape);
  return table;
}

std::vector<FailureRecord> read_failures(const Group& group) {
  const std::vector<std::string> model = group.read_axis<std::string>("model");
  const hdf5::Shape shape{model.size()};
  const std::vector<std::string> stage = group.read<std::string>("stage", shape);
  const std::vector<std::string> prompt = group.read<std::string>("prompt", shape);
  const std::vector<std::string> reason = group.read<std::string>("reason", shape);
  std::vector<FailureRecord> failures;
  for (std::size_t i = 0; i < model.size(); ++i)
    failures.push_back({model[i], stage[i], prompt[i], reason[i]});
  return failures;
}

// Files of versions before do not say it, and those knew these families alone.
std::string blocks_of_family(const std::string& family) {
  static const std::map<std::string, std::string> others = {{"mamba", "mamba"},
                                                            {"falcon_mamba", "mamba"},
                                                            {"mamba2", "mamba2"},
                                                            {"gpt_neox", "attention + mlp"}};
  const auto found = others.find(family);
  return found == others.end() ? "attention, mlp" : found->second;
}

std::vector<std::string> read_layer_blocks(const Group& group, const ModelInfo& model) {
  if (!group.has_attribute("layer_blocks"))
    return std::vector<std::string>(static_cast<std::size_t>(model.layers),
                                    blocks_of_family(model.family));
  std::vector<std::string> blocks;
  std::istringstream lines(group.text_attribute("layer_blocks"));
  for (std::string line; std::getline(lines, line);) blocks.push_back(line);
  if (static_cast<std::int64_t>(blocks.size()) != model.layers)
    inconsistent(group, "",
                 fmt::format("attribute 'layer_blocks' has {}, expected one for each of {} layers",
                             counted(blocks.size(), "line"), model.layers));
  return blocks;
}

ModelInfo read_model(const Group& group, const std::string& name) {
  ModelInfo model;
  model.name = name;
  model.family = group.text_attribute("family");
  model.path = group.text_attribute("path");
  model.layers = group.integer_attribute("layers");
  model.hidden_size = group.integer_attribute("hidden_size");
  model.vocabulary = group.integer_attribute("vocabulary");
  model.parameters = group.integer_attribute("parameters");
  model.checkpoint_digest = group.text_attribute("checkpoint_digest");
  model.tokenizer_digest = group.text_attribute("tokenizer_digest");
  if (group.has_attribute("self_check_runs")) {  // not in files of versions before
    model.check_runs = group.integer_attribute("self_check_runs");
    model.check_largest = group.real_attribute("self_check_largest");
    model.check_of = group.text_attribute("self_check_of");
  }
  if (model.layers < 1 || model.layers > kMostLayers)
    inconsistent(
        group, "",
        fmt::format("attribute 'layers' is {}, expected 1 to {}", model.layers, kMostLayers));
  model.layer_blocks = read_layer_blocks(group, model);
  return model;
}

}  // namespace

struct ResultsReader::State {
  explicit State(const std::filesystem::path& path)
      : digest(check_seal(path)), root(hdf5::open_file(path)) {}
  std::string digest;
  Group root;
  RunInfo info;
  std::string hdf5_version;
  PromptTable prompts;
  std::set<std::int64_t> known_prompts;
  std::vector<FailureRecord> failures;
  std::vector<ModelInfo> models;

  const ModelInfo& model(const std::string& name) const {
    const auto found = std::find_if(models.begin(), models.end(),
                                    [&](const ModelInfo& m) { return m.name == name; });
    if (found == models.end())
      throw InputError(root.where(), fmt::format("holds no model '{}'", name));
    return *found;
  }
};

ResultsReader::ResultsReader(const std::filesystem::path& path)
    : state_(std::make_unique<State>(path)) {
  const Group& root = state_->root;
  check_schema(root);
  state_->info = read_info(root);
  state_->hdf5_version = root.text_attribute("hdf5");
  state_->prompts = read_prompts(root.open_group("prompts"));
  state_->known_prompts.insert(state_->prompts.id.begin(), state_->prompts.id.end());
  state_->failures = read_failures(root.open_group("failures"));
  for (const std::string& name : root.names())
    if (!is_reserved_group(name)) state_->models.push_back(read_model(root.open_group(name), name));
}

ResultsReader::~ResultsReader() = default;
ResultsReader::ResultsReader(ResultsReader&&) noexcept = default;

const RunInfo& ResultsReader::info() const {
  return state_->info;
}
const std::string& ResultsReader::hdf5_version() const {
  return state_->hdf5_version;
}
const std::string& ResultsReader::digest() const {
  return state_->digest;
}
const PromptTable& ResultsReader::prompts() const {
  return state_->prompts;
}
const std::vector<FailureRecord>& ResultsReader::failures() const {
  return state_->failures;
}
const std::vector<ModelInfo>& ResultsReader::models() const {
  return state_->models;
}

const ModelInfo& ResultsReader::model(const std::string& name) const {
  return state_->model(name);
}

hdf5::Group ResultsReader::arrays_of(const std::string& model) const {
  return state_->root.open_group(state_->model(model).name);
}

void ResultsReader::check_prompts(const hdf5::Group& group,
                                  const std::vector<std::int64_t>& ids) const {
  check_unique(group, "prompt", ids);
  for (const std::int64_t id : ids)
    if (!state_->known_prompts.contains(id))
      inconsistent(group, "prompt", fmt::format("prompt {} is not in /prompts", id));
}

}  // namespace factflow
