#include "model/checkpoint_choices.hpp"

#include <vector>

#include "base/error.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

constexpr HeadChoice kHeads[] = {HeadChoice::kConfigured, HeadChoice::kEmbedding, HeadChoice::kOwn};

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
  std::vector<std::string> known;
  for (const HeadChoice choice : kHeads) {
    if (word == to_string(choice)) return choice;
    known.push_back(to_string(choice));
  }
  throw InputError("head", unknown_word("head", word, known));
}

}  // namespace factflow
