// Forms of values that the sections of several kinds have.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "base/text.hpp"
#include "fields/fields.hpp"
#include "fields/plain_text.hpp"
#include "model/intervention.hpp"

namespace factflow {

Form<ChannelSet> channel_set_form();
Form<Site> site_form();
Form<Path> path_form();
Form<double> number();  // a finite one
Form<double> number(double smallest, double largest);

// One of some words, each of which stands for a value; `what` is said of a word that is none.
template <class V>
Form<V> one_of(const std::string& what, std::vector<std::pair<std::string, V>> words) {
  std::vector<std::string> known;
  for (const auto& [word, value] : words) known.push_back(word);
  return text_form(
      join(known, " | "),
      [what, words, known](const std::string& given) {
        for (const auto& [word, value] : words)
          if (word == given) return value;
        throw InputError("", unknown_word(what, excerpt(given), known));
      },
      [words](const V& value) {
        for (const auto& [word, one] : words)
          if (one == value) return word;
        return std::string();
      });
}

}  // namespace factflow
