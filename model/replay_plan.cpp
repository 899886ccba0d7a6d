#include "model/replay_plan.hpp"

#include <algorithm>
#include <functional>
#include <map>
#include <numeric>
#include <stdexcept>
#include <string>
#include <tuple>

#include "model/network.hpp"

namespace factflow {
namespace {

// A cut that blocks something, with the windows of all cuts that are equal to it in effect.
struct EffectiveCut {
  int request = 0;
  std::vector<int> targets, sources;
  int channels = 0;  // index of the channel set
  std::map<int, std::vector<int>> ends_of_start;  // ascending, unique

  int first_token() const { return targets.front(); }
};

// A row before rows are ordered by birth.
struct Birth {
  int layer = 0;
  int cut = 0;
  int start = 0;
  int end = 0;           // window end this row answers for
  bool trajectory = true;  // else a shorter window that leaves its trajectory at `layer`
};

class Planner {
 public:
  Planner(std::span<const ReplayRequest> requests, int layers, int channel_count, bool keep_states)
      : requests_(requests), layers_(layers), channel_count_(channel_count), keep_states_(keep_states) {
    plan_.layers = layers;
  }

  ReplayPlan run() {
    for (const ReplayRequest& request : requests_) check(request);
    collect_cuts();
    add_clean_rows();
    add_slots();
    add_replayed_rows();
    add_groups();
    find_answers();
    return std::move(plan_);
  }

 private:
  // Cuts are equal if they block the same pairs on the same channels: positions that block nothing are dropped first.
  using CutKey = std::tuple<std::vector<int>, std::vector<int>, int>;

  void check(const ReplayRequest& request) const {
    if (request.ids.empty()) throw std::invalid_argument("a prompt without tokens");
    const int length = static_cast<int>(request.ids.size());
    const auto inside = [&](int position) { return position >= 0 && position < length; };
    for (const EdgeCut& cut : request.cuts) {
      if (!std::all_of(cut.targets.begin(), cut.targets.end(), inside) || !std::all_of(cut.sources.begin(), cut.sources.end(), inside))
        throw std::invalid_argument("a knockout outside the prompt's " + std::to_string(length) + " tokens");
      for (const std::vector<int>* positions : {&cut.targets, &cut.sources})
        if (std::adjacent_find(positions->begin(), positions->end(), std::greater_equal<>()) != positions->end())
          throw std::invalid_argument("positions of a knockout that are not ascending, or twice the same");
      for (const Window& window : cut.windows)
        if (window.begin < 0 || window.end > layers_ || window.begin > window.end)
          throw std::invalid_argument("a window outside the model's " + std::to_string(layers_) + " layers");
    }
  }

  int channel_index(const ChannelSet& set) {
    const auto found = std::find(plan_.channel_sets.begin(), plan_.channel_sets.end(), set);
    if (found == plan_.channel_sets.end()) plan_.channel_sets.push_back(set);
    return static_cast<int>(std::find(plan_.channel_sets.begin(), plan_.channel_sets.end(), set) - plan_.channel_sets.begin());
  }

  bool channels_exist(const ChannelSet& set) const {
    if (channel_count_ == 0) return set.kind == ChannelSet::Kind::kAll;
    return !is_empty(set, channel_count_);
  }

  void collect_cuts() {
    cut_of_.resize(requests_.size());
    for (size_t r = 0; r < requests_.size(); ++r) {
      std::map<CutKey, int> known;
      for (const EdgeCut& cut : requests_[r].cuts) {
        cut_of_[r].push_back(-1);
        if (cut.targets.empty() || cut.sources.empty() || !channels_exist(cut.channels)) continue;
        std::vector<int> targets, sources;
        const int first_source = *std::min_element(cut.sources.begin(), cut.sources.end());
        const int last_target = *std::max_element(cut.targets.begin(), cut.targets.end());
        for (const int target : cut.targets)
          if (target >= first_source) targets.push_back(target);
        for (const int source : cut.sources)
          if (source <= last_target) sources.push_back(source);
        if (targets.empty()) continue;
        const int channels = channel_index(cut.channels);
        const auto [entry, added] = known.try_emplace({targets, sources, channels}, static_cast<int>(cuts_.size()));
        if (added) cuts_.push_back({static_cast<int>(r), targets, sources, channels, {}});
        cut_of_[r].back() = entry->second;
        for (const Window& window : cut.windows) {
          if (window.begin == window.end) continue;  // an empty window is the clean run
          std::vector<int>& ends = cuts_[static_cast<size_t>(entry->second)].ends_of_start[window.begin];
          if (const auto at = std::lower_bound(ends.begin(), ends.end(), window.end); at == ends.end() || *at != window.end)
            ends.insert(at, window.end);
        }
      }
    }
  }

