// What the paper claims, put to the test of this run. Source: Endy et al., ACL 2025 (arXiv
// 2505.24244), section 5.
#pragma once

#include <string>
#include <vector>

#include "analysis/effects.hpp"
#include "analysis/sensitivity.hpp"

namespace factflow {

enum class Verdict { kHolds, kDoesNotHold, kCannotTell };
std::string to_string(Verdict verdict);  // "holds", "does not hold", "cannot tell"

struct ModelVerdict {
  std::string model;  // or "SMALLER against LARGER"
  Verdict verdict = Verdict::kCannotTell;
  std::string reason;    // why this verdict, in words
  std::string evidence;  // the numbers that decided
};

// The whole holds if it holds in every model that it is about, and in at least one of each kind
// that it names; it does not hold if the evidence is against it in one; else it cannot be told.
// That nothing is significant is no evidence against anything.
struct Claim {
  std::string text;
  std::string rule;  // how a model's verdict is reached
  Verdict verdict = Verdict::kCannotTell;
  std::string reason;  // of the whole
  // Empty: the run holds no model or edge that the claim is about.
  std::vector<ModelVerdict> models;
};

// `effects` of one window size for each model, corrected together (effects.hpp).
std::vector<Claim> judge_claims(const std::vector<EdgeEffect>& effects,
                                const std::vector<ChannelRatio>& channels,
                                const std::vector<SensitivityPair>& sensitivity);

}  // namespace factflow
