// The findings in words and as a table for a terminal.
#pragma once

#include <string>
#include <vector>

#include "analysis/study.hpp"

namespace factflow {

// Whether a drop is one: below zero by a t test, Holm-corrected over the starts, at the 5 % level.
bool is_real(const EdgeEffect& effect);

// One sentence for each edge (all channels), from tests of the data. Transformers and state-space
// models apart.
struct FindingSentence {
  EdgeName edge;
  std::string text;
};
std::vector<FindingSentence> finding_sentences(const Study& study);

// "The run is not finished: ...", or "" if it is.
std::string unfinished(const Study& study);

// What else is missing from the results, in sentences: failures, edges that some prompts do not
// have.
std::vector<std::string> gaps(const Study& study);

// The table, the sentences, the claims and the gaps as plain text, lines of about 110 letters.
std::string findings_text(const Study& study);

}  // namespace factflow
