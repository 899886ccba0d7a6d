// Estimates of causal traces by gradients, beside the exact effects, in the results file.
//
// Group MODEL/attribution holds what the facts are, as MODEL/trace does (experiments/trace/
// trace_arrays.hpp). Group MODEL/attribution/effects holds effects of patches of single tokens,
// layers and sites: exact ones, from the engine, and estimates.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "experiments/trace/trace_arrays.hpp"

namespace factflow {

enum class EstimateMethod { kGradient, kIntegrated };
std::string to_string(EstimateMethod method);  // "gradient", "integrated"

// All effects of one model; the same facts as those of its TracedFacts. An effect is the answer's
// probability in the other subject's run with the clean run's value at one site, token and layer,
// less that without.
struct AttributedEffects {
  std::vector<std::string> sites;     // unique
  std::vector<std::int64_t> prompts;  // ids
  std::int64_t tokens = 0;            // of the longest prompt: the axis is 0 .. tokens - 1
  std::int64_t layers = 0;            // the axis is 0 .. layers; of h alone there is the last
  std::int64_t steps = 0;             // of integrated gradients; 0 = there are none
  // [site, prompt, token, layer]. NaN: there is no such token or layer, nobody asked for it, it
  // failed, or it is not computed yet. Before the subject's first token all are 0.
  std::vector<float> exact;
  std::vector<float> gradient, integrated;  // estimates; empty where nobody asked for them

  std::size_t cell(std::size_t site, std::size_t prompt, std::size_t token) const {
    return ((site * prompts.size() + prompt) * static_cast<std::size_t>(tokens) + token) *
           static_cast<std::size_t>(layers + 1);
  }
  const std::vector<float>& of(EstimateMethod method) const {
    return method == EstimateMethod::kGradient ? gradient : integrated;
  }
  std::vector<float>& of(EstimateMethod method) {
    return method == EstimateMethod::kGradient ? gradient : integrated;
  }
  bool has(EstimateMethod method) const { return !of(method).empty(); }
};
std::vector<ArrayGroup> arrays_of(const TracedFacts& facts, const AttributedEffects& effects);

// What a model has in the file. Throw InputError for what the function above did not make.
bool has_attributions(const ResultsReader& reader, const std::string& model);
TracedFacts read_attributed_facts(const ResultsReader& reader, const std::string& model);
AttributedEffects read_attributed_effects(const ResultsReader& reader, const std::string& model);

}  // namespace factflow
