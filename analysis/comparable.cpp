#include "analysis/comparable.hpp"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "experiments/heatmap/heatmap_arrays.hpp"
#include "experiments/stored_arrays.hpp"

namespace factflow {
namespace {

// The word by which a run differs from another in meaning; "" where the run does not say.
void require_equal(const std::vector<std::filesystem::path>& files,
                   const std::vector<std::string>& words, const std::string& what,
                   const std::string& key) {
  std::optional<std::size_t> first;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i].empty()) continue;
    if (!first) first = i;
    if (words[i] != words[*first])
      throw InputError(files[i].string(),
                       fmt::format("{} is '{}', in {} it is '{}'", what, words[i],
                                   files[*first].string(), words[*first]),
                       fmt::format("compare runs of one {}", key));
  }
}

std::string placement_of(const ResultsReader& reader) {
  for (const ModelInfo& model : reader.models())
    if (const std::string placement = placement_of(reader, model.name); !placement.empty())
      return placement;
  return "";
}

using Values = std::vector<std::pair<std::string, std::string>>;  // (run, its value)

// "The runs differ in precision: fp32 (a, b), bf16 (c)."; "" if they do not.
std::string difference(const std::string& what, const Values& values) {
  std::vector<std::string> different;
  for (const auto& [run, value] : values)
    if (std::find(different.begin(), different.end(), value) == different.end())
      different.push_back(value);
  if (different.size() < 2) return "";
  std::vector<std::string> words;
  for (const std::string& value : different) {
    std::vector<std::string> holders;
    for (const auto& [run, its] : values)
      if (its == value) holders.push_back(run);
    words.push_back(fmt::format("{} ({})", value, join(holders)));
  }
  return fmt::format("The runs differ in {}: {}.", what, join(words));
}

Values values_of(const RunData& run, std::string RunInfo::*field) {
  Values values;
  for (const RunSource& source : run.sources) values.emplace_back(source.name, source.info.*field);
  return values;
}

// Sizes of the windows of heat maps, of the runs that have some.
Values heatmap_sizes(const RunData& run) {
  Values values;
  for (const RunSource& source : run.sources) {
    std::set<std::int64_t> sizes;
    for (const ModelData& model : run.models) {
      if (model.info.name != source.name + "/" + model.stored_name) continue;
      for (const std::int64_t size : heatmap_windows(*model.reader, model.stored_name))
        sizes.insert(size);
    }
    std::vector<std::string> words;
    for (const std::int64_t size : sizes) words.push_back(std::to_string(size));
    if (!words.empty()) values.emplace_back(source.name, join(words, " and "));
  }
  return values;
}

}  // namespace

void check_comparable(const std::vector<std::filesystem::path>& files,
                      const std::vector<ResultsReader>& readers) {
  std::vector<std::string> placements, answers;
  for (const ResultsReader& reader : readers) {
    placements.push_back(placement_of(reader));
    answers.push_back(reader.info().answer);
  }
  require_equal(files, placements, "the placement of windows",
                "placement (key sweep.windows.placement)");
  require_equal(files, answers, "the rule of the answers' tokens", "rule (key select.answer)");
}

std::vector<std::string> differences_between_runs(const RunData& run) {
  std::vector<std::string> sentences;
  for (std::string line : {difference("precision", values_of(run, &RunInfo::precision)),
                           difference("dataset", values_of(run, &RunInfo::dataset_digest)),
                           difference("the rule of selection", values_of(run, &RunInfo::selection)),
                           difference("the windows of heat maps", heatmap_sizes(run))})
    if (!line.empty()) sentences.push_back(std::move(line));
  for (const ModelData& model : run.models)
    if (!model.repeats.empty())
      sentences.push_back(
          fmt::format("{} is the same checkpoint as {}: claims and sentences count it once.",
                      model.info.name, model.repeats));
  return sentences;
}

}  // namespace factflow
