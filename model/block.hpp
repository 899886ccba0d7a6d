// A model is a list of layers, a layer a list of blocks: a norm, then a mixer, then how the result
// joins the residual stream: x + scale norm_behind(mixer(norm x)), of which the norms may be
// missing.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "model/mixers/mixer_shape.hpp"

namespace factflow {

struct BlockShape {
  std::shared_ptr<const MixerShape> mixer;
  // The next block of the layer starts from the stream that this one started from, and both are
  // added to it: x + a(norm x) + b(norm x).
  bool parallel_with_next = false;
  double scale = 1;  // of what is added to the residual stream
  // The mixer reads what the block before it reads, with which it is in parallel: one norm feeds
  // both (GPT-J).
  bool shares_input = false;
  bool norm_behind = false;     // of what the mixer gives (OLMo-2, Gemma-2)
  bool norm_of_stream = false;  // of the stream after the addition: x = norm(x + a(x)) (OPT-350m)

  // Whether what joins the stream is another value than what the output projection gives, which
  // then has a site of its own (raw_site).
  bool has_raw_site() const { return norm_behind || scale != 1; }
};

// All that the configuration counts as one layer, in the order of the computation.
using LayerShape = std::vector<BlockShape>;

// "attention, mlp"; blocks in parallel "attention + mlp".
std::string layer_name(const LayerShape& layer);

// Its mixers' sizes: "4 heads of 64, 4 key heads, MLP 1024".
std::string in_words(const LayerShape& layer);
// "attention: scores, ...": what interventions can block there.
std::string edges_in_words(const LayerShape& layer);

// Sites that attention and exactly one other mixer of the layer both have, and so each in its
// branch: a bit for each.
using SiteSet = std::uint32_t;
static_assert(kSites <= 32);
constexpr SiteSet site_bit(Site site) {
  return SiteSet{1} << static_cast<unsigned>(site);
}
SiteSet branched_sites(const LayerShape& layer);
// What a site of one of the layer's mixers is called there.
Site named_in(const LayerShape& layer, const MixerShape& mixer, Site site);
// Sites that name one value: h, and those that exactly one block of the layer has.
std::vector<Site> sites_of(const LayerShape& layer);
// Numbers of a token at one of them, `hidden` where it is the stream's or like it.
std::int64_t site_width(const LayerShape& layer, Site site, int hidden);
// Where the blocks in parallel with the one at `begin` end.
size_t end_of_parallel(const LayerShape& layer, size_t begin);
// The matrices that an edit may change, at the layer's sites. One whose input is the block's, after
// the norm, is there in blocks that read the stream at h; W_o of a layer of two branches is that of
// the recurrent one.
struct LayerMatrixShape {
  MatrixShape matrix;
  size_t block = 0;  // whose it is
};
std::vector<LayerMatrixShape> matrices_of(const LayerShape& layer);
// Whether a mixer has edges of a block's kind: it mixes tokens, is on the block's path, and has a
// convolution where that is all that the block goes through.
bool concerns(const Block& block, const MixerShape& mixer);
// Throws std::invalid_argument unless every mixer that a block concerns has such edges, and there
// is one.
void check_block(const LayerShape& layer, const Block& block);

// Bytes of a network's activations and factors for one column, and of one state slot: buffers of
// the same name are shared by all blocks.
struct LayerMemory {
  std::int64_t per_column = 0;
  std::int64_t per_state = 0;
  SlotBytes per_slot;
};
LayerMemory memory_of(const std::vector<LayerShape>& layers, int hidden, Precision precision);

// The buffer in which the norm of the n-th block of those in parallel is.
std::string norm_buffer(size_t n);

}  // namespace factflow
