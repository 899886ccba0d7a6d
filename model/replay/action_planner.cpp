#include "model/replay/action_planner.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "model/replay/source_flags.hpp"

namespace factflow {
namespace {

using kernels::CutTerm;
using kernels::SiteWrite;

const std::vector<int>& layers_of(const Intervention& intervention) {
  return std::visit([](const auto& one) -> const std::vector<int>& { return one.layers; },
                    intervention);
}

// The index of an item of a list to which it is added if need be.
template <class Item>
std::int32_t index_in(std::vector<Item>& list, const Item& item) {
  const auto found = std::find(list.begin(), list.end(), item);
  const auto index = static_cast<std::int32_t>(found - list.begin());
  if (found == list.end()) list.push_back(item);
  return index;
}

void mark(std::vector<std::uint8_t>& layers, int count, const Window& window) {
  layers.resize(static_cast<size_t>(count), std::uint8_t{0});
  for (int l = window.begin; l < std::min(window.end, count); ++l)
    layers[static_cast<size_t>(l)] = 1;
}

// Moves what is done to the tokens of a row to the lists of the plan.
template <class Action, class Target>
void flush(std::vector<std::pair<std::int32_t, Action>>& by_token, const kernels::Row& row,
           std::vector<Target>& targets, std::vector<Action>& actions) {
  if (by_token.empty()) return;
  std::stable_sort(by_token.begin(), by_token.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  for (size_t begin = 0, end = 0; begin < by_token.size(); begin = end) {
    const auto first = static_cast<std::int32_t>(actions.size());
    for (; end < by_token.size() && by_token[end].first == by_token[begin].first; ++end)
      actions.push_back(by_token[end].second);
    targets.push_back({row.column + by_token[begin].first - row.first_token, first,
                       static_cast<std::int32_t>(actions.size())});
  }
  by_token.clear();
}

}  // namespace

std::vector<Window> windows_of_layers(std::vector<int> layers) {
  std::sort(layers.begin(), layers.end());
  std::vector<Window> windows;
  for (const int layer : layers) {
    if (windows.empty() || layer > windows.back().end)
      windows.push_back({layer, layer + 1});
    else
      windows.back().end = layer + 1;
  }
  return windows;
}

std::int32_t ActionPlanner::add_sources(const Block& block, size_t tokens) {
  const auto at = static_cast<std::int32_t>(plan_.flags.size());
  plan_.flags.resize(plan_.flags.size() + tokens, std::uint8_t{0});
  for (const int source : block.sources)
    plan_.flags[static_cast<size_t>(at + source)] = source_flags(block.erase);
  return at;
}

std::int32_t ActionPlanner::add_mean(Site at, const MeanOfRuns& mean) {
  const auto [known, is_new] =
      means_.try_emplace({at, mean.runs}, static_cast<std::int32_t>(site(at).means.size()));
  if (!is_new) return known->second;
  std::vector<std::int32_t>& columns = site(at).mean_columns;
  const auto begin = static_cast<std::int32_t>(columns.size());
  for (const std::vector<int>& ids : mean.runs) {
    const kernels::Row& row = plan_.rows[static_cast<size_t>(clean_row_of_.at(ids))];
    for (std::int32_t i = 0; i < row.count; ++i) columns.push_back(row.column + i);
  }
  site(at).means.push_back({begin, static_cast<std::int32_t>(columns.size())});
  return known->second;
}

ActionPlanner::Prepared ActionPlanner::prepare(const Block& block, size_t tokens) {
  Prepared prepared;
  prepared.sources = add_sources(block, tokens);
  if (block.through != Block::Through::kConvolution)
    prepared.state_mask = index_in(plan_.selections, StateSelection{block.selection, block.path});
  if (block.through != Block::Through::kState && mixer_.taps > 0 &&
      covers(block.path, Path::kRecurrent))
    prepared.tap_mask = index_in(plan_.tap_selections, TapSelection{block.selection, block.parts});
  return prepared;
}

ActionPlanner::Prepared ActionPlanner::prepare(const Write& write) {
  Prepared prepared;
  SiteWrite& to = prepared.write;
  to = {0, 0, SiteWrite::kZero, 0, -1, 0, write.add ? 1 : 0, write.scale};
  SitePlan& at = site(write.site);
  if (write.channels) {
    to.channels = static_cast<std::int32_t>(plan_.listed_channels.size());
    to.count = static_cast<std::int32_t>(write.channels->size());
    for (const int channel : *write.channels) {
      plan_.listed_channels.push_back(channel);
      at.widest = std::max(at.widest, channel + 1);
    }
  }
  if (const auto* vector = std::get_if<Vector>(&write.value)) {
    to.kind = SiteWrite::kVector;
    to.source = static_cast<std::int32_t>(plan_.constants.size());
    plan_.constants.insert(plan_.constants.end(), vector->values.begin(), vector->values.end());
    if (!write.channels) at.vector = static_cast<int>(vector->values.size());
  } else if (const auto* other = std::get_if<OtherRun>(&write.value)) {
    to.kind = SiteWrite::kColumn;
    const kernels::Row& row = plan_.rows[static_cast<size_t>(clean_row_of_.at(other->ids))];
    for (const int token : other->tokens) prepared.columns.push_back(row.column + token);
  } else if (const auto* mean = std::get_if<MeanOfRuns>(&write.value)) {
    to.kind = SiteWrite::kMean;
    to.source = add_mean(write.site, *mean);
  }
  return prepared;
}

void ActionPlanner::begin(const EffectiveSeries& series) {
  const auto tokens = static_cast<size_t>(plan_.rows[static_cast<size_t>(series.request)].count);
  std::vector<Prepared>& prepared = prepared_[&series];
  for (const Intervention& intervention : series.beside) {
    if (const auto* block = std::get_if<Block>(&intervention))
      prepared.push_back(prepare(*block, tokens));
    else
      prepared.push_back(prepare(std::get<Write>(intervention)));
  }
}

void ActionPlanner::add_row(const EffectiveSeries& series, const kernels::Row& row,
                            const Window& window) {
  const std::vector<Prepared>& prepared = prepared_.at(&series);
  for (size_t i = 0; i < series.beside.size(); ++i) {
    const Intervention& one = series.beside[i];
    const auto add = [&](const Window& layers) {
      if (const auto* block = std::get_if<Block>(&one))
        add_block(*block, prepared[i], layers);
      else
        add_write(std::get<Write>(one), prepared[i], layers);
    };
    if (series.as_written)
      for (const Window& layers : windows_of_layers(layers_of(one))) add(layers);
    else
      add(window);
  }
  for (size_t s = 0; s < kSites; ++s)
    flush(writes_[s], row, plan_.sites[s].targets, plan_.sites[s].writes);
  for (const Path path : kMixerPaths) {
    const auto p = static_cast<size_t>(path);
    flush(state_terms_[p], row, plan_.state_cuts[p].targets, plan_.state_cuts[p].terms);
  }
  flush(tap_terms_, row, plan_.tap_cuts.targets, plan_.tap_cuts.terms);
}

void ActionPlanner::add_block(const Block& block, const Prepared& prepared, const Window& layers) {
  for (const int target : block.targets) {
    if (prepared.state_mask >= 0)
      for (const Path path : kMixerPaths)
        if (covers(block.path, path) && mixer_.has(path))
          state_terms_[static_cast<size_t>(path)].push_back(
              {target, {layers.begin, layers.end, prepared.sources, prepared.state_mask}});
    if (prepared.tap_mask >= 0)
      tap_terms_.push_back(
          {target, {layers.begin, layers.end, prepared.sources, prepared.tap_mask}});
  }
  if (prepared.state_mask >= 0)
    for (const Path path : kMixerPaths)
      if (covers(block.path, path) && mixer_.has(path))
        mark(plan_.state_cuts[static_cast<size_t>(path)].on, mixer_.layers, layers);
  if (prepared.tap_mask >= 0) mark(plan_.tap_cuts.on, mixer_.layers, layers);
  count_edges_of(block, prepared, layers);
}

void ActionPlanner::count_edges_of(const Block& block, const Prepared& prepared,
                                   const Window& layers) {
  if (prepared.state_mask >= 0)
    plan_.blocked_edges += edges_in(mixer_, block.targets, block.sources, layers, block.path);
  if (prepared.tap_mask >= 0)
    plan_.blocked_edges += taps_in(mixer_, block.targets, block.sources, layers, block.path);
}

void ActionPlanner::add_write(const Write& write, const Prepared& prepared, const Window& layers) {
  SiteWrite one = prepared.write;
  one.layer_begin = layers.begin;
  one.layer_end = layers.end;
  for (size_t i = 0; i < write.tokens.size(); ++i) {
    if (one.kind == SiteWrite::kColumn) one.source = prepared.columns[i];
    writes_[static_cast<size_t>(write.site)].push_back({write.tokens[i], one});
    if (write.site == Site::kSkip)
      state_terms_[static_cast<size_t>(Path::kRecurrent)].push_back(
          {write.tokens[i], {layers.begin, layers.end, kernels::kWithoutSkip, 0}});
  }
  mark(site(write.site).written, mixer_.layers + 1, layers);
  if (write.site == Site::kSkip)
    mark(plan_.state_cuts[static_cast<size_t>(Path::kRecurrent)].on, mixer_.layers, layers);
}

void ActionPlanner::add_read(const ReadAt& read, std::int32_t column, std::int32_t request,
                             std::int32_t index) {
  site(read.at.site).reads.push_back({read.at.layer, column, request, index});
}

void ActionPlanner::finish() {
  for (SitePlan& one : plan_.sites)
    std::stable_sort(one.reads.begin(), one.reads.end(),
                     [](const auto& a, const auto& b) { return a.layer < b.layer; });
  find_columns_before_gate();
}

namespace {

// Columns by layer, each once. What is asked for most, comes in order: no sorting, since a pass has
// a million of them.
class ColumnsByLayer {
 public:
  ColumnsByLayer(int layers, std::int32_t columns)
      : columns_(static_cast<size_t>(columns)),
        known_(static_cast<size_t>(layers) * columns_, std::uint8_t{0}),
        lists_(static_cast<size_t>(layers)) {}

