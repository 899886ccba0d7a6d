#include "analysis/prompt_sets.hpp"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

namespace factflow {
namespace {

bool right(const ModelData& model, std::size_t prompt) {
  const std::size_t row = model.evaluation_row[prompt];
  return row < model.evaluation.rank.size() && model.evaluation.rank[row] == 1;
}

// Rows of the restricted model's prompts in the full one.
std::vector<std::size_t> rows_in(const ModelData& full, const std::vector<std::int64_t>& prompts) {
  std::unordered_map<std::int64_t, std::size_t> rows;
  for (std::size_t i = 0; i < full.axes.prompts.size(); ++i) rows.emplace(full.axes.prompts[i], i);
  std::vector<std::size_t> found;
  for (const std::int64_t id : prompts)
    if (const auto row = rows.find(id); row != rows.end()) found.push_back(row->second);
  return found;
}

template <typename T>
std::vector<T> pick(const std::vector<T>& values, const std::vector<std::size_t>& rows) {
  std::vector<T> picked;
  for (const std::size_t row : rows) picked.push_back(values[row]);
  return picked;
}

// Numbers as they appear.
std::vector<std::size_t> renumbered(std::vector<std::size_t> values) {
  std::unordered_map<std::size_t, std::size_t> known;
  for (std::size_t& value : values) value = known.emplace(value, known.size()).first->second;
  return values;
}

}  // namespace

std::vector<std::int64_t> common_prompts(const std::vector<ModelData>& models) {
  std::vector<std::int64_t> common;
  bool first = true;
  for (const ModelData& model : models) {
    if (model.windows.empty()) continue;
    std::unordered_set<std::int64_t> correct;
    for (std::size_t i = 0; i < model.axes.prompts.size(); ++i)
      if (right(model, i)) correct.insert(model.axes.prompts[i]);
    if (first) common = model.axes.prompts;
    first = false;
    std::erase_if(common, [&](std::int64_t id) { return !correct.contains(id); });
  }
  return common;
}

bool prompts_differ(const std::vector<ModelData>& models) {
  const std::vector<std::int64_t>* first = nullptr;
  for (const ModelData& model : models) {
    if (model.windows.empty()) continue;
    if (first != nullptr && *first != model.axes.prompts) return true;
    first = &model.axes.prompts;
  }
  return false;
}

ModelData restrict_model(const ModelData& model, const std::vector<std::int64_t>& prompts) {
  ModelData restricted = model;
  const std::vector<std::size_t> rows = rows_in(model, prompts);
  restricted.axes.prompts = pick(model.axes.prompts, rows);
  restricted.axes.blocked.clear();
  for (std::size_t edge = 0; edge < model.edges.size(); ++edge)
    for (const std::size_t row : rows)
      restricted.axes.blocked.push_back(model.axes.blocked[edge * model.axes.prompts.size() + row]);
  restricted.stored_rows = pick(model.stored_rows, rows);
  restricted.clean = pick(model.clean, rows);
  restricted.prompt_row = pick(model.prompt_row, rows);
  restricted.fact = renumbered(pick(model.fact, rows));
  restricted.evaluation_row = pick(model.evaluation_row, rows);
  return restricted;
}

}  // namespace factflow
