#include "model/tokenizer/tokenizer_file.hpp"

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <new>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <xxhash.h>

#include "base/error.hpp"
#include "base/json_text.hpp"
#include "base/text_file.hpp"
#include "model/tokenizer/tokenizer_config.hpp"

namespace factflow {
namespace {

constexpr size_t kMaxFileBytes = size_t{256} << 20;

std::string digest_of(std::initializer_list<std::string_view> texts) {
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(),
                                                                       &XXH3_freeState);
  if (!state) throw std::bad_alloc();
  XXH3_128bits_reset(state.get());
  for (const std::string_view text : texts)
    XXH3_128bits_update(state.get(), text.data(), text.size());
  const XXH128_hash_t hash = XXH3_128bits_digest(state.get());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

nlohmann::json parse_tokenizer_text(std::string_view text, const std::string& name) {
  return parse_json_text(text, name, {}, "fetch the file again");
}

std::vector<std::pair<std::string, int>> read_vocabulary(const JsonNode& node) {
  if (!node.is_object()) node.fail("expected an object of tokens and ids");
  std::vector<std::pair<std::string, int>> vocabulary;
  vocabulary.reserve(node.raw().size());
  for (const auto& [token, id] : node.raw().items()) {
    if (!id.is_number_unsigned())
      node.fail("token " + in_quotes(token) + " has no id (a whole number from 0)");
    vocabulary.emplace_back(token, JsonNode(id, node.file()).id());
  }
  return vocabulary;
}

// "a b", the spelling of merges.txt and of older tokenizer.json files. False if it is no such line.
bool read_merge_line(std::string_view line, BpeMerges& merges) {
  const size_t space = line.find(' ');
  if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos)
    return false;
  merges.emplace_back(line.substr(0, space), line.substr(space + 1));
  return true;
}

BpeMerges read_merges(const JsonNode& node) {
  if (!node.is_array()) node.fail("expected an array of merges");
  BpeMerges merges;
  merges.reserve(node.raw().size());
  const bool as_lines = !node.raw().empty() && node.raw().front().is_string();
  for (size_t i = 0; i < node.raw().size(); ++i) {
    const nlohmann::json& merge = node.raw()[i];
    if (as_lines && merge.is_string()) {
      const auto& line = merge.get_ref<const std::string&>();
      if (line.starts_with("#version") || read_merge_line(line, merges)) continue;
    } else if (!as_lines && merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
      continue;
    }
    node.fail(
        fmt::format("merge {} is not {}", i + 1,
                    as_lines ? "two tokens with one space between them" : "a pair of tokens"));
  }
  return merges;
}

// Options that change what BPE does and that this program lacks: absent, null, false, "" and 0 mean
// unused.
void require_unused(const JsonNode& model, std::string_view option) {
  const auto node = model.find(option);
  if (!node) return;
  const nlohmann::json& value = node->raw();
  if (value == "" || value == false || value == 0) return;
  node->fail("BPE option " + std::string(option) + " is not supported",
             "use a tokenizer without it");
}

Bpe read_model(const JsonNode& node) {
  const auto type = node.find("type");
  if (type && type->string() != "BPE") {
    type->fail("model " + in_quotes(type->string()) + " is not supported",
               "use a tokenizer with a BPE model");
  }
  node.only_keys({"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                  "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"});
  require_unused(node, "dropout");
  require_unused(node, "continuing_subword_prefix");
  require_unused(node, "end_of_word_suffix");
  BpeOptions options;
  if (const auto unknown = node.find("unk_token")) options.unknown = unknown->string();
  options.fuse_unknown = node.boolean("fuse_unk", false);
  options.byte_fallback = node.boolean("byte_fallback", false);
  options.ignore_merges = node.boolean("ignore_merges", false);
  return Bpe(read_vocabulary(node.at("vocab")), read_merges(node.at("merges")), std::move(options),
             node.where());
}

void check_special_ids(const TokenizerFile& file) {
  for (const int id : file.post_processor.special_ids()) {
    if (file.model.token(id) != nullptr || file.added.token(id) != nullptr) continue;
    throw InputError(file.name + ": key post_processor", fmt::format("no token has the id {}", id),
                     "correct the file");
  }
}

BpeMerges read_merges_txt(std::string_view text, const std::string& name) {
  BpeMerges merges;
  size_t line_number = 0;
  while (!text.empty()) {
    const size_t length = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, length);
    text.remove_prefix(std::min(length + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    ++line_number;
    if (line.empty() || line.starts_with("#version")) continue;
    if (!read_merge_line(line, merges)) {
      throw InputError(fmt::format("{}:{}", name, line_number),
                       "expected two tokens with one space between them, found " + in_quotes(line),
                       "correct the line");
    }
  }
  return merges;
}

TokenizerFile file_of(const std::string& name, const std::string& digest, const JsonNode& root,
                      Bpe model) {
  const auto normalizer = root.find("normalizer");
  const auto pre_tokenizer = root.find("pre_tokenizer");
  const auto post_processor = root.find("post_processor");
  const auto added_tokens = root.find("added_tokens");
  TokenizerFile file{name,
                     digest,
                     normalizer ? Normalizer(*normalizer) : Normalizer(),
                     pre_tokenizer ? PreTokenizer(*pre_tokenizer) : PreTokenizer(),
                     std::move(model),
                     AddedTokens(),
                     post_processor ? PostProcessor(*post_processor) : PostProcessor()};
  if (added_tokens) file.added = AddedTokens(*added_tokens, file.model, file.normalizer);
  check_special_ids(file);
  return file;
}

TokenizerFile read_document(const nlohmann::json& document, const std::string& name,
                            const std::string& digest) {
  const JsonNode root(document, name);
  root.only_keys({"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                  "post_processor", "decoder", "model"});
  if (const auto version = root.find("version"); version && version->string() != "1.0") {
    version->fail("version " + in_quotes(version->string()) + " is not known",
                  "use a file of version 1.0");
  }
  // "truncation" and "padding" are how the file was last used: transformers asks for neither, and
  // resets both.
  return file_of(name, digest, root, read_model(root.at("model")));
}

TokenizerFile read_vocabulary_and_merges(const std::filesystem::path& directory,
                                         const TokenizerConfig& config) {
  const std::string name = (directory / "vocab.json").string(),
                    merges_name = (directory / "merges.txt").string();
  const std::string vocabulary = read_text_file(name, kMaxFileBytes),
                    merges = read_text_file(merges_name, kMaxFileBytes);
  const nlohmann::json document = parse_tokenizer_text(vocabulary, name);
  Bpe model(read_vocabulary(JsonNode(document, name)), read_merges_txt(merges, merges_name),
            BpeOptions(), name);
  const nlohmann::json parts = config.components(document);
  return file_of(name, digest_of({vocabulary, merges, config.content()}), JsonNode(parts, name),
                 std::move(model));
}

// Of RWKV's own kind.
TokenizerFile read_world(const std::filesystem::path& file) {
  const std::string name = file.string(), text = read_text_file(file, kMaxFileBytes);
  TokenizerFile made{name,           digest_of({text}),     Normalizer(),
                     PreTokenizer(), Bpe({}, {}, {}, name), AddedTokens(),
                     PostProcessor()};
  made.world.emplace(text, name);
  return made;
}

}  // namespace

TokenizerFile parse_tokenizer_json(std::string_view text, const std::string& name) {
  return read_document(parse_tokenizer_text(text, name), name, digest_of({text}));
}

TokenizerFiles read_tokenizer_files(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (!fs::is_directory(path, error) && path.filename() == WorldVocabulary::kFile)
    return {read_world(path), std::nullopt};
  if (!fs::is_directory(path, error))
    return {parse_tokenizer_json(read_text_file(path, kMaxFileBytes), path.string()), std::nullopt};
  const fs::path file = path / "tokenizer.json", world = path / WorldVocabulary::kFile;
  // What stands beside it is of a class of its own, with code of its own, and says nothing more.
  if (!fs::exists(file, error) && fs::exists(world, error))
    return {read_world(world), std::nullopt};
  const TokenizerConfig config(path);
  if (fs::exists(file, error)) {
    const std::string text = read_text_file(file, kMaxFileBytes), name = file.string();
    const nlohmann::json document = parse_tokenizer_text(text, name);
    TokenizerFiles files{read_document(document, name, digest_of({text, config.content()})),
                         std::nullopt};
    config.check(document);
    if (const auto rebuilt = config.rebuilt(document))
      files.rebuilt = read_document(*rebuilt, name, "");
    return files;
  }
  if (fs::exists(path / "vocab.json", error) && fs::exists(path / "merges.txt", error))
    return {read_vocabulary_and_merges(path, config), std::nullopt};
  throw InputError(path.string(), "found neither tokenizer.json nor vocab.json and merges.txt",
                   "save the tokenizer of the checkpoint there");
}

}  // namespace factflow
