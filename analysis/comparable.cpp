#include "analysis/comparable.hpp"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"

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
    if (const std::string placement = reader.placement(model.name); !placement.empty())
      return placement;
  return "";
}

// "The runs differ in precision: fp32 (a, b), bf16 (c)."; "" if they do not.
std::string difference(const RunData& run, const std::string& what, std::string RunInfo::*field,
                       const std::vector<std::string>& names) {
  std::vector<std::string> values;
  for (const RunSource& source : run.sources)
    if (std::find(values.begin(), values.end(), source.info.*field) == values.end())
      values.push_back(source.info.*field);
  if (values.size() < 2) return "";
  std::vector<std::string> words;
  for (const std::string& value : values) {
    std::vector<std::string> holders;
    for (std::size_t i = 0; i < run.sources.size(); ++i)
      if (run.sources[i].info.*field == value) holders.push_back(names[i]);
    words.push_back(fmt::format("{} ({})", value, join(holders)));
  }
  return fmt::format("The runs differ in {}: {}.", what, join(words));
}

}  // namespace

void check_comparable(const std::vector<std::filesystem::path>& files,
                      const std::vector<ResultsReader>& readers) {
  std::vector<std::string> placements;
  for (const ResultsReader& reader : readers) placements.push_back(placement_of(reader));
  require_equal(files, placements, "the placement of windows",
                "placement (key sweep.windows.placement)");
}

std::vector<std::string> differences_between_runs(const RunData& run) {
  std::vector<std::string> names, sentences;
  for (const RunSource& source : run.sources) names.push_back(source.name);
  for (const auto& [what, field] :
       {std::pair{"precision", &RunInfo::precision}, std::pair{"dataset", &RunInfo::dataset_digest},
        std::pair{"the rule of selection", &RunInfo::selection}})
    if (std::string line = difference(run, what, field, names); !line.empty())
      sentences.push_back(std::move(line));
  for (const ModelData& model : run.models)
    if (!model.repeats.empty())
      sentences.push_back(
          fmt::format("{} is the same checkpoint as {}: claims and sentences count it once.",
                      model.info.name, model.repeats));
  return sentences;
}

}  // namespace factflow
