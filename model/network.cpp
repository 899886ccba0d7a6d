#include "model/network.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <stdexcept>
#include <utility>

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "model/cuda_limits.hpp"
#include "model/device.hpp"
#include "model/families/family.hpp"
#include "model/weights.hpp"

namespace factflow {
namespace {

// Rows of zeros below a head of an odd vocabulary: cuBLAS has faster products for multiples of
// eight.
at::Tensor with_padding(const at::Tensor& head) {
  const std::int64_t rows = head.size(0);
  if (padded_vocabulary(rows) == rows) return head;
  at::Tensor padded = at::zeros({padded_vocabulary(rows), head.size(1)}, head.options());
  padded.narrow(0, 0, rows).copy_(head);
  return padded;
}

}  // namespace

std::unique_ptr<Network> Network::load(std::shared_ptr<const Checkpoint> checkpoint,
                                       at::Device device, Precision precision,
                                       const CheckpointChoices& choices) {
  check_precision(device, precision);
  const Architecture architecture =
      read_architecture(checkpoint->config(), checkpoint->directory() / "config.json", choices);
  if (device.is_cuda())
    check_cuda_limits(architecture, cuda_limits(device), checkpoint->directory().string());
  const Family& family = family_named(architecture.family);
  Weights weights(std::move(checkpoint), family.tensors(architecture), device, precision);
  return build(architecture, weights);
}

std::unique_ptr<Network> Network::random(const Architecture& architecture, at::Device device,
                                         Precision precision, std::uint64_t seed) {
  check_precision(device, precision);
  if (device.is_cuda()) check_cuda_limits(architecture, cuda_limits(device), architecture.family);
  Weights weights(family_named(architecture.family).tensors(architecture), device, precision, seed);
  return build(architecture, weights);
}

std::unique_ptr<Network> Network::build(const Architecture& architecture, Weights& weights) {
  const Family& family = family_named(architecture.family);
  std::unique_ptr<Network> network = family.build(architecture, weights);
  network->parameters_ = family.tensors(architecture).parameters();
  release_cached_memory(weights.device());  // of what the weights were converted from
  return network;
}

Network::Network(Architecture architecture, Weights& weights, const std::string& embedding,
                 const std::string& head, const std::string& position_embedding, Norm final_norm)
    : architecture_(std::move(architecture)), final_norm_(std::move(final_norm)) {
  embedding_ = weights.take(embedding);
  at::Tensor output = architecture_.tied_head ? embedding_ : weights.take(head);
  if (output.is_cuda()) {
    output = with_padding(output);
    // One copy of both.
    if (architecture_.tied_head) embedding_ = output.narrow(0, 0, embedding_.size(0));
  }
  head_ = weights.head(output);
  if (!position_embedding.empty()) position_embedding_ = weights.take(position_embedding);
}

void Network::embed(const kernels::Rows& rows, const at::Tensor& tokens,
                    const at::Tensor& positions, at::Tensor hidden) const {
  gather_rows(rows, embedding_, tokens, hidden);
  if (position_embedding_.defined()) hidden.add_(position_embedding_.index_select(0, positions));
}

at::Tensor Network::embedded(const std::vector<int>& ids) const {
  for (const int id : ids)
    if (id < 0 || id >= architecture_.vocabulary)
      throw std::invalid_argument(
          fmt::format("token {} of a vocabulary of {}", id, architecture_.vocabulary));
  const auto tokens = static_cast<std::int64_t>(ids.size());
  if (position_embedding_.defined() && tokens > position_embedding_.size(0))
    throw std::invalid_argument(fmt::format("a prompt of {} tokens in a model of {} positions",
                                            tokens, position_embedding_.size(0)));
  const at::Tensor h = embedding_.index_select(0, at::tensor(ids, at::kLong).to(device()));
  return position_embedding_.defined() ? h + position_embedding_.narrow(0, 0, tokens) : h;
}

at::Tensor Network::reference_logits(const at::Tensor& states) const {
  return states.matmul(
      head_.dense(states.scalar_type()).narrow(0, 0, architecture_.vocabulary).t());
}

Factor Network::final_states(const kernels::Rows& rows, const at::Tensor& hidden,
                             Workspace& workspace) const {
  const Factor states = workspace.head_factor("final states", hidden.size(0), hidden.size(1));
  apply_norm(rows, final_norm_, hidden, states);
  return states;
}

at::Tensor Network::logits(const Factor& states, Workspace& workspace) const {
  const at::Tensor all = workspace.matrix(
      "logits", states.rows(), padded_vocabulary(architecture_.vocabulary), head_type(precision()));
  multiply(states, head_, {}, all.narrow(1, 0, head_.outputs()));
  return all.narrow(1, 0, architecture_.vocabulary);
}

std::vector<double> Network::decay_norms(int) const {
  return {};
}

at::Tensor Network::channel_masks(int layer, const std::vector<ChannelSet>& sets) const {
  const std::vector<double> norms = decay_norms(layer);
  const auto channels = static_cast<std::int64_t>(norms.size());
  if (channels == 0 || sets.empty()) return {};
  at::Tensor masks = at::empty({static_cast<std::int64_t>(sets.size()), channels},
                               at::TensorOptions().dtype(at::kByte));
  auto* out = masks.data_ptr<std::uint8_t>();
  for (const ChannelSet& set : sets)
    for (const bool loses : channels_of(set, norms)) *out++ = loses ? 1 : 0;
  return masks.to(device());
}

std::vector<bool> channels_of(const ChannelSet& set, const std::vector<double>& norms) {
  using Kind = ChannelSet::Kind;
  const size_t count = norms.size(), third = count / 3;
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return norms[a] > norms[b]; });
  size_t begin = 0, end = count;
  if (set.kind == Kind::kSlow || set.kind == Kind::kNotSlow) end = third;
  if (set.kind == Kind::kFast || set.kind == Kind::kNotFast) begin = count - third;
  if (set.kind == Kind::kQuantile) {
    begin = count * static_cast<size_t>(set.slice - 1) / static_cast<size_t>(set.slices);
    end = count * static_cast<size_t>(set.slice) / static_cast<size_t>(set.slices);
  }
  const bool complement = set.kind == Kind::kNotSlow || set.kind == Kind::kNotFast;
  std::vector<bool> loses(count, complement);
  for (size_t i = begin; i < end; ++i) loses[order[i]] = !complement;
  return loses;
}

bool is_empty(const ChannelSet& set, int channels) {
  using Kind = ChannelSet::Kind;
  switch (set.kind) {
    case Kind::kAll:
      return channels == 0;
    case Kind::kSlow:
    case Kind::kFast:
      return channels / 3 == 0;
    case Kind::kNotSlow:
    case Kind::kNotFast:
      return channels - channels / 3 == 0;
    case Kind::kQuantile:
      return std::int64_t{channels} * set.slice / set.slices ==
             std::int64_t{channels} * (set.slice - 1) / set.slices;
  }
  return true;
}

}  // namespace factflow
