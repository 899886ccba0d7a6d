#include "experiments/mean_knockout/mean_knockout_arrays.hpp"

#include "experiments/stored_arrays.hpp"

namespace factflow {

const CellNames& mean_knockout_names() {
  static const CellNames names = {"mean_knockout",
                                  "knockout",
                                  "what is done, and to which tokens of the prompt",
                                  "positions",
                                  "tokens that are taken out; 0 = the prompt has none",
                                  "with the tokens taken out",
                                  "no such token",
                                  "section"};
  return names;
}

ArrayGroup arrays_of(const CellAxes& axes, const MeanReferences& references) {
  ArrayGroup group = arrays_of(mean_knockout_names(), axes);
  group.attributes = {{"reference_tokens", references.tokens}};
  if (references.documents > 0)
    group.attributes.emplace_back("reference_documents", references.documents);
  group.axes.push_back(
      {"reference", references.prompts, {"1", "id of a prompt that the means are of"}});
  return group;
}

std::pair<std::string, std::string> mode_and_set(const std::string& item) {
  const std::size_t space = item.find(' ');
  if (space == std::string::npos) return {item, ""};
  return {item.substr(0, space), item.substr(space + 1)};
}

bool has_mean_knockouts(const ResultsReader& reader, const std::string& model) {
  return reader.arrays_of(model).has(mean_knockout_names().group);
}

MeanReferences read_mean_references(const ResultsReader& reader, const std::string& model) {
  const hdf5::Group group = reader.arrays_of(model).open_group(mean_knockout_names().group);
  MeanReferences references{group.read_axis<std::int64_t>("reference"),
                            group.integer_attribute("reference_tokens")};
  if (group.has_attribute("reference_documents"))
    references.documents = group.integer_attribute("reference_documents");
  if (references.tokens < 0 || references.documents < 0)
    inconsistent(group, "", "attribute 'reference_tokens' or 'reference_documents' is below 0");
  return references;
}

}  // namespace factflow
