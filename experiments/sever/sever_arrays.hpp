// Severed paths of a model in the results file.
//
// Group MODEL/sever holds what the facts are, as MODEL/trace does (experiments/trace/
// trace_arrays.hpp). Group MODEL/sever/paths holds what the answer is in the other subject's run
// with h of the clean run at one token, by the layer that h enters (the last one: behind all
// layers) and by what was severed at that token in every layer above.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "experiments/trace/trace_arrays.hpp"

namespace factflow {

enum class SeveredAt { kSubjectLast, kPromptLast };
std::string to_string(SeveredAt at);  // "subject-last", "prompt-last"

inline constexpr const char* kNothingSevered = "none";  // the patch alone

// All paths of one model; the same facts as those of its TracedFacts.
struct SeveredPaths {
  std::vector<std::string> at;        // of to_string(SeveredAt); unique
  std::vector<std::string> severed;   // kNothingSevered, "s", "o+mlp": sites; unique
  std::vector<std::int64_t> prompts;  // ids
  std::vector<std::int32_t> layers;   // 0 .. the model's layers, ascending
  // [at, severed, prompt, layer]. NaN and rank 0: nobody asked for it, it failed, or it is not
  // computed yet.
  std::vector<float> probability, log_change;  // ln(p / low)
  std::vector<std::int32_t> rank;

  std::size_t cell(std::size_t place, std::size_t what, std::size_t prompt) const {
    return ((place * severed.size() + what) * prompts.size() + prompt) * layers.size();
  }
};
std::vector<ArrayGroup> arrays_of(const TracedFacts& facts, const SeveredPaths& paths);

// What a model has in the file. Throw InputError for what the function above did not make.
bool has_severed_paths(const ResultsReader& reader, const std::string& model);
TracedFacts read_severed_facts(const ResultsReader& reader, const std::string& model);
SeveredPaths read_severed_paths(const ResultsReader& reader, const std::string& model);

}  // namespace factflow
