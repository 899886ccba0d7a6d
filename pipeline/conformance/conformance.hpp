// Published numbers against this program's: which rows agree, which differ, and which cannot agree,
// and why.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/loaded_model.hpp"
#include "pipeline/conformance/published.hpp"
#include "pipeline/input/dataset.hpp"

namespace factflow {

// Why the reference's forward with these edges cut is no causal knockout; "" where it
// is one. `family` is the checkpoint's model_type; positions as in Block, of a prompt of
// `tokens` tokens and a model of `layers` layers. Checked on random weights against forwards
// written as the reference's library does it: tests/conformance/quirks_test.cpp.
std::string why_not_causal(const std::string& family, const Block& knockout, int tokens,
                           int layers);

// One row of published numbers: a prompt's clean run, one edge of a prompt, or one token of a heat
// map.
struct ConformanceRow {
  enum class Kind { kClean, kKnockout, kHeatmap };
  // kExplained: some windows or all were left out for a reason, and what is left agrees.
  enum class Verdict { kAgrees, kDiffers, kExplained };
  Kind kind = Kind::kClean;
  Verdict verdict = Verdict::kAgrees;
  std::string what = {};  // "prompt 4830, subject->last, windows of 15"
  // The first number that is off; why numbers were left out.
  std::string difference = {}, reason = {};
  std::int64_t compared = 0, left_out = 0;  // numbers
  // Largest |computed - published| of the compared probabilities.
  double distance = 0;
};

struct Conformance {
  std::vector<ConformanceRow> rows;
  bool conforms() const;  // no row differs
};

// Computes everything that is published of the model. A probability agrees if |computed -
// published| <= tolerance * (1 + published), the criterion of the reference's own tests, and, since
// that says nothing about small ones, if the logarithms are within 0.02 (float32 rounding moves
// them by some 1e-3); ranks within one percent, "the likeliest token" and the numbers of tokens
// exactly. Ranks are the published ones, which count likelier tokens only. Throws InputError if the
// checkpoint is not of this shape or the dataset lacks a prompt.
Conformance compare_with_published(const PublishedModel& published, LoadedModel& model,
                                   const Dataset& dataset, double tolerance);

// What a person reads: a line per kind, then every reason with its rows, then every row that
// differs.
std::string describe(const Conformance& conformance);

}  // namespace factflow
