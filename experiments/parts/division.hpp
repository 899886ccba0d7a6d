// Ways to divide the channels or heads of a model into parts that lose an edge one after the other.
// Exact meaning: docs/beyond.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fields/fields.hpp"
#include "model/architecture.hpp"
#include "model/intervention.hpp"

namespace factflow {

// What a Mamba-1 has many of, and what attention and Mamba-2 have.
enum class PartOf { kChannels, kHeads };

struct Division {
  enum class Kind {
    kHead,      // every single head
    kQuantile,  // equal slices of the decay ranking, slowest first; another ranking in each layer
    kHappened,  // the same of the ranking by the decay that happens in prompts
    kRandom,    // equal slices of a random order, which is the same in every layer
    kGroup      // equal groups of neighbours, by index
  };
  Kind kind = Kind::kHead;
  int count = 0;           // how many parts; kHead: as many as there are heads
  std::uint64_t seed = 0;  // kRandom
  bool by_decay() const { return kind == Kind::kQuantile || kind == Kind::kHappened; }
  bool operator==(const Division&) const = default;
};
// "each head", "each quantile of 8", "each quantile of 8 by exp(A dt)", "each random of 8 seed 1",
// "each group of 8"
std::string to_string(const Division& division);
// The seed may be left out and is 1 then. Throws InputError.
Division parse_division(const std::string& given);
Form<Division> division_form();

// What a division chooses among in every layer of a model.
struct Divisible {
  PartOf what = PartOf::kHeads;
  int count = 0;          // the fewest of a layer
  bool by_decay = false;  // whether they have a decay
};
// Throws std::invalid_argument for a model whose layers do not all mix tokens in the same one of
// the ways that have parts: attention, Mamba-1, Mamba-2.
Divisible divisible_of(const Architecture& architecture);

// A part: a slice by decay, which is another one in each layer, or a list.
struct EdgePart {
  // "head 3", "quantile 2/8", "quantile 2/8 by exp(A dt)", "random 2/8 seed 1", "group 2/8"
  std::string name;
  ChannelSet set;
  std::vector<int> indices;  // if not empty, in place of the set
  bool happened = false;     // the set is one of the decay that happens in prompts
  bool operator==(const EdgePart&) const = default;
};
// Disjoint, and together everything. Throws std::invalid_argument where there are too few for so
// many parts, or none of the kind.
std::vector<EdgePart> parts_of(const Division& division, const Divisible& among);

// What chooses them.
Selection list_of_indices(std::vector<int> indices, PartOf what);

// Edges through the state or the scores that several parts lose together. Throws std::logic_error
// for parts by the decay that happens, which are other ones in each layer.
std::vector<Intervention> losing(const std::vector<const EdgePart*>& parts, PartOf what,
                                 const std::vector<int>& targets, const std::vector<int>& sources);

// Likewise, of such parts alone, in the layers of a window, by what is left of the state there
// (model/reference/decay_in_prompts.hpp): [layer][channel or head].
std::vector<Intervention> losing_in_layers(const std::vector<const EdgePart*>& parts, PartOf what,
                                           const std::vector<int>& targets,
                                           const std::vector<int>& sources, const Window& window,
                                           const std::vector<std::vector<float>>& decay);

// 0 .. count - 1 in an order that the seed draws.
std::vector<int> random_order(int count, std::uint64_t seed);

}  // namespace factflow
