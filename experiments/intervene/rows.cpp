#include "experiments/intervene/rows.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <regex>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.hpp"
#include "base/random.hpp"
#include "base/text.hpp"
#include "experiments/parts/ranking.hpp"
#include "experiments/reach.hpp"
#include "fields/plain_text.hpp"
#include "model/check_intervention.hpp"

namespace factflow {
namespace {

constexpr const char* kFirstOf = "-first";
constexpr const char* kLastOf = "-last";
constexpr const char* kPattern = "pattern ";  // begin roles of the user's own
constexpr const char* kCharacters = "characters ";
constexpr std::size_t kLongestForPatterns = 4096;  // bytes

std::optional<int> parse_place(std::string_view text) {
  int place = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), place);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return place;
}

// "3", "-2", "1..3"
std::optional<std::pair<int, int>> parse_places(std::string_view text) {
  const size_t dots = text.find("..");
  if (dots == std::string_view::npos) {
    const std::optional<int> place = parse_place(text);
    return place ? std::optional(std::pair(*place, *place)) : std::nullopt;
  }
  const std::optional<int> first = parse_place(text.substr(0, dots)),
                           last = parse_place(text.substr(dots + 2));
  if (!first || !last) return std::nullopt;
  return std::pair(*first, *last);
}

// "pattern in [0-9]+", which must be a regular expression.
TokenGroup parse_pattern(const std::string& given) {
  TokenGroup group;
  group.pattern = given.substr(std::string_view(kPattern).size());
  try {
    if (group.pattern.empty() || std::regex_match("", std::regex(group.pattern)))
      throw InputError("", "expected a pattern that matches no empty text");
  } catch (const std::regex_error& error) {
    throw InputError(
        "", fmt::format("the pattern {} is none: {}", in_quotes(group.pattern), error.what()),
        "it is a regular expression as of ECMAScript");
  }
  return group;
}

// "characters 4..11"
TokenGroup parse_characters(const std::string& given) {
  TokenGroup group;
  group.characters =
      parse_places(std::string_view(given).substr(std::string_view(kCharacters).size()));
  if (!group.characters || group.characters->first < 0 ||
      group.characters->first >= group.characters->second)
    throw InputError("", fmt::format("expected characters in order, found {}", in_quotes(given)),
                     "characters 4..11 begin behind the fourth and end behind the eleventh");
  return group;
}

// The byte at which a character begins; -1: the text ends before.
std::int64_t byte_of(const std::string& text, int character) {
  int characters = 0;
  for (std::size_t byte = 0; byte < text.size(); ++byte) {
    if ((static_cast<unsigned char>(text[byte]) & 0xC0U) == 0x80U) continue;  // within one
    if (characters++ == character) return static_cast<std::int64_t>(byte);
  }
  return characters == character ? static_cast<std::int64_t>(text.size()) : -1;
}

// Bytes [begin, end) of the text that a group of text names; none where it has none, or where it is
// too long for a pattern, since std::regex recurses over it.
std::vector<std::pair<std::int64_t, std::int64_t>> spans_of(const TokenGroup& group,
                                                            const std::string& text) {
  std::vector<std::pair<std::int64_t, std::int64_t>> spans;
  if (group.characters) {
    const std::int64_t begin = byte_of(text, group.characters->first),
                       end = byte_of(text, group.characters->second);
    if (begin >= 0 && end >= 0) spans.emplace_back(begin, end);
    return spans;
  }
  if (text.size() > kLongestForPatterns) return spans;
  const std::regex expression(group.pattern);
  for (std::sregex_iterator match(text.begin(), text.end(), expression), none; match != none;
       ++match)
    spans.emplace_back(match->position(), match->position() + match->length());
  return spans;
}

std::vector<int> positions_of_text(const TokenGroup& group, const TokenizedPrompt& prompt) {
  const auto spans = spans_of(group, prompt.prompt.text);
  std::vector<int> positions;
  for (std::size_t i = 0; i < prompt.offsets.size(); ++i) {
    const auto [first, last] = prompt.offsets[i];
    if (std::any_of(spans.begin(), spans.end(), [&](const auto& span) {
          return std::max(first, span.first) < std::min(last, span.second);
        }))
      positions.push_back(static_cast<int>(i));
  }
  return positions;
}

