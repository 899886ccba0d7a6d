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
#include "results/run_results.hpp"
#include "results/seal.hpp"

namespace factflow {
namespace {

using hdf5::Dataset;
using hdf5::Group;
using hdf5::Label;

const Label kPromptLabel{"1", "id of the prompt in the dataset"};
const Label kEdgeLabel{
    "1", "blocked flow: sources->targets, then /channels unless all channels lose it"};

const Label kSetLabel{"1", "name of a set of prompts, the main one first"};

Label start_label(const std::string& placement) {
  return {"layer",
          placement == "centred" ? "centre layer of the window" : "first layer of the window"};
}

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
  column("stage", &FailureRecord::stage, "dataset, evaluate, sweep or heatmap");
  column("prompt", &FailureRecord::prompt, "id of the prompt");
  column("reason", &FailureRecord::reason, "what went wrong");
}

std::filesystem::path temporary_beside(const std::filesystem::path& path) {
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  // A fixed name: what a killed run left is replaced by the next one instead of piling up.
  return folder / fmt::format(".{}.partial", path.filename().string());
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

  // The model begun last.
  std::optional<Group> model, knockout;
  std::map<std::string, Group> heatmap_windows;
  std::map<std::string, std::vector<std::int32_t>> heatmap_starts;
  KnockoutAxes axes;

  void end_model() {
    heatmap_windows.clear();
    heatmap_starts.clear();
    knockout.reset();
    model.reset();
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
  group.write_attribute("path", model.path);
  group.write_attribute("layers", model.layers);
  group.write_attribute("hidden_size", model.hidden_size);
  group.write_attribute("vocabulary", model.vocabulary);
  group.write_attribute("parameters", model.parameters);
  group.write_attribute("checkpoint_digest", model.checkpoint_digest);
  group.write_attribute("tokenizer_digest", model.tokenizer_digest);
}

void ResultsWriter::write_evaluation(const EvaluationResult& evaluation) {
  require(state_->model.has_value(), "evaluation without a model");
  state_->require_known(evaluation.prompt);
  require(evaluation.top >= 0, "a negative number of top tokens");
  const std::size_t prompts = evaluation.prompt.size();
  const std::size_t top = static_cast<std::size_t>(evaluation.top);
  Group group = state_->model->create_group("evaluation");
  std::vector<std::int32_t> places(top);
  std::iota(places.begin(), places.end(), 1);
  const Dataset prompt = group.write_scale("prompt", evaluation.prompt, kPromptLabel);
  const Dataset place =
      group.write_scale("top", places, {"1", "place among the likeliest next tokens"});
  const auto column = [&](const char* name, const auto& values, const Label& label) {
    group.write(name, {prompts}, values, label).attach({&prompt});
  };
  column("probability", evaluation.probability,
         {"1", "probability of the answer's token in the clean run; NaN where the prompt failed"});
  column(
      "rank", evaluation.rank,
      {"1", "1 + number of other tokens that are at least as likely; 0 where the prompt failed"});
  if (!evaluation.tied.empty())
    column("tied", evaluation.tied,
           {"1", "number of other tokens that are exactly as likely as the answer"});
  column("answer_token", evaluation.answer_token, {"1", "vocabulary id of the answer's token"});
  column("answer_text", evaluation.answer_text, {"1", "text of that token"});
  column("changes", evaluation.changes,
         {"1", "1 = the prompt's own tokens are others when the answer follows"});
  column("token_count", evaluation.token_count,
         {"token", "length of the prompt with special tokens"});
  column("subject_begin", evaluation.subject_begin,
         {"token", "position of the subject's first token"});
  column("subject_end", evaluation.subject_end,
         {"token", "position after the subject's last token"});
  const auto table = [&](const char* name, const auto& values, const Label& label) {
    group.write(name, {prompts, top}, values, label).attach({&prompt, &place});
  };
  table("top_token", evaluation.top_token, {"1", "vocabulary id of a likeliest next token"});
  table("top_probability", evaluation.top_probability, {"1", "its probability"});
  table("top_text", evaluation.top_text, {"1", "its text"});
}

void ResultsWriter::write_axes(const KnockoutAxes& axes) {
  require(state_->model.has_value(), "knockout axes without a model");
  require(!state_->knockout.has_value(), "knockout axes written twice");
  state_->require_known(axes.prompts);
  require(all_different(axes.edges), "edges are not unique");
  Group& group = state_->knockout.emplace(state_->model->create_group("knockout"));
  const Dataset edge = group.write_scale("edge", axes.edges, kEdgeLabel);
  const Dataset prompt = group.write_scale("prompt", axes.prompts, kPromptLabel);
  group
      .write("edges", {axes.edges.size(), axes.prompts.size()}, axes.blocked,
             {"1",
              "blocked (target, source) token pairs in one layer; 0 = the prompt has no such edge, "
              "-1 = not asked for, not computed yet, or failed"})
      .attach({&edge, &prompt});
  if (!axes.sets.empty()) {
    require(all_different(axes.sets), "sets of prompts are not unique");
    const Dataset set = group.write_scale("set", axes.sets, kSetLabel);
    group
        .write("members", {axes.sets.size(), axes.prompts.size()}, axes.members,
               {"1", "1 = the prompt belongs to the set"})
        .attach({&set, &prompt});
  }
  state_->axes = axes;
}

void ResultsWriter::write_window(const KnockoutWindow& window) {
  require(state_->knockout.has_value(), "a window before the knockout axes");
  require(window.window > 0, "a window of no layers");
  Group group = state_->knockout->create_group(fmt::format("window_{}", window.window));
  group.write_attribute("window", window.window);
  group.write_attribute("placement", window.placement);
  const KnockoutAxes& axes = state_->axes;
  // The scales are repeated here so that the group opens with its coordinates, by itself.
  const Dataset edge = group.write_scale("edge", axes.edges, kEdgeLabel);
  const Dataset prompt = group.write_scale("prompt", axes.prompts, kPromptLabel);
  const Dataset start = group.write_scale("start", window.starts, start_label(window.placement));
  if (!axes.sets.empty()) {
    const Dataset set = group.write_scale("set", axes.sets, kSetLabel);
    group
        .write("asked", {axes.sets.size(), axes.edges.size()}, window.asked,
               {"1", "1 = a sweep asked for this edge of the set's prompts at this window size"})
        .attach({&set, &edge});
  }
  const hdf5::Shape shape{axes.edges.size(), axes.prompts.size(), window.starts.size()};
  const auto cells = [&](const char* name, const auto& values, const char* description) {
    group.write(name, shape, values, {"1", description}).attach({&edge, &prompt, &start});
  };
  cells("probability", window.probability,
        "probability of the answer's token with the edge blocked; NaN = not computed or no "
        "such edge");
  cells("rank", window.rank,
        "1 + number of other tokens that are at least as likely with the edge blocked; 0 = not "
        "computed or no such edge");
  if (!window.tied.empty())
    cells("tied", window.tied, "number of other tokens that are exactly as likely as the answer");
}

void ResultsWriter::write_heatmap(const HeatmapResult& heatmap) {
  require(state_->model.has_value(), "a heat map without a model");
  require(heatmap.window > 0, "a window of no layers");
  state_->require_known({heatmap.prompt});
  if (!state_->model->has("heatmap")) state_->model->create_group("heatmap");
  const std::string name = fmt::format("window_{}", heatmap.window);
  auto found = state_->heatmap_windows.find(name);
  if (found == state_->heatmap_windows.end()) {
    Group group = state_->model->open_group("heatmap").create_group(name);
    group.write_attribute("window", heatmap.window);
    group.write_attribute("placement", heatmap.placement);
    group.write_scale("start", heatmap.starts, start_label(heatmap.placement));
    state_->heatmap_starts[name] = heatmap.starts;
    found = state_->heatmap_windows.emplace(name, std::move(group)).first;
  }
  require(state_->heatmap_starts[name] == heatmap.starts,
          "heat maps of one window differ in their starts");
  Group& group = found->second;
  const Dataset token =
      group.write_scale(fmt::format("token_{}", heatmap.prompt), heatmap.tokens,
                        {"1", "text of the token that the last token could not read"});
  const Dataset start = group.open_dataset("start");
  group
      .write(std::to_string(heatmap.prompt), {heatmap.tokens.size(), heatmap.starts.size()},
             heatmap.probability,
             {"1",
              "probability of the answer's token without the flow token -> last; NaN = not "
              "computed"})
      .attach({&token, &start});
  if (heatmap.token_ids.empty()) return;
  group
      .write(fmt::format("token_ids_{}", heatmap.prompt), {heatmap.tokens.size()},
             heatmap.token_ids, {"1", "vocabulary id of the token"})
      .attach({&token});
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
