// What few mixers do and the network has to know, beside what every MixerShape says: roles that a
// shape also derives from.
#pragma once

#include <algorithm>

#include "model/architecture.hpp"

namespace factflow {

// Reads, or leaves for the layers above, what a column carries beside the stream (Step::carried,
// ReferencePass::carried): [columns, hidden] wide numbers, which are the embedding until a mixer
// writes others there (the values of RWKV-7's first layer). A column that is born in the middle of
// the model has its parent's.
struct Carries {
  virtual ~Carries() = default;
};

// What it gives joins the input of the next block of its layer, before that block's norm, and not
// the stream (Zamba2's shared block).
struct FeedsNext {
  virtual ~FeedsNext() = default;
};

inline bool carries(const Architecture& architecture) {
  return std::any_of(architecture.blocks.begin(), architecture.blocks.end(), [](const auto& layer) {
    return std::any_of(layer.begin(), layer.end(), [](const BlockShape& block) {
      return dynamic_cast<const Carries*>(block.mixer.get()) != nullptr;
    });
  });
}

inline bool feeds_next(const BlockShape& block) {
  return dynamic_cast<const FeedsNext*>(block.mixer.get()) != nullptr;
}

}  // namespace factflow
