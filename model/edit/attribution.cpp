#include "model/edit/attribution.hpp"

#include <algorithm>
#include <cstdint>
#include <map>
#include <stdexcept>

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

#include "model/check_intervention.hpp"
#include "model/reference/reference_rows.hpp"

namespace factflow {
namespace {

using Prompts = std::vector<std::vector<int>>;
using SiteValues = std::map<SiteAt, at::Tensor>;

int layers_of(const Network& network, Site site) {
  return network.architecture().layers + (site == Site::kH ? 1 : 0);
}

// The first token at which the prompts differ: whatever comes before is equal in both runs.
int first_difference(const PromptPair& pair) {
  return static_cast<int>(
      std::mismatch(pair.clean.begin(), pair.clean.end(), pair.corrupted.begin()).first -
      pair.clean.begin());
}

void check(const Network& network, const std::vector<PromptPair>& pairs,
           const std::vector<Site>& sites) {
  for (const PromptPair& pair : pairs) {
    if (pair.clean.size() != pair.corrupted.size())
      throw std::invalid_argument(fmt::format("a clean prompt of {} tokens, a corrupted one of {}",
                                              pair.clean.size(), pair.corrupted.size()));
    if (pair.answer < 0 || pair.answer >= network.architecture().vocabulary)
      throw std::invalid_argument(fmt::format("the answer is token {}, of {}", pair.answer,
                                              network.architecture().vocabulary));
  }
  for (const Site site : sites)
    for (int layer = 0; layer < layers_of(network, site); ++layer)
      check_site(network.architecture(), {site, layer});
}

// Some pairs whose runs go side by side, padded on the right.
class Batch {
 public:
  Batch(const Network& network, const std::vector<PromptPair>& pairs,
        const std::vector<size_t>& which)
      : network_(network) {
    for (const size_t pair : which) {
      clean_.push_back(pairs[pair].clean);
      corrupted_.push_back(pairs[pair].corrupted);
      lasts_.push_back(static_cast<std::int64_t>(pairs[pair].clean.size()) - 1);
      answers_.push_back(pairs[pair].answer);
    }
  }
  const Prompts& clean() const { return clean_; }
  const Prompts& corrupted() const { return corrupted_; }

  // The sum over rows of p(answer) behind the row's last token; top: [rows, tokens, hidden].
  at::Tensor answered(const at::Tensor& top) const {
    const at::Device device = network_.device();
    const at::Tensor rows = at::arange(top.size(0), at::TensorOptions(at::kLong).device(device)),
                     last = top.index({rows, indices_on(lasts_, device)});
    return ReferenceRows(network_)
        .logits(last)
        .softmax(1)
        .gather(1, indices_on(answers_, device).unsqueeze(1))
        .sum();
  }

