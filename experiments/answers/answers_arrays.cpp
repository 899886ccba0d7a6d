#include "experiments/answers/answers_arrays.hpp"

#include "experiments/stored_arrays.hpp"

namespace factflow {
namespace {

constexpr const char* kFirst = " | first token";
constexpr const char* kWhole = " | whole answer";

}  // namespace

const CellNames& answers_names() {
  static const CellNames names = {
      "answers",
      "item",
      "edge that is blocked, and what is judged",
      "edges",
      "(target, source) pairs that are blocked in the prompt; 0 = no such edge",
      "with the edge blocked, at the last token and at the answer's tokens behind it",
      "no such edge",
      "section"};
  return names;
}

std::string to_string(const AnswersItem& item) {
  return item.edge + (item.whole ? kWhole : kFirst);
}

std::optional<AnswersItem> parse_answers_item(const std::string& name) {
  for (const auto& [ending, whole] : {std::pair(kFirst, false), std::pair(kWhole, true)})
    if (name.ends_with(ending))
      return AnswersItem{name.substr(0, name.size() - std::string_view(ending).size()), whole};
  return std::nullopt;
}

ArrayGroup arrays_of(const CellAxes& axes, const AnswersOfPrompts& answers) {
  ArrayGroup group = arrays_of(answers_names(), axes);
  group.arrays.push_back({"tokens",
                          {"prompt"},
                          answers.tokens,
                          {"token", "tokens of the answer; 0 = not computed or failed"}});
  group.arrays.push_back(
      {"clean_first",
       {"prompt"},
       answers.clean_first,
       {"nat", "natural logarithm of the clean probability of the answer's first token"}});
  group.arrays.push_back(
      {"clean_whole",
       {"prompt"},
       answers.clean_whole,
       {"nat", "natural logarithm of the clean probability of the whole answer"}});
  return group;
}

bool has_answers(const ResultsReader& reader, const std::string& model) {
  return reader.arrays_of(model).has(answers_names().group);
}

AnswersOfPrompts read_answers_of_prompts(const ResultsReader& reader, const std::string& model,
                                         const CellAxes& axes) {
  const hdf5::Group group = reader.arrays_of(model).open_group(answers_names().group);
  const hdf5::Shape shape{axes.prompts.size()};
  return {group.read<std::int32_t>("tokens", shape), group.read<double>("clean_first", shape),
          group.read<double>("clean_whole", shape)};
}

}  // namespace factflow
