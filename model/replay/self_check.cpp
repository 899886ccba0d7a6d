#include "model/replay/self_check.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <vector>

#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include "base/text.hpp"
#include "model/device.hpp"
#include "model/reference/reference.hpp"

namespace factflow {
namespace {

constexpr size_t kRunsOfAKind = 5;
constexpr double kSmallest = 1e-6;  // probability; nobody looks at smaller differences

std::string through_in_words(Block::Through through) {
  switch (through) {
    case Block::Through::kState:
      return "edges";
    case Block::Through::kConvolution:
      return "edges of the convolution";
    case Block::Through::kMixer:
      return "edges of the mixer";
  }
  return "edges";
}

// What goes the same way through the kernels: "edges", "conv set".
std::string kind_of(const Series& series) {
  std::string kind;
  for (const Intervention& intervention : series.interventions) {
    if (!kind.empty()) kind += " + ";
    if (const auto* write = std::get_if<Write>(&intervention)) {
      kind += to_string(write->site) + (write->add ? " added to" : " set");
      continue;
    }
    const Block& block = std::get<Block>(intervention);
    const auto* set = std::get_if<ChannelSet>(&block.selection);
    kind += through_in_words(block.through);
    if (set == nullptr)
      kind += std::holds_alternative<Heads>(block.selection) ? " of heads" : " of channels";
    else if (set->kind != ChannelSet::Kind::kAll)
      kind += " of channel sets";
    if (block.targets.size() > 1) kind += " into several tokens";
  }
  return kind;
}

struct Run {
  size_t series, index;
};

// Some runs of every kind: the first, the last, and some between.
std::map<std::string, std::vector<Run>> sample_of(const ReplayRequest& request) {
  std::map<std::string, std::vector<Run>> all;
  for (size_t s = 0; s < request.series.size(); ++s) {
    std::vector<Run>& runs = all[kind_of(request.series[s])];
    for (size_t i = 0; i < request.series[s].runs(); ++i) runs.push_back({s, i});
  }
  for (auto& [kind, runs] : all) {
    if (runs.size() <= kRunsOfAKind) continue;
    std::vector<Run> some;
    for (size_t i = 0; i < kRunsOfAKind; ++i)
      some.push_back(runs[i * (runs.size() - 1) / (kRunsOfAKind - 1)]);
    runs = std::move(some);
  }
  return all;
}

// What no right computation in this precision reaches: far above the noise that the oracle measures
// in random models (docs/precision.md), far below what a wrong kernel gives.
void set_limits(Precision precision, SelfCheck& check) {
  switch (precision) {
    case Precision::kFp64:
      check.largest_allowed = check.median_allowed = 1e-6;
      return;
    case Precision::kFp32:
    case Precision::kTf32x3:
      check.largest_allowed = 2e-2;
      check.median_allowed = 2e-3;
      return;
    case Precision::kTf32:
      check.largest_allowed = 1;
      check.median_allowed = 0.1;
      return;
    case Precision::kBf16:
      check.largest_allowed = 2;
      check.median_allowed = 0.3;
      return;
  }
}

double difference(double probability, double expected) {
  const double apart = std::abs(std::log((probability + kSmallest) / (expected + kSmallest)));
  return std::isnan(apart) ? std::numeric_limits<double>::infinity() : apart;
}

}  // namespace

std::string SelfCheck::in_words() const {
  return fmt::format("largest difference {:.2g} (median {:.2g}) in {} against whole forwards: {}",
                     largest, median, counted(static_cast<std::uint64_t>(runs), "run"), of);
}

int self_check_runs(const ReplayRequest& request) {
  size_t runs = 1;
  for (const auto& [kind, some] : sample_of(request)) runs += some.size();
  return static_cast<int>(runs);
}

SelfCheck check_against_reference(ReplayEngine& engine, const Network& network,
                                  const ReplayRequest& request) {
  const ReplayResult found = engine.run({&request, 1})[0];
  const c10::InferenceMode inference;
  allow_tf32(false);  // of the reference's products
  const ReferenceForward reference(network);
  SelfCheck check;
  set_limits(network.precision(), check);
  std::vector<double> all;
  const auto compare = [&](const Answer& answer, const std::vector<Intervention>& interventions,
                           const std::string& what) {
    const at::Tensor log = reference.log_probabilities(request.ids, interventions);
    const double ours = std::exp(answer.log_probability),
                 theirs = std::exp(log[request.answer].item<double>());
    // A model whose numbers overflow here does so in both; the prompt is recorded as failed.
    if (!std::isfinite(ours) && !std::isfinite(theirs)) return;
    const double apart = difference(ours, theirs);
    if (all.empty() || apart > check.largest) {
      check.largest = apart;
      check.of = what;
    }
    all.push_back(apart);
  };
  compare(found.clean, {}, "the clean run");
  for (const auto& [kind, runs] : sample_of(request))
    for (const Run& run : runs) {
      const Series& series = request.series[run.series];
      const std::string layers =
          series.windows ? fmt::format(", layers {} to {}", (*series.windows)[run.index].begin,
                                       (*series.windows)[run.index].end - 1)
                         : "";
      // Rank 0: the prompt or the model has no such edge, so there is nothing to compare.
      const Answer& answer = found.knockouts[run.series][run.index];
      if (answer.rank != 0) compare(answer, series.run(run.index), kind + layers);
    }
  check.runs = static_cast<int>(all.size());
  if (all.empty()) return check;
  std::sort(all.begin(), all.end());
  check.median = all[all.size() / 2];
  return check;
}

}  // namespace factflow
