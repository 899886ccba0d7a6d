#include "experiments/trace/trace_arrays.hpp"

#include <limits>
#include <utility>

#include <fmt/format.h>

#include "experiments/stored_arrays.hpp"

namespace factflow {
namespace {

using hdf5::Group;

constexpr const char* kGroup = "trace";

std::string prefix_of(TraceDirection direction) {
  return fmt::format("{}_{}_", kGroup, to_string(direction));
}

void add_noise(const TracedFacts& facts, ArrayGroup& group) {
  group.attributes.emplace_back("corruption", to_string(facts.corruption));
  if (facts.corruption != Corruption::kNoise) return;
  group.attributes.emplace_back("noise_copies", facts.noise_copies);
  group.attributes.emplace_back("noise_deviation", facts.noise_deviation);
}

void read_noise(const Group& group, TracedFacts& facts) {
  const std::string corruption = group.text_attribute("corruption");
  if (corruption == to_string(Corruption::kSubject)) return;
  if (corruption != to_string(Corruption::kNoise))
    inconsistent(group, "",
                 fmt::format("attribute 'corruption' is '{}', expected 'subject' or "
                             "'noise'",
                             corruption));
  facts.corruption = Corruption::kNoise;
  facts.noise_copies = group.integer_attribute("noise_copies");
  facts.noise_deviation = group.real_attribute("noise_deviation");
}

}  // namespace

std::string to_string(Corruption corruption) {
  return corruption == Corruption::kSubject ? "subject" : "noise";
}

std::string to_string(TraceDirection direction) {
  return direction == TraceDirection::kRestore ? "restore" : "break";
}

void TracedFacts::set(std::size_t place, const Found& found) {
  counterfactual.at(place) = found.counterfactual;
  high[place] = static_cast<float>(found.high);
  low[place] = static_cast<float>(found.low);
  subject_begin[place] = found.subject_begin;
  subject_end[place] = found.subject_end;
  token_count[place] = found.token_count;
}

TracedFacts no_facts(std::vector<std::int64_t> prompts) {
  constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
  const std::size_t count = prompts.size();
  return {std::move(prompts),
          std::vector<std::string>(count),
          std::vector<float>(count, kNaN),
          std::vector<float>(count, kNaN),
          std::vector<std::int32_t>(count, -1),
          std::vector<std::int32_t>(count, -1),
          std::vector<std::int32_t>(count, 0),
          Corruption::kSubject,
          0,
          0};
}

ArrayGroup arrays_of(const TracedFacts& facts, const std::string& path) {
  ArrayGroup group{path};
  add_noise(facts, group);
  const bool noise = facts.corruption == Corruption::kNoise;
  group.axes = {{"prompt", facts.prompts, {"1", "id of the prompt in the dataset"}}};
  const auto add = [&](const char* name, const auto& values, const char* units,
                       const char* description) {
    group.arrays.push_back({name, {"prompt"}, values, {units, description}});
  };
  if (!noise)
    add("counterfactual", facts.counterfactual, "1",
        "subject that stands in the prompt's place of its own in the other run; empty = failed");
  add("high", facts.high, "1",
      "probability of the answer's token in the clean run; NaN = not computed or failed");
  add("low", facts.low, "1",
      noise ? "mean probability of the same token in runs with noise on the subject's embeddings; "
              "NaN = not computed or failed"
            : "probability of the same token in the run of the other subject; NaN = not computed "
              "or failed");
  add("subject_begin", facts.subject_begin, "token", "first token of the subject; -1 = failed");
  add("subject_end", facts.subject_end, "token", "behind the subject's last token; -1 = failed");
  add("token_count", facts.token_count, "token", "length of both runs; 0 = failed");
  return group;
}

MapNames trace_map_names(TraceDirection direction, const std::string& site, Corruption corruption) {
  const bool restore = direction == TraceDirection::kRestore;
  if (corruption == Corruption::kNoise)
    return {prefix_of(direction) + site, "text of the token whose value is patched",
            "in runs with noise on the subject's embeddings, with the clean run's value at the "
            "token; mean over copies",
            fmt::format("{} {} from noise", to_string(direction), site)};
  return {prefix_of(direction) + site, "text of the token whose value is patched",
          restore ? "in the run of the other subject, with the clean run's value at the token"
                  : "in the clean run, with the value of the other subject's run at the token",
          fmt::format("{} {}", to_string(direction), site)};
}

bool has_traces(const ResultsReader& reader, const std::string& model) {
  return reader.arrays_of(model).has(kGroup);
}

TracedFacts read_traced_facts(const ResultsReader& reader, const std::string& model,
                              const std::string& path) {
  const Group group = reader.arrays_of(model).open_group(path);
  TracedFacts facts;
  facts.prompts = group.read_axis<std::int64_t>("prompt");
  reader.check_prompts(group, facts.prompts);
  const hdf5::Shape shape{facts.prompts.size()};
  read_noise(group, facts);
  facts.counterfactual.resize(facts.prompts.size());
  if (facts.corruption == Corruption::kSubject)
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