 private:
  const Network& network_;
  Prompts clean_, corrupted_;
  std::vector<std::int64_t> lasts_, answers_;
};

// Zeros for every site and pair.
EstimateMaps no_maps(const Network& network, const std::vector<PromptPair>& pairs,
                     const std::vector<Site>& sites) {
  EstimateMaps maps;
  for (const Site site : sites) {
    std::vector<at::Tensor>& of_site = maps.emplace_back();
    for (const PromptPair& pair : pairs)
      of_site.push_back(at::zeros(
          {static_cast<std::int64_t>(pair.clean.size()), layers_of(network, site)}, at::kDouble));
  }
  return maps;
}

std::vector<std::int64_t> lengths_of(const std::vector<PromptPair>& pairs) {
  std::vector<std::int64_t> lengths;
  for (const PromptPair& pair : pairs)
    lengths.push_back(static_cast<std::int64_t>(pair.clean.size()));
  return lengths;
}

// What comes out of one layer, and the values of sites on the way.
struct LayerRun {
  ReferenceStream out;  // of layer L, which is nothing but its h: that
  SiteValues values;
};
LayerRun run_layer(const Network& network, const ReferenceStream& stream, int layer,
                   const std::vector<Site>& sites) {
  LayerRun run;
  const int end = std::min(layer + 1, network.architecture().layers);
  run.out =
      ReferenceRows(network).through(stream, layer, end, [&](SiteAt at, const at::Tensor& value) {
        if (at.layer == layer && std::find(sites.begin(), sites.end(), at.site) != sites.end())
          run.values[at] = value;
      });
  return run;
}

// What enters every layer, 0 .. L.
std::vector<ReferenceStream> entering_layers(const Network& network, const Prompts& prompts) {
  const at::NoGradGuard no_graph;
  const ReferenceRows forward(network);
  std::vector<ReferenceStream> entering = {forward.embedded(prompts)};
  for (int layer = 0; layer < network.architecture().layers; ++layer)
    entering.push_back(forward.through(entering.back(), layer, layer + 1));
  return entering;
}

// Of one batch, from the last layer down: each layer is computed again with a graph of its own.
void add_gradients(const Network& network, const Batch& batch, const std::vector<size_t>& which,
                   const std::vector<Site>& sites, EstimateMaps& maps) {
  const std::vector<ReferenceStream> clean = entering_layers(network, batch.clean()),
                                     corrupted = entering_layers(network, batch.corrupted());
  ReferenceStream behind;  // gradient with respect to what comes out of the layer
  for (int layer = network.architecture().layers; layer >= 0; --layer) {
    const auto place = static_cast<size_t>(layer);
    SiteValues to;
    {
      const at::NoGradGuard no_graph;
      to = run_layer(network, clean[place], layer, sites).values;
    }
    const at::AutoGradMode graph(true);
    const auto leaf = [](const at::Tensor& of) {
      return of.defined() ? of.detach().requires_grad_(true) : of;
    };
    const ReferenceStream in{leaf(corrupted[place].h), leaf(corrupted[place].carried)};
    const LayerRun run = run_layer(network, in, layer, sites);
    ReferenceStream out = run.out;
    if (!behind.h.defined()) {  // the top
      out = {batch.answered(in.h)};
      behind = {at::ones_like(out.h)};
    }
    std::vector<at::Tensor> asked = {in.h};
    for (const auto& [at, value] : run.values)
      if (at.site != Site::kH) asked.push_back(value);
    if (in.carried.defined()) asked.push_back(in.carried);
    const std::vector<at::Tensor> gradients = gradients_before(out, behind, asked);
    size_t next = 1;
    for (const auto& [at, value] : run.values) {
      const at::Tensor& gradient = gradients[at.site == Site::kH ? 0 : next++];
      const at::Tensor column = ((to.at(at) - value.detach()) * gradient)
                                    .sum(2)
                                    .to(at::kCPU, at::kDouble);  // [rows, tokens]
      const auto site =
          static_cast<size_t>(std::find(sites.begin(), sites.end(), at.site) - sites.begin());
      for (size_t row = 0; row < which.size(); ++row) {
        at::Tensor& map = maps[site][which[row]];
        map.select(1, layer).copy_(
            column[static_cast<std::int64_t>(row)].narrow(0, 0, map.size(0)));
      }
    }
    behind = {gradients[0], in.carried.defined() ? gradients.back() : at::Tensor()};
  }
}

// ---- integrated gradients

// One value of one pair, somewhere on its way.
struct Midpoint {
  size_t pair = 0;
  int token = 0, step = 0;
};

// Every value that differs, at every midpoint of its way.
std::vector<Midpoint> midpoints_of(const std::vector<PromptPair>& pairs, int steps) {
  std::vector<Midpoint> all;
  for (size_t pair = 0; pair < pairs.size(); ++pair)
    for (int token = first_difference(pairs[pair]);
         token < static_cast<int>(pairs[pair].clean.size()); ++token)
      for (int step = 0; step < steps; ++step) all.push_back({pair, token, step});
  return all;
}

// What all pairs' runs have at one layer, [tokens, width] of each.
struct LayerOfPairs {
  std::vector<ReferenceStream> streams;            // entering
  std::map<Site, std::vector<at::Tensor>> values;  // [pair] by site
};

// Runs of prompts, one layer after the other.
class Climb {
 public:
  Climb(const Network& network, const Prompts& prompts, const std::vector<Site>& sites)
      : network_(network), sites_(sites), count_(prompts.size()) {
    const at::NoGradGuard no_graph;
    for (const std::vector<int>& ids : prompts)
      lengths_.push_back(static_cast<std::int64_t>(ids.size()));
    for (std::vector<size_t>& batch : row_batches(lengths_, network.architecture())) {
      Prompts some;
      for (const size_t i : batch) some.push_back(prompts[i]);
      streams_.push_back(ReferenceRows(network).embedded(some));
      batches_.push_back(std::move(batch));
    }
  }

