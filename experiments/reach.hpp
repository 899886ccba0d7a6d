// Whether an edge between tokens exists in a model at all.
#pragma once

#include <vector>

#include "model/architecture.hpp"
#include "model/intervention.hpp"

namespace factflow {

// Whether any of the windows has a layer with such an edge: layers that slide and short
// convolutions may not reach so far. The layers that `block` names do not matter.
bool exists_somewhere(const Architecture& architecture, Block block,
                      const std::vector<Window>& windows);
// Of edges through scores or the state.
bool exists_somewhere(const Architecture& architecture, const std::vector<int>& targets,
                      const std::vector<int>& sources, const std::vector<Window>& windows,
                      Path path = Path::kBoth);

}  // namespace factflow
