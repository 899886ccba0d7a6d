#include "model/tokenizer/tokenizer_config.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <set>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/json_text.hpp"
#include "base/text.hpp"
#include "base/text_file.hpp"
#include "model/tokenizer/json_node.hpp"

namespace factflow {
namespace {

using nlohmann::json;

constexpr size_t kMaxConfigBytes = size_t{16} << 20;

// Keys that say nothing about how a text is encoded.
const std::set<std::string_view>& idle_keys() {
  static const std::set<std::string_view> keys = {"_commit_hash",
                                                  "backend",
                                                  "chat_template",
                                                  "clean_up_tokenization_spaces",
                                                  "device_map",
                                                  "errors",
                                                  "is_local",
                                                  "legacy",
                                                  "local_files_only",
                                                  "max_length",
                                                  "max_model_input_sizes",
                                                  "model_input_names",
                                                  "model_max_length",
                                                  "model_type",
                                                  "name_or_path",
                                                  "pad_to_multiple_of",
                                                  "pad_token_type_id",
                                                  "padding_side",
                                                  "processor_class",
                                                  "response_template",
                                                  "slow_tokenizer_class",
                                                  "sp_model_kwargs",
                                                  "spaces_between_special_tokens",
                                                  "special_tokens_map_file",
                                                  "stride",
                                                  "tokenizer_file",
                                                  "transformers_version",
                                                  "trim_offsets",
                                                  "truncation_side",
                                                  "truncation_strategy",
                                                  "use_default_system_prompt",
                                                  "use_fast",
                                                  "vocab_size"};
  return keys;
}

// Keys that are read below.
const std::set<std::string_view>& read_keys() {
  static const std::set<std::string_view> keys = {"add_bos_token",
                                                  "add_eos_token",
                                                  "add_prefix_space",
                                                  "added_tokens_decoder",
                                                  "additional_special_tokens",
                                                  "extra_special_tokens",
                                                  "tokenizer_class"};
  return keys;
}

// Keys of what this program does not do: absent, null, false and [] mean unused.
constexpr std::array<const char*, 7> kUnsupported = {
    "auto_map",    "do_lower_case",        "fix_mistral_regex", "from_slow",
    "init_inputs", "split_special_tokens", "strip_accents"};

bool is_unused(const json& value) {
  return value.is_null() || value == false || (value.is_array() && value.empty());
}

const std::map<std::string_view, TokenizerClass>& known_classes() {
  static const std::map<std::string_view, TokenizerClass> classes = {
      {"PreTrainedTokenizer", TokenizerClass::kFile}, {"TokenizersBackend", TokenizerClass::kFile},
      {"LlamaTokenizer", TokenizerClass::kLlama},     {"GPT2Tokenizer", TokenizerClass::kGpt2},
      {"GPTNeoXTokenizer", TokenizerClass::kGptNeox}, {"Qwen2Tokenizer", TokenizerClass::kQwen2},
      {"Qwen3_5Tokenizer", TokenizerClass::kQwen35},  {"GemmaTokenizer", TokenizerClass::kGemma}};
  return classes;
}

std::string without_fast(std::string name) {
  if (name.ends_with("Fast")) name.resize(name.size() - 4);
  return name;
}

bool is_one_of(const std::string& model_type, std::initializer_list<const char*> families) {
  return std::find(families.begin(), families.end(), model_type) != families.end();
}

bool is_gemma(const std::string& model_type) {
  return is_one_of(model_type, {"gemma2", "gemma3_text", "recurrent_gemma"});
}

bool is_qwen(TokenizerClass one) {
  return one == TokenizerClass::kQwen2 || one == TokenizerClass::kQwen35;
}

// Families whose models were trained with a first token that is none of the text's, and answer
// nonsense without it.
bool needs_first_token(const std::string& model_type) {
  return is_gemma(model_type) || model_type == "opt";
}

// The class that both versions give to a model that names none.
TokenizerClass class_of_model(const std::string& model_type) {
  if (is_one_of(model_type, {"gpt2", "gptj", "opt"})) return TokenizerClass::kGpt2;
  if (is_one_of(model_type, {"qwen2", "qwen3", "qwen3_moe", "qwen3_next"}))
    return TokenizerClass::kQwen2;
  if (is_one_of(model_type, {"qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text"}))
    return TokenizerClass::kQwen35;
  if (is_gemma(model_type)) return TokenizerClass::kGemma;
  if (is_one_of(model_type, {"gpt_neox", "mamba", "mamba2", "falcon_mamba"}))
    return TokenizerClass::kGptNeox;
  return TokenizerClass::kFile;
}

// The value of a key, null if there is none. Refers to `object`.
const json& part_of(const json& object, const char* key) {
  static const json none;
  const auto found = object.find(key);
  return found == object.end() ? none : *found;
}

// Every object {"type": type} below `node`, to which they refer.
void find_type(const json& node, const std::string& type, std::vector<const json*>& found) {
  if (node.is_object() && node.value("type", json()) == type) found.push_back(&node);
  if (node.is_structured())
    for (const json& child : node) find_type(child, type, found);
}
std::vector<const json*> all_of_type(const json& node, const std::string& type) {
  std::vector<const json*> found;
  find_type(node, type, found);
  return found;
}

json byte_level(bool add_prefix_space, bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", add_prefix_space},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}

constexpr const char* kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// Marks belong to words.
constexpr const char* kQwen35Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

json split_of_qwen(const char* pattern, bool add_prefix_space) {
  const json split = {{"type", "Split"},
                      {"pattern", {{"Regex", pattern}}},
                      {"behavior", "Isolated"},
                      {"invert", false}};
  return {{"type", "Sequence"}, {"pretokenizers", {split, byte_level(add_prefix_space, false)}}};
}

json normalizer_of(TokenizerClass one) {
  if (one == TokenizerClass::kGemma)
    return {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "\u2581"}};
  const bool composes = one == TokenizerClass::kGptNeox || is_qwen(one);
  return composes ? json{{"type", "NFC"}} : json();
}

json pre_tokenizer_of(TokenizerClass one, bool add_prefix_space, bool legacy) {
  if (one == TokenizerClass::kQwen2) return split_of_qwen(kQwen2Pattern, add_prefix_space);
  if (one == TokenizerClass::kQwen35) return split_of_qwen(kQwen35Pattern, add_prefix_space);
  if (one == TokenizerClass::kGemma)
    return {{"type", "Split"},
            {"pattern", {{"String", " "}}},
            {"behavior", "MergedWithPrevious"},
            {"invert", false}};
  if (one != TokenizerClass::kLlama) return byte_level(add_prefix_space, true);
  return {{"type", "Metaspace"},
          {"replacement", "\u2581"},
          {"prepend_scheme", !add_prefix_space ? "never"
                             : legacy          ? "always"
                                               : "first"},
          {"split", false}};
}

// A pre-tokenizer without what says nothing about ids.
json bare(json pre_tokenizer) {
  if (pre_tokenizer.is_object() && pre_tokenizer.value("type", "") == "ByteLevel") {
    pre_tokenizer.erase("trim_offsets");
    if (!pre_tokenizer.contains("use_regex")) pre_tokenizer["use_regex"] = true;
  }
  if (pre_tokenizer.is_structured())
    for (json& part : pre_tokenizer) part = bare(part);
  return pre_tokenizer;
}

json template_of(const std::vector<std::pair<std::string, int>>& before,
                 const std::vector<std::pair<std::string, int>>& after) {
  json single = json::array(), tokens = json::object();
  const auto add = [&](const auto& list) {
    for (const auto& [content, id] : list) {
      single.push_back({{"SpecialToken", {{"id", content}, {"type_id", 0}}}});
      tokens[content] = {
          {"id", content}, {"ids", {static_cast<unsigned>(id)}}, {"tokens", {content}}};
    }
  };
  add(before);
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  add(after);
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", json::array()},
          {"special_tokens", tokens}};
}

// The special tokens that a template puts before and after a text.
struct Ends {
  std::vector<std::string> before, after;
};
Ends ends_of(const json& file) {
  Ends ends;
  for (const json* one : all_of_type(part_of(file, "post_processor"), "TemplateProcessing")) {
    bool behind = false;
    for (const json& part : part_of(*one, "single")) {
      if (part.contains("Sequence")) behind = true;
      if (part.contains("SpecialToken"))
        (behind ? ends.after : ends.before).push_back(part["SpecialToken"].value("id", ""));
    }
  }
  return ends;
}

std::string in_words(const std::vector<std::string>& tokens) {
  return tokens.empty() ? "nothing" : in_quotes(join(tokens, ""));
}

// The text of a special token: written as such, or as an object with its properties.
std::optional<std::string> content_of(const json& token) {
  if (token.is_string()) return token.get<std::string>();
  if (token.is_object() && token.contains("content") && token["content"].is_string())
    return token["content"].get<std::string>();
  return std::nullopt;
}

constexpr std::array<const char*, 7> kNamedTokens = {
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"};

// An added token with every property written out.
json with_defaults(const json& token, int id) {
  const bool special = token.value("special", false);
  return {{"id", static_cast<unsigned>(id)},
          {"content", token.at("content")},
          {"single_word", token.value("single_word", false)},
          {"lstrip", token.value("lstrip", false)},
          {"rstrip", token.value("rstrip", false)},
          {"normalized", token.value("normalized", !special)},
          {"special", special}};
}

void check_token_object(const JsonNode& node) {
  node.only_keys({"__type", "content", "lstrip", "normalized", "rstrip", "single_word", "special"});
  node.at("content").string();
  for (const char* key : {"lstrip", "normalized", "rstrip", "single_word", "special"})
    node.boolean(key, false);
}

// The added tokens of a tokenizer that is made of a vocabulary, in the order of their ids.
class AddedList {
 public:
  explicit AddedList(const json& vocabulary)
      : vocabulary_(vocabulary), next_(static_cast<int>(vocabulary.size())) {}

  void add(const json& token) {
    const std::string content = token.at("content");
    if (ids_.contains(content)) return;
    const auto known = vocabulary_.find(content);
    const int id = known != vocabulary_.end() ? known->get<int>() : next_++;
    ids_[content] = id;
    list_.push_back(with_defaults(token, id));
  }
  void add_special(const std::string& content) {
    add({{"content", content}, {"special", true}, {"normalized", false}});
  }
  int id(const std::string& content) const { return ids_.at(content); }
  const json& list() const { return list_; }

 private:
  const json& vocabulary_;
  int next_;
  std::map<std::string, int> ids_;
  json list_ = json::array();
};

// The special tokens that a class has unless the configuration names others.
std::optional<std::string> default_token(TokenizerClass one, std::string_view key) {
  if (one == TokenizerClass::kLlama) {
    if (key == "bos_token") return "<s>";
    if (key == "eos_token") return "</s>";
    if (key == "unk_token") return "<unk>";
    return std::nullopt;
  }
  if (one == TokenizerClass::kFile) return std::nullopt;
  if (one == TokenizerClass::kGemma) {
    if (key == "sep_token" || key == "cls_token") return std::nullopt;
    return "<" + std::string(key.substr(0, key.find('_'))) + ">";
  }
  if (key == "pad_token" && one == TokenizerClass::kGptNeox) return "<|padding|>";
  if (key == "pad_token" && is_qwen(one)) return "<|endoftext|>";
  if (key == "bos_token" && is_qwen(one)) return std::nullopt;
  if (key == "bos_token" || key == "eos_token" || key == "unk_token") return "<|endoftext|>";
  return std::nullopt;
}

constexpr size_t kTokensOfGpt2 = 50257;

}  // namespace

TokenizerConfig::TokenizerConfig(const std::filesystem::path& directory)
    : file_((directory / "tokenizer_config.json").string()),
      config_(read(directory, "tokenizer_config.json")),
      special_tokens_(read(directory, "special_tokens_map.json")),
      added_tokens_(read(directory, "added_tokens.json")) {
  configured_ = !config_.empty() || !special_tokens_.empty();
  const json model = read(directory, "config.json");
  if (const json type = model.value("model_type", json()); type.is_string()) model_type_ = type;
  if (!config_.contains("tokenizer_class") && model.contains("tokenizer_class"))
    config_["tokenizer_class"] = model["tokenizer_class"];
  // The older files count only where the newer key is missing.
  if (config_.contains("added_tokens_decoder")) special_tokens_ = added_tokens_ = json::object();
  for (const auto& [key, value] : special_tokens_.items()) config_[key] = value;
  check_keys();
}

json TokenizerConfig::read(const std::filesystem::path& directory, const char* name) {
  std::error_code error;
  const std::filesystem::path path = directory / name;
  if (!std::filesystem::exists(path, error)) return json::object();
  const std::string text = read_text_file(path, kMaxConfigBytes);
  const json value = parse_json_text(text, path.string(), {}, "fetch the file again");
  if (!value.is_object()) throw InputError(path.string(), "expected an object");
  // Of the model's configuration only two keys matter here.
  content_ +=
      std::string_view(name) == "config.json"
          ? value.value("model_type", json()).dump() + value.value("tokenizer_class", json()).dump()
          : text;
  return value;
}

void TokenizerConfig::fail(const std::string& key, const std::string& problem) const {
  throw InputError(
      fmt::format("{}: key {}", file_, key), problem,
      "correct the files, or name tokenizer.json alone with models: {tokenizer: PATH}");
}

bool TokenizerConfig::flag(const char* key, bool fallback) const {
  const auto found = config_.find(key);
  if (found == config_.end() || found->is_null()) return fallback;
  if (!found->is_boolean()) fail(key, "expected true or false");
  return found->get<bool>();
}

std::optional<std::string> TokenizerConfig::named_token(const char* key) const {
  const auto found = config_.find(key);
  if (found == config_.end()) return default_token(class_in_version_4(), key);
  return content_of(*found);
}

void TokenizerConfig::check_keys() const {
  const JsonNode root(config_, file_);
  for (const auto& [key, value] : config_.items()) {
    const bool unsupported =
        std::find(kUnsupported.begin(), kUnsupported.end(), key) != kUnsupported.end();
    if (unsupported && !is_unused(value)) fail(key, "is not supported");
    if (unsupported || idle_keys().contains(key) || read_keys().contains(key)) continue;
    if (!key.ends_with("_token")) fail(key, "is not known");
    if (!value.is_null() && !content_of(value)) fail(key, "expected a token");
    if (value.is_object()) check_token_object(root.at(key));
  }
  if (const json& tokens = config_.value("added_tokens_decoder", json::object());
      !tokens.is_object())
    fail("added_tokens_decoder", "expected an object of ids and tokens");
  for (const auto& [id, token] : added_by_config()) check_token_object(token);
  for (const auto& [content, id] : added_tokens_.items()) JsonNode(id, file_).id();
  for (const char* key : {"add_bos_token", "add_eos_token", "add_prefix_space"}) flag(key, false);
}

std::map<int, JsonNode> TokenizerConfig::added_by_config() const {
  std::map<int, JsonNode> tokens;
  const auto node = JsonNode(config_, file_).find("added_tokens_decoder");
  if (!node) return tokens;
  for (const auto& [key, value] : node->raw().items()) {
    int id = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0)
      fail("added_tokens_decoder." + key, "expected the id of a token");
    tokens.emplace(id, node->at(key));
  }
  return tokens;
}

