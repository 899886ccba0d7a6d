// Interventions as data: what is done to a run, where, at which tokens and in which layers. Nothing
// here computes. Exact meaning of every site and intervention: docs/interventions.md.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "model/knockout.hpp"

namespace factflow {

// A place in a layer where a value [tokens, width] can be read or written, in the order of the
// computation. A site's value is the true one: biases and factors included.
enum class Site {
  kH,     // residual stream that enters the layer; layer L: before the final norm
  kA,     // Mamba: x before the convolution
  kXbc,   // Mamba-2: all that enters the convolution, x, B and C
  kQkv,   // gated delta rule: all that enters the convolution, q, k and v
  kConv,  // Mamba: the convolution's output after SiLU, what enters the scan
  kSkip,  // Mamba: D x alone
  kS,     // output of the scan, skip included, or of the attention heads side by side
  kSAttention,
  kSRecurrent,  // the same in a layer of two branches; see branch_site()
  kG,           // Mamba: SiLU of the gate
  kY,           // Mamba: input of the output projection
  kORaw,        // the same as kO before what stands behind the block: a norm, or a factor
  kORawAttention,
  kORawRecurrent,
  kO,  // what the mixer adds to the residual stream
  kOAttention,
  kORecurrent,
  kMlpIn,      // input of the MLP, after its norm
  kMlpHidden,  // input of the MLP's down projection
  kMlpRaw,     // the same as kMlp before what stands behind the block
  kMlp,        // what the MLP adds to the residual stream
  kNorm        // output of the final norm; layer L only
};

inline constexpr size_t kSites = static_cast<size_t>(Site::kNorm) + 1;

const std::vector<std::string>& site_names();  // in the order of Site
std::string to_string(Site site);
// kORaw of kO, kMlpRaw of kMlp; throws std::logic_error for another site.
Site raw_site(Site site);
Site parse_site(std::string_view name);  // throws InputError with the nearest known name

// Which mixers of tokens a block cuts, where a model has attention and others.
enum class Path {
  kAttention,
  kRecurrent,  // every mixer that is not attention
  kBoth
};
inline constexpr std::array<Path, 2> kMixerPaths = {Path::kAttention, Path::kRecurrent};
const std::vector<std::string>& path_names();  // "attention", "recurrent", "both"
std::string to_string(Path path);
Path parse_path(std::string_view name);  // throws InputError with the nearest known name
// Whether a block of path `asked` cuts a mixer of path `has`.
constexpr bool covers(Path asked, Path has) {
  return asked == Path::kBoth || asked == has;
}

// Where attention and another mixer of one layer both have a site, it is one of each branch:
// "o.attention" and "o.recurrent" for o. path: one of the two; throws std::logic_error for a site
// that has no branches.
bool has_branches(Site site);
Site branch_site(Site site, Path path);
// The opposite; nothing for a site that is not of a branch.
struct Branch {
  Site site;  // kO of kOAttention
  Path path;
};
std::optional<Branch> branch_of(Site site);

// A site in a layer.
struct SiteAt {
  Site site = Site::kH;
  int layer = 0;
  auto operator<=>(const SiteAt&) const = default;
};

// Which channels or heads lose an edge: all, a set by decay (ChannelSet), or those listed.
struct Heads {
  std::vector<int> indices;  // of attention (query heads) or Mamba-2
  bool operator==(const Heads&) const = default;
};
struct Channels {
  std::vector<int> indices;  // of x
  bool operator==(const Channels&) const = default;
};
using Selection = std::variant<ChannelSet, Channels, Heads>;

// What a Mamba-2 sends through its convolution.
struct ConvolutionParts {
  bool x = true, b = true, c = true;
  bool operator==(const ConvolutionParts&) const = default;
};

// No target may read a source, directly: every pair with source <= target loses its edge. A layer
// without a mixer on the path is left alone.
struct Block {
  enum class Through {
    kState,        // attention scores, or the state of a state-space model
    kConvolution,  // the taps of the causal convolution; a source out of their reach has no edge
    kMixer         // both
  };
  Through through = Through::kState;
  std::vector<int> layers, targets, sources;
  Selection selection;  // of heads or channels
  // Absent: x, B and C, or with a selection of heads or channels x alone, since B and C have none.
  std::optional<ConvolutionParts> parts;
  Path path = Path::kBoth;
  // Of mixers that erase as they write (the delta rule): whether the targets' state is one in which
  // the sources do not erase either. Others have nothing to erase.
  bool erase = false;
  bool operator==(const Block&) const = default;
};

// What a sweep asks: edges through the state, blocked in the layers of a window.
Block knockout(std::vector<int> targets, std::vector<int> sources, ChannelSet channels,
               const Window& window);

struct Zero {
  bool operator==(const Zero&) const = default;
};
struct Vector {  // one number per channel written, the same at all tokens and layers
  std::vector<double> values;
  bool operator==(const Vector&) const = default;
};
// What a clean run of other token ids has at the same site and layer, at its `tokens`, paired one
// to one with those that are written.
struct OtherRun {
  std::vector<int> ids, tokens;
  bool operator==(const OtherRun&) const = default;
};
struct MeanOfRuns {  // over all tokens of clean runs; every token weighs the same
  std::vector<std::vector<int>> runs;
  bool operator==(const MeanOfRuns&) const = default;
};
using Value = std::variant<Zero, Vector, OtherRun, MeanOfRuns>;

// A new value at a site, from which everything after it follows.
struct Write {
  Site site = Site::kH;
  std::vector<int> layers, tokens;
  std::optional<std::vector<int>> channels;  // absent: all
  Value value;
  bool add = false;  // to what is there, `scale` times
  double scale = 1;
  bool operator==(const Write&) const = default;
};

// Several act together in the order of the computation, at one site in the order of the list.
using Intervention = std::variant<Block, Write>;

// Runs of one prompt that differ only in where their interventions act together.
struct Series {
  Series() = default;
  Series(std::vector<Intervention> together, std::optional<std::vector<Window>> in_windows)
      : interventions(std::move(together)), windows(std::move(in_windows)) {}
  // Edges through the mixer's state, blocked in each of several windows: a knockout.
  Series(std::vector<int> targets, std::vector<int> sources, ChannelSet channels,
         std::vector<Window> in_windows);

  std::vector<Intervention> interventions;
  // One run for each: the layers in which all of them act, whatever layers they name. Absent: one
  // run, in which each acts in the layers that it names.
  std::optional<std::vector<Window>> windows;

  size_t runs() const { return windows ? windows->size() : 1; }
  // What acts in one of them, each in the layers that it names.
  std::vector<Intervention> run(size_t index) const;
  // What a knockout blocks. Throws std::bad_variant_access or std::out_of_range for anything else.
  const Block& block() const { return std::get<Block>(interventions.at(0)); }
};

// Layers and tokens of a site that somebody wants to know, in the clean run or in one of a series.
struct ReadAt {
  struct Run {
    size_t series = 0, run = 0;  // of the request
  };
  SiteAt at;
  int token = 0;
  std::optional<Run> under;  // absent: of the clean run
};

}  // namespace factflow
