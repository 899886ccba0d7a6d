// How claims of papers are put to the test of a run: a verdict for every model with its reason and
// its numbers, and one for the whole.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "analysis/statistics.hpp"

namespace factflow {

enum class Verdict { kHolds, kPartly, kDoesNotHold, kCannotTell };
std::string to_string(Verdict verdict);  // "holds", "holds in part", "does not hold", "cannot tell"

struct Judged {
  Verdict verdict = Verdict::kCannotTell;
  std::string reason;  // in words
};
Judged cannot_tell(std::string reason);

struct ModelVerdict {
  std::string model;  // or "SMALLER against LARGER"
  Verdict verdict = Verdict::kCannotTell;
  std::string reason;    // why this verdict, in words
  std::string evidence;  // the numbers that decided
};

// The whole holds if it holds in every model that it is about, and in at least one of each kind
// that it names; it does not hold if the evidence is against it in one, and holds in part if
// nowhere all of the evidence is; else it cannot be told. That nothing is significant is no
// evidence against anything.
struct Claim {
  std::string text;
  std::string rule;  // how a model's verdict is reached
  Verdict verdict = Verdict::kCannotTell;
  std::string reason;  // of the whole
  // Empty: the run holds no model or edge that the claim is about.
  std::vector<ModelVerdict> models;
  std::string source;  // paper and section
};

// `absent`: a kind of model that the claim is about and the run lacks; else "".
Claim decide(std::string text, std::string rule, std::vector<ModelVerdict> models,
             const std::string& absent = "");

// One of the statements that a claim makes. `name` begins a sentence: "early, ..."
struct ClaimPart {
  std::string name;
  Judged judged;
};
// Whether a quantity is larger than `bound`, by its interval.
Judged judge_above(const Interval& interval, double bound, int digits = 2);
// All parts hold: holds. All that can be told are against it: does not hold; some are: in part.
// Else it cannot be told.
Judged judge_parts(const std::vector<ClaimPart>& parts);

// "12 prompts of 10 facts"
std::string count_text(std::size_t n, std::size_t facts);
// Nothing if the facts are enough to decide a claim.
std::optional<Judged> too_few(std::size_t n, std::size_t facts);

}  // namespace factflow
