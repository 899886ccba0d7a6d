#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <set>
#include <sstream>
#include <utility>

#include <fmt/format.h>

#include "base/error.hpp"
#include "results/hdf5_file.hpp"
#include "results/reserved_names.hpp"
#include "results/run_results.hpp"
#include "results/seal.hpp"

namespace factflow {
namespace {

using hdf5::Group;

constexpr std::int64_t kMaxTop = 1000;
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
  if (model.layers < 1)
    inconsistent(group, "",
                 fmt::format("attribute 'layers' is {}, expected at least 1", model.layers));
  return model;
}

void check_probabilities(const Group& group, const std::string& name,
                         const std::vector<float>& values) {
  // Rounding may carry a softmax a little past 1.
  const auto possible = [](float p) { return std::isnan(p) || (p >= 0.0F && p <= 1.001F); };
  if (!std::all_of(values.begin(), values.end(), possible))
    inconsistent(group, name, "expected probabilities between 0 and 1, or NaN");
}

// What a file says of answers, EvaluationResult or KnockoutWindow: either a probability and a rank,
// or neither; and fewer ties than tokens that are at least as likely.
template <typename Answers>
void read_answers(const Group& group, const hdf5::Shape& shape, Answers& answers) {
  answers.probability = group.read<float>("probability", shape);
  check_probabilities(group, "probability", answers.probability);
  answers.rank = group.read<std::int32_t>("rank", shape);
  if (group.has("tied")) answers.tied = group.read<std::int32_t>("tied", shape);
  for (std::size_t i = 0; i < answers.rank.size(); ++i) {
    const std::int32_t rank = answers.rank[i], tied = answers.tied.empty() ? 0 : answers.tied[i];
    if (rank < 0 || (rank == 0) != std::isnan(answers.probability[i]))
      inconsistent(group, "rank", "expected ranks of at least 1, and 0 where there is no answer");
    if (tied < 0 || tied > std::max(0, rank - 1))
      inconsistent(group, "tied", "expected numbers of at least 0 and below the rank");
  }
}

// The numbers N of children "PREFIXN", ascending.
std::vector<std::int64_t> numbered(const Group& group, const std::string& prefix) {
  std::vector<std::int64_t> numbers;
  for (const std::string& name : group.names()) {
    if (!name.starts_with(prefix)) continue;
    std::int64_t number = 0;
    const char* end = name.data() + name.size();
    const auto [stop, error] = std::from_chars(name.data() + prefix.size(), end, number);
    if (error == std::errc() && stop == end) numbers.push_back(number);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

KnockoutAxes read_axes(const Group& group) {
  KnockoutAxes axes;
  axes.edges = group.read_axis<std::string>("edge");
  check_unique(group, "edge", axes.edges);
  axes.prompts = group.read_axis<std::int64_t>("prompt");
  axes.blocked = group.read<std::int64_t>("edges", {axes.edges.size(), axes.prompts.size()});
  if (!group.has("set")) return axes;
  axes.sets = group.read_axis<std::string>("set");
  check_unique(group, "set", axes.sets);
  axes.members = group.read<std::int32_t>("members", {axes.sets.size(), axes.prompts.size()});
  return axes;
}

// [set, edge] what was asked for at one window size; without sets, everything as one row.
std::vector<std::int32_t> read_asked(const Group& knockout, std::int64_t window,
                                     const KnockoutAxes& axes) {
  if (axes.sets.empty()) return std::vector<std::int32_t>(axes.edges.size(), 1);
  return knockout.open_group(fmt::format("window_{}", window))
      .read<std::int32_t>("asked", {axes.sets.size(), axes.edges.size()});
}

// The rows of one set of prompts: indices into the axes of all.
struct Part {
  std::vector<std::size_t> edges, prompts;
};

void check_set(const Group& knockout, const KnockoutAxes& all, std::size_t set) {
  if (set >= all.sets.size())
    inconsistent(knockout, "set", fmt::format("expected more than {} sets of prompts", set));
}

Part part_of(const Group& knockout, const KnockoutAxes& all, std::size_t set) {
  check_set(knockout, all, set);
  Part part;
  const std::size_t prompts = all.prompts.size(), edges = all.edges.size();
  for (std::size_t p = 0; p < prompts; ++p)
    if (all.members[set * prompts + p] != 0) part.prompts.push_back(p);
  std::set<std::size_t> asked;
  for (const std::int64_t window : numbered(knockout, "window_")) {
    const std::vector<std::int32_t> here = read_asked(knockout, window, all);
    for (std::size_t e = 0; e < edges; ++e)
      if (here[set * edges + e] != 0) asked.insert(e);
  }
  part.edges.assign(asked.begin(), asked.end());
  return part;
}

// values: [edge, prompt, start] with `prompts` and `starts`.
template <typename T>
std::vector<T> cells_of(const std::vector<T>& values, const Part& part, std::size_t prompts,
                        std::size_t starts) {
  std::vector<T> cells;
  cells.reserve(part.edges.size() * part.prompts.size() * starts);
  for (const std::size_t edge : part.edges)
    for (const std::size_t prompt : part.prompts) {
      const auto first =
          values.begin() + static_cast<std::ptrdiff_t>((edge * prompts + prompt) * starts);
      cells.insert(cells.end(), first, first + static_cast<std::ptrdiff_t>(starts));
    }
  return cells;
}

// Leaves of all cells those of one set: what was asked of another set's prompts becomes NaN.
void keep_part(KnockoutWindow& window, const Part& part, std::size_t set, const KnockoutAxes& all) {
  const std::size_t starts = window.starts.size(), row = part.prompts.size() * starts;
  window.probability = cells_of(window.probability, part, all.prompts.size(), starts);
  window.rank = cells_of(window.rank, part, all.prompts.size(), starts);
  if (!window.tied.empty()) window.tied = cells_of(window.tied, part, all.prompts.size(), starts);
  std::vector<std::int32_t> asked;
  for (const std::size_t edge : part.edges) {
    const auto begin = static_cast<std::ptrdiff_t>(asked.size() * row);
    asked.push_back(window.asked[set * all.edges.size() + edge]);
    if (asked.back() != 0) continue;
    std::fill_n(window.probability.begin() + begin, row, std::numeric_limits<float>::quiet_NaN());
    std::fill_n(window.rank.begin() + begin, row, 0);
    if (!window.tied.empty()) std::fill_n(window.tied.begin() + begin, row, 0);
  }
  window.asked = std::move(asked);
}

std::vector<std::int32_t> read_starts(const Group& group, const ModelInfo& model) {
  std::vector<std::int32_t> starts = group.read_axis<std::int32_t>("start");
  for (std::size_t i = 0; i < starts.size(); ++i)
    if (starts[i] < 0 || starts[i] >= model.layers || (i > 0 && starts[i] <= starts[i - 1]))
      inconsistent(group, "start", fmt::format("expected ascending layers below {}", model.layers));
  return starts;
}

std::string read_placement(const Group& group) {
  std::string placement = group.text_attribute("placement");
  if (placement != "fit" && placement != "centred")
    inconsistent(
        group, "",
        fmt::format("attribute 'placement' is '{}', expected 'fit' or 'centred'", placement));
  return placement;
}

std::int64_t read_window_size(const Group& group, std::int64_t window) {
  if (window < 1 || group.integer_attribute("window") != window)
    inconsistent(group, "", "the attribute 'window' and the group's name disagree");
  return window;
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
  void check_prompts(const Group& group, const std::vector<std::int64_t>& ids) const {
    check_unique(group, "prompt", ids);
    for (const std::int64_t id : ids)
      if (!known_prompts.contains(id))
        inconsistent(group, "prompt", fmt::format("prompt {} is not in /prompts", id));
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

bool ResultsReader::has_evaluation(const std::string& model) const {
  return state_->root.open_group(state_->model(model).name).has("evaluation");
}

EvaluationResult ResultsReader::evaluation(const std::string& model) const {
  const Group group = state_->root.open_group(state_->model(model).name).open_group("evaluation");
  EvaluationResult result;
  result.prompt = group.read_axis<std::int64_t>("prompt");
  state_->check_prompts(group, result.prompt);
  const hdf5::Shape shape{result.prompt.size()};
  read_answers(group, shape, result);
  result.answer_token = group.read<std::int32_t>("answer_token", shape);
  result.answer_text = group.read<std::string>("answer_text", shape);
  result.changes = group.read<std::int32_t>("changes", shape);
  result.token_count = group.read<std::int32_t>("token_count", shape);
  result.subject_begin = group.read<std::int32_t>("subject_begin", shape);
  result.subject_end = group.read<std::int32_t>("subject_end", shape);
  result.top = static_cast<std::int64_t>(group.read_axis<std::int32_t>("top").size());
  if (result.top > kMaxTop)
    inconsistent(group, "top", fmt::format("expected at most {} elements", kMaxTop));
  const hdf5::Shape table{result.prompt.size(), static_cast<std::size_t>(result.top)};
  result.top_token = group.read<std::int32_t>("top_token", table);
  result.top_probability = group.read<float>("top_probability", table);
  result.top_text = group.read<std::string>("top_text", table);
  return result;
}

std::vector<std::int64_t> ResultsReader::windows(const std::string& model, std::size_t set) const {
  const Group group = state_->root.open_group(state_->model(model).name);
  if (!group.has("knockout")) return {};
  const Group knockout = group.open_group("knockout");
  std::vector<std::int64_t> windows = numbered(knockout, "window_");
  if (set == kAllPrompts) return windows;
  const KnockoutAxes all = read_axes(knockout);
  if (all.sets.empty()) return windows;
  check_set(knockout, all, set);
  std::erase_if(windows, [&](std::int64_t size) {
    const std::vector<std::int32_t> asked = read_asked(knockout, size, all);
    const auto row = asked.begin() + static_cast<std::ptrdiff_t>(set * all.edges.size());
    const auto end = row + static_cast<std::ptrdiff_t>(all.edges.size());
    return std::find(row, end, 1) == end;
  });
  return windows;
}

std::vector<std::string> ResultsReader::prompt_sets(const std::string& model) const {
  const Group group = state_->root.open_group(state_->model(model).name).open_group("knockout");
  return group.has("set") ? group.read_axis<std::string>("set") : std::vector<std::string>{};
}

KnockoutAxes ResultsReader::axes(const std::string& model, std::size_t set) const {
  const Group group = state_->root.open_group(state_->model(model).name).open_group("knockout");
  const KnockoutAxes all = read_axes(group);
  state_->check_prompts(group, all.prompts);
  if (all.sets.empty() || set == kAllPrompts) return all;
  const Part part = part_of(group, all, set);
  KnockoutAxes axes;
  for (const std::size_t edge : part.edges) axes.edges.push_back(all.edges[edge]);
  for (const std::size_t prompt : part.prompts) axes.prompts.push_back(all.prompts[prompt]);
  axes.blocked = cells_of(all.blocked, part, all.prompts.size(), 1);
  return axes;
}

KnockoutWindow ResultsReader::window(const std::string& model, std::int64_t window,
                                     std::size_t set) const {
  const ModelInfo& about = state_->model(model);
  const Group knockout = state_->root.open_group(about.name).open_group("knockout");
  const Group group = knockout.open_group(fmt::format("window_{}", window));
  const KnockoutAxes all = read_axes(knockout);
  KnockoutWindow result;
  result.window = read_window_size(group, window);
  result.placement = read_placement(group);
  result.starts = read_starts(group, about);
  const hdf5::Shape shape{all.edges.size(), all.prompts.size(), result.starts.size()};
  read_answers(group, shape, result);
  result.asked = read_asked(knockout, window, all);
  if (all.sets.empty() || set == kAllPrompts) return result;
  keep_part(result, part_of(knockout, all, set), set, all);
  return result;
}

std::string ResultsReader::placement(const std::string& model) const {
  const Group group = state_->root.open_group(state_->model(model).name);
  for (const char* kind : {"knockout", "heatmap"}) {
    if (!group.has(kind)) continue;
    const Group windows = group.open_group(kind);
    for (const std::int64_t size : numbered(windows, "window_"))
      return read_placement(windows.open_group(fmt::format("window_{}", size)));
  }
  return "";
}

std::vector<std::int64_t> ResultsReader::heatmap_windows(const std::string& model) const {
  const Group group = state_->root.open_group(state_->model(model).name);
  return group.has("heatmap") ? numbered(group.open_group("heatmap"), "window_")
                              : std::vector<std::int64_t>{};
}

std::vector<std::int64_t> ResultsReader::heatmap_prompts(const std::string& model,
                                                         std::int64_t window) const {
  const Group group = state_->root.open_group(state_->model(model).name).open_group("heatmap");
  return numbered(group.open_group(fmt::format("window_{}", window)), "token_");
}

HeatmapResult ResultsReader::heatmap(const std::string& model, std::int64_t window,
                                     std::int64_t prompt) const {
  const ModelInfo& about = state_->model(model);
  const Group group = state_->root.open_group(about.name)
                          .open_group("heatmap")
                          .open_group(fmt::format("window_{}", window));
  HeatmapResult result;
  result.window = read_window_size(group, window);
  result.placement = read_placement(group);
  result.prompt = prompt;
  result.tokens = group.read_axis<std::string>(fmt::format("token_{}", prompt));
  result.starts = read_starts(group, about);
  result.probability =
      group.read<float>(std::to_string(prompt), {result.tokens.size(), result.starts.size()});
  check_probabilities(group, std::to_string(prompt), result.probability);
  if (const std::string ids = fmt::format("token_ids_{}", prompt); group.has(ids))
    result.token_ids = group.read<std::int32_t>(ids, {result.tokens.size()});
  return result;
}

}  // namespace factflow
