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
  std::string evidence;  // the numbers that decided
};

// The whole holds if it holds in every model that it is about, does not hold if it fails in one,
// and cannot be told otherwise.
struct Claim {
  std::string text;
  std::string rule;  // how a model's verdict is reached
  Verdict verdict = Verdict::kCannotTell;
  // Empty: the run holds no model or edge that the claim is about.
  std::vector<ModelVerdict> models;
};

// `effects` of one window size for each model, with confidence intervals by prompt.
std::vector<Claim> judge_claims(const std::vector<EdgeEffect>& effects,
                                const std::vector<ChannelRatio>& channels,
                                const std::vector<SensitivityPair>& sensitivity);

}  // namespace factflow
