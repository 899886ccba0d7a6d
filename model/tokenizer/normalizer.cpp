#include "model/tokenizer/normalizer.hpp"

#include <nlohmann/json.hpp>

namespace factflow {

Regex read_pattern(const JsonNode& node) {
  node.only_keys({"String", "Regex"});
  const auto text = node.find("String");
  const auto regex = node.find("Regex");
  if (text.has_value() == regex.has_value()) node.fail("expected one of String and Regex");
  return text ? Regex::literal(text->string(), text->where())
              : Regex::oniguruma(regex->string(), regex->where());
}

Normalizer::Normalizer(const JsonNode& node) {
  read(node);
}

void Normalizer::read(const JsonNode& node) {
  const std::string type = node.at("type").string();
  if (type == "Sequence") {
    node.only_keys({"type", "normalizers"});
    for (const JsonNode& part : node.at("normalizers").items()) read(part);
    return;
  }
  if (type == "NFC") {
    node.only_keys({"type"});
    steps_.emplace_back(Nfc{});
  } else if (type == "Prepend") {
    node.only_keys({"type", "prepend"});
    steps_.emplace_back(Prepend{node.at("prepend").string()});
  } else if (type == "Replace") {
    node.only_keys({"type", "pattern", "content"});
    const JsonNode pattern = node.at("pattern");
    const bool of_space = pattern.is_object() && pattern.raw() == nlohmann::json{{"String", " "}};
    steps_.emplace_back(Replace{read_pattern(pattern), node.at("content").string(), of_space});
  } else {
    node.fail("normalizer " + in_quotes(type) + " is not supported",
              "known are NFC, Prepend, Replace and Sequence");
  }
  names_.push_back(type);
}

void Normalizer::apply(AlignedText& text) const {
  for (const auto& step : steps_) {
    if (text.empty()) return;
    if (const auto* prepend = std::get_if<Prepend>(&step)) {
      text.prepend(prepend->prefix);
    } else if (const auto* replace = std::get_if<Replace>(&step)) {
      text.replace(replace->pattern.find(text.text()), replace->content);
    } else if (const auto changes = nfc_changes(text.text()); !changes.empty()) {
      text.rewrite(changes);
    }
  }
}

std::optional<std::string> Normalizer::space_symbol() const {
  for (const auto& step : steps_) {
    const auto* replace = std::get_if<Replace>(&step);
    if (replace != nullptr && replace->of_space) return replace->content;
  }
  return std::nullopt;
}

}  // namespace factflow