std::string name_of(const BlockSpec& block) {
  std::string name = to_string(block.from) + "->" + to_string(block.to);
  if (block.channels.kind != ChannelSet::Kind::kAll)
    name += fmt::format("/{}", to_string(block.channels));
  if (block.happened) name += kByHappened;
  if (block.through == Block::Through::kConvolution) name += " through convolution";
  if (block.through == Block::Through::kMixer) name += " through mixer";
  if (block.path != Path::kBoth) name += fmt::format(" ({})", to_string(block.path));
  if (block.erase) name += " erasure too";
  if (!block.parts.empty()) name += fmt::format(" of {}", fmt::join(block.parts, ", "));
  if (!block.heads.empty()) name += fmt::format(" heads {}", fmt::join(block.heads, " "));
  if (!block.channel_list.empty())
    name += fmt::format(" channels {}", fmt::join(block.channel_list, " "));
  return name;
}

std::string name_of(const WriteSpec& write) {
  std::string name = fmt::format("{}({})", to_string(write.site), to_string(write.tokens));
  if (!write.channel_list.empty())
    name += fmt::format(" channels {}", fmt::join(write.channel_list, " "));
  name += write.add ? " + " : " = ";
  if (write.add && write.scale != 1) name += fmt::format("{} x ", write.scale);
  return name + to_string(write.value);
}

Selection selection_of(const BlockSpec& block) {
  if (!block.heads.empty()) return Heads{block.heads};
  if (!block.channel_list.empty()) return Channels{block.channel_list};
  return block.channels;
}

Block block_of(const BlockSpec& spec, std::vector<int> targets, std::vector<int> sources) {
  Block block;
  block.through = spec.through;
  block.targets = std::move(targets);
  block.sources = std::move(sources);
  block.selection = selection_of(spec);
  block.path = spec.path;
  block.erase = spec.erase;
  if (!spec.parts.empty()) {
    const auto has = [&](const char* part) {
      return std::find(spec.parts.begin(), spec.parts.end(), part) != spec.parts.end();
    };
    block.parts = ConvolutionParts{has("x"), has("b"), has("c")};
  }
  return block;
}

Write write_of(const WriteSpec& spec, std::vector<int> tokens, Value value) {
  Write write;
  write.site = spec.site;
  write.tokens = std::move(tokens);
  if (!spec.channel_list.empty()) write.channels = spec.channel_list;
  write.value = std::move(value);
  write.add = spec.add;
  write.scale = spec.scale;
  return write;
}

// ---- random numbers that depend on what they are for, not on who asks first

std::uint64_t seed_of(std::uint64_t seed, const TokenizedPrompt& prompt) {
  std::uint64_t hash = mixed_bits(seed);
  for (const int id : prompt.ids) hash = mixed_bits(hash ^ static_cast<std::uint64_t>(id));
  return hash;
}

// ---- one prompt

// The donor's tokens for `count` tokens of a group: the n-th from the end for the n-th from the
// end, and its first one for those that it has no counterpart of.
std::vector<int> paired(const std::vector<int>& of_donor, std::size_t count) {
  std::vector<int> tokens;
  for (std::size_t i = count; i-- > 0;)
    tokens.push_back(of_donor[of_donor.size() - 1 - std::min(i, of_donor.size() - 1)]);
  return tokens;
}

// The donor's token for `each` token of another prompt: of the same role as far as there is one,
// else as far from the end.
std::vector<int> donor_tokens(const TokenGroup& group, const TokenizedPrompt& donor, int each,
                              const TokenizedPrompt& prompt) {
  if (!group.one_by_one()) return positions_of(group, donor, 0);
  const auto subject = std::find(prompt.subject.begin(), prompt.subject.end(), each);
  if (subject != prompt.subject.end()) {
    const auto from_end = static_cast<std::size_t>(prompt.subject.end() - subject);
    return {donor.subject[donor.subject.size() - std::min(from_end, donor.subject.size())]};
  }
  const int from_end = static_cast<int>(prompt.ids.size()) - each;
  return {std::max(0, static_cast<int>(donor.ids.size()) - from_end)};
}

class InPrompt {
 public:
  InPrompt(const RowSpec& row, const TokenizedPrompt& prompt,
           std::span<const TokenizedPrompt> references, int each, int taps)
      : row_(row), prompt_(prompt), references_(references), each_(each), taps_(taps) {}

