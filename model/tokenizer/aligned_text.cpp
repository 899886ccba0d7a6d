#include "model/tokenizer/aligned_text.hpp"

#include <algorithm>
#include <stdexcept>

namespace factflow {

AlignedText::AlignedText(std::string_view original) {
  if (original.size() > kMaxTextBytes) throw std::length_error("text is longer than 1 MiB");
  text_ = original;
  source_.reserve(original.size());
  for (size_t position = 0; position < original.size();) {
    const size_t length = std::min(utf8_length(original[position]), original.size() - position);
    const Span span = {static_cast<std::uint32_t>(position),
                       static_cast<std::uint32_t>(position + length)};
    source_.insert(source_.end(), length, span);
    position += length;
  }
}

std::pair<std::int64_t, std::int64_t> AlignedText::original(size_t begin, size_t end) const {
  return {source_[begin].begin, source_[end - 1].end};
}

AlignedText AlignedText::slice(size_t begin, size_t end) const {
  AlignedText part;
  part.text_ = text_.substr(begin, end - begin);
  part.source_.assign(source_.begin() + static_cast<std::ptrdiff_t>(begin),
                      source_.begin() + static_cast<std::ptrdiff_t>(end));
  part.begin_ = part.source_.empty() ? begin_ : part.source_.front().begin;
  return part;
}

void AlignedText::append(std::string_view bytes, Span source) {
  text_ += bytes;
  source_.insert(source_.end(), bytes.size(), source);
  check_size();
}

void AlignedText::check_size() const {
  if (text_.size() > kMaxTextBytes)
    throw std::length_error("text grows beyond 1 MiB while it is normalized");
}

void AlignedText::prepend(std::string_view prefix) {
  text_.insert(0, prefix);
  source_.insert(source_.begin(), prefix.size(), source_.front());
  check_size();
}

void AlignedText::replace(const std::vector<Match>& matches, std::string_view content) {
  const bool any =
      std::any_of(matches.begin(), matches.end(), [](const Match& m) { return m.matched; });
  if (!any) return;
  AlignedText replaced;
  replaced.begin_ = begin_;
  for (const Match& match : matches) {
    if (match.matched) {
      replaced.append(content, match.end > 0 ? source_[match.end - 1] : Span{begin_, begin_});
    } else {
      replaced.text_.append(text_, match.begin, match.end - match.begin);
      replaced.source_.insert(replaced.source_.end(),
                              source_.begin() + static_cast<std::ptrdiff_t>(match.begin),
                              source_.begin() + static_cast<std::ptrdiff_t>(match.end));
    }
  }
  *this = std::move(replaced);
  check_size();
}

void AlignedText::rewrite(const std::vector<CharChange>& changes) {
  AlignedText rewritten;
  rewritten.begin_ = begin_;
  size_t position = 0;  // in the old text
  const auto skip_character = [&] {
    if (position < text_.size())
      position += std::min(utf8_length(text_[position]), text_.size() - position);
  };
  std::string bytes;
  for (const auto& [value, change] : changes) {
    Span source = {begin_, begin_};
    if (change <= 0 && position < source_.size()) {
      source = source_[position];
    } else if (position > 0) {
      source = source_[position - 1];
    }
    for (int i = change; i <= 0; ++i) skip_character();
    bytes.clear();
    append_utf8(value, bytes);
    rewritten.append(bytes, source);
  }
  *this = std::move(rewritten);
}

void AlignedText::map_bytes(const std::vector<std::string>& symbols) {
  AlignedText mapped;
  mapped.begin_ = begin_;
  mapped.text_.reserve(text_.size() + text_.size() / 2);
  mapped.source_.reserve(text_.size() + text_.size() / 2);
  for (size_t i = 0; i < text_.size(); ++i)
    mapped.append(symbols[static_cast<unsigned char>(text_[i])], source_[i]);
  *this = std::move(mapped);
}

}  // namespace factflow
