// Small tokenizers for tests, written as tokenizer.json and loaded from text.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "model/tokenizer/tokenizer.hpp"

namespace factflow {

using Offsets = std::vector<std::pair<std::int64_t, std::int64_t>>;

// A complete tokenizer.json: a BPE model with the tokens a b c h e l o ▁ <s> ab abc, and nothing
// else set.
nlohmann::json small_tokenizer();

Tokenizer from_json(const nlohmann::json& document);

// The message of the InputError that loading `document` (or its text) throws; fails the test if it
// throws none.
std::string loading_error(const nlohmann::json& document);
std::string parsing_error(const std::string& text);

// The texts of the tokens of `text`, without special tokens: "ab|c".
std::string tokens_of(const Tokenizer& tokenizer, const std::string& text);

}  // namespace factflow
