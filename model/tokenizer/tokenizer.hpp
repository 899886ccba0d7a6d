// Hugging Face tokenizers (BPE models) read from a checkpoint directory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace factflow {

// The tokens of one text. offsets[i] = [begin, end) bytes of the ORIGINAL text that token i covers;
// (0, 0) for tokens that a post-processor added (BOS, EOS).
struct Encoding {
  std::vector<int> ids;
  std::vector<std::pair<std::int64_t, std::int64_t>> offsets;
};

// Immutable after loading; all const members are safe to call from several threads at once.
class Tokenizer {
 public:
  // Reads `path`: a directory with tokenizer.json (or vocab.json + merges.txt) and what stands
  // beside it (tokenizer_config.hpp), or a tokenizer.json itself. Throws InputError naming the file
  // and the component that is missing, broken or not supported.
  static Tokenizer load(const std::filesystem::path& path);

  // The same from the text of a tokenizer.json; `name` stands for the file in messages.
  static Tokenizer parse(std::string_view tokenizer_json, const std::string& name);

  // Exactly what the tokenizers library's encode(text, add_special_tokens) gives. `text` must be
  // valid UTF-8; throws InputError otherwise.
  Encoding encode(std::string_view text, bool add_special_tokens = true) const;

  // The same without the post-processor: no special tokens, and offsets that keep white space.
  Encoding encode_raw(std::string_view text) const;

  // Throws InputError if versions 4 and 5 of transformers make different tokens of `text` with the
  // files of this tokenizer. encode() does what tokenizer.json says, as version 4.
  void require_agreement(std::string_view text) const;

  // The text of one token as a reader would see it, bytes that are no complete UTF-8 shown as
  // U+FFFD. Throws std::out_of_range for an id that no token has.
  std::string token_text(int id) const;
  bool has_token(int id) const;  // ids may have gaps between the model's tokens and the added ones

  int vocabulary_size() const;  // 1 + the largest id
  int model_size() const;       // the same without added tokens
  std::string digest() const;   // XXH3-128 of the files read, hex
  std::string description()
      const;  // one line: "BPE, 50,257 tokens, NFC, ByteLevel, template <|begin_of_text|> $A"

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

 private:
  struct Parts;
  explicit Tokenizer(std::unique_ptr<const Parts> parts);
  std::unique_ptr<const Parts> parts_;
};

}  // namespace factflow