TokenizerClass TokenizerConfig::class_in_version_4() const {
  const json name = config_.value("tokenizer_class", json());
  if (name.is_null()) {
    if (is_one_of(model_type_, {"llama", "mistral", "mixtral", "phi3", "jamba"}))
      return TokenizerClass::kLlama;
    return class_of_model(model_type_);
  }
  if (!name.is_string()) fail("tokenizer_class", "expected a name");
  const auto known = known_classes().find(without_fast(name));
  if (known == known_classes().end())
    fail("tokenizer_class",
         "the class " + in_quotes(name.get<std::string>()) + " is not supported");
  return known->second;
}

TokenizerClass TokenizerConfig::class_in_version_5(const json& file) const {
  // What the files name for these is not the class that version 5 has for them.
  if (model_type_ == "qwen2") return TokenizerClass::kQwen2;
  if (is_one_of(model_type_, {"qwen3_5", "qwen3_5_moe", "qwen3_5_moe_text"}))
    return TokenizerClass::kQwen35;
  if (is_one_of(model_type_, {"mistral", "mixtral", "phi3", "olmo2", "olmo3", "olmo_hybrid",
                              "granite", "granitemoehybrid", "jamba"}))
    return TokenizerClass::kFile;
  if (config_.value("tokenizer_class", json()).is_null()) return class_of_model(model_type_);
  const TokenizerClass named = class_in_version_4();
  const bool byte_level = !all_of_type(part_of(file, "pre_tokenizer"), "ByteLevel").empty() ||
                          !all_of_type(part_of(file, "post_processor"), "ByteLevel").empty() ||
                          !all_of_type(part_of(file, "decoder"), "ByteLevel").empty();
  return named == TokenizerClass::kLlama && byte_level ? TokenizerClass::kFile : named;
}

