// The experiment kinds: one function and one file each. A new kind is a Stage, a result in unit.hpp, a file here, and a line
// in worker.cpp.
#pragma once

#include <vector>

#include "workers/job.hpp"
#include "workers/loaded_model.hpp"
#include "workers/unit.hpp"

namespace factflow {

// Probability, rank and likeliest tokens of every prompt.
EvaluationUnit evaluate(LoadedModel& model, const std::vector<Prompt>& prompts);
// Every edge that the unit asks for, in its windows.
SweepUnit sweep(LoadedModel& model, const ModelJob& job, const Unit& unit);
// Every single token -> last, in the windows that the unit asks for.
HeatmapUnit draw_heatmaps(LoadedModel& model, const ModelJob& job, const Unit& unit);

// Tokenizes the prompts that can be; `fail(i, reason)` hears of the others. Returns tokens and the indices they belong to.
struct TokenizedSlice {
  std::vector<TokenizedPrompt> prompts;
  std::vector<size_t> index;
};
template <class Fail>
TokenizedSlice tokenize_slice(const LoadedModel& model, const std::vector<Prompt>& prompts, Fail fail) {
  TokenizedSlice slice;
  for (size_t i = 0; i < prompts.size(); ++i) {
    try {
      slice.prompts.push_back(model.tokenize_prompt(prompts[i]));
      slice.index.push_back(i);
    } catch (const InputError& error) {
      fail(i, std::string(error.problem()));
    }
  }
  return slice;
}

// The windows of the asked series, in order: what a cut of a request carries.
std::vector<Window> windows_of(const std::vector<WindowSeries>& series, const std::vector<std::uint32_t>& asked);

inline constexpr const char* kNotFinite = "the model's output is not a finite number";

}  // namespace factflow
