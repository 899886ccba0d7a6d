// Prompts with neutral tokens put into them: the same fact, elsewhere and further apart.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/prompt.hpp"

namespace factflow {

enum class NeutralPlace {
  kBefore,  // in front of the prompt's text, behind the tokenizer's own tokens
  kBetween  // right behind the subject's last token
};
std::string to_string(NeutralPlace place);  // "before", "between"

// `length` tokens out of the texts' tokens [text][token], which are repeated in an order that the
// seed and the prompt's tokens draw. The last n of those of a longer one are those of length n, so
// they end where a text ends. Throws std::invalid_argument if there is no token.
std::vector<int> neutral_tokens(const std::vector<std::vector<int>>& texts,
                                const TokenizedPrompt& prompt, std::uint64_t seed,
                                std::size_t length);

// The prompt with the tokens in place. Its offsets are (0, 0) for these.
TokenizedPrompt with_neutral(const TokenizedPrompt& prompt, NeutralPlace place,
                             const std::vector<int>& tokens);

}  // namespace factflow