void TokenizerConfig::check(const json& file) const {
  check_added_tokens(file);
  check_first_token(!ends_of(file).before.empty());
  if (!configured_) return;
  check_template(file);
  check_prefix_space(file);
}

void TokenizerConfig::check_first_token(bool puts_one) const {
  if (needs_first_token(model_type_) && !puts_one)
    throw InputError(file_,
                     fmt::format("the tokenizer puts no token before a text, and a model of the "
                                 "family {} needs one",
                                 model_type_),
                     "take the files of the published model");
}

// Version 4 makes a template for Llama's class whatever the file says, version 5 takes the file's;
// both drop that of GPT-NeoX's class, and version 4 makes one if it is asked for. Other classes
// take the file's, and a key that says otherwise is not obeyed by either.
void TokenizerConfig::check_template(const json& file) const {
  const TokenizerClass one = class_in_version_4();
  const Ends ends = ends_of(file);
  const bool puts_bos = one == TokenizerClass::kLlama || one == TokenizerClass::kGemma;
  const auto check = [&](const char* flag_key, const char* token_key, bool fallback,
                         const std::vector<std::string>& found, const char* where) {
    const bool says = config_.contains(flag_key) && !config_[flag_key].is_null();
    if (!says && !puts_bos && one != TokenizerClass::kGptNeox) return;
    std::vector<std::string> asked;
    if (const auto token = named_token(token_key); token && flag(flag_key, fallback))
      asked.push_back(*token);
    if (asked != found || (one == TokenizerClass::kGptNeox && !asked.empty()))
      fail(flag_key,
           fmt::format(
               "puts {} {} a text where transformers 4 makes the tokenizer, and {} "
               "where version 5 takes it from tokenizer.json",
               in_words(asked), where,
               in_words(one == TokenizerClass::kGptNeox ? std::vector<std::string>{} : found)));
  };
  check("add_bos_token", "bos_token", puts_bos, ends.before, "before");
  check("add_eos_token", "eos_token", false, ends.after, "behind");
}

