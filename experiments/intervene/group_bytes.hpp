// Groups of tokens as bytes, for the plans of the kinds that have some.
#pragma once

#include <cereal/types/optional.hpp>
#include <cereal/types/utility.hpp>

#include "experiments/bytes.hpp"
#include "experiments/intervene/rows.hpp"

namespace factflow {

template <class Archive>
void serialize(Archive& archive, TokenGroup& g) {
  archive(g.role, g.part, g.places, g.pattern, g.characters);
}

}  // namespace factflow
