#include "model/reference/reference.hpp"

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "model/reference/reference_ops.hpp"
#include "model/reference/reference_pass.hpp"

namespace factflow {

std::vector<Intervention> as_interventions(const Knockout& knockout) {
  Block block;
  block.layers.resize(static_cast<size_t>(knockout.window.end - knockout.window.begin));
  std::iota(block.layers.begin(), block.layers.end(), knockout.window.begin);
  if (block.layers.empty()) return {};
  block.targets = knockout.targets;
  block.sources = knockout.sources;
  block.selection = knockout.channels;
  return {block};
}

void ReferenceForward::check_site(SiteAt at) const {
  const std::vector<Site> sites = network_.architecture().sites();
  if (std::find(sites.begin(), sites.end(), at.site) == sites.end()) {
    std::vector<std::string> names;
    for (const Site site : sites) names.push_back(to_string(site));
    throw std::invalid_argument(fmt::format("{} has no site {}; it has {}",
                                            network_.architecture().family, to_string(at.site),
                                            fmt::join(names, ", ")));
  }
  const int layers = network_.architecture().layers;
  const int first = at.site == Site::kNorm ? layers : 0,
            last = at.site == Site::kNorm || at.site == Site::kH ? layers : layers - 1;
  if (at.layer < first || at.layer > last)
    throw std::invalid_argument(fmt::format("site {} has layers {} to {}, not {}",
                                            to_string(at.site), first, last, at.layer));
  if (at.layer == layers) return;
  const LayerShape& layer = network_.architecture().blocks[static_cast<size_t>(at.layer)];
  const std::vector<Site> here = sites_of(layer);
  if (std::find(here.begin(), here.end(), at.site) == here.end())
    throw std::invalid_argument(fmt::format("layer {} ({}) has no site {}", at.layer,
                                            layer_name(layer), to_string(at.site)));
}

void ReferenceForward::check(const Intervention& intervention, int tokens) const {
  const auto inside = [&](const std::vector<int>& positions) {
    for (const int token : positions)
      if (token < 0 || token >= tokens)
        throw std::invalid_argument(fmt::format("token {} of a prompt of {}", token, tokens));
  };
  if (const auto* write = std::get_if<Write>(&intervention)) {
    inside(write->tokens);
    for (const int layer : write->layers) check_site({write->site, layer});
    return;
  }
  const Block& block = std::get<Block>(intervention);
  inside(block.targets);
  inside(block.sources);
  const std::vector<LayerShape>& layers = network_.architecture().blocks;
  for (const int layer : block.layers) {
    if (layer < 0 || layer >= static_cast<int>(layers.size()))
      throw std::invalid_argument(fmt::format("layer {} of a model of {}", layer, layers.size()));
    check_block(layers[static_cast<size_t>(layer)], block);
  }
}

ReferenceForward::Result ReferenceForward::run(const std::vector<int>& ids,
                                               std::span<const Intervention> interventions,
                                               std::span<const SiteAt> reads) const {
  if (ids.empty()) throw std::invalid_argument("a prompt without tokens");
  for (const Intervention& intervention : interventions)
    check(intervention, static_cast<int>(ids.size()));
  for (const SiteAt at : reads) check_site(at);

  // Clean runs of other prompts, each run once, for all that is written from it.
  std::vector<SiteAt> borrowed;
  for (const Intervention& intervention : interventions)
    if (const auto* write = std::get_if<Write>(&intervention))
      for (const int layer : write->layers) borrowed.push_back({write->site, layer});
  std::map<std::vector<int>, std::map<SiteAt, at::Tensor>> clean;
  const auto clean_value = [&](const std::vector<int>& other, SiteAt at) {
    auto found = clean.find(other);
    if (found == clean.end()) {
      const at::NoGradGuard no_graph;
      found = clean.emplace(other, run(other, {}, borrowed).values).first;
    }
    return found->second.at(at);
  };
  ReferencePass pass(static_cast<std::int64_t>(ids.size()), interventions, reads, clean_value);
  return forward(ids, pass);
}

ReferenceForward::Result ReferenceForward::forward(const std::vector<int>& ids,
                                                   ReferencePass& pass) const {
  const int layers = network_.architecture().layers;
  at::Tensor h = network_.embedded(ids);
  for (int layer = 0; layer < layers; ++layer)
    h = network_.reference_layer(pass, layer, pass.at(Site::kH, layer, h));
  h = pass.at(Site::kH, layers, h);
  h = pass.at(Site::kNorm, layers, reference::normalised(h, network_.final_norm()));
  return {network_.reference_logits(h), pass.values()};
}

at::Tensor ReferenceForward::log_probabilities(const std::vector<int>& ids,
                                               std::span<const Intervention> interventions) const {
  const at::Tensor logits = run(ids, interventions).logits;
  return logits[logits.size(0) - 1].to(at::kDouble).log_softmax(0);
}

}  // namespace factflow