// The file decides, but version 4 changes its byte-level pre-tokenizer to what this key says (false
// where it says nothing), and version 5 does not.
void TokenizerConfig::check_prefix_space(const json& file) const {
  const json& pre = part_of(file, "pre_tokenizer");
  const bool says = config_.contains("add_prefix_space") && !config_["add_prefix_space"].is_null();
  const bool asked = flag("add_prefix_space", false);
  const TokenizerClass made = class_in_version_5(file);
  if (config_.contains("add_prefix_space") && !says &&
      (made == TokenizerClass::kGpt2 || made == TokenizerClass::kGptNeox))
    fail("add_prefix_space", "expected true or false, found null");
  bool found = false, sole = false;
  const auto levels = all_of_type(pre, "ByteLevel");
  for (const json* level : levels) {
    found = found || level->value("add_prefix_space", false);
    sole = level == &pre;
  }
  if (levels.empty()) {
    found = !all_of_type(part_of(file, "normalizer"), "Prepend").empty();
    for (const json* part : all_of_type(pre, "Metaspace"))
      found = found || part->value("prepend_scheme", "always") != "never";
  }
  if (asked == found || (!says && !sole) || (says && !asked && !sole && !levels.empty())) return;
  fail("add_prefix_space", fmt::format("says {}, tokenizer.json says {}: versions of transformers "
                                       "differ in which they follow",
                                       asked, found));
}

