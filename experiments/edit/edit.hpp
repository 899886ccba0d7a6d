// Edits of facts: each selected prompt's answer is overwritten, alone in one matrix of one layer by
// ROME (Meng et al. 2022, section 3.1; the matrices of a Mamba: Sharma et al. 2024, section 4), or
// together with others in several layers by MEMIT (Meng et al. 2023, section 4); the model is asked
// about it, and the matrices are put back. docs/locate.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/experiment.hpp"
#include "model/edit/edit_request.hpp"
#include "model/editable_matrix.hpp"

namespace factflow {

const ExperimentKind& edit_kind();

enum class EditMethod { kRome, kMemit };
std::string to_string(EditMethod method);  // "rome"

// Which facts MEMIT writes together, and how much the text counts against them.
struct MemitConfig {
  int facts = 100;        // so many prompts of those that the same is asked of, in their order
  double weight = 15000;  // of the covariance; that of Meng et al. 2023
  bool operator==(const MemitConfig&) const = default;
};

// The search for the value; defaults of Sharma et al. 2024.
struct EditSearch {
  int iterations = 20;  // evaluations of the loss; one less steps of Adam
  double lr = 0.5, weight_decay = 0.5, clamp_factor = 3, kl_factor = 0.0625;
  double stop_loss = 0.05;
  double stop_probability = kUsualStop;  // 1: stops nothing
  int stop_probability_after = 12;
  // 0.9 for ROME, 1 for MEMIT, which has no such rule.
  static constexpr double kUsualStop = -1;
  EditSettings settings(EditMethod method) const;
  bool operator==(const EditSearch&) const = default;
};

// Texts before the prompt, so that the key is not of the bare prompt alone.
struct EditContexts {
  int count = 20;                     // 0: the bare prompt alone
  std::vector<int> tokens = {5, 10};  // lengths, in turn
  bool operator==(const EditContexts&) const = default;
};

// The text whose keys an edit shall leave alone as far as it can.
struct KeyText {
  enum class Source { kSampled, kDataset, kFile, kNone };
  struct Origin {
    Source source = Source::kSampled;
    std::string file = {};  // absolute; of kFile
    bool operator==(const Origin&) const = default;
  };
  Origin text = {};
  std::int64_t tokens = 0;  // 0 = kTokensPerNumber for each number of a key
  double shrinkage = 0.05;  // towards a multiple of I
  bool operator==(const KeyText&) const = default;
};
inline constexpr std::int64_t kTokensPerNumber = 10;

// Layers that are edited, by ROME one at a time; -1 alone: all.
inline const std::vector<int> kAllLayers = {-1};

struct EditConfig : Entry {
  EditMethod method = EditMethod::kRome;
  MemitConfig memit = {};
  std::vector<EditedMatrix> matrices = {};  // empty: W_o, of Transformers W_down
  std::vector<int> layers = {};  // empty: the one that is as deep as 15 of 64; not of MEMIT
  EditSearch search = {};
  EditContexts contexts = {};
  KeyText covariance = {};
  int paraphrases = 2, neighbours = 10;  // at most
  int others = 4;                        // of each kind of OtherFact
  bool save = false;                     // the factors of every edit
  std::uint64_t seed = 1;
  bool operator==(const EditConfig&) const = default;
};
Form<std::vector<EditConfig>> edit_form();

}  // namespace factflow