  // Of the next layer, from 0 on.
  LayerOfPairs next() {
    const at::NoGradGuard no_graph;
    LayerOfPairs all;
    all.streams.resize(count_);
    for (size_t i = 0; i < batches_.size(); ++i) {
      const auto row_of = [&](const at::Tensor& values, size_t row) {
        return values.defined()
                   ? values[static_cast<std::int64_t>(row)].narrow(0, 0, lengths_[batches_[i][row]])
                   : values;
      };
      LayerRun run = run_layer(network_, streams_[i], layer_, sites_);
      for (size_t row = 0; row < batches_[i].size(); ++row) {
        const size_t prompt = batches_[i][row];
        all.streams[prompt] = {row_of(streams_[i].h, row), row_of(streams_[i].carried, row)};
        for (const auto& [at, value] : run.values) {
          std::vector<at::Tensor>& to = all.values[at.site];
          to.resize(count_);
          to[prompt] = row_of(value, row);
        }
      }
      streams_[i] = std::move(run.out);
    }
    ++layer_;
    return all;
  }

 private:
  const Network& network_;
  const std::vector<Site>& sites_;
  size_t count_;
  std::vector<std::int64_t> lengths_;
  std::vector<std::vector<size_t>> batches_;
  std::vector<ReferenceStream> streams_;  // [batch]
  int layer_ = 0;
};

// Of one site in one layer: [midpoint] gradient . way.
std::vector<double> slopes_at(const Network& network, const std::vector<PromptPair>& pairs,
                              SiteAt at, const LayerOfPairs& clean, const LayerOfPairs& corrupted,
                              const std::vector<Midpoint>& midpoints, int steps) {
  std::vector<std::int64_t> lengths;
  for (const Midpoint& one : midpoints)
    lengths.push_back(static_cast<std::int64_t>(pairs[one.pair].clean.size()));
  std::vector<double> slopes(midpoints.size());
  for (const std::vector<size_t>& batch : row_batches(lengths, network.architecture())) {
    std::vector<size_t> which;
    std::vector<std::int64_t> tokens;
    std::vector<ReferenceStream> streams;
    std::vector<at::Tensor> values, ways;
    for (const size_t i : batch) {
      const Midpoint& one = midpoints[i];
      const at::Tensor from = corrupted.values.at(at.site)[one.pair][one.token],
                       way = clean.values.at(at.site)[one.pair][one.token] - from;
      which.push_back(one.pair);
      tokens.push_back(one.token);
      streams.push_back(corrupted.streams[one.pair]);
      values.push_back(from + (one.step + 0.5) / steps * way);
      ways.push_back(way);
    }
    const Batch rows(network, pairs, which);
    const at::Tensor gradient = ReferenceRows(network).gradient(
        padded(streams), {at, indices_on(tokens, network.device()), at::stack(values)},
        [&](const at::Tensor& top) { return rows.answered(top); });
    const at::Tensor found = (gradient * at::stack(ways)).sum(1).to(at::kCPU, at::kDouble);
    for (size_t row = 0; row < batch.size(); ++row)
      slopes[batch[row]] = found[static_cast<std::int64_t>(row)].item<double>();
  }
  return slopes;
}

}  // namespace

EstimateMaps gradient_maps(const Network& network, const std::vector<PromptPair>& pairs,
                           const std::vector<Site>& sites) {
  check(network, pairs, sites);
  EstimateMaps maps = no_maps(network, pairs, sites);
  for (const std::vector<size_t>& batch : row_batches(lengths_of(pairs), network.architecture()))
    add_gradients(network, Batch(network, pairs, batch), batch, sites, maps);
  return maps;
}

EstimateMaps integrated_maps(const Network& network, const std::vector<PromptPair>& pairs,
                             const std::vector<Site>& sites, int steps) {
  check(network, pairs, sites);
  if (steps < 1)
    throw std::invalid_argument(fmt::format("{} steps of integrated gradients", steps));
  EstimateMaps maps = no_maps(network, pairs, sites);
  const std::vector<Midpoint> midpoints = midpoints_of(pairs, steps);
  if (midpoints.empty()) return maps;
  std::vector<size_t> all(pairs.size());
  for (size_t i = 0; i < all.size(); ++i) all[i] = i;
  const Batch every(network, pairs, all);
  Climb of_clean(network, every.clean(), sites), of_corrupted(network, every.corrupted(), sites);
  for (int layer = 0; layer <= network.architecture().layers; ++layer) {
    const LayerOfPairs clean = of_clean.next(), corrupted = of_corrupted.next();
    for (size_t site = 0; site < sites.size(); ++site) {
      if (layer >= layers_of(network, sites[site])) continue;
      const std::vector<double> slopes =
          slopes_at(network, pairs, {sites[site], layer}, clean, corrupted, midpoints, steps);
      for (size_t i = 0; i < midpoints.size(); ++i)
        maps[site][midpoints[i].pair].accessor<double, 2>()[midpoints[i].token][layer] +=
            slopes[i] / steps;
    }
  }
  return maps;
}

}  // namespace factflow