void TokenizerConfig::check_added_tokens(const json& file) const {
  std::map<std::string, json> by_content;
  for (const json& token : part_of(file, "added_tokens"))
    if (token.is_object()) by_content[token.value("content", "")] = token;
  const auto missing = [&](const std::string& key, const std::string& content) {
    fail(key, "names " + in_quotes(content) + ", which is no such added token of tokenizer.json");
  };
  for (const auto& [id, token] : added_by_config()) {
    const std::string content = token.raw().at("content");
    const json& found = by_content[content];
    if (found.is_null() ||
        with_defaults(found, found.value("id", -1)) != with_defaults(token.raw(), id))
      missing(fmt::format("added_tokens_decoder.{}", id), content);
  }
  if (config_.contains("added_tokens_decoder") && class_in_version_5(file) != TokenizerClass::kFile)
    for (const auto& [content, token] : by_content)
      if (!token.is_null() && !added_by_config().contains(token.value("id", -1)))
        fail("added_tokens_decoder",
             "lacks " + in_quotes(content) + ", an added token of tokenizer.json");
  for (const auto& [content, id] : added_tokens_.items())
    if (by_content[content].is_null() || by_content[content].value("id", json()) != id)
      missing("(added_tokens.json)", content);
  // Qwen2's class in version 5 adds its special tokens a second time, without properties.
  const bool plain = configured_ && class_in_version_5(file) == TokenizerClass::kQwen2;
  const auto check_named = [&](const std::string& key, const json& token) {
    const auto content = content_of(token);
    if (!content) return;
    const json& found = by_content[*content];
    if (found.is_null()) missing(key, *content);
    for (const char* property : {"single_word", "lstrip", "rstrip", "normalized"})
      if (plain && found.value(property, false))
        fail(key, fmt::format("names {}, whose property {} version 5 of transformers drops",
                              in_quotes(*content), property));
  };
  for (const auto& [key, value] : config_.items())
    if (key.ends_with("_token") && !read_keys().contains(key)) check_named(key, value);
  for (const char* key : {"additional_special_tokens", "extra_special_tokens"})
    if (const json list = config_.value(key, json()); list.is_structured())
      for (const json& token : list) check_named(key, token);
}

