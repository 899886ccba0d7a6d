#include "experiments/attribution/attribution_arrays.hpp"

#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "experiments/stored_arrays.hpp"

namespace factflow {
namespace {

using hdf5::Group;

constexpr const char* kFacts = "attribution";
constexpr const char* kEffects = "effects";
constexpr EstimateMethod kMethods[] = {EstimateMethod::kGradient, EstimateMethod::kIntegrated};

std::vector<std::int32_t> places_of(std::int64_t count) {
  std::vector<std::int32_t> places(static_cast<std::size_t>(count));
  std::iota(places.begin(), places.end(), 0);
  return places;
}

ArrayGroup arrays_of(const AttributedEffects& effects) {
  ArrayGroup group{fmt::format("{}/{}", kFacts, kEffects)};
  if (effects.has(EstimateMethod::kIntegrated)) group.attributes = {{"steps", effects.steps}};
  group.axes = {
      {"site", effects.sites, {"1", "site whose value of the clean run is patched in"}},
      {"prompt", effects.prompts, {"1", "id of the prompt in the dataset"}},
      {"token", places_of(effects.tokens), {"token", "place of the token whose value is patched"}},
      {"layer",
       places_of(effects.layers + 1),
       {"layer",
        "layer of the site; of h, the stream that enters it, also the model's number of layers: "
        "behind the last"}},
  };
  const auto add = [&](const std::string& name, const std::vector<float>& values,
                       const std::string& description) {
    group.arrays.push_back(
        {name, {"site", "prompt", "token", "layer"}, values, {"1", description}});
  };
  const std::string nothing = "; NaN = no such token or layer, not computed or failed";
  add("exact", effects.exact,
      "probability of the answer's token in the run of the other subject with this value of the "
      "clean run, less that without" +
          nothing);
  if (effects.has(EstimateMethod::kGradient))
    add("gradient", effects.gradient,
        "estimate of the same: (clean - other value) times the gradient of the probability in the "
        "run of the other subject" +
            nothing);
  if (effects.has(EstimateMethod::kIntegrated))
    add("integrated", effects.integrated,
        "estimate of the same: (clean - other value) times the mean of the gradient at the "
        "midpoints of `steps` equal steps from the other value to the clean one" +
            nothing);
  return group;
}

// An axis that counts from 0.
std::int64_t read_places(const Group& group, const std::string& name) {
  const auto places = group.read_axis<std::int32_t>(name);
  if (places != places_of(static_cast<std::int64_t>(places.size())))
    inconsistent(group, name, "expected 0, 1, 2, ..");
  return static_cast<std::int64_t>(places.size());
}

// Estimates are of the same cells as exact effects.
void check_cells(const Group& group, const AttributedEffects& effects, EstimateMethod method) {
  const std::vector<float>& values = effects.of(method);
  for (std::size_t i = 0; i < values.size(); ++i)
    if (std::isnan(values[i]) != std::isnan(effects.exact[i]))
      inconsistent(group, to_string(method), "expected a value where there is an exact effect");
}

}  // namespace

std::string to_string(EstimateMethod method) {
  return method == EstimateMethod::kGradient ? "gradient" : "integrated";
}

std::vector<ArrayGroup> arrays_of(const TracedFacts& facts, const AttributedEffects& effects) {
  return {arrays_of(facts, kFacts), arrays_of(effects)};
}

bool has_attributions(const ResultsReader& reader, const std::string& model) {
  return reader.arrays_of(model).has(kFacts);
}

TracedFacts read_attributed_facts(const ResultsReader& reader, const std::string& model) {
  return read_traced_facts(reader, model, kFacts);
}

AttributedEffects read_attributed_effects(const ResultsReader& reader, const std::string& model) {
  const Group facts = reader.arrays_of(model).open_group(kFacts);
  const Group group = facts.open_group(kEffects);
  AttributedEffects effects;
  effects.sites = group.read_axis<std::string>("site");
  check_unique(group, "site", effects.sites);
  effects.prompts = group.read_axis<std::int64_t>("prompt");
  if (effects.prompts != facts.read_axis<std::int64_t>("prompt"))
    inconsistent(group, "prompt", "expected the prompts of the group above");
  effects.tokens = read_places(group, "token");
  effects.layers = read_places(group, "layer") - 1;
  if (effects.layers != reader.model(model).layers)
    inconsistent(group, "layer", "expected as many as the model has, and one more");
  const hdf5::Shape shape{effects.sites.size(), effects.prompts.size(),
                          static_cast<std::size_t>(effects.tokens),
                          static_cast<std::size_t>(effects.layers + 1)};
  effects.exact = group.read<float>("exact", shape);
  for (const EstimateMethod method : kMethods) {
    if (!group.has(to_string(method))) continue;
    effects.of(method) = group.read<float>(to_string(method), shape);
    check_cells(group, effects, method);
  }
  if (effects.has(EstimateMethod::kIntegrated)) effects.steps = group.integer_attribute("steps");
  return effects;
}

}  // namespace factflow
