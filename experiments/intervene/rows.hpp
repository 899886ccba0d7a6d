// What a row of the section `intervene` does to a run, in terms of roles; and what that is in one
// prompt. Exact meaning: docs/interventions.md.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "experiments/parts/division.hpp"
#include "model/architecture.hpp"
#include "model/intervention.hpp"
#include "model/prompt.hpp"

namespace factflow {

// Tokens of a prompt: those of a role, the first or last of them, places counted from the start (0,
// 1, ...) or from the end (-1, -2, ...), or a role of the user's own: the tokens that overlap every
// match of a pattern in the prompt's text, or some of its characters.
struct TokenGroup {
  enum class Part { kAll, kFirst, kLast };
  TokenRole role = TokenRole::kLast;
  Part part = Part::kAll;
  std::optional<std::pair<int, int>> places;           // both included; in place of a role
  std::string pattern = {};                            // ECMAScript; in place of a role
  std::optional<std::pair<int, int>> characters = {};  // [begin, end); in place of a role
  bool of_text() const { return characters || !pattern.empty(); }
  bool one_by_one() const { return !places && !of_text() && role == TokenRole::kEach; }
  bool operator==(const TokenGroup&) const = default;
};
// "subject", "subject-last", "each", "3", "-2", "1..3", "pattern in [0-9]+", "characters 4..11"
std::string to_string(const TokenGroup& group);
TokenGroup parse_token_group(const std::string& given);  // throws InputError
// Ascending; empty where the prompt has none. `each`: the token whose turn it is.
std::vector<int> positions_of(const TokenGroup& group, const TokenizedPrompt& prompt, int each);

// Throws InputError ("FILE: key KEY") unless some prompt has text that a group of text names.
void require_in_text(const TokenGroup& group, const std::vector<Prompt>& prompts,
                     const std::string& file, const std::string& key);

struct ValueSpec {
  enum class Kind {
    kZero,
    kMean,      // over all tokens of the reference prompts
    kResample,  // of another prompt, drawn for each prompt among the reference prompts
    kNoise,     // normal deviates, other ones for each prompt, token and channel
    kVector     // one number per channel written
  };
  Kind kind = Kind::kZero;
  double deviation = 0;         // kNoise: standard deviation
  std::vector<double> numbers;  // kVector
  bool operator==(const ValueSpec&) const = default;
};
std::string to_string(const ValueSpec& value);  // "zero", "noise 0.1", "a vector"

// Edges that are blocked.
struct BlockSpec {
  TokenGroup from, to;
  Block::Through through = Block::Through::kState;
  ChannelSet channels;
  std::vector<int> heads, channel_list;  // at most one of the three chooses
  // What of a Mamba-2's convolution: "x", "b", "c"; empty: all that the choice above allows.
  std::vector<std::string> parts;
  Path path = Path::kBoth;
  bool erase = false;
  bool happened = false;  // `channels` is a slice by the decay that happens in prompts
  bool operator==(const BlockSpec&) const = default;
};

// A site's value that is set or added to.
struct WriteSpec {
  Site site = Site::kH;
  TokenGroup tokens;
  std::vector<int> channel_list;  // empty: all
  ValueSpec value;
  bool add = false;
  double scale = 1;
  bool operator==(const WriteSpec&) const = default;
};

using ActionSpec = std::variant<BlockSpec, WriteSpec>;

struct RowSpec {
  std::string name;                  // of its line on the axis of rows
  std::vector<ActionSpec> together;  // at least one
  // Of a model: how many numbers a site has that takes noise, by action; 0 = no noise.
  std::vector<std::int64_t> widths = {};
  std::uint64_t seed = 1;  // of noise and of the draw among the reference prompts
  bool one_by_one() const;
  bool needs(ValueSpec::Kind kind) const;
  bool by_decay_that_happens() const;  // any of it
  bool operator==(const RowSpec&) const = default;
};

// "subject->last through convolution", "s(subject) = zero", joined by " & ".
std::string name_of(const std::vector<ActionSpec>& together);

// The groups of tokens that it names, in order.
std::vector<TokenGroup> groups_of(const RowSpec& row);

// Throws std::invalid_argument for what the model cannot have in one of the windows, and fills in
// the widths.
void fit_to(const Architecture& architecture, const std::vector<Window>& windows, RowSpec& row);

// The reference prompt whose values `prompt` takes up: one with other tokens that has all that the
// row's resampled groups name; nothing if there is none.
std::optional<std::size_t> donor_of(const RowSpec& row, const TokenizedPrompt& prompt,
                                    std::span<const TokenizedPrompt> references);

// What the row is in a prompt, and how much of it: (target, source) pairs and tokens written.
// Nothing to touch, touched = 0 and no interventions, where any part of the row has no token there.
struct RowInPrompt {
  std::vector<Intervention> interventions;
  std::int64_t touched = 0;
  std::vector<std::size_t> happened = {};  // blocks of slices by the decay that happens, ascending
};
RowInPrompt in_prompt(const RowSpec& row, const TokenizedPrompt& prompt,
                      std::span<const TokenizedPrompt> references, int each, int taps);

// Whether every edge that it cuts in the prompt exists somewhere in the windows: layers may slide.
bool reaches(const RowSpec& row, const TokenizedPrompt& prompt, int each,
             const Architecture& architecture, const std::vector<Window>& windows);

// The same in the layers of one window, where such a slice is another list in each layer: by what
// is left of the state there (model/reference/decay_in_prompts.hpp), [layer][channel or head].
std::vector<Intervention> in_layers(const RowInPrompt& found, PartOf what, const Window& window,
                                    const std::vector<std::vector<float>>& decay);

}  // namespace factflow
