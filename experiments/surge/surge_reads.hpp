// What the engine is asked about one prompt for the last token's surge, and where its answers are.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "model/architecture.hpp"
#include "model/prompt.hpp"
#include "model/replay/replay.hpp"

namespace factflow {

// What of the last token's mixer comes from single tokens can be read off some mixers alone.
enum class ReadsFrom {
  kScores,  // attention: a softmax over the past
  kState,   // a state-space model: a sum over the past, and a skip
  kUnknown
};

// What of a model decides what is asked.
struct SurgeShape {
  struct Layer {
    std::vector<Site> added;  // sites whose values its blocks add to the stream
    ReadsFrom from = ReadsFrom::kUnknown;
    int heads = 1;  // of attention
  };
  std::vector<Layer> layers;
  // "embedding", then "LAYER SITE" for what each block adds, then "rest": what these do not make
  // up.
  std::vector<std::string> components() const;
};
SurgeShape surge_shape(const Architecture& architecture);

class SurgeReads {
 public:
  // The edge last -> last is lost in the last `window` layers.
  SurgeReads(const SurgeShape& shape, int window, const TokenizedPrompt& prompt);

  const ReplayRequest& request() const { return request_; }

  // Of the result; `run`: kClean or kKnocked. On the host, float64.
  at::Tensor streams(const ReplayResult& result, std::size_t run) const;  // [depth, hidden]
  // [component but the last, hidden]
  at::Tensor written(const ReplayResult& result, std::size_t run) const;
  // [layer of the window * kSources]; NaN where the mixer does not say, or for a single token.
  std::vector<double> weights(const ReplayResult& result) const;

 private:
  // Series behind the first one: in each layer of the window alone, the last token reads ...
  enum Isolated : std::size_t { kNotFirst = 1, kOnlyFirst = 2, kNotItself = 3, kOnlyItself = 4 };
  void ask_streams();
  void ask_weights();
  std::size_t read(SiteAt at, std::optional<ReadAt::Run> under);
  static at::Tensor value(const ReplayResult& result, std::size_t read);
  // Of one layer: [heads or 1] how much comes from a source.
  std::vector<double> of_scores(const ReplayResult& result, std::size_t layer) const;
  std::vector<double> of_state(const ReplayResult& result, std::size_t layer) const;

  const SurgeShape& shape_;  // outlives it
  int window_, last_;
  ReplayRequest request_;
  std::vector<std::size_t> streams_[2], written_[2];  // [run] places of reads
  struct LayerReads {
    ReadsFrom from = ReadsFrom::kUnknown;
    int heads = 1;
    std::size_t s = 0, skip = 0;   // clean
    std::size_t isolated[5] = {};  // s under each series
  };
  std::vector<LayerReads> layers_;  // of the window; empty: a single token
};

}  // namespace factflow
