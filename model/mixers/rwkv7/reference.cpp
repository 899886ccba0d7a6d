#include <vector>

#include "model/mixers/rwkv7/rwkv7.hpp"
#include "model/mixers/token_shift.hpp"
#include "model/reference/reference_ops.hpp"

namespace factflow {
namespace {

// 1 where a token's part enters the state that a target reads, [targets, heads, 1]; `lost` [target,
// source, heads], undefined: all of it.
at::Tensor entering(const at::Tensor& lost, std::int64_t source, const at::Tensor& like) {
  return lost.defined() ? lost.select(1, source).logical_not().to(like.scalar_type()).unsqueeze(-1)
                        : at::ones({1, 1, 1}, like.options());
}

// o [.., tokens, heads, head size]. With edges that can be lost, every target has a state of its
// own, [.., targets, heads, values, keys]; else all share one.
at::Tensor unrolled(const Rwkv7Tokens& of, const at::Tensor& lost, const at::Tensor& unerased) {
  std::vector<at::Tensor> read;
  at::Tensor state;
  for (std::int64_t s = 0; s < of.values.size(-3); ++s) {
    const auto here = [&](const at::Tensor& all) { return all.select(-3, s).unsqueeze(-3); };
    const at::Tensor value = here(of.values) * entering(lost, s, of.values);
    const at::Tensor written = value.unsqueeze(-1) * here(of.keys).unsqueeze(-2);
    if (state.defined()) {
      const at::Tensor found = state.matmul(here(of.erased).unsqueeze(-1)).squeeze(-1) *
                               entering(unerased, s, of.values);
      state = state * here(of.decay).unsqueeze(-2) -
              found.unsqueeze(-1) * here(of.erasing).unsqueeze(-2) + written;
    } else {
      state = written;
    }
    const at::Tensor own = state.select(-4, lost.defined() ? s : 0);
    read.push_back(own.matmul(of.receptance.select(-3, s).unsqueeze(-1)).squeeze(-1));
  }
  return at::stack(read, -3);
}

}  // namespace

at::Tensor Rwkv7::reference_mix(ReferencePass& pass, int layer, const at::Tensor& x) const {
  const Rwkv7Tokens of = tokens(x, token_before(x), shape_.first ? at::Tensor() : pass.carried(),
                                [](const at::Tensor& values, const Projection& matrix) {
                                  return reference::projected(values, matrix, {});
                                });
  if (shape_.first) pass.carry(of.values.flatten(-2));
  const auto losing = [&](const Block& block) { return losing_state(block, x.device()); };
  const at::Tensor lost = pass.cut(Block::Through::kState, layer, shape_.heads, x.device(), losing),
                   unerased = pass.unerased(layer, shape_.heads, x.device(), losing);
  const at::Tensor s = pass.at(Site::kS, layer, unrolled(of, lost, unerased).flatten(-2));
  const at::Tensor g = pass.at(Site::kG, layer, of.gate);
  return pass.at(Site::kY, layer, gated(s, of, g));
}

}  // namespace factflow
