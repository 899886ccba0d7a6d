#include "model/reference/reference_rows.hpp"

#include <algorithm>
#include <numeric>
#include <set>
#include <stdexcept>
#include <utility>

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

#include "model/check_intervention.hpp"
#include "model/mixers/attention/attention_shape.hpp"
#include "model/reference/reference_ops.hpp"
#include "model/reference/reference_pass.hpp"

namespace factflow {
namespace {

// A batch's pass through some layers: all that can happen is one write.
class RowsPass final : public ReferencePass {
 public:
  RowsPass(const RowWrite* write, ReferenceRows::Seen seen)
      : write_(write), seen_(std::move(seen)) {}

  at::Tensor at(Site site, int layer, at::Tensor value) override {
    if (write_ != nullptr && write_->at == SiteAt{site, layer}) value = after_write(value);
    if (seen_) seen_({site, layer}, value);
    return value;
  }
  at::Tensor cut(Block::Through, int, std::int64_t, at::Device, const Losing&) const override {
    return {};
  }
  at::Tensor unerased(int, std::int64_t, at::Device, const Losing&) const override { return {}; }

 private:
  at::Tensor after_write(const at::Tensor& value) const {
    if (write_->values.size(1) != value.size(2))
      throw std::invalid_argument(fmt::format("a tensor of {} numbers for site {}, which has {}",
                                              write_->values.size(1), to_string(write_->at.site),
                                              value.size(2)));
    const at::Tensor rows = at::arange(value.size(0), write_->tokens.options());
    return value.index_put({rows, write_->tokens}, write_->values);
  }

  const RowWrite* write_;
  ReferenceRows::Seen seen_;
};

std::vector<std::int64_t> lengths_of(const std::vector<std::vector<int>>& rows) {
  std::vector<std::int64_t> lengths;
  for (const std::vector<int>& ids : rows) lengths.push_back(static_cast<std::int64_t>(ids.size()));
  return lengths;
}

// Numbers of tokens above which a prompt is rotated in another way.
std::set<double> length_limits(const Architecture& architecture) {
  std::set<double> limits;
  for (const LayerShape& layer : architecture.blocks)
    for (const BlockShape& block : layer)
      if (const auto* attention = dynamic_cast<const AttentionShape*>(block.mixer.get());
          attention != nullptr && !attention->rotary.long_factors.empty())
        limits.insert(attention->rotary.original_max_positions);
  return limits;
}

bool turn_alike(const std::set<double>& limits, std::int64_t one, std::int64_t other) {
  return std::all_of(limits.begin(), limits.end(), [&](double limit) {
    return (static_cast<double>(one) > limit) == (static_cast<double>(other) > limit);
  });
}

template <class T>
std::vector<T> some_of(const std::vector<T>& all, const std::vector<size_t>& which) {
  std::vector<T> some;
  for (const size_t i : which) some.push_back(all[i]);
  return some;
}

}  // namespace

std::vector<std::vector<size_t>> row_batches(const std::vector<std::int64_t>& lengths,
                                             const Architecture& architecture) {
  const std::set<double> limits = length_limits(architecture);
  std::vector<size_t> order(lengths.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return lengths[a] > lengths[b]; });
  std::vector<std::vector<size_t>> batches;
  for (const size_t row : order) {
    if (batches.empty() ||
        static_cast<std::int64_t>(batches.back().size() + 1) * lengths[batches.back().front()] >
            kTokensAtOnce ||
        !turn_alike(limits, lengths[batches.back().front()], lengths[row]))
      batches.emplace_back();
    batches.back().push_back(row);
  }
  return batches;
}

at::Tensor padded(const std::vector<at::Tensor>& rows) {
  std::int64_t longest = 0;
  for (const at::Tensor& row : rows) longest = std::max(longest, row.size(0));
  const at::Tensor places = at::arange(longest, rows[0].options().dtype(at::kLong));
  std::vector<at::Tensor> equal;
  for (const at::Tensor& row : rows)
    equal.push_back(
        row.size(0) == longest ? row : row.index_select(0, places.clamp_max(row.size(0) - 1)));
  return at::stack(equal);
}

at::Tensor indices_on(const std::vector<std::int64_t>& indices, at::Device device) {
  return at::tensor(indices, at::kLong).to(device);
}

at::Tensor ReferenceRows::embedded(const std::vector<std::vector<int>>& rows) const {
  size_t longest = 0;
  for (const std::vector<int>& ids : rows) longest = std::max(longest, ids.size());
  const std::set<double> limits = length_limits(network_.architecture());
  std::vector<at::Tensor> streams;
  for (std::vector<int> ids : rows) {
    if (ids.empty()) throw std::invalid_argument("a prompt without tokens");
    if (!turn_alike(limits, static_cast<std::int64_t>(longest),
                    static_cast<std::int64_t>(ids.size())))
      throw std::invalid_argument("rows on two sides of a limit of LongRoPE in one batch");
    ids.resize(longest, ids.back());
    streams.push_back(network_.embedded(ids));
  }
  return at::stack(streams);
}

