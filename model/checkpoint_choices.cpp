#include "model/checkpoint_choices.hpp"

#include <vector>

#include "base/error.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

// The choice of `all` that goes by this word; `key` names it in the error.
template <class Choice, size_t kCount>
Choice parse_choice(const std::string& key, const std::string& word, const Choice (&all)[kCount]) {
  std::vector<std::string> known;
  for (const Choice choice : all) {
    if (word == to_string(choice)) return choice;
    known.push_back(to_string(choice));
  }
  throw InputError(key, unknown_word(key, word, known));
}

}  // namespace

std::string to_string(HeadChoice choice) {
  switch (choice) {
    case HeadChoice::kConfigured:
      return "configured";
    case HeadChoice::kEmbedding:
      return "embedding";
    case HeadChoice::kOwn:
      return "own";
  }
  return "";
}

HeadChoice parse_head_choice(const std::string& word) {
  constexpr HeadChoice kAll[] = {HeadChoice::kConfigured, HeadChoice::kEmbedding, HeadChoice::kOwn};
  return parse_choice("head", word, kAll);
}

std::string to_string(GatedNormChoice choice) {
  return choice == GatedNormChoice::kPerGroup ? "per-group" : "all-channels";
}

GatedNormChoice parse_gated_norm_choice(const std::string& word) {
  constexpr GatedNormChoice kAll[] = {GatedNormChoice::kPerGroup, GatedNormChoice::kAllChannels};
  return parse_choice("gated_norm", word, kAll);
}

}  // namespace factflow
