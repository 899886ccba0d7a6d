// A fact as one model is asked to learn it, and how that is judged.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "experiments/edit/edit_background.hpp"
#include "experiments/edit/fact_pool.hpp"
#include "experiments/loaded_model.hpp"
#include "model/edit/edit_request.hpp"
#include "model/edit/judge.hpp"

namespace factflow {

struct EditFact {
  EditRequest request;
  std::string essence;
  std::vector<int> new_ids, true_ids;  // the two answers
  struct Question {
    EditQuestion kind = EditQuestion::kRewrite;
    int number = 0;  // among those of its kind
    std::string text;
    std::vector<int> ids;
  };
  std::vector<Question> questions;  // the prompt first
  struct Other {
    OtherFact kind = OtherFact::kUnrelated;
    int number = 0;
    TokenizedPrompt prompt;
  };
  std::vector<Other> others;
};

// Throws InputError for a prompt without a new answer, and for tokens that the model does not take.
EditFact edit_fact(const LoadedModel& model, const EditConfig& config, const FactPool& pool,
                   const EditBackground& background, const TokenizedPrompt& prompt);

// What the network, as it is, says of a fact.
struct EditVerdict {
  std::vector<ContinuationOutcome> new_answer, true_answer;  // [question]
  std::vector<at::Tensor> others;  // [other] log p of the next token, float64 [vocabulary]
};
EditVerdict verdict(const Network& network, const EditFact& fact);

}  // namespace factflow
