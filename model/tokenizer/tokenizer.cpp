#include "model/tokenizer/tokenizer.hpp"

#include <algorithm>
#include <stdexcept>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "model/tokenizer/byte_symbols.hpp"
#include "model/tokenizer/tokenizer_file.hpp"

namespace factflow {
namespace {

// The byte that a token "<0x41>" stands for.
std::optional<char> fallback_byte(std::string_view token) {
  unsigned byte = 0;
  if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') return std::nullopt;
  for (const char c : token.substr(3, 2)) {
    if (!(c >= '0' && c <= '9') && !(c >= 'A' && c <= 'F')) return std::nullopt;
    byte = byte * 16 + static_cast<unsigned>(c <= '9' ? c - '0' : c - 'A' + 10);
  }
  return static_cast<char>(byte);
}

std::string replace_all(std::string text, std::string_view from, std::string_view to) {
  if (from.empty()) return text;
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

Encoding encoding_of(const std::vector<EncodedToken>& tokens) {
  Encoding encoding;
  encoding.ids.reserve(tokens.size());
  encoding.offsets.reserve(tokens.size());
  for (const EncodedToken& token : tokens) {
    encoding.ids.push_back(token.id);
    encoding.offsets.emplace_back(token.begin, token.end);
  }
  return encoding;
}

}  // namespace

struct Tokenizer::Parts {
  explicit Parts(TokenizerFile read)
      : file(std::move(read)), trims_offsets(file.post_processor.trims_offsets()) {}

  std::vector<EncodedToken> raw_tokens(std::string_view text) const;  // not post-processed
  std::vector<EncodedToken> tokens_of(const std::vector<Piece>& pieces) const;
  void append(const Piece& piece, std::vector<Bpe::Token>& buffer,
              std::vector<EncodedToken>& tokens) const;

  TokenizerFile file;
  bool trims_offsets;
  std::unique_ptr<const Parts> rebuilt;  // TokenizerFiles::rebuilt
};

void Tokenizer::Parts::append(const Piece& piece, std::vector<Bpe::Token>& buffer,
                              std::vector<EncodedToken>& tokens) const {
  const auto add = [&](int id, size_t begin, size_t end, std::string_view text) {
    const auto [original_begin, original_end] = piece.text.original(begin, end);
    tokens.push_back({id, original_begin, original_end});
    if (trims_offsets) count_spaces(text, tokens.back());
  };
  const std::string& text = piece.text.text();
  if (piece.token != Piece::kNoToken) return add(piece.token, 0, text.size(), text);
  buffer.clear();
  file.model.encode(text, buffer);
  size_t position = 0;
  for (const auto& [id, bytes] : buffer) {
    add(id, position, position + bytes, *file.model.token(id));
    position += bytes;
  }
}

std::vector<EncodedToken> Tokenizer::Parts::tokens_of(const std::vector<Piece>& pieces) const {
  std::vector<EncodedToken> tokens;
  std::vector<Bpe::Token> buffer;
  for (const Piece& piece : pieces) append(piece, buffer, tokens);
  return tokens;
}

std::vector<EncodedToken> Tokenizer::Parts::raw_tokens(std::string_view text) const {
  if (!valid_utf8(text))
    throw InputError(file.name, "the text " + in_quotes(text) + " is not valid UTF-8",
                     "convert it to UTF-8");
  if (file.world) {
    std::vector<EncodedToken> tokens;
    file.world->encode(text, tokens);
    return tokens;
  }
  std::vector<Piece> pieces;
  try {
    pieces = file.added.extract(AlignedText(text), file.normalizer);
    file.pre_tokenizer.apply(pieces);
  } catch (const std::length_error& error) {
    throw InputError(file.name, error.what(), "use a shorter text");
  }
  return tokens_of(pieces);
}

Tokenizer::Tokenizer(std::unique_ptr<const Parts> parts) : parts_(std::move(parts)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Tokenizer Tokenizer::load(const std::filesystem::path& path) {
  TokenizerFiles files = read_tokenizer_files(path);
  auto parts = std::make_unique<Parts>(std::move(files.file));
  if (files.rebuilt) parts->rebuilt = std::make_unique<const Parts>(std::move(*files.rebuilt));
  return Tokenizer(std::move(parts));
}

Tokenizer Tokenizer::parse(std::string_view tokenizer_json, const std::string& name) {
  return Tokenizer(std::make_unique<const Parts>(parse_tokenizer_json(tokenizer_json, name)));
}

Encoding Tokenizer::encode(std::string_view text, bool add_special_tokens) const {
  return encoding_of(
      parts_->file.post_processor.apply(parts_->raw_tokens(text), text, add_special_tokens));
}

Encoding Tokenizer::encode_raw(std::string_view text) const {
  return encoding_of(parts_->raw_tokens(text));
}

void Tokenizer::require_agreement(std::string_view text) const {
  if (!parts_->rebuilt) return;
  if (encode_raw(text).ids == encoding_of(parts_->rebuilt->raw_tokens(text)).ids) return;
  throw InputError(parts_->file.name,
                   "transformers 4 cuts the text " + in_quotes(text) +
                       " as this file says, version 5 as tokenizer_class of tokenizer_config.json",
                   "name this file alone with models: {tokenizer: PATH}");
}

std::string Tokenizer::token_text(int id) const {
  const TokenizerFile& file = parts_->file;
  if (file.world) {
    const std::string* token = file.world->token(id);
    if (token == nullptr) throw std::out_of_range(fmt::format("no token has the id {}", id));
    return lossy_utf8(*token);
  }
  if (const AddedToken* added = file.added.token(id)) return added->content;
  const std::string* token = file.model.token(id);
  if (token == nullptr) throw std::out_of_range(fmt::format("no token has the id {}", id));
  if (file.model.options().byte_fallback) {
    if (const auto byte = fallback_byte(*token)) return lossy_utf8(std::string(1, *byte));
  }
  std::string text =
      file.pre_tokenizer.byte_level() ? lossy_utf8(bytes_of_symbols(*token)) : *token;
  for (const auto& symbol : {file.normalizer.space_symbol(), file.pre_tokenizer.space_symbol()})
    if (symbol) text = replace_all(std::move(text), *symbol, " ");
  return text;
}

bool Tokenizer::has_token(int id) const {
  const TokenizerFile& file = parts_->file;
  if (file.world) return file.world->token(id) != nullptr;
  return file.added.token(id) != nullptr || file.model.token(id) != nullptr;
}

int Tokenizer::model_size() const {
  const TokenizerFile& file = parts_->file;
  return 1 + (file.world ? file.world->largest_id() : file.model.largest_id());
}

int Tokenizer::vocabulary_size() const {
  int largest = model_size() - 1;
  for (const AddedToken& token : parts_->file.added.tokens()) largest = std::max(largest, token.id);
  return largest + 1;
}

std::string Tokenizer::digest() const {
  return parts_->file.digest;
}

std::string Tokenizer::description() const {
  std::vector<std::string> words = {parts_->file.world ? "RWKV World" : "BPE",
                                    format_count(vocabulary_size()) + " tokens"};
  for (const auto* names : {&parts_->file.normalizer.names(), &parts_->file.pre_tokenizer.names(),
                            &parts_->file.post_processor.names()})
    words.insert(words.end(), names->begin(), names->end());
  return join(words);
}

}  // namespace factflow