  RowInPrompt all() {
    for (std::size_t i = 0; i < row_.together.size(); ++i) {
      const std::int64_t touched =
          std::visit([&](const auto& action) { return add(action, i); }, row_.together[i]);
      if (touched == 0) return {};
      found_.touched += touched;
    }
    return std::move(found_);
  }

 private:
  std::int64_t add(const BlockSpec& block, std::size_t) {
    std::vector<int> targets = positions_of(block.to, prompt_, each_),
                     sources = positions_of(block.from, prompt_, each_);
    const std::int64_t edges = block.through == Block::Through::kConvolution
                                   ? count_taps(targets, sources, taps_)
                                   : count_edges(targets, sources);
    if (edges == 0) return 0;
    if (block.happened) found_.happened.push_back(found_.interventions.size());
    found_.interventions.push_back(block_of(block, std::move(targets), std::move(sources)));
    return edges;
  }

  std::int64_t add(const WriteSpec& write, std::size_t action) {
    const std::vector<int> tokens = positions_of(write.tokens, prompt_, each_);
    if (tokens.empty()) return 0;
    switch (write.value.kind) {
      case ValueSpec::Kind::kZero:
        put(write, tokens, Zero{});
        break;
      case ValueSpec::Kind::kVector:
        put(write, tokens, Vector{write.value.numbers});
        break;
      case ValueSpec::Kind::kMean: {
        MeanOfRuns mean;
        for (const TokenizedPrompt& reference : references_) mean.runs.push_back(reference.ids);
        put(write, tokens, std::move(mean));
        break;
      }
      case ValueSpec::Kind::kResample: {
        const std::optional<std::size_t> donor = donor_of(row_, prompt_, references_);
        if (!donor) return 0;
        const TokenizedPrompt& other = references_[*donor];
        put(write, tokens,
            OtherRun{other.ids,
                     paired(donor_tokens(write.tokens, other, each_, prompt_), tokens.size())});
        break;
      }
      case ValueSpec::Kind::kNoise:
        for (const int token : tokens)
          put(write, {token},
              Vector{normal_deviates(
                  mixed_bits(seed_of(row_.seed, prompt_) ^
                             mixed_bits(static_cast<std::uint64_t>(token) * 64 + action)),
                  row_.widths.at(action), write.value.deviation)});
        break;
    }
    return static_cast<std::int64_t>(tokens.size());
  }

  void put(const WriteSpec& spec, std::vector<int> tokens, Value value) {
    found_.interventions.push_back(write_of(spec, std::move(tokens), std::move(value)));
  }

  const RowSpec& row_;
  const TokenizedPrompt& prompt_;
  std::span<const TokenizedPrompt> references_;
  int each_, taps_;
  RowInPrompt found_;
};

// Numbers of a token that a write changes, which must be as many in every layer of the windows.
std::int64_t width_in(const Architecture& architecture, const std::vector<Window>& windows,
                      const WriteSpec& write) {
  if (!write.channel_list.empty()) return static_cast<std::int64_t>(write.channel_list.size());
  std::optional<std::int64_t> width;
  for (const Window& window : windows)
    for (int layer = window.begin; layer < window.end; ++layer) {
      const std::int64_t here = site_width(architecture.blocks.at(static_cast<size_t>(layer)),
                                           write.site, architecture.hidden);
      if (width.value_or(here) != here)
        throw std::invalid_argument(
            fmt::format("site {} has {} numbers in one layer and {} in another, which one vector "
                        "cannot be for",
                        to_string(write.site), *width, here));
      width = here;
    }
  return width.value_or(0);
}

}  // namespace

// ---- groups of tokens

std::string to_string(const TokenGroup& group) {
  if (group.places)
    return group.places->first == group.places->second
               ? std::to_string(group.places->first)
               : fmt::format("{}..{}", group.places->first, group.places->second);
  if (group.characters)
    return fmt::format("{}{}..{}", kCharacters, group.characters->first, group.characters->second);
  if (!group.pattern.empty()) return fmt::format("{}{}", kPattern, group.pattern);
  const std::string role = to_string(group.role);
  return group.part == TokenGroup::Part::kAll     ? role
         : group.part == TokenGroup::Part::kFirst ? role + kFirstOf
                                                  : role + kLastOf;
}

