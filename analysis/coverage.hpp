// What results hold of what was asked: computed, failed, missing, and what does not exist are four
// different things.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "analysis/study.hpp"

namespace factflow {

// Of the prompts that a model is swept over, or that its interventions are about (one set of them).
struct Coverage {
  std::size_t asked = 0;  // prompts; computed + failed + missing
  // With all knockouts or rows that were asked for of them, or with nothing to touch.
  std::size_t computed = 0;
  std::size_t failed = 0;   // see the failures
  std::size_t missing = 0;  // not computed yet
  // (edge or row, prompt) of computed prompts; those of them with no such edge, or nothing to touch
  std::size_t pairs = 0, absent = 0;
};
Coverage coverage_of(const CellAxes& axes);

// Likewise of the clean runs of all prompts of the dataset. `right`: of the computed ones, rank 1.
struct CleanCoverage {
  std::size_t asked = 0, computed = 0, failed = 0, missing = 0, right = 0;
};
CleanCoverage clean_coverage_of(const ModelData& model, const RunData& run);

// "right on 198 of 200 prompts (99.0 %), 40 not computed yet; knockouts on 120 of 198 selected
// prompts, 78 not computed yet". Of a model with its interventions: "interventions on 120 of ...".
std::string coverage_in_words(const ModelData& model, const RunData& run);

// What is missing, failed, not selected or does not exist, a sentence each; none if all is there.
std::vector<std::string> coverage_gaps(const Study& study);

}  // namespace factflow
