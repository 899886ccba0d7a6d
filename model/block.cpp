#include "model/block.hpp"

#include <algorithm>
#include <map>
#include <stdexcept>

#include <fmt/format.h>

#include "base/text.hpp"

namespace factflow {

std::string layer_name(const LayerShape& layer) {
  std::string name;
  for (size_t i = 0; i < layer.size(); ++i) {
    if (i > 0) name += layer[i - 1].parallel_with_next ? " + " : ", ";
    name += layer[i].mixer->name();
  }
  return name;
}

std::string in_words(const LayerShape& layer) {
  std::vector<std::string> sizes;
  for (const BlockShape& block : layer) sizes.push_back(block.mixer->in_words());
  return join(sizes);
}

std::string edges_in_words(const LayerShape& layer) {
  std::vector<std::string> edges;
  for (const BlockShape& block : layer)
    if (block.mixer->mixes_tokens())
      edges.push_back(block.mixer->name() + " through " + block.mixer->edges_in_words());
  return join(edges, "; ");
}

std::vector<Site> sites_of(const LayerShape& layer) {
  std::map<Site, int> blocks_with{{Site::kH, 1}};
  for (const BlockShape& block : layer)
    for (const Site site : block.mixer->sites()) ++blocks_with[site];
  for (const BlockShape& block : layer)
    if (const Site last = block.mixer->sites().back();
        block.has_raw_site() && blocks_with.at(last) == 1)
      blocks_with[raw_site(last)] = 1;
  std::vector<Site> sites;
  for (const auto& [site, count] : blocks_with)
    if (count == 1) sites.push_back(site);
  return sites;
}

std::int64_t site_width(const LayerShape& layer, Site site, int hidden) {
  for (const BlockShape& block : layer) {
    const std::vector<Site> sites = block.mixer->sites();
    if (std::find(sites.begin(), sites.end(), site) == sites.end()) continue;
    if (const std::int64_t width = block.mixer->site_width(site); width > 0) return width;
  }
  return hidden;
}

bool concerns(const Block& block, const MixerShape& mixer) {
  return mixer.mixes_tokens() && covers(block.path, mixer.path()) &&
         (block.through != Block::Through::kConvolution || mixer.taps() > 0);
}

void check_block(const LayerShape& layer, const Block& block) {
  bool mixes = false, concerned = false;
  for (const BlockShape& one : layer) {
    if (concerns(block, *one.mixer)) one.mixer->check_block(block);
    concerned = concerned || concerns(block, *one.mixer);
    mixes = mixes || one.mixer->mixes_tokens();
  }
  if (concerned) return;
  if (!mixes) throw std::invalid_argument("no block of the layer mixes tokens");
  for (const BlockShape& one : layer)
    if (one.mixer->mixes_tokens() && covers(block.path, one.mixer->path()))
      one.mixer->check_block(block);  // which says what it has not
  throw std::invalid_argument(
      fmt::format("{} has no mixer on the path {}", layer_name(layer), to_string(block.path)));
}

LayerMemory memory_of(const std::vector<LayerShape>& layers, int hidden, Precision precision) {
  std::map<std::string, std::int64_t> buffers;
  LayerMemory memory;
  const auto add = [&](const std::string& name, std::int64_t bytes) {
    std::int64_t& largest = buffers[name];
    largest = std::max(largest, bytes);
  };
  for (const LayerShape& layer : layers) {
    size_t in_parallel = 0;
    for (const BlockShape& block : layer) {
      add(norm_buffer(in_parallel), hidden * factor_bytes(precision));
      in_parallel = block.parallel_with_next ? in_parallel + 1 : 0;
      if (block.norm_behind)
        add("added", hidden * static_cast<std::int64_t>(c10::elementSize(wide_type(precision))));
      for (const ColumnBuffer& buffer : block.mixer->buffers(precision))
        add(buffer.name, buffer.bytes);
      memory.per_state = std::max(memory.per_state, block.mixer->bytes_per_state(precision));
      const SlotBytes slot = block.mixer->slot_bytes(precision);
      memory.per_slot = {std::max(memory.per_slot.own, slot.own),
                         std::max(memory.per_slot.per_token, slot.per_token)};
    }
  }
  for (const auto& [name, bytes] : buffers) memory.per_column += bytes;
  return memory;
}

std::string norm_buffer(size_t n) {
  return n == 0 ? "normalised" : "normalised " + std::to_string(n);
}

}  // namespace factflow
