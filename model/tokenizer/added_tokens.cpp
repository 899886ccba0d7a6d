#include "model/tokenizer/added_tokens.hpp"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "model/tokenizer/bpe.hpp"
#include "model/tokenizer/json_node.hpp"
#include "model/tokenizer/normalizer.hpp"

namespace factflow {

void AddedTokens::Trie::add(std::string_view pattern, int token) {
  size_t node = 0;
  for (const char c : pattern) {
    const auto [next, added] = nodes_[node].next.emplace(c, static_cast<int>(nodes_.size()));
    const auto child = static_cast<size_t>(next->second);
    if (added) nodes_.emplace_back();
    node = child;
  }
  starts_[static_cast<unsigned char>(pattern.front())] = true;
  if (nodes_[node].token == Piece::kNoToken) nodes_[node].token = token;
}

AddedTokens::Trie::Hit AddedTokens::Trie::longest_at(std::string_view text, size_t position) const {
  Hit hit;
  if (!starts_[static_cast<unsigned char>(text[position])]) return hit;
  size_t node = 0;
  for (size_t i = position; i < text.size(); ++i) {
    const auto next = nodes_[node].next.find(text[i]);
    if (next == nodes_[node].next.end()) break;
    node = static_cast<size_t>(next->second);
    if (nodes_[node].token != Piece::kNoToken) hit = {i + 1, nodes_[node].token};
  }
  return hit;
}

AddedTokens::AddedTokens(const JsonNode& list, const Bpe& model, const Normalizer& normalizer) {
  int next_free_id = static_cast<int>(model.size());
  for (const JsonNode& entry : list.items()) add(entry, model, next_free_id);
  // Of two tokens with one normalized form the library finds now one and now the other, by the
  // order of a hash table that differs from process to process.
  std::map<std::string, std::string> forms;
  for (size_t i = 0; i < tokens_.size(); ++i) {
    if (!tokens_[i].normalized) {
      raw_.add(tokens_[i].content, static_cast<int>(i));
      continue;
    }
    AlignedText form(tokens_[i].content);
    normalizer.apply(form);
    if (form.empty())
      list.fail("added token " + in_quotes(tokens_[i].content) + " is empty once it is normalized");
    const auto [first, is_new] = forms.emplace(form.text(), tokens_[i].content);
    if (!is_new)
      list.fail("added tokens " + in_quotes(first->second) + " and " +
                in_quotes(tokens_[i].content) +
                " are the same once they are normalized, so which of them is found is chance");
    normalized_.add(form.text(), static_cast<int>(i));
  }
}

void AddedTokens::add(const JsonNode& entry, const Bpe& model, int& next_free_id) {
  entry.only_keys({"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
  AddedToken token;
  token.content = entry.at("content").string();
  token.id = entry.at("id").id();
  token.single_word = entry.at("single_word").boolean();
  token.strip_left = entry.at("lstrip").boolean();
  token.strip_right = entry.at("rstrip").boolean();
  token.normalized = entry.at("normalized").boolean();
  token.special = entry.at("special").boolean();
  if (token.content.empty()) entry.fail("added token without content");
  const auto same = [&](const AddedToken& other) {
    return other.content == token.content || other.id == token.id;
  };
  if (std::any_of(tokens_.begin(), tokens_.end(), same)) {
    entry.fail(
        fmt::format("added token {} with id {} appears twice", in_quotes(token.content), token.id));
  }
  const auto known = model.id_of(token.content);
  const int expected = known ? *known : next_free_id;
  if (token.id != expected) {
    entry.fail(fmt::format("added token {} has id {}, but the vocabulary makes it {}",
                           in_quotes(token.content), token.id, expected));
  }
  if (!known) ++next_free_id;
  by_id_.emplace(token.id, tokens_.size());
  tokens_.push_back(std::move(token));
}

const AddedToken* AddedTokens::token(int id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &tokens_[found->second];
}

bool AddedTokens::stands_alone(std::string_view text, size_t begin, size_t end) const {
  return (begin == 0 || !is_word(code_point_before(text, begin).value)) &&
         (end == text.size() || !is_word(code_point_at(text, end).value));
}

void AddedTokens::cut(const AlignedText& whole, const Trie& trie,
                      std::vector<Piece>& pieces) const {
  const std::string_view text = whole.text();
  size_t done = 0;
  const auto emit = [&](size_t begin, size_t end, int token) {
    if (begin < end) pieces.push_back({whole.slice(begin, end), token});
  };
  for (size_t position = 0; !trie.empty() && position < text.size();) {
    const Trie::Hit hit = trie.longest_at(text, position);
    if (hit.token == Piece::kNoToken) {
      ++position;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<size_t>(hit.token)];
    size_t begin = position;
    size_t end = hit.end;
    position = hit.end;
    if (token.single_word && !stands_alone(text, begin, end)) continue;
    if (token.strip_left) {
      while (begin > 0 && is_whitespace(code_point_before(text, begin).value))
        begin -= code_point_before(text, begin).bytes;
      begin = std::max(begin, done);
    }
    if (token.strip_right) {
      while (end < text.size() && is_whitespace(code_point_at(text, end).value))
        end += code_point_at(text, end).bytes;
    }
    emit(done, begin, Piece::kNoToken);
    emit(begin, end, token.id);
    done = end;
  }
  emit(done, text.size(), Piece::kNoToken);
}

std::vector<Piece> AddedTokens::extract(const AlignedText& text,
                                        const Normalizer& normalizer) const {
  std::vector<Piece> raw;
  cut(text, raw_, raw);
  std::vector<Piece> pieces;
  for (Piece& piece : raw) {
    if (piece.token != Piece::kNoToken) {
      pieces.push_back(std::move(piece));
      continue;
    }
    normalizer.apply(piece.text);
    cut(piece.text, normalized_, pieces);
  }
  return pieces;
}

}  // namespace factflow
