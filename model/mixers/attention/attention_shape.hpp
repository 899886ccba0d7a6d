// Attention with softmax over the past, grouped keys and rotary or no positions of its own.
#pragma once

#include <cstdint>

#include "model/mixers/attention/rotary.hpp"
#include "model/mixers/mixer_shape.hpp"

namespace factflow {

// An edge is a score; it can be restricted to query heads. Without the scores of its sources a
// target's softmax is over the rest, and a head left with no key gives 0.
struct AttentionShape final : MixerShape {
  int heads = 0;
  int key_heads = 0;  // grouped-query attention; == heads without
  int head_size = 0;
  // Of the input of queries, keys and values, and of keys; put into the weights at loading.
  double input_factor = 1, key_factor = 1;
  double scale = 1;      // of the scores
  double score_cap = 0;  // c: scores are c tanh(score / c); 0 = no cap (Gemma-2)
  // RMS norms of queries and keys before they turn: of each head's numbers by one weight for all
  // heads (Qwen3), or of all heads' together (OLMo-2).
  enum class HeadNorms { kNone, kEachHead, kAllHeads } head_norms = HeadNorms::kNone;
  Rotary rotary;
  std::int32_t sliding_window =
      0;  // tokens, itself included, that a token reads; 0 = the whole past
  // The heads' outputs are multiplied by a sigmoid of a projection of the input, which stands below
  // queries, keys and values (Qwen3-Next, Qwen3.5).
  bool gated = false;
  // Which biases the checkpoint has.
  bool query_key_value_bias = false;
  bool output_bias = false;

  std::int64_t queries() const { return static_cast<std::int64_t>(heads) * head_size; }
  std::int64_t keys() const { return static_cast<std::int64_t>(key_heads) * head_size; }
  // Rows of the input projection: queries, keys, values, gate.
  std::int64_t projected() const { return queries() * (gated ? 2 : 1) + 2 * keys(); }

  std::string name() const override { return "attention"; }
  std::string in_words() const override;
  Path path() const override { return Path::kAttention; }
  std::string edges_in_words() const override;
  std::vector<ColumnBuffer> buffers(Precision precision) const override;
  void check_cuda(const CudaLimits& limits, const std::string& model) const override;
  std::vector<Site> sites() const override;
  std::int64_t site_width(Site site) const override { return site == Site::kO ? 0 : queries(); }
  int reach() const override { return sliding_window; }
  std::vector<MatrixShape> matrices() const override {
    return {{EditedMatrix::kWo, gated ? Site::kY : Site::kS, Site::kO}};
  }
  void check_block(const Block& block) const override;
};

}  // namespace factflow
