// What an edit of a fact is asked with, and what is told about it: plain data. All layers are those
// of docs/interventions.md, all prompts lists of token ids, run alone and without padding.
#pragma once

#include <optional>
#include <vector>

namespace factflow {

// "Let the prompt be continued by the target." Meng et al. 2022, section 3.1.
struct EditRequest {
  std::vector<int> prompt;
  int subject_last = 0;  // place of the subject's last token in the prompt
  int answer = 0;        // what the model says
  std::vector<int> target;
  // What may precede the prompt; the first is the one whose value is the start of the optimisation.
  std::vector<std::vector<int>> contexts;
  // The prompt as it stands behind a context that is not empty, where its tokens are others there;
  // empty: as it stands alone.
  std::vector<int> continued = {};
  int continued_subject_last = 0;
  // A prompt of the subject whose continuation shall stay.
  std::vector<int> essence;
  int essence_subject_last = 0;
  std::vector<std::vector<int>> neighbours;  // whose continuations are looked at
};

// Of the optimisation of the value (docs/locate.md); defaults of Sharma et al. 2024.
struct EditSettings {
  double lr = 0.5;  // of Adam
  int iterations = 20;
  double weight_decay = 0.5, clamp_factor = 3, kl_factor = 0.0625;
  double stop_loss = 0.05;
  // Absent: the mean probability stops nothing.
  std::optional<double> stop_prob = 0.9;
  std::optional<int> stop_prob_after = 12;
};

// One evaluation of the loss, before its step. loss = nll + kl + decay.
struct EditStep {
  double loss = 0, nll = 0, kl = 0, decay = 0, mean_prob = 0, delta_norm = 0;
};

// What the model says after a prompt; natural logarithms.
struct PromptOutcome {
  double log_target = 0, log_answer = 0;  // of the target's first token and of the old answer
  double target_nll = 0;                  // mean over the target's tokens of -log p
};

}  // namespace factflow
