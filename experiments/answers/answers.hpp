// Knockouts judged by all tokens of the answer beside its first one. The whole answer is read token
// after token behind the prompt; edges into the last token are blocked into these as well, since
// they ask for the next token as the last one does.
#pragma once

#include <vector>

#include "experiments/answers/answers_arrays.hpp"
#include "experiments/experiment.hpp"
#include "experiments/intervene/rows.hpp"

namespace factflow {

const ExperimentKind& answers_kind();

struct AnswersConfig : Entry {
  WindowsConfig windows = {};
  std::vector<TokenGroup> from = {}, to = {};  // every pair is an edge; `to` empty = last
  bool operator==(const AnswersConfig&) const = default;
};
Form<std::vector<AnswersConfig>> answers_form();

}  // namespace factflow
