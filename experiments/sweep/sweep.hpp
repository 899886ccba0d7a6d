// Knockouts between roles of tokens, in every window of some sizes: probability, rank and ties of
// the answer.
#pragma once

#include <string>
#include <vector>

#include "experiments/experiment.hpp"
#include "experiments/parts/part_name.hpp"
#include "model/intervention.hpp"
#include "model/knockout.hpp"

namespace factflow {

const ExperimentKind& sweep_kind();

// One line of sweep.knockouts: every combination from x to x channels x path is one edge.
struct KnockoutConfig {
  std::vector<TokenRole> from;
  std::vector<TokenRole> to;
  std::vector<ChannelSet> channels = {ChannelSet{}};
  std::vector<PartName> parts = {};  // beside these
  std::vector<Path> path = {Path::kBoth};
  bool operator==(const KnockoutConfig&) const = default;
};

struct SweepConfig : Entry {
  WindowsConfig windows = {};
  std::vector<KnockoutConfig> knockouts = {};
  bool operator==(const SweepConfig&) const = default;
};
Form<std::vector<SweepConfig>> sweep_form();

// One line of the edge axis: blocks `from` -> `to` on the channels.
struct EdgeSpec {
  TokenRole from = TokenRole::kSubject;
  TokenRole to = TokenRole::kLast;
  ChannelSet channels;
  Path path = Path::kBoth;
  // If it has indices, in place of the set: these heads or channels, in every layer.
  std::string part = {};
  PartOf what = PartOf::kChannels;
  std::vector<int> indices = {};
};
// "subject->last", "subject->last/slow", "subject->last/group 2/3", "subject->last (attention)"
std::string label_of(const EdgeSpec& edge);

// What the sweeps ask of one model; what is asked of a prompt are items of `edges` and places in
// `series`.
struct SweepPlan {
  std::vector<EdgeSpec> edges;
  std::vector<WindowSeries> series;
  bool routes = false;  // whether the model has experts among which tokens choose
};
SweepPlan decode_sweep_plan(const std::string& bytes);  // of the kind's Work::bytes()

}  // namespace factflow
