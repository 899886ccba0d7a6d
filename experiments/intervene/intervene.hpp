// Interventions of every kind, in every window of some sizes: probability, rank and log change of
// the answer. A row of the configuration is what acts together in one run; a row that takes one
// token after the other gives maps of single prompts.
#pragma once

#include <string>
#include <vector>

#include "experiments/experiment.hpp"
#include "experiments/intervene/rows.hpp"
#include "experiments/parts/parts.hpp"

namespace factflow {

const ExperimentKind& intervene_kind();

// A set of channels by decay, or a slice by the decay that happens in prompts.
struct EdgeChannels {
  ChannelSet set = {};
  bool happened = false;
  bool operator==(const EdgeChannels&) const = default;
};

// One `block` of a row: every combination is an action of its own.
struct BlockConfig {
  std::vector<TokenGroup> from, to;
  std::vector<Block::Through> through = {Block::Through::kState};
  std::vector<EdgeChannels> channels = {EdgeChannels{}};
  std::vector<int> heads = {}, channel_list = {};  // all of them together
  std::vector<std::string> parts = {};
  std::vector<Path> path = {Path::kBoth};
  bool erase = false;
  bool operator==(const BlockConfig&) const = default;
};

// One `set` or `add` of a row, likewise.
struct WriteConfig {
  std::vector<Site> sites;
  std::vector<TokenGroup> tokens;
  std::vector<ValueSpec> values;
  std::vector<int> channel_list = {};
  double scale = 1;
  bool operator==(const WriteConfig&) const = default;
};

// Exactly one of the three.
struct ActionConfig {
  std::vector<BlockConfig> block = {};
  std::vector<WriteConfig> set = {}, add = {};
  bool operator==(const ActionConfig&) const = default;
};

// One action, or several that act together.
struct RowConfig : ActionConfig {
  std::string name = {};
  std::vector<ActionConfig> together = {};
  bool operator==(const RowConfig&) const = default;
};

// Prompts of the dataset whose values others take up.
struct ReferencesConfig {
  int prompts = 0;  // 0 = kUsualReferences, or all that there are
  std::uint64_t seed = 1;
  bool operator==(const ReferencesConfig&) const = default;
};
inline constexpr int kUsualReferences = 16;

struct InterveneConfig : Entry {
  WindowsConfig windows = {};
  std::vector<RowConfig> rows = {};
  ReferencesConfig references = {};
  RankingConfig ranking = {};
  bool operator==(const InterveneConfig&) const = default;
};
Form<std::vector<InterveneConfig>> intervene_form();
Form<RowConfig> row_form();  // of one line
Form<TokenGroup> token_group_form();

// The rows that a line of the configuration stands for, in its order.
std::vector<RowSpec> rows_of(const RowConfig& row, const ReferencesConfig& references);

}  // namespace factflow
