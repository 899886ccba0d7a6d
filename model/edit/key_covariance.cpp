#include "model/edit/key_covariance.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <tuple>
#include <utility>

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include "base/error.hpp"

namespace factflow {
namespace {

// The sum of k k^T over what is added, in float64.
class KeySum {
 public:
  explicit KeySum(const EditSlot& slot) : slot_(slot) {}

  const EditSlot& slot() const { return slot_; }
  // values [rows, tokens, width] of the keys' site; real [n] int64: which of rows x tokens are no
  // padding.
  void add(const at::Tensor& values, const at::Tensor& real) {
    const at::Tensor keys =
        slot_.keys_of(values).flatten(0, 1).index_select(0, real).to(at::kDouble);
    if (!sum_.defined()) sum_ = at::zeros({keys.size(1), keys.size(1)}, keys.options());
    sum_.addmm_(keys.t(), keys);
    count_ += keys.size(0);
  }
  at::Tensor covariance(double shrinkage) const {
    const at::Tensor c = sum_ / count_;
    const double mean = c.trace().item<double>() / static_cast<double>(c.size(0));
    return (1 - shrinkage) * c + shrinkage * mean * at::eye(c.size(0), c.options());
  }

 private:
  const EditSlot& slot_;
  at::Tensor sum_;
  std::int64_t count_ = 0;
};

// Where the tokens of rows padded to the first one's length stand.
at::Tensor real_tokens(const std::vector<std::int64_t>& lengths, at::Device device) {
  std::vector<std::int64_t> real;
  for (size_t row = 0; row < lengths.size(); ++row)
    for (std::int64_t token = 0; token < lengths[row]; ++token)
      real.push_back(static_cast<std::int64_t>(row) * lengths[0] + token);
  return indices_on(real, device);
}

void add_runs(const Network& network, const std::vector<std::vector<int>>& runs,
              std::vector<KeySum>& sums) {
  const at::NoGradGuard no_graph;
  const ReferenceRows forward(network);
  int end = 0;
  for (const KeySum& sum : sums) {
    const SiteAt at = sum.slot().key_site();
    end = std::max(end, at.site == Site::kH ? at.layer : at.layer + 1);
  }
  std::vector<std::int64_t> lengths;
  for (const std::vector<int>& ids : runs) lengths.push_back(static_cast<std::int64_t>(ids.size()));
  for (const std::vector<size_t>& batch : row_batches(lengths, network.architecture())) {
    std::vector<std::vector<int>> rows;
    std::vector<std::int64_t> row_lengths;
    for (const size_t i : batch) {
      rows.push_back(runs[i]);
      row_lengths.push_back(lengths[i]);
    }
    const at::Tensor real = real_tokens(row_lengths, network.device());
    forward.through(forward.embedded(rows), 0, end, [&](SiteAt at, const at::Tensor& value) {
      for (KeySum& sum : sums)
        if (sum.slot().key_site() == at) sum.add(value, real);
    });
  }
}

std::vector<at::Tensor> covariances(const Network& network, std::span<const EditSlot> slots,
                                    const std::vector<std::vector<int>>& runs, double shrinkage) {
  if (runs.empty()) throw std::invalid_argument("a covariance of no runs");
  std::vector<KeySum> sums;
  std::vector<size_t> which;  // of the sums, per slot
  for (const EditSlot& slot : slots) {
    const auto same = std::find_if(sums.begin(), sums.end(),
                                   [&](const KeySum& sum) { return sum.slot().shares_keys(slot); });
    which.push_back(static_cast<size_t>(same - sums.begin()));
    if (same == sums.end()) sums.emplace_back(slot);
  }
  add_runs(network, runs, sums);
  std::vector<at::Tensor> of_sums, all;
  for (const KeySum& sum : sums) of_sums.push_back(sum.covariance(shrinkage));
  for (const size_t i : which) all.push_back(of_sums[i]);
  return all;
}

}  // namespace

at::Tensor key_covariance(const EditSlot& slot, const std::vector<std::vector<int>>& runs,
                          double shrinkage) {
  return covariances(slot.network(), {&slot, 1}, runs, shrinkage).front();
}

std::vector<at::Tensor> key_covariances(const Network& network, std::span<const MatrixAt> places,
                                        const std::vector<std::vector<int>>& runs,
                                        double shrinkage) {
  std::vector<EditSlot> slots;
  for (const MatrixAt& place : places) slots.emplace_back(network, place.matrix, place.layer);
  return covariances(network, slots, runs, shrinkage);
}

at::Tensor solved(const at::Tensor& covariance, const at::Tensor& columns) {
  const auto [factor, info] = at::linalg_cholesky_ex(covariance);
  // What is left of a key's own square when the keys before it are taken out; of one that they
  // determine, rounding.
  const double left = (factor.diagonal().square() / covariance.diagonal()).min().item<double>();
  const double rounding =
      static_cast<double>(covariance.size(0)) * std::numeric_limits<double>::epsilon();
  if (info.item<int>() != 0 || !(left > rounding))
    throw InputError("covariance",
                     fmt::format("the keys of {} numbers are linearly dependent, so their "
                                 "covariance has no inverse",
                                 covariance.size(0)),
                     "raise its shrinkage or its number of tokens");
  return at::cholesky_solve(columns, factor);
}

}  // namespace factflow
