// Oniguruma's Ruby syntax in terms of PCRE2 10.42. Sources: Oniguruma's doc/RE and PCRE2's
// pcre2pattern(3).
#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "model/tokenizer/regex.hpp"

namespace factflow {
namespace {

// PCRE2's own \s has U+180E and its \w lacks marks and connectors; these are the sets that
// Oniguruma has.
constexpr std::string_view kSpaceSet =
    R"(\t-\r \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";
constexpr std::string_view kWordSet = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";
// Outside of a class Oniguruma looks characters below U+0100 up in a table of its own, where these
// six are word characters.
constexpr std::string_view kLatinWordNumbers = R"(\xB2\xB3\xB9\xBC-\xBE)";
constexpr std::string_view kHexSet = "0-9a-fA-F";

// Names of properties that PCRE2 spells otherwise.
constexpr std::array<std::pair<std::string_view, std::string_view>, 38> kPropertyNames = {{
    {"letter", "L"},
    {"uppercaseletter", "Lu"},
    {"lowercaseletter", "Ll"},
    {"titlecaseletter", "Lt"},
    {"casedletter", "L&"},
    {"lc", "L&"},
    {"modifierletter", "Lm"},
    {"otherletter", "Lo"},
    {"mark", "M"},
    {"combiningmark", "M"},
    {"nonspacingmark", "Mn"},
    {"spacingmark", "Mc"},
    {"enclosingmark", "Me"},
    {"number", "N"},
    {"decimalnumber", "Nd"},
    {"digit", "Nd"},
    {"letternumber", "Nl"},
    {"othernumber", "No"},
    {"punctuation", "P"},
    {"connectorpunctuation", "Pc"},
    {"dashpunctuation", "Pd"},
    {"openpunctuation", "Ps"},
    {"closepunctuation", "Pe"},
    {"initialpunctuation", "Pi"},
    {"finalpunctuation", "Pf"},
    {"otherpunctuation", "Po"},
    {"symbol", "S"},
    {"mathsymbol", "Sm"},
    {"currencysymbol", "Sc"},
    {"modifiersymbol", "Sk"},
    {"othersymbol", "So"},
    {"separator", "Z"},
    {"spaceseparator", "Zs"},
    {"alpha", "Alphabetic"},
    {"space", "White_Space"},
    {"upper", "Uppercase"},
    {"lower", "Lowercase"},
    {"any", "Any"},
}};

// Scripts by their Script property; PCRE2 takes a bare name for Script_Extensions.
constexpr std::array<std::string_view, 24> kScripts = {
    "arabic",   "armenian", "bengali",  "bopomofo", "common", "cyrillic", "devanagari", "ethiopic",
    "georgian", "greek",    "gujarati", "han",      "hangul", "hebrew",   "hiragana",   "inherited",
    "kannada",  "katakana", "khmer",    "lao",      "latin",  "tamil",    "telugu",     "thai"};

constexpr std::array<std::string_view, 7> kBinaryProperties = {
    "alphabetic", "whitespace",  "uppercase",           "lowercase",
    "emoji",      "ideographic", "extendedpictographic"};

[[noreturn]] void unsupported(std::string_view what) {
  throw std::invalid_argument(std::string(what));
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_hex(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

std::string property(std::string_view name) {
  std::string plain;
  for (const char c : name) {
    if (c == ' ' || c == '-' || c == '_') continue;
    if (!is_letter(c)) unsupported("property \\p{" + std::string(name) + "}");
    plain += static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  }
  for (const auto& [from, to] : kPropertyNames)
    if (plain == from) return std::string(to);
  if (std::find(kScripts.begin(), kScripts.end(), plain) != kScripts.end()) return "sc:" + plain;
  const bool binary = std::find(kBinaryProperties.begin(), kBinaryProperties.end(), plain) !=
                      kBinaryProperties.end();
  if (!binary && (plain.empty() || plain.size() > 2))
    unsupported("property \\p{" + std::string(name) + "}");
  if (plain.size() <= 2) plain[0] = static_cast<char>(plain[0] - 'a' + 'A');
  return plain;
}

class Translator {
 public:
  explicit Translator(std::string_view pattern) : in_(pattern) {}

  std::string run() {
    while (at_ < in_.size()) element();
    if (groups_.size() != 1) unsupported("a group is not closed");
    out_.append(groups_.back().open_options, ')');
    return std::move(out_);
  }

 private:
  static constexpr size_t kNoAtom = static_cast<size_t>(-1);
  struct Group {
    size_t begin = kNoAtom;   // where it begins in out_
    size_t open_options = 0;  // (?i) inside it, each opened as a group of its own
  };

  char peek(size_t ahead = 0) const { return at_ + ahead < in_.size() ? in_[at_ + ahead] : '\0'; }
  bool looking_at(std::string_view text) const { return in_.substr(at_).starts_with(text); }

  void begin_atom() { atom_ = out_.size(); }
  void copy(size_t bytes) {
    out_ += in_.substr(at_, bytes);
    at_ += bytes;
  }
  void emit(std::string_view text, size_t bytes_read) {
    out_ += text;
    at_ += bytes_read;
  }

  void element() {
    switch (peek()) {
      case '\\':
        begin_atom();
        return escape();
      case '[':
        begin_atom();
        return character_class();
      case '(':
        return open_group();
      case ')':
        return close_group();
      case '{':
        return interval();
      case '|':
        atom_ = kNoAtom;
        return copy(1);
      case '*':
      case '+':
      case '?':
        return copy(1);
      default:
        begin_atom();
        return copy(utf8_length(peek()));
    }
  }

  void open_group() {
    if (looking_at("(?#")) {
      const size_t end = in_.find(')', at_);
      if (end == std::string_view::npos) unsupported("a comment is not closed");
      at_ = end + 1;
      return;
    }
    const size_t begin = out_.size();
    if (peek(1) != '?') {
      copy(1);
    } else if (looking_at("(?:") || looking_at("(?=") || looking_at("(?!") || looking_at("(?>")) {
      copy(3);
    } else if (looking_at("(?<=") || looking_at("(?<!")) {
      copy(4);
    } else if (looking_at("(?<") && is_letter(peek(3))) {
      copy(3);
    } else if (options()) {
      return;
    }
    groups_.push_back({begin, 0});
    atom_ = kNoAtom;
  }

  // "(?i:" opens a group (false); "(?i)" holds up to the end of the group around it, alternatives
  // included (true).
  bool options() {
    std::string flags;
    size_t length = 2;
    for (char c = peek(length); c == 'i' || c == 'm' || c == '-'; c = peek(++length))
      flags += c == 'm' ? 's' : c;
    const char end = peek(length);
    if (flags.empty() || (end != ':' && end != ')'))
      unsupported("group that begins with " + std::string(in_.substr(at_, 4)));
    emit("(?" + flags + ":", length + 1);
    if (end == ')') ++groups_.back().open_options;
    return end == ')';
  }

  void close_group() {
    if (groups_.size() == 1) unsupported("a closing parenthesis has no partner");
    out_.append(groups_.back().open_options, ')');
    atom_ = groups_.back().begin;
    groups_.pop_back();
    copy(1);
  }

  size_t digits(size_t ahead) const {
    size_t count = 0;
    while (is_digit(peek(ahead + count))) ++count;
    return count;
  }

  // {n}, {n,}, {,m}, {n,m}. Ruby's {n,m}+ repeats {n,m}, and its {n}? makes {n} optional: both need
  // the atom in a group.
  void interval() {
    const size_t low = digits(1);
    const bool comma = peek(1 + low) == ',';
    const size_t high = comma ? digits(2 + low) : 0;
    const size_t length = 1 + low + (comma ? 1 : 0) + high + 1;
    if (peek(length - 1) != '}' || low + high == 0) {
      begin_atom();
      return emit("\\{", 1);
    }
    if (atom_ == kNoAtom) unsupported("a quantifier has nothing to repeat");
    const std::string_view text = in_.substr(at_, length);
    const std::string counts = low == 0 ? "{0" + std::string(text.substr(1)) : std::string(text);
    emit(counts, length);
    if (peek() == '+' || (peek() == '?' && !comma)) {
      out_.insert(atom_, "(?:");
      out_ += ')';
    }
  }

  void escape() {
    const char c = peek(1);
    switch (c) {
      case 's':
        return emit("[" + std::string(kSpaceSet) + "]", 2);
      case 'S':
        return emit("[^" + std::string(kSpaceSet) + "]", 2);
      case 'w':
        return emit(word("["), 2);
      case 'W':
        return emit(word("[^"), 2);
      case 'h':
        return emit("[" + std::string(kHexSet) + "]", 2);
      case 'H':
        return emit("[^" + std::string(kHexSet) + "]", 2);
      case 'b':
        return emit(word_boundary("(?:(?<=W)(?!W)|(?<!W)(?=W))"), 2);
      case 'B':
        return emit(word_boundary("(?:(?<=W)(?=W)|(?<!W)(?!W))"), 2);
      case 'A':
      case 'Z':
      case 'z':
        return copy(2);
      default:
        if (c >= '1' && c <= '9' && !is_digit(peek(2))) return copy(2);
        character_escape();
    }
  }

  static std::string word(std::string_view open) {
    return fmt::format("{}{}{}]", open, kWordSet, kLatinWordNumbers);
  }

  static std::string word_boundary(std::string_view form) {
    std::string out;
    for (const char c : form) {
      if (c == 'W') {
        out += word("[");
      } else {
        out += c;
      }
    }
    return out;
  }

  // Escapes that mean the same inside and outside of a class. Returns whether it was one that
  // stands for a set.
  bool character_escape() {
    const char c = peek(1);
    switch (c) {
      case 'd':
        return emit("\\p{Nd}", 2), true;
      case 'D':
        return emit("\\P{Nd}", 2), true;
      case 'p':
      case 'P':
        return property_escape(), true;
      case 'n':
      case 't':
      case 'r':
      case 'f':
      case 'a':
      case 'e':
        return copy(2), false;
      case 'v':
        return emit("\\x0B", 2), false;
      case 'x':
      case 'u':
        return hex_escape(), false;
      case '\0':
        if (at_ + 1 >= in_.size()) unsupported("the pattern ends in a backslash");
        [[fallthrough]];
      default:
        if (is_letter(c) || is_digit(c)) unsupported(std::string("escape \\") + c);
        if (static_cast<unsigned char>(c) >= 0x80 || c == '\0')
          return emit("", 1), copy(utf8_length(c)), false;
        return copy(2), false;
    }
  }

  void property_escape() {
    const size_t end = in_.find('}', at_);
    if (peek(2) != '{' || end == std::string_view::npos) unsupported("a property without braces");
    std::string_view name = in_.substr(at_ + 3, end - at_ - 3);
    bool negated = peek(1) == 'P';
    if (name.starts_with('^')) {
      negated = !negated;
      name.remove_prefix(1);
    }
    emit((negated ? "\\P{" : "\\p{") + property(name) + "}", end + 1 - at_);
  }

  void hex_escape() {
    const bool braces = peek(1) == 'x' && peek(2) == '{';
    const size_t begin = braces ? 3 : 2;
    const size_t limit = braces ? 8 : (peek(1) == 'u' ? 4 : 2);
    size_t count = 0;
    while (count < limit && is_hex(peek(begin + count))) ++count;
    const bool whole = braces ? count > 0 && peek(begin + count) == '}'
                              : (peek(1) == 'x' ? count > 0 : count == 4);
    const std::string code(in_.substr(at_ + begin, count));
    // A bare \xHH is one byte in Oniguruma, which is a character below 0x80 only.
    if (!whole || (peek(1) == 'x' && !braces && count == 2 && code[0] >= '8'))
      unsupported("escape \\" + std::string(1, peek(1)) + code);
    emit("\\x{" + code + "}", begin + count + (braces ? 1 : 0));
  }

  // PCRE2 has no classes inside classes; what one holds joins the class around it.
  void character_class() {
    copy(1);
    if (peek() == '^') copy(1);
    if (peek() == ']') emit("\\]", 1);
    size_t inner_classes = 0;
    bool after_set = false;
    while (at_ < in_.size() && (peek() != ']' || inner_classes > 0)) {
      if (looking_at("&&")) unsupported("intersection of classes (&&)");
      const bool set_before = std::exchange(after_set, false);
      if (peek() == ']') {
        --inner_classes;
        emit("", 1);
        after_set = true;
      } else if (looking_at("[:")) {
        posix_set();
        after_set = true;
      } else if (peek() == '[') {
        if (peek(1) == '^' || peek(1) == ']') unsupported("negated or empty class inside a class");
        ++inner_classes;
        emit("", 1);
      } else if (peek() == '\\') {
        after_set = class_escape();
      } else if (peek() == '-' && (set_before || set_follows() || peek(1) == ']')) {
        emit("\\-", 1);
      } else {
        copy(utf8_length(peek()));
      }
    }
    if (at_ >= in_.size()) unsupported("a class is not closed");
    copy(1);
  }

  bool set_follows() const {
    return peek(1) == '[' || (peek(1) == '\\' && std::string_view("swdhSWDHpP").find(peek(2)) !=
                                                     std::string_view::npos);
  }

  bool class_escape() {
    switch (peek(1)) {
      case 's':
        return emit(kSpaceSet, 2), true;
      case 'S':
        return emit("\\P{White_Space}", 2), true;
      case 'w':
        return emit(kWordSet, 2), true;
      case 'h':
        return emit(kHexSet, 2), true;
      case 'b':
        return emit("\\x08", 2), false;
      default:
        return character_escape();
    }
  }

  void posix_set() {
    static constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kSets = {{
        {"[:space:]", kSpaceSet},
        {"[:alpha:]", R"(\p{Alphabetic})"},
        {"[:digit:]", R"(\p{Nd})"},
        {"[:alnum:]", R"(\p{Alphabetic}\p{Nd})"},
        {"[:upper:]", R"(\p{Uppercase})"},
        {"[:lower:]", R"(\p{Lowercase})"},
    }};
    for (const auto& [name, set] : kSets)
      if (looking_at(name)) return emit(set, name.size());
    unsupported("class " + std::string(in_.substr(at_, 12)));
  }

  std::string_view in_;
  size_t at_ = 0;
  std::string out_;
  size_t atom_ = kNoAtom;  // where in out_ the atom begins that a quantifier would repeat
  std::vector<Group> groups_ = {Group{}};
};

}  // namespace

std::string pcre2_from_oniguruma(std::string_view pattern) {
  return Translator(pattern).run();
}

}  // namespace factflow
