#include "bench/whole_forwards.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include <c10/core/InferenceMode.h>

#include "model/device.hpp"
#include "model/families/family.hpp"
#include "model/reference/reference.hpp"
#include "model/weights.hpp"
#include "tests/model/naive_forward.hpp"

namespace factflow {
namespace {

constexpr size_t kForwards = 12;

using LogProbabilities =
    std::function<at::Tensor(const std::vector<int>& ids, const Block& knockout)>;

NaiveModel naive_model(const BenchShape& shape, at::Device device, Precision precision) {
  const Architecture architecture = bench_architecture(shape);
  const TensorTable table = family_named(architecture.family).tensors(architecture);
  Weights weights(table, device, precision, kBenchSeed);
  std::map<std::string, at::Tensor> tensors;
  for (const TensorEntry& entry : table.entries) tensors[entry.name] = weights.take(entry.name);
  return NaiveModel(nlohmann::json::parse(shape.config), std::move(tensors));
}

// Of families, or of parts of an edge, that the naive forward does not know: the reference forward
// (model/reference/), which shares no kernel with the engine; on a GPU in float32, where networks
// have no float64.
LogProbabilities forward_of(const BenchShape& shape, at::Device device, Precision precision,
                            bool parts) {
  if (NaiveModel::knows(bench_architecture(shape).family) && !parts) {
    const auto model = std::make_shared<const NaiveModel>(naive_model(shape, device, precision));
    return [model](const std::vector<int>& ids, const Block& knockout) {
      return model->log_probabilities(ids, knockout);
    };
  }
  const std::shared_ptr<const Network> network =
      Network::random(bench_architecture(shape), device,
                      device.is_cpu() ? Precision::kFp64 : Precision::kFp32, kBenchSeed);
  return [network](const std::vector<int>& ids, const Block& knockout) {
    const FullProducts full;
    return ReferenceForward(*network).log_probabilities(ids, std::vector<Intervention>{knockout});
  };
}

std::vector<Answer> all_answers(const std::vector<ReplayResult>& results) {
  std::vector<Answer> all;
  for (const ReplayResult& result : results) {
    all.push_back(result.clean);
    for (const std::vector<Answer>& cut : result.knockouts)
      all.insert(all.end(), cut.begin(), cut.end());
  }
  return all;
}

}  // namespace

WholeForwards::WholeForwards(const BenchShape& shape, at::Device device, Precision precision,
                             std::span<const ReplayRequest> requests) {
  {
    const c10::InferenceMode inference;
    const LogProbabilities log_probabilities = forward_of(
        shape, device, precision,
        !std::holds_alternative<ChannelSet>(requests.front().series.front().block().selection));
    for (size_t i = 0; i < kForwards; ++i) {
      const size_t r = i * (requests.size() - 1) / (kForwards - 1);
      const ReplayRequest& request = requests[r];
      const size_t c = i % request.series.size();
      const Series& cut = request.series[c];
      const size_t w = i * (cut.runs() - 1) / (kForwards - 1);
      const at::Tensor logs = log_probabilities(request.ids, std::get<Block>(cut.run(w).front()));
      forwards_.push_back({r, c, w, logs[request.answer].item<double>()});
    }
  }
  release_cached_memory(device);
}

double WholeForwards::distance(const std::vector<ReplayResult>& results) const {
  double worst = 0;
  for (const Forward& forward : forwards_) {
    const double found =
        results.at(forward.request).knockouts.at(forward.cut).at(forward.window).log_probability;
    const double off = std::abs(found - forward.log_probability) / (1 - forward.log_probability);
    worst = std::isnan(off) ? INFINITY : std::max(worst, off);
  }
  return worst;
}

double tolerance(const RoundingTolerances& of, Precision precision) {
  switch (precision) {
    case Precision::kFp64:
      return of.fp64;
    case Precision::kFp32:
      return of.fp32;
    case Precision::kTf32x3:
      return of.tf32x3;
    case Precision::kTf32:
      return of.tf32;
    case Precision::kBf16:
      return of.bf16;
  }
  return 0;
}

std::int64_t count_not_finite(const std::vector<ReplayResult>& results) {
  std::int64_t bad = 0;
  for (const Answer& answer : all_answers(results))
    bad += answer.rank > 0 && std::isfinite(answer.log_probability) ? 0 : 1;
  return bad;
}

std::int64_t count_changed(const std::vector<ReplayResult>& one,
                           const std::vector<ReplayResult>& other) {
  const std::vector<Answer> a = all_answers(one), b = all_answers(other);
  std::int64_t changed = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    changed += a[i].rank == b[i].rank && a[i].log_probability == b[i].log_probability ? 0 : 1;
  return changed;
}

}  // namespace factflow
