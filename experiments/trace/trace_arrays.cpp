#include "experiments/trace/trace_arrays.hpp"

#include <fmt/format.h>

#include "experiments/stored_arrays.hpp"

namespace factflow {
namespace {

using hdf5::Group;

constexpr const char* kGroup = "trace";

std::string prefix_of(TraceDirection direction) {
  return fmt::format("{}_{}_", kGroup, to_string(direction));
}

}  // namespace

std::string to_string(TraceDirection direction) {
  return direction == TraceDirection::kRestore ? "restore" : "break";
}

ArrayGroup arrays_of(const TracedFacts& facts) {
  ArrayGroup group{kGroup};
  group.axes = {{"prompt", facts.prompts, {"1", "id of the prompt in the dataset"}}};
  const auto add = [&](const char* name, const auto& values, const char* units,
                       const char* description) {
    group.arrays.push_back({name, {"prompt"}, values, {units, description}});
  };
  add("counterfactual", facts.counterfactual, "1",
      "subject that stands in the prompt's place of its own in the other run; empty = failed");
  add("high", facts.high, "1",
      "probability of the answer's token in the clean run; NaN = not computed or failed");
  add("low", facts.low, "1",
      "probability of the same token in the run of the other subject; NaN = not computed or "
      "failed");
  add("subject_begin", facts.subject_begin, "token", "first token of the subject; -1 = failed");
  add("subject_end", facts.subject_end, "token", "behind the subject's last token; -1 = failed");
  add("token_count", facts.token_count, "token", "length of both runs; 0 = failed");
  return group;
}

MapNames trace_map_names(TraceDirection direction, const std::string& site) {
  const bool restore = direction == TraceDirection::kRestore;
  return {prefix_of(direction) + site, "text of the token whose value is patched",
          restore ? "in the run of the other subject, with the clean run's value at the token"
                  : "in the clean run, with the value of the other subject's run at the token",
          fmt::format("{} {}", to_string(direction), site)};
}

bool has_traces(const ResultsReader& reader, const std::string& model) {
  return reader.arrays_of(model).has(kGroup);
}

TracedFacts read_traced_facts(const ResultsReader& reader, const std::string& model) {
  const Group group = reader.arrays_of(model).open_group(kGroup);
  TracedFacts facts;
  facts.prompts = group.read_axis<std::int64_t>("prompt");
  reader.check_prompts(group, facts.prompts);
  const hdf5::Shape shape{facts.prompts.size()};
  facts.counterfactual = group.read<std::string>("counterfactual", shape);
  facts.high = group.read<float>("high", shape);
  facts.low = group.read<float>("low", shape);
  check_probabilities(group, "high", facts.high);
  check_probabilities(group, "low", facts.low);
  facts.subject_begin = group.read<std::int32_t>("subject_begin", shape);
  facts.subject_end = group.read<std::int32_t>("subject_end", shape);
  facts.token_count = group.read<std::int32_t>("token_count", shape);
  for (std::size_t i = 0; i < facts.prompts.size(); ++i)
    if (!std::isnan(facts.high[i]) &&
        (facts.subject_begin[i] < 0 || facts.subject_begin[i] >= facts.subject_end[i] ||
         facts.subject_end[i] > facts.token_count[i]))
      inconsistent(group, "subject_end", "expected subjects inside their prompts");
  return facts;
}

std::vector<TraceMaps> trace_maps(const ResultsReader& reader, const std::string& model) {
  std::vector<TraceMaps> maps;
  for (const std::string& name : reader.arrays_of(model).names())
    for (const TraceDirection direction : {TraceDirection::kRestore, TraceDirection::kBreak})
      if (const std::string prefix = prefix_of(direction); name.starts_with(prefix))
        maps.push_back({direction, name.substr(prefix.size()), name});
  return maps;
}

}  // namespace factflow
