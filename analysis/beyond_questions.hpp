// The questions beyond the paper that a reader asks first, answered for every model by one number
// with its interval and a verdict: who carries the facts of a hybrid, which path carries subject ->
// last, at which depth, do slow channels carry more than random ones, what does the last token's
// surge remove, do two knockouts add up. docs/beyond.md says what each number is.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "analysis/study.hpp"

namespace factflow {

// What one model answers.
struct QuestionAnswer {
  std::string model;
  std::string answer;  // in few words; "" = nothing was asked of it
  // The question has no sense for a model of its kind: the answer says why, and there is no number.
  bool applies = true;
  std::string quantity;  // what the number is; that of the question where it is ""
  Resampled number;
  int digits = 1;
  std::string also;    // the same number of another ranking, in words; mostly ""
  std::string beside;  // the numbers that stand beside it, in words
  Judged judged;       // of the question's statement
  std::size_t n = 0, facts = 0;
  std::string figure;  // stem of the one that shows it
  bool comparable() const { return applies && quantity.empty() && !answer.empty(); }
};

struct BeyondQuestion {
  std::string id;         // "carrier", "path", "depth", "slow", "surge", "sum"
  std::string text;       // the question
  std::string statement;  // what the verdicts are about
  std::string quantity;   // what the numbers are, with their unit
  std::string section;    // id of the report's section with all of it
  // The statement holds where the whole interval lies in this band; an end may be infinite.
  Interval band;
  bool differences = true;             // whether the numbers are, and have a sign
  std::vector<QuestionAnswer> models;  // each model of the run, in order
};

inline constexpr const char* kCarrierQuestion = "carrier";

// Those of which the run says something about some model. Of the edge subject -> last, each model's
// main set, at the window of the findings or the model's largest.
std::vector<BeyondQuestion> beyond_questions(const Study& study);

}  // namespace factflow