at::Tensor ReferenceRows::through(const at::Tensor& h, int begin, int end, const Seen& seen) const {
  RowsPass pass(nullptr, seen);
  if (begin == 0) pass.carry(h);
  at::Tensor stream = h;
  for (int layer = begin; layer < end; ++layer)
    stream = network_.reference_layer(pass, layer, pass.at(Site::kH, layer, stream));
  return pass.at(Site::kH, end, stream);
}

at::Tensor ReferenceRows::logits(const at::Tensor& stream) const {
  return network_.reference_logits(reference::normalised(stream, network_.final_norm()));
}

at::Tensor ReferenceRows::top(const at::Tensor& h, const RowWrite& write) const {
  RowsPass pass(&write, {});
  const int layers = network_.architecture().layers;
  at::Tensor stream = h;
  for (int layer = write.at.layer; layer < layers; ++layer)
    stream = network_.reference_layer(pass, layer, pass.at(Site::kH, layer, stream));
  return pass.at(Site::kH, layers, stream);
}

at::Tensor ReferenceRows::gradient(const at::Tensor& h, const RowWrite& write,
                                   const Loss& loss) const {
  using torch::autograd::grad;
  const int first = write.at.layer, layers = network_.architecture().layers;
  const RowWrite written{write.at, write.tokens, write.values.detach().requires_grad_(true)};
  RowsPass pass(&written, {});
  // Layer `layers` is what comes after the last one: nothing but its h.
  const auto layer_of = [&](int layer, const at::Tensor& in) {
    const at::Tensor stream = pass.at(Site::kH, layer, in);
    return layer == layers ? stream : network_.reference_layer(pass, layer, stream);
  };
  std::vector<at::Tensor> entering = {h};
  {
    const at::NoGradGuard no_graph;
    for (int layer = first; layer < layers; ++layer)
      entering.push_back(layer_of(layer, entering.back()));
  }
  const at::AutoGradMode graph(true);
  at::Tensor gradient;  // with respect to what comes out of `layer`
  for (int layer = layers; layer >= first; --layer) {
    const at::Tensor in = entering.back().detach().requires_grad_(layer > first);
    entering.pop_back();
    const at::Tensor out = layer_of(layer, in), &asked = layer > first ? in : written.values;
    gradient =
        layer == layers ? grad({loss(out)}, {asked})[0] : grad({out}, {asked}, {gradient})[0];
  }
  return gradient;
}

std::vector<at::Tensor> ReferenceRows::values_at(std::span<const PromptToken> places,
                                                 std::span<const SiteAt> sites) const {
  const at::NoGradGuard no_graph;
  std::vector<std::vector<int>> prompts;
  for (const PromptToken& place : places) {
    if (place.token < 0 || place.token >= static_cast<int>(place.ids.size()))
      throw std::invalid_argument(
          fmt::format("token {} of a prompt of {}", place.token, place.ids.size()));
    prompts.push_back(place.ids);
  }
  int end = 0;
  for (const SiteAt at : sites) {
    check_site(network_.architecture(), at);
    end = std::max(end, at.site == Site::kH ? at.layer : at.layer + 1);
  }
  std::vector<std::vector<at::Tensor>> found(sites.size(), std::vector<at::Tensor>(places.size()));
  for (const std::vector<size_t>& batch : row_batches(lengths_of(prompts), network_.architecture()))
    through(embedded(some_of(prompts, batch)), 0, end, [&](SiteAt at, const at::Tensor& value) {
      for (size_t i = 0; i < sites.size(); ++i)
        if (sites[i] == at)
          for (size_t row = 0; row < batch.size(); ++row)
            found[i][batch[row]] =
                value[static_cast<std::int64_t>(row)][places[batch[row]].token].clone();
    });
  std::vector<at::Tensor> values;
  for (const std::vector<at::Tensor>& rows : found) values.push_back(at::stack(rows));
  return values;
}

std::vector<at::Tensor> ReferenceRows::streams(const std::vector<std::vector<int>>& prompts,
                                               int layer) const {
  const at::NoGradGuard no_graph;
  std::vector<at::Tensor> found(prompts.size());
  for (const std::vector<size_t>& batch :
       row_batches(lengths_of(prompts), network_.architecture())) {
    const at::Tensor h = through(embedded(some_of(prompts, batch)), 0, layer);
    for (size_t row = 0; row < batch.size(); ++row)
      found[batch[row]] = h[static_cast<std::int64_t>(row)].narrow(
          0, 0, static_cast<std::int64_t>(prompts[batch[row]].size()));
  }
  return found;
}

}  // namespace factflow
