// The search for the value that makes a model continue a prompt as an edit wants: what ROME writes
// into one matrix, and MEMIT spreads over several layers.
#pragma once

#include <functional>
#include <vector>

#include <ATen/ATen.h>

#include "model/edit/edit_request.hpp"
#include "model/reference/reference.hpp"

namespace factflow {

// Where the delta is added to what a clean run has.
struct EditedValue {
  std::function<at::Tensor(const std::vector<int>& ids)> clean;  // [tokens, width]
  std::function<TensorWrite(int token, const at::Tensor& value)> write;
};

struct OptimisedValue {
  at::Tensor start;           // v0 [width]: of the first context's row
  at::Tensor delta;           // [width]
  at::Tensor first_gradient;  // of the loss at delta = 0; undefined if there was no step
  std::vector<EditStep> trace;
};

// Minimises, by Adam from delta = 0,
//   mean over rows of nll + kl_factor KL(now || first) + weight_decay ||delta|| / ||v0||^2,
// Meng et al. 2022, equation 4, with delta added at the subject's last token of every row (context,
// prompt, target) and of the essence prompt, at whose subject's last token the KL is taken.
// docs/locate.md has every detail. Throws std::invalid_argument for a request without contexts,
// prompt, target or essence, or with places outside them.
OptimisedValue optimise(const ReferenceForward& reference, const EditRequest& request,
                        const EditedValue& edited, const EditSettings& settings);

// Mean over the target's tokens of -log p, a scalar; target[j] is predicted at place first + j of
// logits [tokens, vocabulary].
at::Tensor target_nll(const at::Tensor& logits, std::int64_t first, const std::vector<int>& target);

std::vector<int> joined(std::vector<int> ids, const std::vector<int>& more);
std::vector<int> all_but_last(std::vector<int> ids);
// The place of a prompt's token after a context.
int place_after(const std::vector<int>& context, int token);

}  // namespace factflow
