#include "model/tokenizer/pre_tokenizer.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "model/tokenizer/byte_symbols.hpp"
#include "model/tokenizer/normalizer.hpp"

namespace factflow {
namespace {

constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

Regex gpt2_pattern() {
  return Regex::oniguruma(kGpt2Pattern, "the pattern of GPT-2");
}

template <typename Predicate>
std::vector<Match> find_characters(std::string_view text, const Predicate& is_match) {
  std::vector<Match> matches;
  size_t covered = 0;
  for (size_t position = 0; position < text.size();) {
    const CodePoint c = code_point_at(text, position);
    if (is_match(c.value)) {
      if (covered < position) matches.push_back({covered, position, false});
      matches.push_back({position, position + c.bytes, true});
      covered = position + c.bytes;
    }
    position += c.bytes;
  }
  if (covered < text.size()) matches.push_back({covered, text.size(), false});
  return matches;
}

void emit(const AlignedText& text, std::vector<Match> matches, SplitBehavior behavior,
          std::vector<Piece>& out) {
  for (const Match& part : split_parts(std::move(matches), behavior))
    if (part.begin < part.end) out.push_back({text.slice(part.begin, part.end)});
}

SplitBehavior read_behavior(const JsonNode& node) {
  static constexpr std::array<std::pair<std::string_view, SplitBehavior>, 5> kNames = {{
      {"Removed", SplitBehavior::kRemoved},
      {"Isolated", SplitBehavior::kIsolated},
      {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
      {"MergedWithNext", SplitBehavior::kMergedWithNext},
      {"Contiguous", SplitBehavior::kContiguous},
  }};
  const std::string name = node.string();
  for (const auto& [known, behavior] : kNames)
    if (name == known) return behavior;
  node.fail("behavior " + in_quotes(name) + " is not known",
            "known are Removed, Isolated, MergedWithPrevious, MergedWithNext and Contiguous");
}

// Joins each part to the one before it where `joins` says so of its flag and the flag before it.
template <typename Joins>
std::vector<Match> join_parts(const std::vector<Match>& matches, const Joins& joins) {
  std::vector<Match> parts;
  bool matched_before = false;
  for (const Match& match : matches) {
    if (joins(match.matched, matched_before) && !parts.empty()) {
      parts.back().begin = std::min(parts.back().begin, match.begin);
      parts.back().end = std::max(parts.back().end, match.end);
    } else {
      parts.push_back(match);
    }
    matched_before = match.matched;
  }
  return parts;
}

}  // namespace

std::vector<Match> split_parts(std::vector<Match> matches, SplitBehavior behavior) {
  const auto match_follows_text = [](bool matched, bool before) { return matched && !before; };
  switch (behavior) {
    case SplitBehavior::kIsolated:
      return matches;
    case SplitBehavior::kRemoved:
      std::erase_if(matches, [](const Match& match) { return match.matched; });
      return matches;
    case SplitBehavior::kContiguous:
      return join_parts(matches, [](bool matched, bool before) { return matched == before; });
    case SplitBehavior::kMergedWithPrevious:
      return join_parts(matches, match_follows_text);
    case SplitBehavior::kMergedWithNext:
      std::reverse(matches.begin(), matches.end());
      matches = join_parts(matches, match_follows_text);
      std::reverse(matches.begin(), matches.end());
      return matches;
  }
  return matches;
}

PreTokenizer::PreTokenizer(const JsonNode& node) {
  read(node);
}

void PreTokenizer::read(const JsonNode& node) {
  const std::string type = node.at("type").string();
  if (type == "Sequence") {
    node.only_keys({"type", "pretokenizers"});
    for (const JsonNode& part : node.at("pretokenizers").items()) read(part);
    return;
  }
  steps_.push_back(read_step(node, type));
  names_.push_back(type);
}

PreTokenizer::Step PreTokenizer::read_step(const JsonNode& node, const std::string& type) {
  if (type == "ByteLevel") {
    node.only_keys({"type", "add_prefix_space", "trim_offsets", "use_regex"});
    ByteLevel step{node.at("add_prefix_space").boolean(), std::nullopt};
    if (node.boolean("use_regex", true)) step.pattern = gpt2_pattern();
    return step;
  }
  if (type == "Split") {
    node.only_keys({"type", "pattern", "behavior", "invert"});
    return Split{read_pattern(node.at("pattern")), read_behavior(node.at("behavior")),
                 node.at("invert").boolean()};
  }
  if (type == "Digits") {
    node.only_keys({"type", "individual_digits"});
    return CharacterSplit{is_numeric, node.at("individual_digits").boolean()
                                          ? SplitBehavior::kIsolated
                                          : SplitBehavior::kContiguous};
  }
  if (type == "Punctuation") {
    node.only_keys({"type", "behavior"});
    const auto behavior = node.find("behavior");
    return CharacterSplit{is_punctuation,
                          behavior ? read_behavior(*behavior) : SplitBehavior::kIsolated};
  }
  if (type == "Metaspace") return read_metaspace(node);
  node.fail("pre-tokenizer " + in_quotes(type) + " is not supported",
            "known are ByteLevel, Split, Digits, Punctuation, Metaspace and Sequence");
}

PreTokenizer::Step PreTokenizer::read_metaspace(const JsonNode& node) {
  node.only_keys({"type", "replacement", "str_rep", "add_prefix_space", "prepend_scheme", "split"});
  Metaspace step;
  step.replacement = node.at("replacement").string();
  if (step.replacement.empty() ||
      utf8_length(step.replacement.front()) != step.replacement.size()) {
    node.at("replacement").fail("expected one character, found " + in_quotes(step.replacement));
  }
  step.split = node.boolean("split", true);
  const auto scheme_node = node.find("prepend_scheme");
  const std::string scheme = scheme_node ? scheme_node->string() : "always";
  if (scheme == "first") {
    step.scheme = PrependScheme::kFirst;
  } else if (scheme == "never") {
    step.scheme = PrependScheme::kNever;
  } else if (scheme != "always") {
    scheme_node->fail("prepend scheme " + in_quotes(scheme) + " is not known",
                      "known are first, never and always");
  }
  // The old spelling may repeat the scheme but not contradict it; the library refuses such a file
  // as well.
  if (!node.boolean("add_prefix_space", true) && step.scheme != PrependScheme::kNever) {
    node.fail("add_prefix_space is false, but prepend_scheme is " + scheme,
              "set prepend_scheme to never");
  }
  return step;
}

void PreTokenizer::apply_step(const ByteLevel& step, AlignedText& text, std::vector<Piece>& out) {
  if (step.add_prefix_space && !text.text().starts_with(' ')) text.prepend(" ");
  const size_t first = out.size();
  if (step.pattern) {
    emit(text, step.pattern->find(text.text()), SplitBehavior::kIsolated, out);
  } else {
    out.push_back({std::move(text)});
  }
  for (size_t i = first; i < out.size(); ++i) out[i].text.map_bytes(byte_symbols());
}

void PreTokenizer::apply_step(const Split& step, AlignedText& text, std::vector<Piece>& out) {
  std::vector<Match> matches = step.pattern.find(text.text());
  if (step.invert) {
    for (Match& match : matches) match.matched = !match.matched;
  }
  emit(text, std::move(matches), step.behavior, out);
}

void PreTokenizer::apply_step(const CharacterSplit& step, AlignedText& text,
                              std::vector<Piece>& out) {
  emit(text, find_characters(text.text(), step.is_match), step.behavior, out);
}

void PreTokenizer::apply_step(const Metaspace& step, AlignedText& text, std::vector<Piece>& out) {
  text.replace(find_characters(text.text(), [](char32_t c) { return c == ' '; }), step.replacement);
  const bool prepends = step.scheme == PrependScheme::kAlways ||
                        (step.scheme == PrependScheme::kFirst && text.begin() == 0);
  if (prepends && !text.text().starts_with(step.replacement)) text.prepend(step.replacement);
  if (!step.split) {
    out.push_back({std::move(text)});
    return;
  }
  const char32_t mark = code_point_at(step.replacement, 0).value;
  emit(text, find_characters(text.text(), [&](char32_t c) { return c == mark; }),
       SplitBehavior::kMergedWithNext, out);
}

void PreTokenizer::apply(std::vector<Piece>& pieces) const {
  for (const Step& step : steps_) {
    std::vector<Piece> next;
    next.reserve(pieces.size());
    for (Piece& piece : pieces) {
      if (piece.token != Piece::kNoToken) {
        next.push_back(std::move(piece));
      } else {
        std::visit([&](const auto& kind) { apply_step(kind, piece.text, next); }, step);
      }
    }
    pieces = std::move(next);
  }
}

bool PreTokenizer::byte_level() const {
  return std::any_of(steps_.begin(), steps_.end(),
                     [](const Step& step) { return std::holds_alternative<ByteLevel>(step); });
}

std::optional<std::string> PreTokenizer::space_symbol() const {
  for (const Step& step : steps_)
    if (const auto* metaspace = std::get_if<Metaspace>(&step)) return metaspace->replacement;
  return std::nullopt;
}

}  // namespace factflow
