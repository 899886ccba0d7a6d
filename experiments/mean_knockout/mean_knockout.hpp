// Knockouts of tokens as Sharma et al. 2024 (section 3) make them for models without attention: in
// a window of layers the tokens' input of the convolution is its mean over other texts. Beside
// theirs, the exact cut by a second scan, and the cut of edges through the state or the attention
// scores. docs/locate.md.
#pragma once

#include <string>
#include <vector>

#include "experiments/experiment.hpp"
#include "experiments/mean_knockout/mean_knockout_arrays.hpp"

namespace factflow {

const ExperimentKind& mean_knockout_kind();

enum class KnockoutMode {
  kEdges,        // tokens -> last token, through the state or the attention scores
  kMeanA,        // a is the mean at the tokens, the clean value elsewhere before the last
  kMeanXbc,      // xbc likewise
  kTwoStreamA,   // the last token's s is that of a second scan with the mean of a at the tokens
  kTwoStreamXbc  // xbc likewise
};
std::string to_string(KnockoutMode mode);  // "edges", "mean-a", "two-stream-xbc"

// Tokens that are taken out: of the subject, its last one, all others but the prompt's last, that.
enum class KnockoutSet { kSubject, kSubjectLast, kNonSubject, kPromptLast };
std::string to_string(KnockoutSet set);  // "subject", "subject-last", "non-subject", "prompt-last"
std::vector<int> positions_of(KnockoutSet set, const TokenizedPrompt& prompt);  // ascending

struct MeanReferencesConfig {
  // How many prompts of the dataset, or documents of the text; 0 = 128, or all where there are
  // fewer.
  int prompts = 0;
  std::string text = {};  // absolute path of a file with a document a line; empty: the dataset
  std::uint64_t seed = 1;
  bool operator==(const MeanReferencesConfig&) const = default;
};

struct MeanKnockoutConfig : Entry {
  std::vector<KnockoutMode> modes = {};  // empty: modes_of()
  std::vector<KnockoutSet> sets = {KnockoutSet::kSubject, KnockoutSet::kSubjectLast,
                                   KnockoutSet::kNonSubject, KnockoutSet::kPromptLast};
  int window = 0;  // layers around the centre; 0 = 10 of 64
  MeanReferencesConfig references;
  bool operator==(const MeanKnockoutConfig&) const = default;
};
Form<std::vector<MeanKnockoutConfig>> mean_knockout_form();

// Those that every layer of a model can have.
std::vector<KnockoutMode> modes_of(const Architecture& architecture);

}  // namespace factflow
