// Spearman's rank correlation of pairs in clusters, made for many bootstrap resamples of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace factflow {

class RankCorrelation {
 public:
  // Pairs (x[i], y[i]), finite numbers, of cluster[i]. Sorts once.
  RankCorrelation(std::vector<double> x, std::vector<double> y, std::vector<std::size_t> cluster);

  std::size_t size() const { return x_.size(); }
  // Pearson's correlation of the ranks, equal values sharing their mean rank. NaN for fewer than
  // two pairs, and where all x or all y are equal.
  double value() const;
  // Of a resample in which every pair is there counts[cluster] times; linear in the pairs.
  double resampled(const std::uint16_t* counts) const;

 private:
  template <class Weight>
  double weighted(const Weight& weight) const;

  std::vector<double> x_, y_;
  std::vector<std::size_t> cluster_;
  std::vector<std::size_t> by_x_, by_y_;  // indices, ascending
};

}  // namespace factflow
