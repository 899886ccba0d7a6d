// The interventions by which facts are located: patches, noise, severed paths, knockouts by means
// (Sharma et al. 2024; Meng et al. 2022). What each means: docs/locate.md. Layers of h are 0 .. L,
// of all other sites 0 .. L - 1.
#pragma once

#include <vector>

#include "model/intervention.hpp"
#include "model/replay_batch.hpp"

namespace factflow {

// Numbers to write or to add, the same at all of `tokens` and `layers`.
Write written(Site site, std::vector<int> layers, std::vector<int> tokens, Value value);
// What a clean run of the tokens `source` has there.
Write patched(Site site, const std::vector<int>& layers, const std::vector<int>& tokens,
              const std::vector<int>& source);

// Adds noise[i] ([hidden]) to the stream that enters the model at token `first` + i.
std::vector<Intervention> noised(const std::vector<std::vector<double>>& noise, int first);

// One patch of h, whose way on through some sites at its token is cut.
struct SeveredPath {
  std::vector<Site> severed;  // empty: the patch alone
  int token = 0, layer = 0;
};
// In a run of the tokens `corrupted` in a model of `layers` layers: h of the run of `clean` at the
// token and layer, and above it every severed site at that token as without the patch. Below the
// patch nothing differs from the corrupted run anyway.
std::vector<Intervention> interventions_of(const SeveredPath& path, int layers,
                                           const std::vector<int>& clean,
                                           const std::vector<int>& corrupted);

// Tokens S of a prompt whose values are taken out.
struct TokenKnockout {
  std::vector<int> ids, positions;  // of the prompt; S
  int last() const { return static_cast<int>(ids.size()) - 1; }
};
// Edges S -> last token through the state or the attention scores.
std::vector<Intervention> cut_edges(const TokenKnockout& knockout, const std::vector<int>& layers);

// A site's mean over reference runs, [layers][width].
struct SiteMeans {
  Site site = Site::kA;
  std::vector<std::vector<double>> of_layer;
};
// Sharma et al. 2024: the mean at S, and at every other token before the last what the clean run
// has, so that only the last token sees the difference.
std::vector<Intervention> mean_knockout(const TokenKnockout& knockout, const SiteMeans& means,
                                        const std::vector<int>& layers);

// The last token's s is that of a second convolution and scan with the mean at S, on the stream
// that the layers below leave; nothing else changes. One window of layers, ascending.
struct TwoStreamKnockout {
  TokenKnockout knockout;
  const SiteMeans* means = nullptr;
  int answer = 0;
  std::vector<int> layers;
  std::vector<Intervention> together = {};  // made by take_second_streams()
};
// Layer by layer, for all windows at once: as many replays as the largest window has layers.
void take_second_streams(const Replayer& replay, std::vector<TwoStreamKnockout>& windows);

}  // namespace factflow
