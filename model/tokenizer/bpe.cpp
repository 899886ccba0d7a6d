#include "model/tokenizer/bpe.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/error.hpp"
#include "model/tokenizer/json_node.hpp"
#include "model/tokenizer/unicode.hpp"

namespace factflow {
namespace {

constexpr int kNone = -1;

struct Symbol {
  int id = 0;
  std::uint32_t bytes = 0;  // 0: merged into its left neighbour
  int previous = kNone;
  int next = kNone;
};

struct Candidate {
  std::uint32_t rank = 0;
  int position = 0;
  int id = 0;
};

// Heap order: the lowest rank first, then the leftmost.
bool comes_later(const Candidate& a, const Candidate& b) {
  return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
}

}  // namespace

// Reused from word to word, so that encoding allocates nothing.
struct Bpe::Scratch {
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;

  void add(int id, size_t bytes) {
    const int position = static_cast<int>(symbols.size());
    if (position > 0) symbols.back().next = position;
    symbols.push_back({id, static_cast<std::uint32_t>(bytes), position - 1, kNone});
  }
  void push(const Merge* merge, int position) {
    if (merge == nullptr) return;
    heap.push_back({merge->rank, position, merge->id});
    std::push_heap(heap.begin(), heap.end(), comes_later);
  }
};

Bpe::Bpe(std::vector<std::pair<std::string, int>> vocabulary, const BpeMerges& merges,
         BpeOptions options, std::string where)
    : vocabulary_(std::move(vocabulary)), options_(std::move(options)), where_(std::move(where)) {
  ids_.reserve(vocabulary_.size());
  tokens_.reserve(vocabulary_.size());
  for (const auto& [token, id] : vocabulary_) {
    if (!ids_.emplace(token, id).second)
      throw InputError(where_, "token " + in_quotes(token) + " appears twice", "correct the file");
    const auto [other, added] = tokens_.emplace(id, &token);
    if (!added) {
      throw InputError(where_,
                       fmt::format("tokens {} and {} have the same id {}",
                                   in_quotes(*other->second), in_quotes(token), id),
                       "correct the file");
    }
    largest_id_ = std::max(largest_id_, id);
  }
  merges_.reserve(merges.size());
  for (size_t rank = 0; rank < merges.size(); ++rank)
    add_merge(rank, merges[rank].first, merges[rank].second);
  for (size_t c = 0; c < character_ids_.size(); ++c) {
    std::string character;
    append_utf8(static_cast<char32_t>(c), character);
    character_ids_[c] = id_of(character).value_or(kNone);
  }
  for (size_t byte = 0; byte < byte_ids_.size(); ++byte)
    byte_ids_[byte] = id_of(fmt::format("<0x{:02X}>", byte)).value_or(kNone);
  if (options_.unknown) unknown_id_ = id_of(*options_.unknown);
}

std::uint64_t Bpe::pair_key(int left, int right) {
  return static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint32_t>(right);
}

const Bpe::Merge* Bpe::merge_of(int left, int right) const {
  const auto found = merges_.find(pair_key(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

int Bpe::known_token(std::string_view token, size_t rank) const {
  const auto id = id_of(token);
  if (!id)
    throw InputError(where_,
                     fmt::format("merge {} needs token {}, which is not in the vocabulary",
                                 rank + 1, in_quotes(token)),
                     "correct the file");
  return *id;
}

void Bpe::add_merge(size_t rank, const std::string& left, const std::string& right) {
  const int left_id = known_token(left, rank);
  const int right_id = known_token(right, rank);
  merges_[pair_key(left_id, right_id)] = {static_cast<std::uint32_t>(rank),
                                          known_token(left + right, rank)};
}

std::optional<int> Bpe::id_of(std::string_view token) const {
  const auto found = ids_.find(token);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

const std::string* Bpe::token(int id) const {
  const auto found = tokens_.find(id);
  return found == tokens_.end() ? nullptr : found->second;
}

int Bpe::character_id(char32_t c, std::string_view character) const {
  return c < character_ids_.size() ? character_ids_[c] : id_of(character).value_or(kNone);
}

bool Bpe::append_bytes(std::string_view character, Scratch& scratch) const {
  const auto id = [&](char byte) { return byte_ids_[static_cast<unsigned char>(byte)]; };
  if (std::any_of(character.begin(), character.end(), [&](char byte) { return id(byte) == kNone; }))
    return false;
  for (const char byte : character) scratch.add(id(byte), 1);
  return true;
}

// The library keeps an unknown token back until a known character or the end follows, so byte
// tokens overtake it and a dropped character moves the offsets of what follows. Both are kept:
// offsets decide which tokens are the subject's.
void Bpe::split_characters(std::string_view word, Scratch& scratch) const {
  size_t unknown_bytes = 0;  // of the unknown token that is held back; 0 if none is
  const auto flush = [&] {
    if (unknown_bytes > 0) scratch.add(*unknown_id_, unknown_bytes);
    unknown_bytes = 0;
  };
  for (size_t position = 0; position < word.size();) {
    const CodePoint c = code_point_at(word, position);
    const std::string_view character = word.substr(position, c.bytes);
    position += c.bytes;
    if (const int id = character_id(c.value, character); id != kNone) {
      flush();
      scratch.add(id, c.bytes);
      continue;
    }
    if (options_.byte_fallback && append_bytes(character, scratch)) continue;
    if (!options_.unknown) continue;
    if (!unknown_id_) {
      throw InputError(
          where_,
          "unk_token " + in_quotes(*options_.unknown) + " is needed but is not in the vocabulary",
          "correct the file");
    }
    if (!options_.fuse_unknown) flush();
    unknown_bytes += c.bytes;
  }
  flush();
}

void Bpe::merge_all(Scratch& scratch) const {
  auto& [symbols, heap] = scratch;
  for (size_t i = 0; i + 1 < symbols.size(); ++i) {
    if (const Merge* merge = merge_of(symbols[i].id, symbols[i + 1].id))
      heap.push_back({merge->rank, static_cast<int>(i), merge->id});
  }
  std::make_heap(heap.begin(), heap.end(), comes_later);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), comes_later);
    const Candidate top = heap.back();
    heap.pop_back();
    Symbol& left = symbols[static_cast<size_t>(top.position)];
    if (left.bytes == 0 || left.next == kNone) continue;
    Symbol& right = symbols[static_cast<size_t>(left.next)];
    // A candidate is out of date if one of its two symbols has been merged with another since.
    const Merge* merge = merge_of(left.id, right.id);
    if (merge == nullptr || merge->id != top.id) continue;
    left.id = top.id;
    left.bytes += right.bytes;
    left.next = right.next;
    right.bytes = 0;
    if (left.next != kNone) {
      Symbol& next = symbols[static_cast<size_t>(left.next)];
      next.previous = top.position;
      scratch.push(merge_of(left.id, next.id), top.position);
    }
    if (left.previous != kNone) {
      scratch.push(merge_of(symbols[static_cast<size_t>(left.previous)].id, left.id),
                   left.previous);
    }
  }
}

void Bpe::encode(std::string_view word, std::vector<Token>& tokens) const {
  if (options_.ignore_merges) {
    if (const auto id = id_of(word)) {
      tokens.push_back({*id, static_cast<std::uint32_t>(word.size())});
      return;
    }
  }
  thread_local Scratch scratch;
  scratch.symbols.clear();
  scratch.heap.clear();
  split_characters(word, scratch);
  merge_all(scratch);
  for (const Symbol& symbol : scratch.symbols)
    if (symbol.bytes != 0) tokens.push_back({symbol.id, symbol.bytes});
}

}  // namespace factflow
