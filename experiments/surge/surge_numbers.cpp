#include "experiments/surge/surge_numbers.hpp"

#include <bit>
#include <cmath>

#include "model/reference/reference_ops.hpp"

namespace factflow {
namespace {

// The model's own rounding, in its wide numbers.
constexpr double kRounding = 1e-3;

at::Tensor host(const at::Tensor& values) {
  return values.to(at::kCPU, at::kDouble);
}

at::Tensor on_model(const Network& network, const at::Tensor& values) {
  return values.to(network.device(), network.type());
}

// Logits of states [.., hidden], float64 on the host.
at::Tensor head_of(const Network& network, const at::Tensor& states) {
  return host(network.reference_logits(on_model(network, states)));
}

at::Tensor centred(const Norm& norm, const at::Tensor& x) {
  if (norm.identity) return x;
  return norm.subtract_mean ? x - x.mean(-1, /*keepdim=*/true) : x;
}

at::Tensor constant_of(const Network& network, std::int64_t hidden) {
  const at::Tensor& bias = network.final_norm().bias;
  const at::Tensor state =
      bias.defined() ? host(bias) : at::zeros({hidden}, at::TensorOptions(at::kDouble));
  return head_of(network, state.unsqueeze(0))[0];
}

// How often, among the orders of `kParts` parts, exactly those of a set of this size come before
// one that is not in it: size! (kParts - 1 - size)! / kParts!
constexpr std::array<double, kParts> kShares = {1.0 / 4, 1.0 / 12, 1.0 / 12, 1.0 / 4};

}  // namespace

at::Tensor direct_of(const Network& network, const at::Tensor& vectors) {
  const Norm& norm = network.final_norm();
  at::Tensor state = centred(norm, vectors);
  if (norm.weight.defined()) state = state * host(norm.weight);
  // The head may add a constant of its own, which is no part of what is linear.
  const at::Tensor nothing = head_of(network, at::zeros_like(state.narrow(0, 0, 1)));
  const at::Tensor logits = head_of(network, state) - nothing;
  return logits - logits.mean(-1, /*keepdim=*/true);
}

std::optional<SplitLogits> split_logits(const Network& network, const at::Tensor& stream) {
  const Norm& norm = network.final_norm();
  const at::Tensor x = centred(norm, stream);
  SplitLogits split;
  if (!norm.identity) split.scale = 1 / std::sqrt(x.square().mean().item<double>() + norm.epsilon);
  split.direct = direct_of(network, stream.unsqueeze(0))[0];
  split.constant = constant_of(network, stream.size(0));
  const at::Tensor expected = lens(network, stream.unsqueeze(0))[0],
                   found = split.logits().log_softmax(-1);
  const double error = (found - expected).abs().max().item<double>(),
               size = expected.abs().max().item<double>();
  if (!(error <= kRounding * (1 + size))) return std::nullopt;
  return split;
}

at::Tensor lens(const Network& network, const at::Tensor& streams) {
  const at::Tensor states = reference::normalised(on_model(network, streams), network.final_norm());
  return host(network.reference_logits(states)).log_softmax(-1);
}

std::array<double, kParts> change_parts(const SplitLogits& clean, const SplitLogits& knocked,
                                        std::int64_t answer, std::int64_t competitor) {
  constexpr unsigned kSets = 1U << kParts;
  const auto changed = [](unsigned set, std::size_t part) { return ((set >> part) & 1U) != 0; };
  std::array<double, kSets> log_p{};  // with these parts changed
  for (unsigned set = 0; set < kSets; ++set) {
    at::Tensor direct = (changed(set, kOtherTokens) ? knocked : clean).direct.clone();
    direct[answer] = (changed(set, kOwnLogit) ? knocked : clean).direct[answer];
    direct[competitor] = (changed(set, kCompetitor) ? knocked : clean).direct[competitor];
    const double scale = (changed(set, kScale) ? knocked : clean).scale;
    log_p[set] = (scale * direct + clean.constant).log_softmax(-1)[answer].item<double>();
  }
  std::array<double, kParts> parts{};
  for (std::size_t part = 0; part < kParts; ++part)
    for (unsigned set = 0; set < kSets; ++set)
      if (!changed(set, part))
        parts[part] += kShares[static_cast<std::size_t>(std::popcount(set))] *
                       (log_p[set | (1U << part)] - log_p[set]);
  return parts;
}

}  // namespace factflow
