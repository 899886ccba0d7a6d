// Whether a model has what an intervention names. Of no prompt: tokens are checked where it is
// known.
#pragma once

#include <cstdint>
#include <vector>

#include "model/architecture.hpp"
#include "model/intervention.hpp"

namespace factflow {

// All throw std::invalid_argument saying what the model has instead.
void check_site(const Architecture& architecture, SiteAt at);
// Its site, its channels, and how many numbers its vector has.
void check_write(const Architecture& architecture, const Write& write, int layer);
// In the layers that it names.
void check_intervention(const Architecture& architecture, const Intervention& intervention);

// [layers] how many edges (target, source) a block cuts if it is on in the layer, whatever layers
// it names, of all mixers on its path: through scores or a state those within reach, through a
// convolution its taps. What the planner expects of the kernels, which count them.
std::vector<std::int64_t> edges_by_layer(const Architecture& architecture, const Block& block);
// Their sum over the layers that it names.
std::int64_t blocked_edges(const Architecture& architecture, const Block& block);

// check_intervention for many series: what was found possible is not looked up again.
class InterventionCheck {
 public:
  explicit InterventionCheck(const Architecture& architecture);  // which it keeps a reference to
  void site(SiteAt at) const;
  // In every layer of any of its windows, or as written.
  void series(const Series& series) const;

 private:
  bool has(SiteAt at) const;

  const Architecture& architecture_;
  std::vector<std::uint32_t> sites_;  // [layers + 1] a bit per site
};

}  // namespace factflow