std::optional<json> TokenizerConfig::rebuilt(const json& file) const {
  if (!configured_) return std::nullopt;
  const TokenizerClass one = class_in_version_5(file);
  if (one == TokenizerClass::kFile) return std::nullopt;
  const bool gemma = one == TokenizerClass::kGemma,
             llama = one == TokenizerClass::kLlama || gemma;  // made of a sentencepiece BPE
  json built = file;
  built["normalizer"] = normalizer_of(one);
  built["pre_tokenizer"] =
      pre_tokenizer_of(one, flag("add_prefix_space", llama), flag("legacy", false));
  json& model = built["model"];
  model["unk_token"] = json();
  if (gemma)
    if (const auto unknown = named_token("unk_token")) model["unk_token"] = *unknown;
  model["fuse_unk"] = model["byte_fallback"] = llama;
  model["ignore_merges"] = false;
  const auto same_option = [&](const char* key) {
    return model[key] == file["model"].value(key, json(false)) ||
           (model[key].is_null() && !file["model"].contains(key));
  };
  const bool same = built["normalizer"] == part_of(file, "normalizer") &&
                    bare(built["pre_tokenizer"]) == bare(part_of(file, "pre_tokenizer")) &&
                    same_option("unk_token") && same_option("fuse_unk") &&
                    same_option("byte_fallback") && same_option("ignore_merges");
  return same ? std::nullopt : std::optional(built);
}

