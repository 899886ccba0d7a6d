// Small text helpers for messages that people read.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace factflow {

// The candidate nearest to `word` by edit distance, or "" if none is near enough to be a likely
// typo.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

// "unknown key 'windos', did you mean 'windows'?" or, with no near candidate, the list of known
// ones.
std::string unknown_word(std::string_view kind, std::string_view word,
                         const std::vector<std::string>& known);

// Foreign text for a message: in single quotes, on one line (control characters as '?'), cut after
// 120 bytes but never inside a UTF-8 character.
std::string in_quotes(std::string_view text);

// "a, b, c"
std::string join(const std::vector<std::string>& words, std::string_view separator = ", ");

// "1 prompt", "12 prompts"; `plural` where an s is not enough.
std::string counted(std::uint64_t count, const std::string& noun, const std::string& plural = "");
// Number formatted by fmt's `{:.Nf}`, without the sign of a zero: "-0.0" is "0.0".
std::string fixed(double value, int digits);

std::string format_bytes(double bytes);       // "1.4 GiB"
std::string format_duration(double seconds);  // "3 h 12 min", "4 min 10 s", "850 ms"
std::string format_count(double count);       // "150,528", "1.2e+12" above 1e9

}  // namespace factflow
