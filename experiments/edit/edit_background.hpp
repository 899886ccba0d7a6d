// What edits of a model need beside the facts: texts before the prompt, and the second moments of
// keys. The same for every fact, made by the seed and the unedited model alone.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "experiments/edit/edit.hpp"
#include "experiments/loaded_model.hpp"
#include "model/edit/key_covariance.hpp"

namespace factflow {

struct EditBackground {
  // Ids; the first one is empty, the bare prompt.
  std::vector<std::vector<int>> contexts;
  std::string context_start;  // what texts were sampled from, in words; "" = none were
  std::int64_t covariance_tokens = 0;
  // Of the documents' tokens: whoever computes other ones has another number.
  std::uint64_t covariance_digest = 0;
  // [in, in] float64 on the CPU, shrunk (key_covariance()); none without a
  // text.
  std::map<MatrixAt, at::Tensor> covariances;
};

// `texts`: of the dataset's prompts. Throws InputError for a text that lacks the tokens that were
// asked for, or a matrix that the model does not have.
EditBackground edit_background(LoadedModel& model, const EditConfig& config,
                               std::span<const MatrixAt> places,
                               const std::vector<std::string>& texts);

// What stands before every text of this tokenizer: the tokens that it adds.
std::vector<int> tokens_before_texts(const Tokenizer& tokenizer);

// Continues `start` once for each length by that many tokens, drawn among the `top` likeliest by
// their probabilities, tokens of `start` excluded; without `start`.
std::vector<std::vector<int>> sampled_texts(LoadedModel& model, const std::vector<int>& start,
                                            const std::vector<int>& lengths, int top,
                                            std::uint64_t seed);

}  // namespace factflow
