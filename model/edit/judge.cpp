#include "model/edit/judge.hpp"

#include <algorithm>
#include <stdexcept>

#include <ATen/core/grad_mode.h>

#include "model/edit/optimise.hpp"
#include "model/reference/reference_rows.hpp"

namespace factflow {
namespace {

// Places whose logits exist at a time.
constexpr std::int64_t kPlacesAtOnce = 512;

// At every token of some targets, one after the other: [tokens, 2] log p, and 1 where it is the
// likeliest token.
at::Tensor judged(const ReferenceRows& forward, const at::Tensor& states, const at::Tensor& ids) {
  std::vector<at::Tensor> all;
  for (std::int64_t begin = 0; begin < states.size(0); begin += kPlacesAtOnce) {
    const std::int64_t count = std::min(kPlacesAtOnce, states.size(0) - begin);
    const at::Tensor logits = forward.logits(states.narrow(0, begin, count)).to(at::kDouble),
                     target = ids.narrow(0, begin, count);
    all.push_back(at::stack({logits.log_softmax(1).gather(1, target.unsqueeze(1)).squeeze(1),
                             logits.argmax(1).eq(target).to(at::kDouble)},
                            1));
  }
  return at::cat(all);
}

}  // namespace

std::vector<ContinuationOutcome> continuations(const Network& network,
                                               std::span<const Continuation> all) {
  const at::NoGradGuard no_graph;
  const ReferenceRows forward(network);
  std::vector<std::int64_t> lengths;
  for (const Continuation& one : all) {
    if (one.prompt.empty()) throw std::invalid_argument("a continuation of an empty prompt");
    if (one.target.empty()) throw std::invalid_argument("an empty continuation");
    check_tokens(network, one.target);
    lengths.push_back(static_cast<std::int64_t>(one.prompt.size() + one.target.size()) - 1);
  }
  std::vector<ContinuationOutcome> outcomes(all.size());
  for (const std::vector<size_t>& batch : row_batches(lengths, network.architecture())) {
    std::vector<std::vector<int>> ids;
    std::vector<std::int64_t> rows, tokens, targets;
    for (const size_t i : batch) {
      for (size_t k = 0; k < all[i].target.size(); ++k) {
        rows.push_back(static_cast<std::int64_t>(ids.size()));
        tokens.push_back(static_cast<std::int64_t>(all[i].prompt.size() + k) - 1);
        targets.push_back(all[i].target[k]);
      }
      ids.push_back(joined(all[i].prompt, all_but_last(all[i].target)));
    }
    const at::Tensor top =
        forward.through(forward.embedded(ids), 0, network.architecture().layers).h;
    const at::Device device = network.device();
    const at::Tensor found =
        judged(forward, top.index({indices_on(rows, device), indices_on(tokens, device)}),
               indices_on(targets, device))
            .cpu()
            .contiguous();
    const double* at = found.data_ptr<double>();
    for (const size_t i : batch) {
      const auto count = static_cast<double>(all[i].target.size());
      outcomes[i] = {0, at[0], true};
      for (size_t k = 0; k < all[i].target.size(); ++k, at += 2) {
        outcomes[i].target_nll -= at[0] / count;
        outcomes[i].target_is_argmax = outcomes[i].target_is_argmax && at[1] == 1;
      }
    }
  }
  return outcomes;
}

}  // namespace factflow
