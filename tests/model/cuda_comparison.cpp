#include "cuda_comparison.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <iostream>
#include <random>
#include <utility>

#include <gtest/gtest.h>

namespace factflow {
namespace {

// Of float32's noise: how far a device may be off.
const std::vector<std::pair<Precision, double>> kFactors = {{Precision::kFp32, 8},
                                                            {Precision::kTf32x3, 64},
                                                            {Precision::kTf32, 4 << 13},
                                                            {Precision::kBf16, 4 << 16}};

// function(an answer of `one`, the same of `other`); whether both have the same answers.
bool each_answer(const std::vector<ReplayResult>& one, const std::vector<ReplayResult>& other,
                 const std::function<void(const Answer&, const Answer&)>& function) {
  if (one.size() != other.size()) return false;
  for (size_t r = 0; r < one.size(); ++r) {
    function(one[r].clean, other[r].clean);
    if (one[r].knockouts.size() != other[r].knockouts.size()) return false;
    for (size_t c = 0; c < one[r].knockouts.size(); ++c) {
      if (one[r].knockouts[c].size() != other[r].knockouts[c].size()) return false;
      for (size_t w = 0; w < one[r].knockouts[c].size(); ++w)
        function(one[r].knockouts[c][w], other[r].knockouts[c][w]);
    }
  }
  return true;
}

bool same_bits(const std::vector<ReplayResult>& one, const std::vector<ReplayResult>& other) {
  bool same = true;
  const bool complete = each_answer(one, other, [&](const Answer& a, const Answer& b) {
    same = same && a.rank == b.rank && (a.rank == 0 || a.log_probability == b.log_probability);
  });
  return complete && same;
}

}  // namespace

namespace {

double distance(const at::Tensor& found, const at::Tensor& expected) {
  const at::Tensor difference = found.to(at::kDouble) - expected;
  const double off = (difference.norm() / expected.norm()).item<double>();
  return std::isnan(off) ? INFINITY : off;
}

}  // namespace

double distance(const std::vector<ReplayResult>& found, const std::vector<ReplayResult>& expected,
                double share) {
  std::vector<double> all;
  const bool complete = each_answer(found, expected, [&](const Answer& one, const Answer& other) {
    const double off =
        std::abs(one.log_probability - other.log_probability) / (1 - other.log_probability);
    if (one.rank == 0 && other.rank == 0) return;
    all.push_back((one.rank == 0) != (other.rank == 0) || std::isnan(off) ? INFINITY : off);
  });
  if (!complete) return INFINITY;
  for (size_t r = 0; r < found.size(); ++r)
    for (size_t i = 0; i < expected[r].reads.size(); ++i)
      all.push_back(distance(found[r].reads[i].value().cpu(), expected[r].reads[i].value()));
  if (all.empty()) return 0;
  std::sort(all.begin(), all.end());
  return all[static_cast<size_t>(share * static_cast<double>(all.size() - 1))];
}

double keep_their_experts(Precision precision) {
  switch (precision) {
    case Precision::kTf32:
      return 0.75;
    case Precision::kBf16:
      return 0.5;
    default:
      return 0.9;
  }
}

std::vector<Window> all_windows(int layers) {
  std::vector<Window> windows;
  for (int begin = 0; begin < layers; ++begin)
    for (int end = begin + 1; end <= layers; ++end) windows.push_back({begin, end});
  return windows;
}

CudaComparison::CudaComparison(nlohmann::json config, RandomTensors tensors, unsigned nudges)
    : config_(std::move(config)), tensors_(std::move(tensors)), nudges_(nudges) {
  checkpoint_ = written(tensors_);
  cpu_ = Network::load(checkpoint_, at::kCPU, Precision::kFp64);
}

void CudaComparison::compare(const std::vector<std::vector<ReplayRequest>>& lists,
                             std::int64_t rows) const {
  std::vector<std::vector<ReplayResult>> expected;
  std::vector<double> noise;
  for (const std::vector<ReplayRequest>& requests : lists) {
    expected.push_back(ReplayEngine(*cpu_).run(requests));
    noise.push_back(amplified_rounding(requests, expected.back()));
  }
  for (const auto& [precision, factor] : kFactors) {
    const auto network = Network::load(checkpoint_, at::Device(at::kCUDA, 0), precision);
    for (size_t i = 0; i < lists.size(); ++i)
      for (const std::int64_t rows_per_pass : {std::int64_t{0}, rows}) {
        SCOPED_TRACE(testing::Message() << to_string(precision) << ", list " << i
                                        << ", rows per pass " << rows_per_pass);
        ReplayEngine engine(*network, 0, rows_per_pass);
        const std::vector<ReplayResult> found = engine.run(lists[i]);
        const double off = distance(found, expected[i], share(precision));
        EXPECT_LT(off, factor * noise[i]);
        EXPECT_TRUE(same_bits(engine.run(lists[i]), found)) << "not the same bits twice";
        std::cout << "  " << to_string(precision) << ", list " << i << ", rows " << rows_per_pass
                  << ": off by " << off << ", noise " << noise[i] << std::endl;
      }
  }
}

double CudaComparison::share(Precision precision) const {
  return architecture().routes() ? keep_their_experts(precision) : 1;
}

std::shared_ptr<const Checkpoint> CudaComparison::written(const RandomTensors& tensors) const {
  const TemporaryDirectory directory;
  write_checkpoint(directory.path(), config_, tensors);
  return std::make_shared<const Checkpoint>(Checkpoint::open(directory.path().string()));
}

// How far float32 on the CPU is off, and float64 once every weight has moved.
double CudaComparison::amplified_rounding(const std::vector<ReplayRequest>& requests,
                                          const std::vector<ReplayResult>& expected) const {
  const auto fp32 = Network::load(checkpoint_, at::kCPU, Precision::kFp32);
  const double of_answers = share(Precision::kFp32);
  double noise = std::max(1e-6, distance(ReplayEngine(*fp32).run(requests), expected, of_answers));
  for (unsigned seed = 1; seed <= nudges_; ++seed) {
    RandomTensors moved = tensors_;
    move_to_neighbours(moved, seed);
    const auto network = Network::load(written(moved), at::kCPU, Precision::kFp64);
    noise = std::max(noise, distance(ReplayEngine(*network).run(requests), expected, of_answers));
  }
  return noise;
}

}  // namespace factflow
