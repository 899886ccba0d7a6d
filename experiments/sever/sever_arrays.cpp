#include "experiments/sever/sever_arrays.hpp"

#include <fmt/format.h>

#include "experiments/stored_arrays.hpp"

namespace factflow {
namespace {

using hdf5::Group;

constexpr const char* kFacts = "sever";
constexpr const char* kPaths = "paths";

ArrayGroup arrays_of(const SeveredPaths& paths) {
  ArrayGroup group{fmt::format("{}/{}", kFacts, kPaths)};
  group.axes = {
      {"at", paths.at, {"1", "token whose h is patched, and at which sites are severed"}},
      {"severed",
       paths.severed,
       {"1",
        "sites that keep, at that token and in all layers above, their values of the other "
        "subject's run"}},
      {"prompt", paths.prompts, {"1", "id of the prompt in the dataset"}},
      {"layer",
       paths.layers,
       {"layer", "layer that the patched h enters; the model's number of layers: behind the last"}},
  };
  const auto add = [&](const char* name, const auto& values, const char* description) {
    group.arrays.push_back(
        {name, {"at", "severed", "prompt", "layer"}, values, {"1", description}});
  };
  add("probability", paths.probability,
      "probability of the answer's token in the other subject's run, with h of the clean run; NaN "
      "= not computed or failed");
  add("rank", paths.rank,
      "1 + number of other tokens that are at least as likely; 0 = not computed or failed");
  add("log_change", paths.log_change,
      "natural logarithm of the answer's probability, less that of the other subject's run");
  return group;
}

}  // namespace

std::string to_string(SeveredAt at) {
  return at == SeveredAt::kSubjectLast ? "subject-last" : "prompt-last";
}

std::vector<ArrayGroup> arrays_of(const TracedFacts& facts, const SeveredPaths& paths) {
  return {arrays_of(facts, kFacts), arrays_of(paths)};
}

bool has_severed_paths(const ResultsReader& reader, const std::string& model) {
  return reader.arrays_of(model).has(kFacts);
}

TracedFacts read_severed_facts(const ResultsReader& reader, const std::string& model) {
  return read_traced_facts(reader, model, kFacts);
}

SeveredPaths read_severed_paths(const ResultsReader& reader, const std::string& model) {
  const Group facts = reader.arrays_of(model).open_group(kFacts);
  const Group group = facts.open_group(kPaths);
  SeveredPaths paths;
  paths.at = group.read_axis<std::string>("at");
  check_unique(group, "at", paths.at);
  paths.severed = group.read_axis<std::string>("severed");
  check_unique(group, "severed", paths.severed);
  paths.prompts = group.read_axis<std::int64_t>("prompt");
  if (paths.prompts != facts.read_axis<std::int64_t>("prompt"))
    inconsistent(group, "prompt", "expected the prompts of the group above");
  paths.layers = group.read_axis<std::int32_t>("layer");
  const std::int64_t last = reader.model(model).layers;
  for (std::size_t i = 0; i < paths.layers.size(); ++i)
    if (paths.layers[i] < 0 || paths.layers[i] > last ||
        (i > 0 && paths.layers[i] <= paths.layers[i - 1]))
      inconsistent(group, "layer", fmt::format("expected ascending layers up to {}", last));
  const hdf5::Shape shape{paths.at.size(), paths.severed.size(), paths.prompts.size(),
                          paths.layers.size()};
  struct {
    std::vector<float> probability;
    std::vector<std::int32_t> rank, tied;
  } answers;
  read_answers(group, shape, answers);
  paths.probability = std::move(answers.probability);
  paths.rank = std::move(answers.rank);
  paths.log_change = group.read<float>("log_change", shape);
  return paths;
}

}  // namespace factflow
