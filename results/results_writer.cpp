#include <algorithm>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <stdexcept>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/file_operations.hpp"
#include "base/text.hpp"
#include "results/hdf5_file.hpp"
#include "results/reserved_names.hpp"
#include "results/results_file.hpp"
#include "results/seal.hpp"

namespace factflow {
namespace {

using hdf5::Dataset;
using hdf5::Group;
using hdf5::Label;

const Label kPromptLabel{"1", "id of the prompt in the dataset"};
void require(bool condition, const char* what) {
  if (!condition) throw std::logic_error(fmt::format("results writer: {}", what));
}

template <typename T>
bool all_different(const std::vector<T>& values) {
  return std::set<T>(values.begin(), values.end()).size() == values.size();
}

void check_model_name(const std::string& name) {
  const std::string known = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
  const bool letters = !name.empty() && name.find_first_not_of(known) == std::string::npos;
  if (!letters || name == "." || name == ".." || is_reserved_group(name))
    throw InputError(fmt::format("model '{}'", name),
                     "the name cannot name a group of the results file",
                     "use letters, digits, '.', '_' and '-', and neither 'prompts' nor 'failures'");
}

void write_info(Group& root, const RunInfo& info) {
  root.write_attribute("schema_version", kResultsSchemaVersion);
  root.write_attribute("name", info.name);
  root.write_attribute("created", info.created);
  root.write_attribute("factflow_version", info.factflow_version);
  root.write_attribute("config", info.config);
  root.write_attribute("selection", info.selection);
  root.write_attribute("models", join(info.models, " "));
  root.write_attribute("answer", info.answer);
  root.write_attribute("dataset_path", info.dataset_path);
  root.write_attribute("dataset_digest", info.dataset_digest);
  root.write_attribute("dataset_format", info.dataset_format);
  root.write_attribute("libtorch", info.libtorch);
  root.write_attribute("hdf5", hdf5::library_version());
  root.write_attribute("host", info.host);
  root.write_attribute("device", info.device);
  root.write_attribute("precision", info.precision);
  root.write_attribute("elapsed_seconds", info.elapsed_seconds);
  root.write_attribute("complete", std::int64_t{info.complete ? 1 : 0});
  root.write_attribute("units_done", info.units_done);
  root.write_attribute("units_planned", info.units_planned);
}

void write_prompts(Group& root, const PromptTable& prompts) {
  const std::size_t count = prompts.id.size();
  require(all_different(prompts.id), "prompt ids are not unique");
  Group group = root.create_group("prompts");
  const Dataset scale = group.write_scale("prompt", prompts.id, kPromptLabel);
  const auto column = [&](const char* name, const std::vector<std::string>& values,
                          const char* description) {
    require(values.size() == count, "columns of the prompt table differ in length");
    group.write(name, {count}, values, {"1", description}).attach({&scale});
  };
  column("text", prompts.text, "what the model reads");
  column("subject", prompts.subject, "what the fact is about");
  column("answer", prompts.answer, "the right continuation");
  column("relation", prompts.relation, "relation id of the dataset");
  if (prompts.reference_id.empty()) return;
  require(prompts.reference_id.size() == count, "columns of the prompt table differ in length");
  group
      .write("reference_id", {count}, prompts.reference_id,
             {"1", "number of the prompt in the reference code"})
      .attach({&scale});
}

void write_failures(Group& root, const std::vector<FailureRecord>& failures) {
  Group group = root.create_group("failures");
  std::vector<std::int64_t> rows(failures.size());
  std::iota(rows.begin(), rows.end(), 0);
  const Dataset scale = group.write_scale("failure", rows, {"1", "number of the row"});
  const auto column = [&](const char* name, std::string FailureRecord::*field,
                          const char* description) {
    std::vector<std::string> values;
    for (const FailureRecord& failure : failures) values.push_back(failure.*field);
    group.write(name, {rows.size()}, values, {"1", description}).attach({&scale});
  };
  column("model", &FailureRecord::model, "model, or empty for a bad record of the dataset");
  column("stage", &FailureRecord::stage, "dataset, or the kind of experiment");
  column("prompt", &FailureRecord::prompt, "id of the prompt");
  column("reason", &FailureRecord::reason, "what went wrong");
}

std::filesystem::path temporary_beside(const std::filesystem::path& path) {
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  // A fixed name: what a killed run left is replaced by the next one instead of piling up.
  return folder / fmt::format(".{}.partial", path.filename().string());
}

struct WrittenAxis {
  Dataset scale;
  std::size_t length = 0;
};

Label label_of(const ArrayLabel& label) {
  return {label.units, label.description};
}

WrittenAxis written(Group& group, const ArrayAxis& axis) {
  return std::visit(
      [&](const auto& values) {
        return WrittenAxis{group.write_scale(axis.name, values, label_of(axis.label)),
                           values.size()};
      },
      axis.values);
}

void write_array(Group& group, const LabelledArray& array,
                 const std::map<std::string, WrittenAxis>& axes) {
  hdf5::Shape shape;
  std::vector<const Dataset*> scales;
  std::size_t count = 1;
  for (const std::string& name : array.axes) {
    require(axes.contains(name), "an array has an axis that its group lacks");
    const WrittenAxis& axis = axes.at(name);
    shape.push_back(axis.length);
    scales.push_back(&axis.scale);
    count *= axis.length;
  }
  std::visit(
      [&](const auto& values) {
        require(values.size() == count, "an array has more or fewer values than its axes say");
        group.write(array.name, shape, values, label_of(array.label)).attach(scales);
      },
      array.values);
}

}  // namespace

struct ResultsWriter::State {
  State(const std::filesystem::path& target, const std::filesystem::path& hidden)
      : path(target), temporary(hidden), file(hidden) {}
  ~State() {
    if (!published) system_files().unlink(temporary);
  }

