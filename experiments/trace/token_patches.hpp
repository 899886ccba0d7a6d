// Patches of one token after the other, in every window of a series: what kinds that map effects by
// token and layer share (Sharma et al. 2024, section 3).
#pragma once

#include <string>
#include <vector>

#include "experiments/experiment.hpp"
#include "model/intervention.hpp"

namespace factflow {

// Windows of `size` layers around each layer of a site: the residual stream has one layer more, the
// last of which is read by the final norm alone.
WindowSeries centred_series(Site site, int size, int layers);

// What the papers trace, as far as every layer has it: h, a, s, g, y, o, mlp; s and o of both
// branches where a layer has two.
std::vector<Site> sites_to_trace(const Architecture& architecture);

// Throws InputError "FILE: key KEY: model NAME: ..." where a layer of the windows lacks the site.
void check_patched_site(Site site, const std::vector<Window>& windows, const std::string& key,
                        const ModelToPlan& model);

// Asks of a run, for each token from `first` to its last one, what the values at `site` of a run of
// `source` do at this token: a series each.
void add_token_patches(Site site, const std::vector<Window>& windows, int first,
                       const std::vector<int>& source, ReplayRequest& request);

// What such a request's answers say, item after item.
class TokenPatches {
 public:
  // `first`: as above; both outlive the reader.
  TokenPatches(const ReplayResult& result, int first) : result_(result), first_(first) {}
  // Of the current item. Before the first token, and where nothing was to be done, it is the run's
  // own answer.
  const Answer& at(int token, std::size_t window) const;
  void next_item(int tokens) { series_ += static_cast<std::size_t>(tokens - first_); }

 private:
  const ReplayResult& result_;
  int first_;
  std::size_t series_ = 0;  // of the current item's first token
};

// Of the prompts about a subject, what patches of every token from the subject on cost: means over
// the dataset, for `tokens` tokens a prompt.
struct PatchedTokens {
  double share = 1;    // of a prompt's tokens: from the subject on
  double squares = 1;  // mean of its square
  // Rows a window, and how many columns each has on average: a patch changes all later tokens.
  Replays replays(double tokens, std::vector<Window> windows) const;
};
template <class Archive>
void serialize(Archive& archive, PatchedTokens& p) {
  archive(p.share, p.squares);
}
PatchedTokens patched_tokens(const std::vector<Prompt>& prompts);

}  // namespace factflow