json TokenizerConfig::components(const json& vocabulary) const {
  if (empty()) {
    if (vocabulary.size() != kTokensOfGpt2)
      throw InputError(file_, "is missing, and vocab.json is not that of GPT-2",
                       "add the file, whose tokenizer_class says how texts are cut");
    return {{"pre_tokenizer", byte_level(false, true)}, {"added_tokens", json::array()}};
  }
  const TokenizerClass one = class_in_version_4();
  if (one == TokenizerClass::kFile || one == TokenizerClass::kLlama ||
      one == TokenizerClass::kGemma || (model_type_ == "qwen2" && one != TokenizerClass::kQwen2) ||
      one == TokenizerClass::kQwen35)
    fail("tokenizer_class", "cannot be made of vocab.json and merges.txt");
  AddedList added(vocabulary);
  std::map<int, json> listed;
  for (const auto& [id, token] : added_by_config()) listed.emplace(id, token.raw());
  for (const auto& [content, id] : added_tokens_.items())
    listed.emplace(id.get<int>(), json{{"content", content}});
  for (const auto& [id, token] : listed) {
    const std::string content = token.at("content");
    added.add(token);
    if (added.id(content) != id)
      fail(fmt::format("added_tokens_decoder.{}", id),
           fmt::format("the vocabulary gives {} the id {}", in_quotes(content), added.id(content)));
  }
  for (const char* key : kNamedTokens)
    if (const auto content = named_token(key)) added.add_special(*content);
  for (const char* key : {"additional_special_tokens", "extra_special_tokens"})
    if (const json list = config_.value(key, json()); list.is_structured())
      for (const json& token : list)
        if (const auto content = content_of(token)) added.add_special(*content);
  std::vector<std::pair<std::string, int>> before, after;
  const bool takes_bos = !is_qwen(one), takes_eos = one == TokenizerClass::kGptNeox;
  const auto bos = named_token("bos_token"), eos = named_token("eos_token");
  if (flag("add_bos_token", false)) {
    if (!takes_bos || !bos) fail("add_bos_token", "versions of transformers differ in obeying it");
    before.emplace_back(*bos, added.id(*bos));
  }
  if (flag("add_eos_token", false)) {
    if (!takes_eos || !eos) fail("add_eos_token", "versions of transformers differ in obeying it");
    after.emplace_back(*eos, added.id(*eos));
  }
  check_first_token(!before.empty());
  return {{"normalizer", normalizer_of(one)},
          {"pre_tokenizer", pre_tokenizer_of(one, flag("add_prefix_space", false), false)},
          {"post_processor", template_of(before, after)},
          {"added_tokens", added.list()}};
}

}  // namespace factflow