  std::filesystem::path path, temporary;
  hdf5::NewFile file;
  std::set<std::int64_t> known_prompts;
  bool published = false;

  // The model begun last, and its groups by path.
  std::optional<Group> model;
  std::map<std::string, Group> groups;

  void end_model() {
    groups.clear();
    model.reset();
  }

  // The group that holds the last part of a name, made if need be.
  Group& parent_of(const std::string& name) {
    const std::size_t slash = name.rfind('/');
    if (slash == std::string::npos) return *model;
    const std::string parent = name.substr(0, slash);
    const auto found = groups.find(parent);
    return found != groups.end() ? found->second : create(parent);
  }
  Group& create(const std::string& name) {
    require(!name.empty() && !groups.contains(name),
            "a group of arrays has no name, or is written twice");
    Group& parent = parent_of(name);
    return groups.emplace(name, parent.create_group(name.substr(name.rfind('/') + 1)))
        .first->second;
  }

  void require_known(const std::vector<std::int64_t>& prompts) const {
    require(all_different(prompts), "prompt ids are not unique");
    require(std::all_of(prompts.begin(), prompts.end(),
                        [&](std::int64_t id) { return known_prompts.contains(id); }),
            "a prompt id is not in the prompt table");
  }
};

ResultsWriter::ResultsWriter(const std::filesystem::path& path, const RunInfo& info,
                             const PromptTable& prompts)
    : state_(std::make_unique<State>(path, temporary_beside(path))) {
  write_info(state_->file.root(), info);
  write_prompts(state_->file.root(), prompts);
  state_->known_prompts.insert(prompts.id.begin(), prompts.id.end());
}

ResultsWriter::~ResultsWriter() = default;

void ResultsWriter::begin_model(const ModelInfo& model) {
  check_model_name(model.name);
  state_->end_model();
  require(!state_->file.root().has(model.name), "two models have the same name");
  Group& group = state_->model.emplace(state_->file.root().create_group(model.name));
  group.write_attribute("family", model.family);
  if (!model.layer_blocks.empty())
    group.write_attribute("layer_blocks", join(model.layer_blocks, "\n"));
  group.write_attribute("path", model.path);
  group.write_attribute("layers", model.layers);
  group.write_attribute("hidden_size", model.hidden_size);
  group.write_attribute("vocabulary", model.vocabulary);
  group.write_attribute("parameters", model.parameters);
  group.write_attribute("checkpoint_digest", model.checkpoint_digest);
  group.write_attribute("tokenizer_digest", model.tokenizer_digest);
  group.write_attribute("self_check_runs", model.check_runs);
  group.write_attribute("self_check_largest", model.check_largest);
  group.write_attribute("self_check_of", model.check_of);
}

void ResultsWriter::write(const ArrayGroup& group) {
  require(state_->model.has_value(), "arrays without a model");
  for (const ArrayAxis& axis : group.axes)
    if (axis.name == "prompt")
      state_->require_known(std::get<std::vector<std::int64_t>>(axis.values));
  Group& place = state_->create(group.path);
  for (const auto& [name, value] : group.attributes)
    std::visit([&, &attribute = name](const auto& one) { place.write_attribute(attribute, one); },
               value);
  std::map<std::string, WrittenAxis> axes;
  for (const ArrayAxis& axis : group.axes) axes.emplace(axis.name, written(place, axis));
  for (const LabelledArray& array : group.arrays) write_array(place, array, axes);
}

void ResultsWriter::publish(const std::vector<FailureRecord>& failures) {
  require(!state_->published, "published twice");
  state_->end_model();
  write_failures(state_->file.root(), failures);
  state_->file.close();
  seal_file(state_->temporary);
  factflow::publish(system_files(), state_->temporary, state_->path);
  state_->published = true;
}

}  // namespace factflow
