// The experiment kinds: one function and one file each. A new kind is a Stage, a result in
// unit.hpp, a file here, and a line in worker.cpp.
#pragma once

#include <vector>

#include "workers/job.hpp"
#include "workers/loaded_model.hpp"
#include "workers/unit.hpp"

namespace factflow {

// A unit whose prompts have their tokens: what can be done before the device is needed.
struct PreparedUnit {
  Unit unit;
  std::vector<TokenizedPrompt> prompts;  // those that have tokens
  std::vector<size_t> index;             // which prompt of the unit each of them is
  std::vector<std::string> failures;     // [prompt of the unit] why it has none; empty = it has
};
// Only reads the model's tokenizer, so it may run beside a computation with the model.
PreparedUnit prepare(const LoadedModel& model, Unit unit);

// Probability, rank, ties and likeliest tokens of every prompt.
EvaluationUnit evaluate(LoadedModel& model, const PreparedUnit& prepared);
// Every edge that the unit asks for, in its windows.
SweepUnit sweep(LoadedModel& model, const ModelJob& job, const PreparedUnit& prepared);
// Every single token -> last, in the windows that the unit asks for.
HeatmapUnit draw_heatmaps(LoadedModel& model, const ModelJob& job, const PreparedUnit& prepared);

// Results [prompt of the unit], those without tokens failed.
template <class PromptResult>
std::vector<PromptResult> failures_of(const PreparedUnit& prepared) {
  std::vector<PromptResult> results(prepared.failures.size());
  for (size_t i = 0; i < results.size(); ++i) results[i].failure = prepared.failures[i];
  return results;
}

// The windows of the asked series, in order: what a cut of a request carries.
std::vector<Window> windows_of(const std::vector<WindowSeries>& series,
                               const std::vector<std::uint32_t>& asked);

// What the unit's stage asks of the engine about one of its prompts.
ReplayRequest request_of(const ModelJob& job, const Unit& unit, const TokenizedPrompt& prompt);

inline constexpr const char* kNotFinite = "the model's output is not a finite number";

}  // namespace factflow
