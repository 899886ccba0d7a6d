#include "experiments/reach.hpp"

#include <set>
#include <utility>

#include "model/check_intervention.hpp"

namespace factflow {

bool exists_somewhere(const Architecture& architecture, Block block,
                      const std::vector<Window>& windows) {
  std::set<int> layers;  // windows overlap
  for (const Window& window : windows)
    for (int layer = window.begin; layer < window.end; ++layer) layers.insert(layer);
  block.layers.assign(layers.begin(), layers.end());
  return blocked_edges(architecture, block) > 0;
}

bool exists_somewhere(const Architecture& architecture, const std::vector<int>& targets,
                      const std::vector<int>& sources, const std::vector<Window>& windows,
                      Path path) {
  Block block;
  block.targets = targets;
  block.sources = sources;
  block.path = path;
  return exists_somewhere(architecture, std::move(block), windows);
}

}  // namespace factflow
