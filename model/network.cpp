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
#include "model/device.hpp"
#include "model/families/family.hpp"
#include "model/limits.hpp"
#include "model/mixers/mixer_roles.hpp"
#include "model/reference/reference_ops.hpp"
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
  auto network =
      std::make_unique<Network>(architecture, weights, family.parts(architecture, weights));
  network->parameters_ = family.tensors(architecture).parameters();
  release_cached_memory(weights.device());  // of what the weights were converted from
  return network;
}

Network::Network(Architecture architecture, Weights& weights, NetworkParts parts)
    : architecture_(std::move(architecture)),
      final_norm_(std::move(parts.final_norm)),
      layers_(std::move(parts.layers)) {
  load_embedding(weights, parts);
  if (!parts.position_embedding.empty()) {
    const at::Tensor rows = weights.take(parts.position_embedding);
    position_embedding_ = rows.narrow(0, parts.first_position, rows.size(0) - parts.first_position);
  }
  fold_biases();
}

void Network::check_folding() const {
  bool folds = false, plain = architecture_.final_norm;
  for (size_t l = 0; l < layers_.size(); ++l)
    for (size_t b = 0; b < layers_[l].size(); ++b) {
      const BlockShape& shape = architecture_.blocks[l][b];
      const OutputProjection& output = layers_[l][b].mixer->output();
      const bool folded = output.bias_in_norms && output.bias.defined();
      if (folded && shape.norm_behind) throw std::logic_error("a bias folded through a norm");
      folds = folds || folded;
      plain = plain && !layers_[l][b].norm.identity && !shape.norm_of_stream;
    }
  if (folds && !plain) throw std::logic_error("biases folded where the stream is read itself");
}

// Projections between the embedding's width and the stream's are multiplied into embedding and head
// once for all.
void Network::load_embedding(Weights& weights, const NetworkParts& parts) {
  const auto product = [](const at::Tensor& a, const at::Tensor& b) {
    return a.to(at::kDouble).matmul(b.to(at::kDouble)).to(a.scalar_type());
  };
  embedding_ = weights.take(parts.embedding);
  at::Tensor output = architecture_.tied_head ? embedding_ : weights.take(parts.head);
  if (parts.embedding_norm)
    embedding_ = reference::normalised(embedding_.to(at::kDouble), *parts.embedding_norm)
                     .to(embedding_.scalar_type());
  if (!parts.project_in.empty())
    embedding_ = product(embedding_, weights.take(parts.project_in).t());
  if (!parts.project_out.empty()) output = product(output, weights.take(parts.project_out));
  const bool one_copy =
      architecture_.tied_head && parts.project_in.empty() && !parts.embedding_norm;
  at::Tensor bias;
  if (!parts.head_bias.empty()) bias = weights.take(parts.head_bias);
  if (output.is_cuda()) {
    output = with_padding(output);
    if (bias.defined()) bias = at::constant_pad_nd(bias, {0, output.size(0) - bias.size(0)});
    if (one_copy) embedding_ = output.narrow(0, 0, embedding_.size(0));
  }
  head_ = weights.head(output);
  if (bias.defined()) head_bias_ = bias.to(head_type(weights.precision()));
}

// A bias that is added to the residual stream is the same for every token, so the stream may go
// without it where each norm adds what has come together below it: two passages over the stream
// fewer in every layer of a transformer. Not so where a norm stands between the bias and the
// stream, or where something reads the stream without a norm: such families add their biases.
void Network::fold_biases() {
  check_folding();
  at::Tensor sum;  // [hidden], undefined = nothing yet
  for (size_t l = 0; l < layers_.size(); ++l) {
    const LayerShape& shape = architecture_.blocks[l];
    std::vector<NetworkBlock>& blocks = layers_[l];
    for (size_t begin = 0; begin < blocks.size();) {
      const size_t end = end_of_parallel(shape, begin);
      for (size_t b = begin; b < end; ++b) blocks[b].norm.offset = sum;
      for (; begin < end; ++begin) {
        const OutputProjection& output = blocks[begin].mixer->output();
        if (!output.bias_in_norms || !output.bias.defined()) continue;
        const at::Tensor bias =
            shape[begin].scale == 1 ? output.bias : output.bias * shape[begin].scale;
        sum = sum.defined() ? sum + bias : bias;
      }
    }
  }
  final_norm_.offset = sum;
}

