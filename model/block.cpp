#include "model/block.hpp"

#include <algorithm>
#include <array>
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

SiteSet branched_sites(const LayerShape& layer) {
  std::map<Site, std::array<int, 2>> mixers_with;  // by path
  for (const BlockShape& block : layer)
    if (block.mixer->mixes_tokens())
      for (const Site site : block.mixer->sites())
        ++mixers_with[site][static_cast<size_t>(block.mixer->path())];
  SiteSet branched = 0;
  for (const auto& [site, count] : mixers_with)
    if (count == std::array{1, 1} && has_branches(site)) branched |= site_bit(site);
  return branched;
}

Site named_in(const LayerShape& layer, const MixerShape& mixer, Site site) {
  const bool branched = mixer.mixes_tokens() && (branched_sites(layer) & site_bit(site)) != 0;
  return branched ? branch_site(site, mixer.path()) : site;
}

std::vector<Site> sites_of(const LayerShape& layer) {
  std::map<Site, int> blocks_with{{Site::kH, 1}};
  for (const BlockShape& block : layer)
    for (const Site site : block.mixer->sites()) ++blocks_with[named_in(layer, *block.mixer, site)];
  for (const BlockShape& block : layer)
    if (const Site last = named_in(layer, *block.mixer, block.mixer->sites().back());
        block.has_raw_site() && blocks_with.at(last) == 1)
      blocks_with[raw_site(last)] = 1;
  std::vector<Site> sites;
  for (const auto& [site, count] : blocks_with)
    if (count == 1) sites.push_back(site);
  return sites;
}

std::int64_t site_width(const LayerShape& layer, Site site, int hidden) {
  for (const BlockShape& block : layer)
    for (const Site own : block.mixer->sites())
      if (named_in(layer, *block.mixer, own) == site)
        if (const std::int64_t width = block.mixer->site_width(own); width > 0) return width;
  return hidden;
}

size_t end_of_parallel(const LayerShape& layer, size_t begin) {
  while (begin + 1 < layer.size() && layer[begin].parallel_with_next) ++begin;
  return begin + 1;
}

std::vector<LayerMatrixShape> matrices_of(const LayerShape& layer) {
  const size_t from_h = end_of_parallel(layer, 0);
  std::vector<LayerMatrixShape> all;
  for (size_t b = 0; b < layer.size(); ++b) {
    const MixerShape& mixer = *layer[b].mixer;
    for (MatrixShape matrix : mixer.matrices()) {
      if (!matrix.key && b >= from_h) continue;
      const bool last = matrix.value == mixer.sites().back();
      matrix.value = named_in(layer, mixer, matrix.value);
      if (last && layer[b].has_raw_site()) matrix.value = raw_site(matrix.value);
      if (matrix.key) matrix.key = named_in(layer, mixer, *matrix.key);
      const auto same = std::find_if(all.begin(), all.end(), [&](const LayerMatrixShape& known) {
        return known.matrix.name == matrix.name;
      });
      if (same == all.end())
        all.push_back({matrix, b});
      else if (mixer.mixes_tokens() && mixer.path() == Path::kRecurrent)
        *same = {matrix, b};
    }
  }
  return all;
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