  void add_row(const kernels::Row& row, int request) {
    plan_.request_of.push_back(request);
    for (std::int32_t i = 0; i < row.count; ++i) {
      const std::int32_t token = row.first_token + i;
      const std::int32_t before = i > 0 ? row.column + i - 1 : row.clean_column + token - 1;
      plan_.previous.push_back(token == 0 ? -1 : before);
      plan_.position.push_back(token);
      plan_.row_of.push_back(static_cast<std::int32_t>(plan_.rows.size()));
    }
    plan_.rows.push_back(row);
  }

  void add_clean_rows() {
    for (size_t r = 0; r < requests_.size(); ++r) {
      const std::vector<int>& ids = requests_[r].ids;
      const std::int32_t column = plan_.columns();
      const auto count = static_cast<std::int32_t>(ids.size());
      add_row({column, 0, count, column, -1, 0, 0, 0, -1, -1}, static_cast<int>(r));
      plan_.tokens.insert(plan_.tokens.end(), ids.begin(), ids.end());
      plan_.longest = std::max(plan_.longest, count);
    }
    plan_.clean_columns = plan_.columns();
  }

  // Token flags of each cut, and the states that its rows start from: of each prompt first the full ones, then the kept ones.
  void add_slots() {
    flags_of_.resize(cuts_.size());
    full_of_.assign(cuts_.size(), -1);
    kept_of_.assign(cuts_.size(), -1);
    plan_.slot_begin.push_back(0);
    size_t next = 0;
    for (size_t r = 0; r < requests_.size(); ++r) {
      const size_t first = next;
      for (; next < cuts_.size() && cuts_[next].request == static_cast<int>(r); ++next) add_flags(next, requests_[r].ids.size());
      if (keep_states_) {
        add_full_slots(first, next);
        add_kept_slots(first, next);
      }
      plan_.slot_begin.push_back(static_cast<std::int32_t>(plan_.slots.size()));
    }
  }

  void add_flags(size_t c, size_t tokens) {
    flags_of_[c] = static_cast<std::int32_t>(plan_.flags.size());
    plan_.flags.resize(plan_.flags.size() + tokens, std::uint8_t{0});
    std::uint8_t* flags = plan_.flags.data() + flags_of_[c];
    for (const int target : cuts_[c].targets) flags[target] |= kernels::kTarget;
    for (const int source : cuts_[c].sources) flags[source] |= kernels::kSource;
  }

  std::int32_t add_slot(int tokens, std::int32_t flags) {
    plan_.slots.push_back({tokens, flags});
    return static_cast<std::int32_t>(plan_.slots.size()) - 1;
  }

  void add_full_slots(size_t begin, size_t end) {
    std::map<int, std::int32_t> full;  // by token count
    for (size_t c = begin; c < end; ++c) {
      const int tokens = cuts_[c].first_token();
      if (tokens == 0) continue;
      const auto [slot, added] = full.try_emplace(tokens, 0);
      if (added) slot->second = add_slot(tokens, -1);
      full_of_[c] = kept_of_[c] = slot->second;
    }
  }

  void add_kept_slots(size_t begin, size_t end) {
    std::map<std::pair<int, std::vector<int>>, std::int32_t> kept;  // by token count and sources before it
    for (size_t c = begin; c < end; ++c) {
      const EffectiveCut& cut = cuts_[c];
      const int tokens = cut.first_token();
      std::vector<int> before(cut.sources.begin(), std::lower_bound(cut.sources.begin(), cut.sources.end(), tokens));
      if (before.empty()) continue;
      const auto [slot, added] = kept.try_emplace({tokens, std::move(before)}, 0);
      if (added) slot->second = add_slot(tokens, flags_of_[c]);
      kept_of_[c] = slot->second;
    }
    plan_.most_kept = std::max(plan_.most_kept, static_cast<std::int32_t>(kept.size()));
  }

  std::vector<std::vector<Birth>> births_by_layer() const {
    std::vector<std::vector<Birth>> births(static_cast<size_t>(layers_));
    for (size_t c = 0; c < cuts_.size(); ++c) {
      for (const auto& [start, ends] : cuts_[c].ends_of_start) {
        births[static_cast<size_t>(start)].push_back({start, static_cast<int>(c), start, ends.back(), true});
        for (size_t i = 0; i + 1 < ends.size(); ++i)
          births[static_cast<size_t>(ends[i])].push_back({ends[i], static_cast<int>(c), start, ends[i], false});
      }
    }
    return births;
  }