void Network::layer(Step& step) const {
  const LayerShape& shape = architecture_.blocks[static_cast<size_t>(step.layer)];
  const std::vector<NetworkBlock>& blocks = layers_[static_cast<size_t>(step.layer)];
  at::Tensor read = step.hidden;  // by the next blocks, before their norms
  step.branched_sites = branched_sites(shape);
  for (size_t begin = 0; begin < blocks.size();) {
    const size_t end = end_of_parallel(shape, begin);
    std::vector<Factor> inputs;
    for (size_t b = begin; b < end; ++b)
      inputs.push_back(shape[b].shares_input
                           ? inputs.back()
                           : input_of(step, read, blocks[b].norm, norm_buffer(b - begin)));
    read = step.hidden;
    for (size_t b = begin; b < end; ++b) {
      if (b < step.masks_of_blocks.size()) {
        step.channel_masks = step.masks_of_blocks[b].channels;
        step.tap_masks = step.masks_of_blocks[b].taps;
      }
      const Mixer& mixer = *blocks[b].mixer;
      if (mixer.shape().mixes_tokens()) step.enter(mixer.shape().path());
      const Factor mixed = mixer.mix(step, inputs[b - begin]);
      if (feeds_next(shape[b]))
        read = fed_to_next(step, blocks[b], mixed);
      else
        add_output(step, shape[b], blocks[b], mixed);
    }
    begin = end;
  }
}

// What a mixer reads. Where there is no norm it is the stream, or a copy of it if it may change.
Factor Network::input_of(Step& step, const at::Tensor& stream, const Norm& norm,
                         const std::string& buffer) const {
  if (norm.identity) {
    const Factor itself = factor_of(step.rows, step.workspace, stream, buffer);
    if (!itself.numbers.is_same(stream) || !step.touches(Site::kMlpIn)) return itself;
  }
  const Factor input = step.workspace.factor(buffer, step.columns(), architecture_.hidden);
  apply_norm(step.rows, norm, stream, input);
  return input;
}

// [columns, hidden] the stream with what a block gives, for the block behind it alone.
at::Tensor Network::fed_to_next(Step& step, const NetworkBlock& block, const Factor& mixed) const {
  const OutputProjection& output = block.mixer->output();
  const at::Tensor fed = step.wide_matrix("fed", architecture_.hidden);
  multiply(mixed, output.weight, output.bias, fed);
  step.at(block.mixer->shape().sites().back(), {fed});
  return fed.add_(step.hidden);
}

// Adds to the stream what a block gives.
void Network::add_output(Step& step, const BlockShape& shape, const NetworkBlock& block,
                         const Factor& mixed) const {
  const OutputProjection& output = block.mixer->output();
  const Site site = step.named(block.mixer->shape().sites().back());
  const at::Tensor none, &added_bias = output.bias_in_norms ? none : output.bias,
                         &folded_bias = output.bias_in_norms ? output.bias : none;
  const bool raw = shape.has_raw_site() && step.touches(raw_site(site));
  if (output.weight.defined() && !shape.norm_behind && !raw) {
    add_to_stream(step, site, mixed, output.weight, added_bias, folded_bias, shape.scale);
  } else {
    at::Tensor added = mixed.numbers;
    if (output.weight.defined()) {
      added = step.wide_matrix("added", architecture_.hidden);
      multiply(mixed, output.weight, added_bias, added);
    }
    if (raw) step.at(raw_site(site), {added}, folded_bias);
    if (shape.norm_behind && shape.scale == 1 && !step.touches(site)) {
      add_norm(step.rows, block.norm_behind, added, step.hidden);
    } else {
      if (shape.norm_behind) apply_norm(step.rows, block.norm_behind, added, {added});
      if (shape.scale != 1) added.mul_(shape.scale);
      step.at(site, {added},
              folded_bias.defined() && shape.scale != 1 ? folded_bias * shape.scale : folded_bias);
      step.hidden.add_(added);
    }
  }
  if (shape.norm_of_stream) apply_norm(step.rows, block.norm_of_stream, step.hidden, {step.hidden});
}

void Network::embed(const kernels::Rows& rows, const at::Tensor& tokens,
                    const at::Tensor& positions, at::Tensor hidden) const {
  gather_rows(rows, embedding_, tokens, hidden);
  if (architecture_.embedding_scale != 1) hidden.mul_(architecture_.embedding_scale);
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
  const at::Tensor h = embedding_.index_select(0, at::tensor(ids, at::kLong).to(device())) *
                       architecture_.embedding_scale;
  return position_embedding_.defined() ? h + position_embedding_.narrow(0, 0, tokens) : h;
}

at::Tensor Network::reference_layer(ReferencePass& pass, int layer, const at::Tensor& h) const {
  const LayerShape& shape = architecture_.blocks[static_cast<size_t>(layer)];
  const std::vector<NetworkBlock>& blocks = layers_[static_cast<size_t>(layer)];
  const SiteSet branched = branched_sites(shape);
  at::Tensor stream = h, fed;
  for (size_t begin = 0; begin < blocks.size();) {
    const at::Tensor before = fed.defined() ? stream + fed : stream;
    fed = at::Tensor();
    for (const size_t end = end_of_parallel(shape, begin); begin < end; ++begin) {
      const NetworkBlock& block = blocks[begin];
      const Site site = named_in(shape, block.mixer->shape(), block.mixer->shape().sites().back());
      const OutputProjection& output = block.mixer->output();
      pass.enter(block.mixer->shape().path(), branched);
      at::Tensor added =
          block.mixer->reference_mix(pass, layer, reference::normalised(before, block.norm));
      if (output.weight.defined()) added = reference::projected(added, output.weight, output.bias);
      if (feeds_next(shape[begin])) {
        fed = pass.at(site, layer, added);
        continue;
      }
      if (shape[begin].has_raw_site()) added = pass.at(raw_site(site), layer, added);
      if (shape[begin].norm_behind) added = reference::normalised(added, block.norm_behind);
      stream = stream + pass.at(site, layer, added * shape[begin].scale);
      if (shape[begin].norm_of_stream) stream = reference::normalised(stream, block.norm_of_stream);
    }
  }
  return stream;
}

