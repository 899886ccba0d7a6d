// What a configuration says about the part of a block that computes: sizes, no weights. It answers
// everything that is asked before a model is loaded.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "model/edited_matrix.hpp"
#include "model/intervention.hpp"
#include "model/precision.hpp"

namespace factflow {

struct CheckpointChoices;
struct CudaLimits;

// A buffer of the workspace (model/workspace.hpp) while a layer is computed.
struct ColumnBuffer {
  std::string name;
  std::int64_t bytes = 0;  // for one column
};

// Of a mixer: of tokens, which carries something from token to token and so has edges that can be
// blocked, or of one token's channels alone (the MLP), which has none. A kind of mixer is a folder
// of model/mixers/.
struct SlotBytes {
  std::int64_t own = 0, per_token = 0;
};

class MixerShape {
 public:
  virtual ~MixerShape() = default;

  virtual std::string name() const = 0;      // "attention": one word, the folder's
  virtual std::string in_words() const = 0;  // its sizes
  virtual bool mixes_tokens() const { return true; }
  // Of a mixer of tokens: which blocks cut it.
  virtual Path path() const { return Path::kRecurrent; }
  // Whether it sends tokens to experts, so that what is done to a row may change which.
  virtual bool routes() const { return false; }
  // Whether it erases as it writes, so that a block may leave that out as well (Block::erase).
  virtual bool erases() const { return false; }
  // Through what its edges go and to what they can be restricted, for people; "" = it has none.
  virtual std::string edges_in_words() const = 0;

  // The same with the user's choices that concern it; null if none does.
  virtual std::shared_ptr<const MixerShape> chosen(const CheckpointChoices&) const {
    return nullptr;
  }

  // Tokens, itself included, that a token reads through its edges; 0 = all before it.
  virtual int reach() const { return 0; }
  // What channel sets (model/knockout.hpp) choose among, by decay; 0 = nothing has a decay.
  virtual int channels() const { return 0; }
  // Whether replays need the state before their first token (kernels::StateSlot).
  virtual bool keeps_states() const { return false; }
  // Of one slot, where the selective scan has it in memory (ops.hpp: states_stored).
  virtual std::int64_t bytes_per_state(Precision) const { return 0; }
  // Of one slot, always: for itself, and for each token of the longest prompt.
  virtual SlotBytes slot_bytes(Precision) const { return {}; }
  virtual int taps() const { return 0; }  // tokens that its convolution reads; 0 = it has none
  virtual std::vector<ColumnBuffer> buffers(Precision precision) const = 0;
  // Throws InputError naming `model` for what the CUDA kernels cannot hold.
  virtual void check_cuda(const CudaLimits& /*limits*/, const std::string& /*model*/) const {}

  // Where values can be read and written, in the order of the computation, the last of them being
  // what is added to the residual stream.
  virtual std::vector<Site> sites() const = 0;
  // Numbers of a token at one of them; 0 = as many as the residual stream has.
  virtual std::int64_t site_width(Site /*site*/) const { return 0; }
  // Which of its matrices an edit of facts may change.
  virtual std::vector<MatrixShape> matrices() const { return {}; }
  // Throws std::invalid_argument if there are no such edges (targets, sources and layers aside).
  virtual void check_block(const Block& block) const = 0;

 protected:
  // Throws std::invalid_argument for an index that is not below `count`; `what`: "heads".
  void check_indices(const std::vector<int>& indices, std::int64_t count, const char* what) const;

  MixerShape() = default;
  MixerShape(const MixerShape&) = default;
  MixerShape& operator=(const MixerShape&) = default;
};

}  // namespace factflow
