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
#include "model/mixers/mixer_roles.hpp"
#include "model/reference/reference_ops.hpp"
#include "model/reference/reference_pass.hpp"

namespace factflow {
namespace {

// A batch's pass through some layers: all that can happen is one write.
class RowsPass final : public ReferencePass {
 public:
  RowsPass(const RowWrite* write, ReferenceRows::Seen seen)
      : write_(write), seen_(std::move(seen)) {}

  at::Tensor cut(Block::Through, int, std::int64_t, at::Device, const Losing&) const override {
    return {};
  }
  at::Tensor unerased(int, std::int64_t, at::Device, const Losing&) const override { return {}; }

 protected:
  at::Tensor visited(SiteAt at, at::Tensor value) override {
    if (write_ != nullptr && write_->at == at) value = after_write(value);
    if (seen_) seen_(at, value);
    return value;
  }

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

ReferenceStream padded(const std::vector<ReferenceStream>& rows) {
  std::vector<at::Tensor> streams, carried;
  for (const ReferenceStream& row : rows) {
    streams.push_back(row.h);
    if (row.carried.defined()) carried.push_back(row.carried);
  }
  return {padded(streams), carried.empty() ? at::Tensor() : padded(carried)};
}

std::vector<at::Tensor> gradients_before(const ReferenceStream& out, const ReferenceStream& of_out,
                                         const std::vector<at::Tensor>& asked) {
  std::vector<at::Tensor> outputs, gradients;
  const auto add = [&](const at::Tensor& output, const at::Tensor& gradient) {
    if (!gradient.defined() || !output.requires_grad()) return;
    outputs.push_back(output);
    gradients.push_back(gradient);
  };
  add(out.h, of_out.h);
  add(out.carried, of_out.carried);
  return torch::autograd::grad(outputs, asked, gradients, /*retain_graph=*/c10::nullopt,
                               /*create_graph=*/false, /*allow_unused=*/true);
}

at::Tensor indices_on(const std::vector<std::int64_t>& indices, at::Device device) {
  return at::tensor(indices, at::kLong).to(device);
}

ReferenceStream ReferenceRows::embedded(const std::vector<std::vector<int>>& rows) const {
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
  const at::Tensor h = at::stack(streams);
  return {h, carries(network_.architecture()) ? h : at::Tensor()};
}

// One layer; layer L is what comes after the last one: nothing but its h.
ReferenceStream ReferenceRows::layer(const ReferenceStream& stream, int layer,
                                     const RowWrite* write, const Seen& seen) const {
  RowsPass pass(write, seen);
  if (stream.carried.defined()) pass.carry(stream.carried);
  at::Tensor h = pass.at(Site::kH, layer, stream.h);
  if (layer < network_.architecture().layers) h = network_.reference_layer(pass, layer, h);
  return {h, stream.carried.defined() ? pass.carried() : at::Tensor()};
}

ReferenceStream ReferenceRows::through(const ReferenceStream& stream, int begin, int end,
                                       const Seen& seen) const {
  ReferenceStream at = stream;
  for (int one = begin; one < end; ++one) at = layer(at, one, nullptr, seen);
  if (seen) seen({Site::kH, end}, at.h);
  return at;
}

at::Tensor ReferenceRows::logits(const at::Tensor& stream) const {
  return network_.reference_logits(reference::normalised(stream, network_.final_norm()));
}

at::Tensor ReferenceRows::top(const ReferenceStream& stream, const RowWrite& write) const {
  ReferenceStream at = stream;
  for (int one = write.at.layer; one <= network_.architecture().layers; ++one)
    at = layer(at, one, &write, {});
  return at.h;
}

at::Tensor ReferenceRows::gradient(const ReferenceStream& stream, const RowWrite& write,
                                   const Loss& loss) const {
  const int first = write.at.layer, layers = network_.architecture().layers;
  const RowWrite written{write.at, write.tokens, write.values.detach().requires_grad_(true)};
  std::vector<ReferenceStream> entering = {stream};
  {
    const at::NoGradGuard no_graph;
    for (int one = first; one < layers; ++one)
      entering.push_back(layer(entering.back(), one, &written, {}));
  }
  const at::AutoGradMode graph(true);
  ReferenceStream gradient;  // with respect to what comes out of the layer
  for (int one = layers; one >= first; --one) {
    const auto leaf = [&](const at::Tensor& of) {
      return of.defined() ? of.detach().requires_grad_(one > first) : of;
    };
    const ReferenceStream in{leaf(entering.back().h), leaf(entering.back().carried)},
        out = layer(in, one, &written, {});
    entering.pop_back();
    std::vector<at::Tensor> asked = {one > first ? in.h : written.values};
    if (one > first && in.carried.defined()) asked.push_back(in.carried);
    ReferenceStream of = out;
    if (one == layers) {
      of = {loss(out.h)};
      gradient = {at::ones_like(of.h)};
    }
    const std::vector<at::Tensor> found = gradients_before(of, gradient, asked);
    gradient = {found[0], found.size() > 1 ? found[1] : at::Tensor()};
  }
  return gradient.h;
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

std::vector<ReferenceStream> ReferenceRows::streams(const std::vector<std::vector<int>>& prompts,
                                                    int layer) const {
  const at::NoGradGuard no_graph;
  std::vector<ReferenceStream> found(prompts.size());
  for (const std::vector<size_t>& batch :
       row_batches(lengths_of(prompts), network_.architecture())) {
    const ReferenceStream at = through(embedded(some_of(prompts, batch)), 0, layer);
    for (size_t row = 0; row < batch.size(); ++row) {
      const auto of_row = [&](const at::Tensor& all) {
        return all.defined() ? all[static_cast<std::int64_t>(row)].narrow(
                                   0, 0, static_cast<std::int64_t>(prompts[batch[row]].size()))
                             : all;
      };
      found[batch[row]] = {of_row(at.h), of_row(at.carried)};
    }
  }
  return found;
}

}  // namespace factflow
