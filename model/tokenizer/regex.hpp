// Regular expressions of tokenizer.json files: written for Oniguruma (Ruby syntax), run by PCRE2.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/tokenizer/aligned_text.hpp"

struct pcre2_real_code_8;

namespace factflow {

// The same pattern for PCRE2 (UTF, UCP, MULTILINE): Ruby's \s, \w, \b, \h, (?m), nested quantifiers
// and property names mean other things there. Throws std::invalid_argument with the reason for what
// has no counterpart.
std::string pcre2_from_oniguruma(std::string_view pattern);

// A compiled pattern; const members are safe to call from several threads at once.
class Regex {
 public:
  // `where` names the file and key in errors. Both throw InputError for a pattern that is malformed
  // or not supported.
  static Regex oniguruma(std::string_view pattern, std::string where);
  static Regex literal(std::string_view text, std::string where);

  // Cuts valid UTF-8 into matches and what lies between them; empty matches are part of the answer.
  // An empty text is one part that does not match. Throws InputError if the pattern needs more
  // steps than a sane one ever does.
  std::vector<Match> find(std::string_view text) const;

 private:
  struct CodeDeleter {
    void operator()(pcre2_real_code_8* code) const;
  };
  Regex(std::string_view pattern, unsigned options, std::string where);
  bool search(std::string_view text, size_t start, Match& match) const;

  std::unique_ptr<pcre2_real_code_8, CodeDeleter> code_;
  std::string where_;
};

}  // namespace factflow
