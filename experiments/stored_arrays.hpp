// What several kinds share about their arrays in results.h5. Reading throws InputError with the
// place in the file.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "results/results_file.hpp"

namespace factflow {

[[noreturn]] void inconsistent(const hdf5::Group& group, const std::string& name,
                               const std::string& problem);

template <typename T>
void check_unique(const hdf5::Group& group, const std::string& name, const std::vector<T>& values) {
  if (std::set<T>(values.begin(), values.end()).size() != values.size())
    inconsistent(group, name, "expected values that differ from each other");
}

// Between 0 and 1, or NaN.
void check_probabilities(const hdf5::Group& group, const std::string& name,
                         const std::vector<float>& values);

// probability, rank and tied, into the members of these names: either a probability and a rank, or
// neither; and fewer ties than tokens that are at least as likely.
template <typename Answers>
void read_answers(const hdf5::Group& group, const hdf5::Shape& shape, Answers& answers) {
  answers.probability = group.read<float>("probability", shape);
  check_probabilities(group, "probability", answers.probability);
  answers.rank = group.read<std::int32_t>("rank", shape);
  if (group.has("tied")) answers.tied = group.read<std::int32_t>("tied", shape);
  for (std::size_t i = 0; i < answers.rank.size(); ++i) {
    const std::int32_t rank = answers.rank[i], tied = answers.tied.empty() ? 0 : answers.tied[i];
    if (rank < 0 || (rank == 0) != std::isnan(answers.probability[i]))
      inconsistent(group, "rank", "expected ranks of at least 1, and 0 where there is no answer");
    if (tied < 0 || tied > std::max(0, rank - 1))
      inconsistent(group, "tied", "expected numbers of at least 0 and below the rank");
  }
}

// Counts where something was computed, kNotCounted where not; empty where the file has none.
inline constexpr std::int32_t kNotCounted = -1;
std::vector<std::int32_t> read_counts(const hdf5::Group& group, const std::string& name,
                                      const hdf5::Shape& shape);

// The axis "start" of a group window_N.
ArrayAxis start_axis(const std::string& placement, const std::vector<std::int32_t>& starts);

// The numbers N of children "PREFIXN", ascending.
std::vector<std::int64_t> numbered(const hdf5::Group& group, const std::string& prefix);

// Of a group window_N. The residual stream has a layer more than the model: behind the last one.
std::vector<std::int32_t> read_starts(const hdf5::Group& group, const ModelInfo& model);
std::string read_placement(const hdf5::Group& group);
std::int64_t read_window_size(const hdf5::Group& group, std::int64_t window);

// How the windows of a model are placed, which a run places alike: "fit", "centred"; "" if it has
// none.
std::string placement_of(const ResultsReader& reader, const std::string& model);

}  // namespace factflow
