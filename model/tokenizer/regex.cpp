#include "model/tokenizer/regex.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <array>
#include <stdexcept>

#include <pcre2.h>

#include "base/error.hpp"

namespace factflow {
namespace {

constexpr std::uint32_t kMatchLimit = 2'000'000;  // backtracking steps
constexpr size_t kJitStackBytes = size_t{1} << 20;
constexpr size_t kMaxPatternBytes = size_t{1} << 16;

std::string error_text(int code) {
  std::array<PCRE2_UCHAR, 256> buffer{};
  pcre2_get_error_message(code, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

// What a match needs and a thread can reuse. A single pair of offsets serves every pattern.
class MatchScratch {
 public:
  MatchScratch()
      : data_(pcre2_match_data_create(1, nullptr)),
        context_(pcre2_match_context_create(nullptr)),
        stack_(pcre2_jit_stack_create(size_t{1} << 15, kJitStackBytes, nullptr)) {
    if (data_ == nullptr || context_ == nullptr) throw std::bad_alloc();
    pcre2_set_match_limit(context_, kMatchLimit);
    pcre2_jit_stack_assign(context_, nullptr, stack_);
  }
  ~MatchScratch() {
    pcre2_match_data_free(data_);
    pcre2_match_context_free(context_);
    pcre2_jit_stack_free(stack_);
  }
  MatchScratch(const MatchScratch&) = delete;
  MatchScratch& operator=(const MatchScratch&) = delete;

  pcre2_match_data* data() { return data_; }
  pcre2_match_context* context() { return context_; }

 private:
  pcre2_match_data* data_;
  pcre2_match_context* context_;
  pcre2_jit_stack* stack_;
};

MatchScratch& scratch() {
  thread_local MatchScratch instance;
  return instance;
}

}  // namespace

void Regex::CodeDeleter::operator()(pcre2_real_code_8* code) const {
  pcre2_code_free(code);
}

Regex::Regex(std::string_view pattern, unsigned options, std::string where)
    : where_(std::move(where)) {
  if (pattern.size() > kMaxPatternBytes)
    throw InputError(where_, "pattern is longer than 64 KiB", "use a shorter one");
  int error = 0;
  PCRE2_SIZE position = 0;
  const std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), &pcre2_compile_context_free);
  if (!context) throw std::bad_alloc();
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                            options | PCRE2_UTF, &error, &position, context.get()));
  if (!code_) {
    throw InputError(where_, "regular expression cannot be compiled: " + error_text(error),
                     "correct the pattern");
  }
  // Without JIT (a platform that has none, a pattern it cannot take) the interpreter gives the same
  // matches.
  pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);
}

Regex Regex::oniguruma(std::string_view pattern, std::string where) {
  std::string translated;
  try {
    translated = pcre2_from_oniguruma(pattern);
  } catch (const std::invalid_argument& reason) {
    throw InputError(where, std::string("regular expression is not supported: ") + reason.what(),
                     "use a tokenizer with another pattern");
  }
  return Regex(translated, PCRE2_UCP | PCRE2_MULTILINE, std::move(where));
}

Regex Regex::literal(std::string_view text, std::string where) {
  return Regex(text, PCRE2_LITERAL, std::move(where));
}

bool Regex::search(std::string_view text, size_t start, Match& match) const {
  MatchScratch& memory = scratch();
  const int found = pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                                start, PCRE2_NO_UTF_CHECK, memory.data(), memory.context());
  if (found == PCRE2_ERROR_NOMATCH) return false;
  if (found < 0) {
    throw InputError(where_, "regular expression gave up on a text: " + error_text(found),
                     "use a pattern that does not backtrack without end");
  }
  const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(memory.data());
  match = {offsets[0], offsets[1], true};
  return true;
}

std::vector<Match> Regex::find(std::string_view text) const {
  if (text.empty()) return {{0, 0, false}};
  std::vector<Match> parts;
  size_t covered = 0;
  size_t start = 0;
  bool matched_before = false;
  Match match;
  while (start <= text.size() && search(text, start, match)) {
    // An empty match right behind the last match would be found for ever: look one character
    // further.
    if (match.begin == match.end && matched_before && match.end == covered) {
      start += start < text.size() ? code_point_at(text, start).bytes : 1;
      continue;
    }
    if (covered != match.begin) parts.push_back({covered, match.begin, false});
    parts.push_back(match);
    covered = start = match.end;
    matched_before = true;
  }
  if (covered != text.size()) parts.push_back({covered, text.size(), false});
  return parts;
}

}  // namespace factflow