at::Tensor Network::reference_logits(const at::Tensor& states) const {
  const at::Tensor logits =
      states.matmul(head_.dense(states.scalar_type()).narrow(0, 0, architecture_.vocabulary).t());
  return scaled_logits(
      head_bias_.defined()
          ? logits + head_bias_.narrow(0, 0, architecture_.vocabulary).to(logits.scalar_type())
          : logits);
}

LogitScaling Network::logit_scaling() const {
  return {1 / architecture_.logits_divisor, architecture_.logits_cap};
}

at::Tensor Network::scaled_logits(const at::Tensor& logits) const {
  const LogitScaling scaling = logit_scaling();
  const at::Tensor scaled = scaling.factor == 1 ? logits : logits * scaling.factor;
  return scaling.cap == 0 ? scaled : (scaled / scaling.cap).tanh() * scaling.cap;
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
  multiply(states, head_, head_bias_, all.narrow(1, 0, head_.outputs()));
  return all.narrow(1, 0, architecture_.vocabulary);
}

std::vector<double> Network::decay_norms(int layer) const {
  std::vector<double> norms;
  for (const NetworkBlock& block : layers_[static_cast<size_t>(layer)]) {
    const std::vector<double> more = block.mixer->decay_norms();
    norms.insert(norms.end(), more.begin(), more.end());
  }
  return norms;
}

std::vector<LayerProduct> Network::products(int layer) const {
  std::vector<LayerProduct> products;
  for (const NetworkBlock& block : layers_[static_cast<size_t>(layer)]) {
    for (const LayerProduct& product : block.mixer->products()) products.push_back(product);
    if (block.mixer->output().weight.defined())
      products.push_back({&block.mixer->output().weight, LayerProduct::Into::kResidual});
  }
  return products;
}

LayerMatrix Network::editable(int layer, EditedMatrix name) const {
  if (layer < 0 || layer >= architecture_.layers)
    throw std::invalid_argument(
        fmt::format("layer {} of a model of {}", layer, architecture_.layers));
  const LayerShape& shape = architecture_.blocks[static_cast<size_t>(layer)];
  const std::vector<NetworkBlock>& blocks = layers_[static_cast<size_t>(layer)];
  std::vector<std::string> names;
  for (const LayerMatrixShape& one : matrices_of(shape)) {
    names.push_back(to_string(one.matrix.name));
    if (one.matrix.name != name) continue;
    const NetworkBlock& block = blocks[one.block];
    for (EditableMatrix matrix : block.mixer->editable()) {
      if (matrix.name != name) continue;
      matrix.key = one.matrix.key;
      matrix.value = one.matrix.value;
      return {matrix, &block.norm};
    }
  }
  throw std::invalid_argument(fmt::format("layer {} ({}) has no matrix {}; it has {}", layer,
                                          layer_name(shape), to_string(name), join(names)));
}

std::vector<BlockMasks> Network::masks(int layer, const std::vector<StateSelection>& selections,
                                       const std::vector<TapSelection>& tap_selections) const {
  std::vector<BlockMasks> masks;
  for (const NetworkBlock& block : layers_[static_cast<size_t>(layer)]) {
    BlockMasks& of = masks.emplace_back();
    const MixerShape& shape = block.mixer->shape();
    if (!shape.mixes_tokens()) continue;
    std::vector<at::Tensor> channels, taps;
    for (const StateSelection& selection : selections) {
      Block asked;
      const bool concerned = covers(selection.path, shape.path());
      if (concerned) asked.selection = selection.selection;
      const at::Tensor losing = block.mixer->losing_state(asked, at::kCPU);
      channels.push_back(concerned ? losing : at::zeros_like(losing));
    }
    for (const TapSelection& selection : tap_selections) {
      if (shape.taps() == 0) break;
      Block asked;
      asked.selection = selection.selection;
      asked.parts = selection.parts;
      taps.push_back(block.mixer->losing_taps(asked, at::kCPU));
    }
    if (!channels.empty()) of.channels = at::stack(channels).to(at::kByte).to(device());
    if (!taps.empty()) of.taps = at::stack(taps).to(at::kByte).to(device());
  }
  return masks;
}

at::Tensor Network::stream_offset(int layer) const {
  return layer == architecture_.layers ? final_norm_.offset
                                       : layers_[static_cast<size_t>(layer)].front().norm.offset;
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
