// The search for the values that make a model continue prompts as edits want: what ROME writes into
// one matrix, and MEMIT spreads over several layers.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include <ATen/ATen.h>

#include "model/edit/edit_request.hpp"
#include "model/network.hpp"
#include "model/reference/reference_rows.hpp"

namespace factflow {

// Where a delta is added to what a clean run has.
struct EditedValue {
  SiteAt at;
  // [places, width]: the value that is optimised, in clean runs.
  std::function<at::Tensor(const std::vector<PromptToken>& places)> clean;
  // What stands at the site, [rows, its width], for values [rows, width]; differentiable.
  std::function<at::Tensor(const at::Tensor& values)> written;
};

// float64, whatever the network computes in.
struct OptimisedValue {
  at::Tensor start;  // v0 [width]: of the first context's row
  at::Tensor delta;  // [width]
  // Of the loss at delta = 0; undefined if there was no step. Zero where the loss does not depend
  // on the value, up to rounding (windows slide): then delta is zero too.
  at::Tensor first_gradient;
  std::vector<EditStep> trace;
};

// For each request on its own, minimises, by Adam from delta = 0,
//   mean over rows of nll + kl_factor KL(now || first) + weight_decay ||delta|| / ||v0||^2,
// Meng et al. 2022, equation 4, with delta added at the subject's last token of every row (context,
// prompt, target) and of the essence prompt, at whose subject's last token the KL is taken.
// docs/locate.md has every detail. Rows of all requests go through the layers above the edit
// together (row_batches()); a request that has stopped drops out. What comes out for one does not
// depend on the others, up to rounding. Throws std::invalid_argument for a request without
// contexts, prompt, target or essence, or with places outside them.
std::vector<OptimisedValue> optimise(const Network& network, const EditedValue& edited,
                                     std::span<const EditRequest> requests,
                                     const EditSettings& settings);

// Throws std::invalid_argument for a token outside the vocabulary.
void check_tokens(const Network& network, const std::vector<int>& ids);

// After each context, the place of the prompt's subject's last token.
std::vector<PromptToken> subject_places(const EditRequest& request);

std::vector<int> joined(std::vector<int> ids, const std::vector<int>& more);
std::vector<int> all_but_last(std::vector<int> ids);

}  // namespace factflow
