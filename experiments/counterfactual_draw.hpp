// The draw of counterfactuals in configurations and plans: what kinds that need another subject
// share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include <cereal/types/map.hpp>

#include "experiments/bytes.hpp"
#include "experiments/counterfactual.hpp"
#include "experiments/experiment.hpp"
#include "experiments/forms.hpp"
#include "experiments/trace/trace_arrays.hpp"

namespace factflow {

template <class Archive>
void serialize(Archive& archive, CounterfactualPool::Fact& f) {
  archive(f.id, f.subject, f.answer);
}
template <class Archive>
void serialize(Archive& archive, CounterfactualDraw& d) {
  archive(d.pool.relations, d.candidates, d.seed);
}

template <class Archive>
void serialize(Archive& archive, TracedFacts::Found& f) {
  archive(f.counterfactual, f.high, f.low, f.subject_begin, f.subject_end, f.token_count);
}
// `clean`, `corrupted`: what both runs answer.
TracedFacts::Found found_fact(const TokenizedPrompt& prompt, const Counterpart& other,
                              const Answer& clean, const Answer& corrupted);

// candidates, seed and prompts, of an entry that has members of these names.
template <class T>
Fields<T> draw_fields() {
  constexpr int kMostCandidates = 64;
  return {
      field("candidates", &T::candidates, whole_number<int>(1, kMostCandidates),
            "how many other subjects of the relation are tried for one of as many tokens"),
      field<T, std::uint64_t>("seed", &T::seed,
                              whole_number<std::uint64_t>(0, std::numeric_limits<int>::max()),
                              "draws the other subjects"),
      field<T, std::int64_t>(
          "prompts", &T::prompts,
          word_or("all", std::int64_t{0},
                  whole_number<std::int64_t>(1, std::numeric_limits<std::int64_t>::max())),
          "only the first N prompts of the set"),
  };
}

// The one draw of all of a model's entries: a prompt has one counterfactual.
class DrawOfEntries {
 public:
  // `model` must outlive it.
  DrawOfEntries(std::string section, std::size_t entries, const ModelToPlan& model)
      : section_(std::move(section)), entries_(entries), model_(model) {}
  // Throws InputError if an earlier entry has another one.
  void add(std::size_t entry, int candidates, std::uint64_t seed);
  CounterfactualDraw take() const;  // without entries: of nothing

 private:
  std::string section_;
  std::size_t entries_;
  const ModelToPlan& model_;
  std::optional<std::pair<int, std::uint64_t>> drawn_;
};

}  // namespace factflow