TokenGroup parse_token_group(const std::string& given) {
  if (given.starts_with(kPattern)) return parse_pattern(given);
  if (given.starts_with(kCharacters)) return parse_characters(given);
  if (const auto places = parse_places(given)) {
    const auto [first, last] = *places;
    if ((first < 0) == (last < 0) && first > last)
      throw InputError("", fmt::format("expected places in order, found {}", in_quotes(given)));
    return {TokenRole::kLast, TokenGroup::Part::kAll, places};
  }
  const std::vector<std::string>& roles = token_role_names();
  if (std::find(roles.begin(), roles.end(), given) != roles.end())
    return {parse_token_role(given), TokenGroup::Part::kAll, std::nullopt};
  std::vector<std::string> known = roles;
  for (const std::string& role : roles) {
    const TokenRole parsed = parse_token_role(role);
    if (parsed == TokenRole::kLast || parsed == TokenRole::kFirst || parsed == TokenRole::kEach)
      continue;
    if (given == role + kFirstOf) return {parsed, TokenGroup::Part::kFirst, std::nullopt};
    if (given == role + kLastOf) return {parsed, TokenGroup::Part::kLast, std::nullopt};
    known.push_back(role + kFirstOf);
    known.push_back(role + kLastOf);
  }
  throw InputError("", unknown_word("group of tokens", excerpt(given), known),
                   "places are numbers: 0 the first token, -1 the last, 1..3 a range");
}

std::vector<int> positions_of(const TokenGroup& group, const TokenizedPrompt& prompt, int each) {
  const int count = static_cast<int>(prompt.ids.size());
  if (group.one_by_one()) return {each};
  if (group.places) {
    const auto from_start = [&](int place) { return place < 0 ? count + place : place; };
    const int first = from_start(group.places->first), last = from_start(group.places->second);
    std::vector<int> positions;
    if (first < 0 || last >= count) return positions;  // not all of them are there
    for (int place = first; place <= last; ++place) positions.push_back(place);
    return positions;
  }
  if (group.of_text()) return positions_of_text(group, prompt);
  std::vector<int> positions = factflow::positions_of(group.role, prompt);
  if (positions.empty() || group.part == TokenGroup::Part::kAll) return positions;
  return {group.part == TokenGroup::Part::kFirst ? positions.front() : positions.back()};
}

void require_in_text(const TokenGroup& group, const std::vector<Prompt>& prompts,
                     const std::string& file, const std::string& key) {
  if (!group.of_text() || std::any_of(prompts.begin(), prompts.end(), [&](const Prompt& prompt) {
        return !spans_of(group, prompt.text).empty();
      }))
    return;
  throw InputError(
      file, fmt::format("key {}: no prompt of the dataset has {}", key, to_string(group)),
      fmt::format("patterns are looked for in texts of up to {} bytes", kLongestForPatterns));
}

// ---- rows

std::string to_string(const ValueSpec& value) {
  switch (value.kind) {
    case ValueSpec::Kind::kZero:
      return "zero";
    case ValueSpec::Kind::kMean:
      return "mean";
    case ValueSpec::Kind::kResample:
      return "resample";
    case ValueSpec::Kind::kNoise:
      return fmt::format("noise {}", value.deviation);
    case ValueSpec::Kind::kVector:
      return "a vector";
  }
  throw std::logic_error("a value of an unknown kind");
}

std::string name_of(const std::vector<ActionSpec>& together) {
  std::vector<std::string> names;
  for (const ActionSpec& action : together)
    names.push_back(std::visit([](const auto& one) { return name_of(one); }, action));
  return join(names, " & ");
}

std::vector<TokenGroup> groups_of(const RowSpec& row) {
  std::vector<TokenGroup> groups;
  for (const ActionSpec& action : row.together)
    if (const auto* block = std::get_if<BlockSpec>(&action))
      groups.insert(groups.end(), {block->from, block->to});
    else
      groups.push_back(std::get<WriteSpec>(action).tokens);
  return groups;
}

