#include "model/network.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "model/families/family.hpp"
#include "model/weights.hpp"

namespace factflow {
namespace {

const std::vector<std::pair<std::string, Precision>>& precision_names() {
  static const std::vector<std::pair<std::string, Precision>> names = {{"fp64", Precision::kFp64},
                                                                       {"fp32", Precision::kFp32},
                                                                       {"tf32", Precision::kTf32}};
  return names;
}

}  // namespace

Precision parse_precision(const std::string& name) {
  std::vector<std::string> known;
  for (const auto& [word, precision] : precision_names()) {
    if (word == name) return precision;
    known.push_back(word);
  }
  throw InputError("precision", unknown_word("precision", name, known));
}

std::string to_string(Precision precision) {
  for (const auto& [word, value] : precision_names())
    if (value == precision) return word;
  return "";
}

at::ScalarType activation_type(Precision precision) { return precision == Precision::kFp64 ? at::kDouble : at::kFloat; }

namespace {

void check_precision(at::Device device, Precision precision) {
  if (device.is_cpu() && precision != Precision::kFp32 && precision != Precision::kFp64)
    throw InputError("precision", fmt::format("{} needs a CUDA device", to_string(precision)), "use fp32 or fp64 on the CPU");
  if (!device.is_cpu() && precision != Precision::kFp32 && precision != Precision::kTf32)
    throw InputError("precision", fmt::format("{} is not supported on a CUDA device", to_string(precision)), "use fp32 or tf32");
}

}  // namespace

std::unique_ptr<Network> Network::load(std::shared_ptr<const Checkpoint> checkpoint, at::Device device, Precision precision) {
  check_precision(device, precision);
  const Architecture architecture = read_architecture(checkpoint->config(), checkpoint->directory() / "config.json");
  const Family& family = family_named(architecture.family);
  Weights weights(std::move(checkpoint), family.tensors(architecture), device, activation_type(precision));
  return build(architecture, weights, precision);
}

std::unique_ptr<Network> Network::random(const Architecture& architecture, at::Device device, Precision precision, std::uint64_t seed) {
  check_precision(device, precision);
  Weights weights(family_named(architecture.family).tensors(architecture), device, activation_type(precision), seed);
  return build(architecture, weights, precision);
}

std::unique_ptr<Network> Network::build(const Architecture& architecture, Weights& weights, Precision precision) {
  const Family& family = family_named(architecture.family);
  std::unique_ptr<Network> network = family.build(architecture, weights);
  network->precision_ = precision;
  network->parameters_ = family.tensors(architecture).parameters();
  return network;
}

Network::Network(Architecture architecture, Weights& weights, const std::string& embedding, const std::string& head,
                 const std::string& position_embedding, Norm final_norm)
    : architecture_(std::move(architecture)), final_norm_(std::move(final_norm)) {
  embedding_ = weights.take(embedding);
  head_ = architecture_.tied_head ? embedding_ : weights.take(head);
  if (!position_embedding.empty()) position_embedding_ = weights.take(position_embedding);
}

void Network::embed(const kernels::Rows& rows, const at::Tensor& tokens, const at::Tensor& positions, at::Tensor hidden) const {
  gather_rows(rows, embedding_, tokens, hidden);
  if (position_embedding_.defined()) hidden.add_(position_embedding_.index_select(0, positions));
}

void Network::logits(const kernels::Rows& rows, const at::Tensor& hidden, Workspace& workspace, at::Tensor out) const {
  at::Tensor normalised = workspace.matrix("normalised", hidden.size(0), hidden.size(1));
  apply_norm(rows, final_norm_, hidden, normalised);
  linear(normalised, head_, {}, out);
}

std::vector<double> Network::decay_norms(int) const { return {}; }

at::Tensor Network::channel_masks(int layer, const std::vector<ChannelSet>& sets) const {
  const std::vector<double> norms = decay_norms(layer);
  const auto channels = static_cast<std::int64_t>(norms.size());
  if (channels == 0 || sets.empty()) return {};
  at::Tensor masks = at::empty({static_cast<std::int64_t>(sets.size()), channels}, at::TensorOptions().dtype(at::kByte));
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
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return norms[a] > norms[b]; });
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
    case Kind::kAll: return channels == 0;
    case Kind::kSlow:
    case Kind::kFast: return channels / 3 == 0;
    case Kind::kNotSlow:
    case Kind::kNotFast: return channels - channels / 3 == 0;
    case Kind::kQuantile: return std::int64_t{channels} * set.slice / set.slices == std::int64_t{channels} * (set.slice - 1) / set.slices;
  }
  return true;
}

}  // namespace factflow
