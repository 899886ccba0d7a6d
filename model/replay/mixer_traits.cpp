// What of a model's blocks the planner knows, and how many edges they have.
#include <algorithm>
#include <map>

#include "model/architecture.hpp"
#include "model/replay/replay_plan.hpp"

namespace factflow {

bool MixerTraits::has(Path path) const {
  return std::any_of(mixers.begin(), mixers.end(), [&](const std::vector<LayerMixer>& layer) {
    return std::any_of(layer.begin(), layer.end(),
                       [&](const LayerMixer& mixer) { return covers(path, mixer.path); });
  });
}

bool MixerTraits::alike() const {
  return std::all_of(mixers.begin(), mixers.end(), [&](const std::vector<LayerMixer>& layer) {
    return layer.size() == 1 && layer.front().reach == 0 &&
           layer.front().path == mixers.front().front().path;
  });
}

MixerTraits traits_of(const Architecture& architecture) {
  const std::vector<Site> sites = architecture.sites();
  MixerTraits traits;
  traits.layers = architecture.layers;
  traits.channels = architecture.channels();
  traits.keeps_states = architecture.keeps_states();
  traits.taps = architecture.taps();
  traits.gates = std::find(sites.begin(), sites.end(), Site::kG) != sites.end();
  traits.recurrent_channels = architecture.channels(Path::kRecurrent);
  for (const LayerShape& layer : architecture.blocks) {
    std::vector<LayerMixer>& mixers = traits.mixers.emplace_back();
    for (const BlockShape& block : layer)
      if (block.mixer->mixes_tokens())
        mixers.push_back({block.mixer->path(), block.mixer->reach(), block.mixer->taps()});
  }
  return traits;
}

namespace {

// The sum of what `edges` gives for a reach, over the mixers of a path, of which `reach` says how
// far each reads.
template <class Reach, class Edges>
std::uint64_t summed(const MixerTraits& traits, Path path, const Window& layers, Reach reach,
                     Edges edges) {
  std::map<int, std::int64_t> edges_of;  // by reach: models have few
  std::uint64_t sum = 0;
  const int end = std::min(layers.end, static_cast<int>(traits.mixers.size()));
  for (int l = layers.begin; l < end; ++l)
    for (const LayerMixer& mixer : traits.mixers[static_cast<size_t>(l)]) {
      if (!covers(path, mixer.path)) continue;
      const auto [entry, added] = edges_of.try_emplace(reach(mixer));
      if (added) entry->second = edges(entry->first);
      sum += static_cast<std::uint64_t>(entry->second);
    }
  return sum;
}

}  // namespace

std::uint64_t edges_in(const MixerTraits& mixers, const std::vector<int>& targets,
                       const std::vector<int>& sources, const Window& layers, Path path) {
  return summed(
      mixers, path, layers, [](const LayerMixer& mixer) { return mixer.reach; },
      [&](int reach) { return count_edges(targets, sources, reach); });
}

std::uint64_t taps_in(const MixerTraits& mixers, const std::vector<int>& targets,
                      const std::vector<int>& sources, const Window& layers, Path path) {
  return summed(
      mixers, path, layers, [](const LayerMixer& mixer) { return mixer.taps; },
      [&](int taps) { return count_taps(targets, sources, taps); });
}

}  // namespace factflow
