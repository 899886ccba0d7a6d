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
// Every edge in every window.
SweepUnit sweep(LoadedModel& model, const ModelJob& job, const std::vector<Prompt>& prompts);
// Every single token -> last in every window.
HeatmapUnit draw_heatmaps(LoadedModel& model, const ModelJob& job, const std::vector<Prompt>& prompts);

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

// Windows of all series, in order: what a cut of a request carries.
std::vector<Window> all_windows(const std::vector<WindowSeries>& series);

inline constexpr const char* kNotFinite = "the model's output is not a finite number";

}  // namespace factflow
