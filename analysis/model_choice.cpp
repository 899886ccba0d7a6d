#include "analysis/model_choice.hpp"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

#include "analysis/load_runs.hpp"
#include "base/error.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

std::vector<std::string> names_of(const RunData& run) {
  std::vector<std::string> names;
  for (const ModelData& model : run.models) names.push_back(model.info.name);
  return names;
}

void check_name(const std::string& option, const std::string& name, const RunData& run) {
  const std::vector<std::string> known = names_of(run);
  if (std::find(known.begin(), known.end(), name) == known.end())
    throw InputError(option, fmt::format("no model '{}' in these results", name),
                     "name some of: " + join(known));
}

std::size_t place_of(const std::vector<std::string>& names, const std::string& name) {
  return static_cast<std::size_t>(std::find(names.begin(), names.end(), name) - names.begin());
}

void keep(const std::vector<std::string>& names, std::vector<ModelData>& models) {
  std::erase_if(models, [&](const ModelData& model) {
    return place_of(names, model.info.name) == names.size();
  });
  std::stable_sort(models.begin(), models.end(), [&](const ModelData& a, const ModelData& b) {
    return place_of(names, a.info.name) < place_of(names, b.info.name);
  });
}

void keep_models(const std::vector<std::string>& names, RunData& run) {
  std::set<std::string> once;
  for (const std::string& name : names) {
    check_name("--models", name, run);
    if (!once.insert(name).second)
      throw InputError("--models", fmt::format("'{}' is given twice", name), "name it once");
  }
  for (auto* models : {&run.models, &run.other_sets, &run.interventions}) keep(names, *models);
  std::erase_if(run.failures, [&](const FailureRecord& failure) {
    return !failure.model.empty() && place_of(names, failure.model) == names.size();
  });
  // What was not asked about is not missing either.
  for (RunSource& source : run.sources) {
    const std::string prefix = run.sources.size() > 1 ? source.name + "/" : "";
    std::erase_if(source.info.models, [&](const std::string& name) {
      return place_of(names, prefix + name) == names.size();
    });
  }
  name_repeated(run.models);
}

bool can_be_shown(const std::string& label) {
  return !label.empty() && std::none_of(label.begin(), label.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
  });
}

void give_labels(const std::vector<std::pair<std::string, std::string>>& labels, RunData& run) {
  std::map<std::string, std::string> label_of;
  for (const std::string& name : names_of(run)) label_of[name] = name;
  for (const auto& [name, label] : labels) {
    check_name("--labels", name, run);
    if (!can_be_shown(label))
      throw InputError("--labels", fmt::format("'{}' has no label that can be shown", name),
                       "write NAME=LABEL");
    label_of[name] = label;
  }
  std::set<std::string> used;
  for (const auto& [name, label] : label_of)
    if (!used.insert(label).second)
      throw InputError("--labels", fmt::format("two models would be called '{}'", label),
                       "give each a label of its own");
  const auto rename = [&](std::string& name) {
    if (const auto found = label_of.find(name); found != label_of.end()) name = found->second;
  };
  for (auto* models : {&run.models, &run.other_sets, &run.interventions})
    for (ModelData& model : *models) {
      rename(model.info.name);
      rename(model.repeats);
    }
  for (FailureRecord& failure : run.failures) rename(failure.model);
}

}  // namespace

void choose_models(const ModelChoice& choice, RunData& run) {
  if (!choice.names.empty()) keep_models(choice.names, run);
  if (!choice.labels.empty()) give_labels(choice.labels, run);
}

}  // namespace factflow
