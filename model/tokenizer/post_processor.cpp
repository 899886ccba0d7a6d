#include "model/tokenizer/post_processor.hpp"

#include <algorithm>

#include "model/tokenizer/unicode.hpp"

namespace factflow {
namespace {

constexpr char32_t kSpaceSymbol = 0x120;  // "Ġ", the byte symbol of a space

bool is_space(char32_t c) {
  return c == kSpaceSymbol || is_whitespace(c);
}

// `position` moved by `characters` of the original text: forwards up to `limit`, or backwards down
// to it.
std::int64_t forwards(std::string_view original, std::int64_t position, int characters,
                      std::int64_t limit) {
  for (int i = 0; i < characters && position < limit; ++i) {
    position +=
        static_cast<std::int64_t>(code_point_at(original, static_cast<size_t>(position)).bytes);
  }
  return std::min(position, limit);
}

std::int64_t backwards(std::string_view original, std::int64_t position, int characters,
                       std::int64_t limit) {
  for (int i = 0; i < characters && position > limit; ++i) {
    position -=
        static_cast<std::int64_t>(code_point_before(original, static_cast<size_t>(position)).bytes);
  }
  return std::max(position, limit);
}

}  // namespace

void count_spaces(std::string_view token_text, EncodedToken& token) {
  for (size_t position = 0; position < token_text.size();) {
    const CodePoint c = code_point_at(token_text, position);
    if (!is_space(c.value)) break;
    ++token.leading_spaces;
    position += c.bytes;
  }
  for (size_t position = token_text.size(); position > 0;) {
    const CodePoint c = code_point_before(token_text, position);
    if (!is_space(c.value)) break;
    ++token.trailing_spaces;
    position -= c.bytes;
  }
}

PostProcessor::PostProcessor(const JsonNode& node) {
  read(node);
}

void PostProcessor::read(const JsonNode& node) {
  const std::string type = node.at("type").string();
  if (type == "Sequence") {
    node.only_keys({"type", "processors"});
    for (const JsonNode& part : node.at("processors").items()) read(part);
  } else if (type == "ByteLevel") {
    node.only_keys({"type", "add_prefix_space", "trim_offsets", "use_regex"});
    steps_.emplace_back(
        ByteLevel{node.at("add_prefix_space").boolean(), node.at("trim_offsets").boolean()});
  } else if (type == "TemplateProcessing") {
    const bool second = std::any_of(steps_.begin(), steps_.end(), [](const auto& step) {
      return std::holds_alternative<Template>(step);
    });
    if (second)
      node.fail("a second TemplateProcessing is not supported",
                "use a tokenizer with one template");
    steps_.emplace_back(read_template(node));
  } else {
    node.fail("post-processor " + in_quotes(type) + " is not supported",
              "known are ByteLevel, TemplateProcessing and Sequence");
  }
}

PostProcessor::Template PostProcessor::read_template(const JsonNode& node) {
  node.only_keys({"type", "single", "pair", "special_tokens"});
  const JsonNode special_tokens = node.at("special_tokens");
  Template result;
  std::string name = "template";
  for (const JsonNode& part : node.at("single").items()) {
    part.only_keys({"SpecialToken", "Sequence"});
    if (const auto sequence = part.find("Sequence")) {
      sequence->only_keys({"id", "type_id"});
      if (sequence->at("id").string() != "A")
        sequence->fail("the template of a single text may only name sequence A");
      result.parts.emplace_back(std::nullopt);
      name += " $A";
      continue;
    }
    const JsonNode special = part.at("SpecialToken");
    special.only_keys({"id", "type_id"});
    const std::string token = special.at("id").string();
    auto& ids = result.parts.emplace_back(std::vector<int>());
    for (const JsonNode& id : special_tokens.at(token).at("ids").items()) ids->push_back(id.id());
    name += " " + token;
  }
  names_.push_back(name);
  return result;
}

void PostProcessor::trim(const ByteLevel& step, std::string_view original,
                         std::vector<EncodedToken>& tokens) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    EncodedToken& token = tokens[i];
    const bool first = i == 0 || token.begin == 0;
    // A single space before the first token is the one that add_prefix_space put there: it has no
    // place in the text.
    const bool own_space = first && step.add_prefix_space && token.leading_spaces == 1;
    if (!own_space) token.begin = forwards(original, token.begin, token.leading_spaces, token.end);
    token.end = backwards(original, token.end, token.trailing_spaces, token.begin);
  }
}

std::vector<EncodedToken> PostProcessor::apply(std::vector<EncodedToken> tokens,
                                               std::string_view original,
                                               bool add_special_tokens) const {
  // A template makes several runs of tokens out of one; the first of each run counts as a first
  // token.
  std::vector<std::vector<EncodedToken>> runs = {std::move(tokens)};
  for (const auto& step : steps_) {
    if (const auto* byte_level = std::get_if<ByteLevel>(&step)) {
      if (!byte_level->trim_offsets) continue;
      for (auto& run : runs) trim(*byte_level, original, run);
      continue;
    }
    const std::vector<EncodedToken> text = std::move(runs.front());
    runs.clear();
    for (const auto& part : std::get<Template>(step).parts) {
      if (!part) {
        runs.push_back(text);
      } else if (add_special_tokens) {
        auto& run = runs.emplace_back();
        for (const int id : *part) run.push_back({id});
      }
    }
  }
  std::vector<EncodedToken> all;
  for (const auto& run : runs) all.insert(all.end(), run.begin(), run.end());
  return all;
}

bool PostProcessor::trims_offsets() const {
  return std::any_of(steps_.begin(), steps_.end(), [](const auto& step) {
    const auto* byte_level = std::get_if<ByteLevel>(&step);
    return byte_level != nullptr && byte_level->trim_offsets;
  });
}

std::vector<int> PostProcessor::special_ids() const {
  std::vector<int> ids;
  for (const auto& step : steps_) {
    const auto* processor = std::get_if<Template>(&step);
    if (processor == nullptr) continue;
    for (const auto& part : processor->parts)
      if (part) ids.insert(ids.end(), part->begin(), part->end());
  }
  return ids;
}

}  // namespace factflow