bool RowSpec::one_by_one() const {
  return std::any_of(together.begin(), together.end(), [](const ActionSpec& action) {
    if (const auto* block = std::get_if<BlockSpec>(&action))
      return block->from.one_by_one() || block->to.one_by_one();
    return std::get<WriteSpec>(action).tokens.one_by_one();
  });
}

bool RowSpec::by_decay_that_happens() const {
  return std::any_of(together.begin(), together.end(), [](const ActionSpec& action) {
    const auto* block = std::get_if<BlockSpec>(&action);
    return block != nullptr && block->happened;
  });
}

bool RowSpec::needs(ValueSpec::Kind kind) const {
  return std::any_of(together.begin(), together.end(), [&](const ActionSpec& action) {
    const auto* write = std::get_if<WriteSpec>(&action);
    return write != nullptr && write->value.kind == kind;
  });
}

void fit_to(const Architecture& architecture, const std::vector<Window>& windows, RowSpec& row) {
  const InterventionCheck check(architecture);
  row.widths.clear();
  for (const ActionSpec& action : row.together) {
    std::int64_t& width = row.widths.emplace_back(0);
    if (const auto* block = std::get_if<BlockSpec>(&action)) {
      if (block->happened && !divisible_of(architecture).by_decay)
        throw std::invalid_argument("attention has no decay to rank its heads by");
      check.series({{block_of(*block, {0}, {0})}, windows});
      continue;
    }
    const WriteSpec& write = std::get<WriteSpec>(action);
    Value value = Zero{};
    if (write.value.kind == ValueSpec::Kind::kVector) value = Vector{write.value.numbers};
    check.series({{write_of(write, {0}, std::move(value))}, windows});
    if (write.value.kind == ValueSpec::Kind::kNoise) width = width_in(architecture, windows, write);
  }
}

std::optional<std::size_t> donor_of(const RowSpec& row, const TokenizedPrompt& prompt,
                                    std::span<const TokenizedPrompt> references) {
  const auto has_all = [&](const TokenizedPrompt& donor) {
    return std::all_of(row.together.begin(), row.together.end(), [&](const ActionSpec& action) {
      const auto* write = std::get_if<WriteSpec>(&action);
      return write == nullptr || write->value.kind != ValueSpec::Kind::kResample ||
             !positions_of(write->tokens, donor, 0).empty();
    });
  };
  const std::uint64_t drawn = seed_of(row.seed, prompt);
  for (std::size_t i = 0; i < references.size(); ++i) {
    const std::size_t index = (drawn + i) % references.size();
    if (references[index].ids != prompt.ids && has_all(references[index])) return index;
  }
  return std::nullopt;
}

RowInPrompt in_prompt(const RowSpec& row, const TokenizedPrompt& prompt,
                      std::span<const TokenizedPrompt> references, int each, int taps) {
  return InPrompt(row, prompt, references, each, taps).all();
}

bool reaches(const RowSpec& row, const TokenizedPrompt& prompt, int each,
             const Architecture& architecture, const std::vector<Window>& windows) {
  return std::all_of(row.together.begin(), row.together.end(), [&](const ActionSpec& action) {
    const auto* block = std::get_if<BlockSpec>(&action);
    return block == nullptr ||
           exists_somewhere(architecture,
                            block_of(*block, positions_of(block->to, prompt, each),
                                     positions_of(block->from, prompt, each)),
                            windows);
  });
}

std::vector<Intervention> in_layers(const RowInPrompt& found, PartOf what, const Window& window,
                                    const std::vector<std::vector<float>>& decay) {
  std::vector<int> layers;
  for (int layer = window.begin; layer < window.end; ++layer) layers.push_back(layer);
  std::vector<Intervention> together;
  for (std::size_t i = 0; i < found.interventions.size(); ++i) {
    const Intervention& one = found.interventions[i];
    if (!std::binary_search(found.happened.begin(), found.happened.end(), i)) {
      together.push_back(one);
      std::visit([&](auto& in) { in.layers = layers; }, together.back());
      continue;
    }
    for (const int layer : layers) {
      Block block = std::get<Block>(one);
      block.layers = {layer};
      block.selection = list_of_indices(slice_by_decay(std::get<ChannelSet>(block.selection),
                                                       decay.at(static_cast<std::size_t>(layer))),
                                        what);
      together.emplace_back(std::move(block));
    }
  }
  return together;
}

}  // namespace factflow
