#include "pipeline/commands/analysis_options.hpp"

#include <algorithm>
#include <charconv>
#include <iostream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"

namespace factflow {

namespace po = boost::program_options;

namespace {

using Words = std::vector<std::string>;

// What stands between commas, in all that an option was given; spaces around it do not count.
Words listed(const po::variables_map& values, const std::string& option) {
  Words words;
  if (values.count(option) == 0) return words;
  for (const std::string& value : values[option].as<Words>()) {
    std::istringstream parts(value + ",");
    for (std::string word; std::getline(parts, word, ',');) {
      const std::size_t first = word.find_first_not_of(' ');
      if (first == std::string::npos)
        throw InputError("--" + option, fmt::format("'{}' has an empty element", value),
                         "write names with a comma between them");
      words.push_back(word.substr(first, word.find_last_not_of(' ') - first + 1));
    }
  }
  return words;
}

std::vector<std::int64_t> prompts_of(const Words& words) {
  std::vector<std::int64_t> ids;
  for (const std::string& word : words) {
    std::int64_t id = 0;
    const char* end = word.data() + word.size();
    const auto [stop, error] = std::from_chars(word.data(), end, id);
    if (error != std::errc() || stop != end)
      throw InputError("--prompts", fmt::format("'{}' is no number of a prompt", word),
                       "write ids of prompts, such as 12,40");
    ids.push_back(id);
  }
  return ids;
}

Words formats_of(const Words& words) {
  const Words known = FigureOptions().formats;
  for (const std::string& word : words)
    if (std::find(known.begin(), known.end(), word) == known.end())
      throw InputError("--format", fmt::format("unknown format '{}'", word),
                       "use some of " + join(known));
  return words.empty() ? known : words;
}

// A comma within a label: what follows it names no model.
std::vector<std::pair<std::string, std::string>> labels_of(const Words& words) {
  std::vector<std::pair<std::string, std::string>> labels;
  for (const std::string& word : words) {
    const std::size_t at = word.find('=');
    if (at != std::string::npos && at > 0)
      labels.emplace_back(word.substr(0, at), word.substr(at + 1));
    else if (!labels.empty())
      labels.back().second += ", " + word;
    else
      throw InputError("--labels", fmt::format("'{}' names no model", word), "write NAME=LABEL");
  }
  return labels;
}

}  // namespace

void add_analysis_options(po::options_description& options) {
  options.add_options()("window", po::value<std::int64_t>(),
                        "window size that the findings are about, one that was swept; by default 9 "
                        "for models of 16 layers and more, else about a third of the depth")(
      "min-p-clean", po::value<double>()->default_value(0),
      "leave out prompts whose clean probability of the answer is smaller, model by model")(
      "max-p-clean", po::value<double>()->default_value(1), "likewise larger")(
      "models", po::value<Words>()->composing(),
      "analyse only these models, in this order: names with commas between them")(
      "labels", po::value<Words>()->composing(),
      "call models otherwise in tables, figures and report: NAME=LABEL,NAME=LABEL")(
      "only", po::value<Words>()->composing(),
      "draw only figures of these names; * stands for any letters: models,'heatmap_*'")(
      "format", po::value<Words>()->composing(), "draw figures only as these: svg, pdf, png")(
      "prompts", po::value<Words>()->composing(),
      "draw maps of single prompts only of these ids: 12,40");
}

AnalysisOptions analysis_options_of(const po::variables_map& values) {
  AnalysisOptions options;
  if (values.count("window") != 0) options.study.window = values["window"].as<std::int64_t>();
  options.study.p_clean = {values["min-p-clean"].as<double>(), values["max-p-clean"].as<double>()};
  options.models = {listed(values, "models"), labels_of(listed(values, "labels"))};
  options.figures.only = listed(values, "only");
  options.figures.formats = formats_of(listed(values, "format"));
  options.figures.prompts = prompts_of(listed(values, "prompts"));
  return options;
}

void print(const AnalysisSummary& summary) {
  std::cout << summary.findings
            << fmt::format("\n{}, {}\n", counted(summary.tables, "table"),
                           counted(summary.figures, "figure"));
  if (!summary.report.empty()) std::cout << "report: " << summary.report.string() << '\n';
  std::cout.flush();
  if (summary.problem.empty()) return;
  throw RunError(summary.report.empty()
                     ? summary.problem
                     : fmt::format("the tables and the report are written, not all figures: {}",
                                   summary.problem));
}

}  // namespace factflow
