#include "model/check_intervention.hpp"

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "model/replay/replay_plan.hpp"

namespace factflow {
namespace {

bool contains(const std::vector<Site>& sites, Site site) {
  return std::find(sites.begin(), sites.end(), site) != sites.end();
}

// Instead of a site that it has not, where another number of branches is why.
std::string what_there_is(const LayerShape& layer, Site site) {
  const std::vector<Site> sites = sites_of(layer);
  if (const std::optional<Branch> branch = branch_of(site))
    return contains(sites, branch->site)
               ? fmt::format(": it has one branch, with {}", to_string(branch->site))
               : "";
  if (!has_branches(site)) return "";
  const Site attention = branch_site(site, Path::kAttention),
             recurrent = branch_site(site, Path::kRecurrent);
  return contains(sites, attention) && contains(sites, recurrent)
             ? fmt::format(": its two branches have {} and {}", to_string(attention),
                           to_string(recurrent))
             : "";
}

// Of a site that the layer has.
void check_width(const Architecture& architecture, const Write& write, int layer) {
  const auto* vector = std::get_if<Vector>(&write.value);
  if (!write.channels && vector == nullptr) return;
  const std::int64_t width = layer == architecture.layers
                                 ? architecture.hidden
                                 : site_width(architecture.blocks[static_cast<size_t>(layer)],
                                              write.site, architecture.hidden);
  if (write.channels)
    for (const int channel : *write.channels)
      if (channel < 0 || channel >= width)
        throw std::invalid_argument(fmt::format("channel {} of site {} in layer {}, which has {}",
                                                channel, to_string(write.site), layer, width));
  const size_t written = write.channels ? write.channels->size() : static_cast<size_t>(width);
  if (vector != nullptr && vector->values.size() != written)
    throw std::invalid_argument(fmt::format("a vector of {} numbers for {} channels of site {}",
                                            vector->values.size(), written, to_string(write.site)));
}

// Of a model with attention and other mixers, where decays are the others' alone.
void check_channels(const Architecture& architecture, const Block& block) {
  const auto* set = std::get_if<ChannelSet>(&block.selection);
  const bool some = std::holds_alternative<Channels>(block.selection) ||
                    (set != nullptr && set->kind != ChannelSet::Kind::kAll);
  if (some && block.path != Path::kRecurrent && architecture.has(Path::kAttention) &&
      architecture.has(Path::kRecurrent))
    throw std::invalid_argument(
        fmt::format("{} has attention and other mixers: channels go with path recurrent alone",
                    architecture.family));
}

// A layer without such edges is left alone where another one has them.
void check_block(const Architecture& architecture, int layer, const Block& block) {
  const auto concerned = [&](const LayerShape& one) {
    return std::any_of(one.begin(), one.end(), [&](const BlockShape& of) {
      return concerns(block, *of.mixer) && (!block.erase || of.mixer->erases());
    });
  };
  const LayerShape& asked = architecture.blocks[static_cast<size_t>(layer)];
  check_channels(architecture, block);
  const bool somewhere =
      std::any_of(architecture.blocks.begin(), architecture.blocks.end(), concerned);
  if (block.erase && !somewhere)
    throw std::invalid_argument(
        fmt::format("{} has no mixer that erases as it writes, or not on the path {}",
                    architecture.family, to_string(block.path)));
  const bool here = std::any_of(asked.begin(), asked.end(),
                                [&](const BlockShape& of) { return concerns(block, *of.mixer); });
  if (here || !somewhere) check_block(asked, block);
}

}  // namespace

void check_site(const Architecture& architecture, SiteAt at) {
  const std::vector<Site> sites = architecture.sites();
  if (!contains(sites, at.site)) {
    std::vector<std::string> names;
    for (const Site site : sites) names.push_back(to_string(site));
    throw std::invalid_argument(fmt::format("{} has no site {}; it has {}", architecture.family,
                                            to_string(at.site), fmt::join(names, ", ")));
  }
  const int layers = architecture.layers;
  const int first = at.site == Site::kNorm ? layers : 0,
            last = at.site == Site::kNorm || at.site == Site::kH ? layers : layers - 1;
  if (at.layer < first || at.layer > last)
    throw std::invalid_argument(fmt::format("site {} has layers {} to {}, not {}",
                                            to_string(at.site), first, last, at.layer));
  if (at.layer == layers) return;
  const LayerShape& layer = architecture.blocks[static_cast<size_t>(at.layer)];
  if (!contains(sites_of(layer), at.site))
    throw std::invalid_argument(fmt::format("layer {} ({}) has no site {}{}", at.layer,
                                            layer_name(layer), to_string(at.site),
                                            what_there_is(layer, at.site)));
}

void check_write(const Architecture& architecture, const Write& write, int layer) {
  check_site(architecture, {write.site, layer});
  check_width(architecture, write, layer);
}

void check_intervention(const Architecture& architecture, const Intervention& intervention) {
  if (const auto* write = std::get_if<Write>(&intervention)) {
    for (const int layer : write->layers) check_write(architecture, *write, layer);
    return;
  }
  const Block& block = std::get<Block>(intervention);
  for (const int layer : block.layers) {
    if (layer < 0 || layer >= architecture.layers)
      throw std::invalid_argument(
          fmt::format("layer {} of a model of {}", layer, architecture.layers));
    check_block(architecture, layer, block);
  }
}

std::vector<std::int64_t> edges_by_layer(const Architecture& architecture, const Block& block) {
  using Through = Block::Through;
  const MixerTraits mixers = traits_of(architecture);
  std::vector<std::int64_t> edges;
  for (int layer = 0; layer < architecture.layers; ++layer) {
    const Window here{layer, layer + 1};
    std::uint64_t count = 0;
    if (block.through != Through::kConvolution)
      count += edges_in(mixers, block.targets, block.sources, here, block.path);
    if (block.through != Through::kState)
      count += taps_in(mixers, block.targets, block.sources, here, block.path);
    edges.push_back(static_cast<std::int64_t>(count));
  }
  return edges;
}

std::int64_t blocked_edges(const Architecture& architecture, const Block& block) {
  const std::vector<std::int64_t> by_layer = edges_by_layer(architecture, block);
  std::int64_t edges = 0;
  for (const int layer : block.layers) edges += by_layer.at(static_cast<size_t>(layer));
  return edges;
}

InterventionCheck::InterventionCheck(const Architecture& architecture)
    : architecture_(architecture) {
  const auto bit = [](Site site) { return std::uint32_t{1} << static_cast<unsigned>(site); };
  for (const LayerShape& layer : architecture.blocks) {
    std::uint32_t& sites = sites_.emplace_back(0);
    for (const Site site : sites_of(layer)) sites |= bit(site);
  }
  sites_.push_back(bit(Site::kH) | bit(Site::kNorm));
}

bool InterventionCheck::has(SiteAt at) const {
  return at.layer >= 0 && at.layer < static_cast<int>(sites_.size()) &&
         (sites_[static_cast<size_t>(at.layer)] >> static_cast<unsigned>(at.site) & 1U) != 0;
}

void InterventionCheck::site(SiteAt at) const {
  if (!has(at)) check_site(architecture_, at);
}

void InterventionCheck::series(const Series& series) const {
  if (!series.windows) {
    for (const Intervention& one : series.interventions) check_intervention(architecture_, one);
    return;
  }
  // Windows overlap: each layer once.
  std::vector<bool> on(sites_.size(), false);
  for (const Window& window : *series.windows)
    for (int layer = std::max(window.begin, 0);
         layer < std::min(window.end, static_cast<int>(on.size())); ++layer)
      on[static_cast<size_t>(layer)] = true;
  for (const Intervention& one : series.interventions)
    for (int layer = 0; layer < static_cast<int>(on.size()); ++layer) {
      if (!on[static_cast<size_t>(layer)]) continue;
      if (const auto* write = std::get_if<Write>(&one)) {
        site({write->site, layer});
        check_width(architecture_, *write, layer);
      } else if (layer < architecture_.layers) {
        check_block(architecture_, layer, std::get<Block>(one));
      }
    }
}

}  // namespace factflow
