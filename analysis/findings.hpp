// The findings in words and as a table for a terminal.
#pragma once

#include <string>
#include <vector>

#include "analysis/study.hpp"

namespace factflow {

// One sentence for each edge (all channels), from tests of the data. Transformers and state-space
// models apart.
struct FindingSentence {
  EdgeName edge;
  std::string text;
};
std::vector<FindingSentence> finding_sentences(const Study& study);

// What the p values and intervals of a table are, in sentences; "" for an empty one. `effects`: of
// the findings, or of interventions.
std::string correction(const std::vector<EdgeEffect>& effects);

// "The run is not finished: ...", or "" if it is.
std::string unfinished(const Study& study);

// What a reader must know beside the numbers, in sentences: limits, means that few prompts make,
// other windows, failures, answers that are tied with other tokens, edges that some prompts do
// not have, differences between runs.
std::vector<std::string> gaps(const Study& study);
// What makes the numbers of a model mean something else than they seem to, as one sentence each.
std::vector<std::string> answer_warnings(const Study& study);

// Of a run without knockouts only those that it says something to.
std::vector<const Claim*> claims_to_show(const Study& study);

// The table, the sentences, the claims, the table of interventions and the gaps as plain text,
// lines of about 110 letters.
std::string findings_text(const Study& study);

}  // namespace factflow
