// What the layers of the reference forward ask as they go, about what happens in it besides.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include "model/intervention.hpp"

namespace factflow {

// One whole forward. Its values are [.., tokens, width]: of one prompt (prompt_pass.hpp) or of many
// side by side (reference_rows.hpp).
class ReferencePass {
 public:
  virtual ~ReferencePass() = default;
  ReferencePass(const ReferencePass&) = delete;
  ReferencePass& operator=(const ReferencePass&) = delete;

  // The value of a site, as the forward goes on with it. Throws std::invalid_argument for what is
  // to be written and does not fit the width.
  at::Tensor at(Site site, int layer, at::Tensor value) {
    const bool branched = (branched_sites_ >> static_cast<unsigned>(site) & 1U) != 0;
    return visited({branched ? branch_site(site, path_) : site, layer}, std::move(value));
  }

  // [tokens, tokens, width] true = (target, source) loses the edge `through` in this layer, on the
  // columns that `losing` gives for a block, [width] bool. Undefined: no edge can be lost, and no
  // mixing matrix is needed.
  using Losing = std::function<at::Tensor(const Block& block)>;
  virtual at::Tensor cut(Block::Through through, int layer, std::int64_t width, at::Device device,
                         const Losing& losing) const = 0;
  // Likewise, of the edges through the state, those whose source does not erase either.
  virtual at::Tensor unerased(int layer, std::int64_t width, at::Device device,
                              const Losing& losing) const = 0;

  // How much of a state-space model's state is left from the token before: exp(A dt), [.., tokens,
  // channels] summed over the states of a channel (Mamba-1), [.., tokens, heads] (Mamba-2). `left`
  // is computed only where somebody listens.
  using DecayListener = std::function<void(int layer, const at::Tensor& left)>;
  void listen_to_decay(DecayListener listener) { decay_listener_ = std::move(listener); }
  void decay(int layer, const std::function<at::Tensor()>& left) const {
    if (decay_listener_) decay_listener_(layer, left());
  }

  // The mixer that comes next is of this path, and which sites are those of its branch
  // (Step::branched_sites).
  void enter(Path path, std::uint32_t branched_sites) {
    path_ = path;
    branched_sites_ = branched_sites;
  }

  // What the tokens carry beside the stream (model/mixers/mixer_roles.hpp), [.., tokens, hidden].
  // Throws std::logic_error in a pass that has begun above the embedding, where nobody knows it.
  const at::Tensor& carried() const;
  void carry(at::Tensor values) { carried_ = std::move(values); }

 protected:
  ReferencePass() = default;
  virtual at::Tensor visited(SiteAt at, at::Tensor value) = 0;
  Path path() const { return path_; }

 private:
  Path path_ = Path::kBoth;
  std::uint32_t branched_sites_ = 0;
  at::Tensor carried_ = {};
  DecayListener decay_listener_;
};

// [width] true at the indices; throws std::invalid_argument for one outside.
at::Tensor chosen(const std::vector<int>& indices, std::int64_t width, at::Device device);

}  // namespace factflow