  void add(int layer, std::int32_t column) {
    std::uint8_t& known =
        known_[static_cast<size_t>(layer) * columns_ + static_cast<size_t>(column)];
    if (known == 0) lists_[static_cast<size_t>(layer)].push_back(column);
    known = 1;
  }
  std::vector<std::vector<std::int64_t>> take() { return std::move(lists_); }

 private:
  size_t columns_;
  std::vector<std::uint8_t> known_;  // [layer, column]
  std::vector<std::vector<std::int64_t>> lists_;
};

}  // namespace

void ActionPlanner::find_columns_before_gate() {
  const auto between = {Site::kSkip, Site::kS, Site::kSRecurrent, Site::kG};
  if (!mixer_.gates ||
      std::all_of(between.begin(), between.end(), [&](Site at) { return site(at).empty(); }))
    return;
  ColumnsByLayer columns(mixer_.layers, plan_.columns()),
      without_skip(mixer_.layers, plan_.columns());
  for (const Site at : between) {
    const SitePlan& here = site(at);
    for (const SitePlan::Read& read : here.reads) columns.add(read.layer, read.column);
    for (const kernels::SiteTarget& target : here.targets)
      for (std::int32_t w = target.begin; w < target.end; ++w) {
        const SiteWrite& write = here.writes[static_cast<size_t>(w)];
        for (int l = write.layer_begin; l < write.layer_end; ++l) {
          columns.add(l, target.column);
          if (write.kind == SiteWrite::kColumn) columns.add(l, write.source);
          if (at == Site::kSkip) without_skip.add(l, target.column);
        }
      }
    for (int l = 0; l < mixer_.layers && !here.written.empty(); ++l)
      if (here.written[static_cast<size_t>(l)] != 0)
        for (const std::int32_t column : here.mean_columns) columns.add(l, column);
  }
  plan_.before_gate = columns.take();
  plan_.without_skip = without_skip.take();
}

}  // namespace factflow