  void add_replayed_rows() {
    row_of_window_.resize(cuts_.size());
    rows_of_cut_.resize(cuts_.size());
    std::vector<std::map<int, std::int32_t>> trajectory(cuts_.size());  // start -> row
    for (const std::vector<Birth>& born : births_by_layer()) {
      for (const Birth& birth : born) {
        const auto c = static_cast<size_t>(birth.cut);
        const EffectiveCut& cut = cuts_[c];
        const kernels::Row& clean = plan_.rows[static_cast<size_t>(cut.request)];
        const std::int32_t first = cut.first_token();
        const std::int32_t source = birth.trajectory
                                        ? clean.column + first
                                        : plan_.rows[static_cast<size_t>(trajectory[c].at(birth.start))].column;
        kernels::Row row{plan_.columns(), first, clean.count - first, clean.column, -1, 0, 0, cut.channels, full_of_[c], kept_of_[c]};
        plan_.suffixes = plan_.suffixes || row.count > 1;
        if (birth.trajectory) {
          row.flags = flags_of_[c];
          row.window_begin = birth.start;
          row.window_end = birth.end;
          trajectory[c][birth.start] = static_cast<std::int32_t>(plan_.rows.size());
          plan_.blocked_edges += static_cast<std::uint64_t>(count_edges(cut.targets, cut.sources)) *
                                 static_cast<std::uint64_t>(birth.end - birth.start);
        }
        rows_of_cut_[c].push_back(static_cast<std::int32_t>(plan_.rows.size()));
        row_of_window_[c].push_back({{birth.start, birth.end}, static_cast<std::int32_t>(plan_.rows.size())});
        for (std::int32_t i = 0; i < row.count; ++i) plan_.parent.push_back(source + i);
        add_row(row, cut.request);
      }
      plan_.rows_alive.push_back(static_cast<std::int32_t>(plan_.rows.size()));
      plan_.columns_alive.push_back(plan_.columns());
    }
  }

  void add_groups() {
    for (const std::vector<std::int32_t>& rows : rows_of_cut_) {
      for (size_t begin = 0; begin < rows.size(); begin += kernels::kRowsPerGroup) {
        const size_t count = std::min<size_t>(kernels::kRowsPerGroup, rows.size() - begin);
        plan_.groups.push_back({static_cast<std::int32_t>(plan_.group_rows.size()), static_cast<std::int32_t>(count)});
        const auto first = rows.begin() + static_cast<std::ptrdiff_t>(begin);
        plan_.group_rows.insert(plan_.group_rows.end(), first, first + static_cast<std::ptrdiff_t>(count));
      }
    }
  }

  void find_answers() {
    for (auto& rows : row_of_window_) std::sort(rows.begin(), rows.end());
    for (size_t r = 0; r < requests_.size(); ++r) {
      auto& answers = plan_.answer_row.emplace_back();
      for (size_t i = 0; i < requests_[r].cuts.size(); ++i) {
        auto& rows = answers.emplace_back();
        const int cut = cut_of_[r][i];
        for (const Window& window : requests_[r].cuts[i].windows) {
          if (cut < 0)
            rows.push_back(ReplayPlan::kNoEdge);
          else if (window.begin == window.end)
            rows.push_back(static_cast<std::int32_t>(r));
          else
            rows.push_back(row_of(cut, window));
        }
      }
    }
  }

  std::int32_t row_of(int cut, const Window& window) const {
    const auto& rows = row_of_window_[static_cast<size_t>(cut)];
    const std::pair<int, int> key{window.begin, window.end};
    return std::lower_bound(rows.begin(), rows.end(), key, [](const auto& entry, const auto& wanted) { return entry.first < wanted; })->second;
  }

  std::span<const ReplayRequest> requests_;
  int layers_, channel_count_;
  bool keep_states_;
  ReplayPlan plan_;
  std::vector<EffectiveCut> cuts_;           // grouped by request
  std::vector<std::vector<int>> cut_of_;     // [request][cut] index in cuts_, -1: blocks nothing
  std::vector<std::int32_t> flags_of_, full_of_, kept_of_;  // per effective cut
  std::vector<std::vector<std::pair<std::pair<int, int>, std::int32_t>>> row_of_window_;  // per cut: (start, end) -> row
  std::vector<std::vector<std::int32_t>> rows_of_cut_;  // in order of birth
};

}  // namespace

ReplayPlan plan_replay(std::span<const ReplayRequest> requests, int layers, int channel_count, bool keep_states) {
  return Planner(requests, layers, channel_count, keep_states).run();
}

std::int64_t column_layers(const ReplayPlan& plan) {
  return std::accumulate(plan.columns_alive.begin(), plan.columns_alive.end(), std::int64_t{0});
}

}  // namespace factflow
