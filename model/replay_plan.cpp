#include "model/replay_plan.hpp"

#include <algorithm>
#include <functional>
#include <numeric>
#include <stdexcept>
#include <string>

#include "model/network.hpp"

namespace factflow {
namespace {

// A cut that blocks something, with the windows of all cuts that are equal to it in effect.
struct EffectiveCut {
  int request = 0;
  std::vector<int> targets, sources;
  int channels = 0;             // index of the channel set
  std::vector<Window> windows;  // ascending, unique, none empty
  size_t first_window = 0;      // of all cuts' windows

  int first_token() const { return targets.front(); }
};

bool before(const Window& a, const Window& b) {
  return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
}

// A row before rows are ordered by birth.
struct Birth {
  int layer = 0;
  size_t cut = 0;
  size_t window = 0;  // of the cut; the row answers for it
  // The longest window of the same start: itself, or that of the trajectory which the row leaves at
  // `layer`.
  size_t trajectory = 0;
};

class Planner {
 public:
  Planner(std::span<const ReplayRequest> requests, int layers, int channel_count, bool keep_states)
      : requests_(requests),
        layers_(layers),
        channel_count_(channel_count),
        keep_states_(keep_states) {
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
  void check(const ReplayRequest& request) const {
    if (request.ids.empty()) throw std::invalid_argument("a prompt without tokens");
    const int length = static_cast<int>(request.ids.size());
    const auto inside = [&](int position) { return position >= 0 && position < length; };
    for (const EdgeCut& cut : request.cuts) {
      if (!std::all_of(cut.targets.begin(), cut.targets.end(), inside) ||
          !std::all_of(cut.sources.begin(), cut.sources.end(), inside))
        throw std::invalid_argument("a knockout outside the prompt's " + std::to_string(length) +
                                    " tokens");
      for (const std::vector<int>* positions : {&cut.targets, &cut.sources})
        if (std::adjacent_find(positions->begin(), positions->end(), std::greater_equal<>()) !=
            positions->end())
          throw std::invalid_argument(
              "positions of a knockout that are not ascending, or twice the same");
      for (const Window& window : cut.windows)
        if (window.begin < 0 || window.end > layers_ || window.begin > window.end)
          throw std::invalid_argument("a window outside the model's " + std::to_string(layers_) +
                                      " layers");
    }
  }

  int channel_index(const ChannelSet& set) {
    const auto found = std::find(plan_.channel_sets.begin(), plan_.channel_sets.end(), set);
    if (found == plan_.channel_sets.end()) plan_.channel_sets.push_back(set);
    return static_cast<int>(std::find(plan_.channel_sets.begin(), plan_.channel_sets.end(), set) -
                            plan_.channel_sets.begin());
  }

  bool channels_exist(const ChannelSet& set) const {
    if (channel_count_ == 0) return set.kind == ChannelSet::Kind::kAll;
    return !is_empty(set, channel_count_);
  }

  void collect_cuts() {
    cut_of_.resize(requests_.size());
    for (size_t r = 0; r < requests_.size(); ++r) {
      const size_t first = cuts_.size();
      cut_of_[r].reserve(requests_[r].cuts.size());
      for (const EdgeCut& cut : requests_[r].cuts)
        cut_of_[r].push_back(collect(static_cast<int>(r), first, cut));
    }
    size_t windows = 0;
    for (EffectiveCut& cut : cuts_) {
      cut.first_window = windows;
      windows += cut.windows.size();
    }
    row_of_window_.resize(windows);
    rows_of_cuts_.resize(windows);
  }

  // The index of the cut among the effective ones, of which those of its request begin at `first`;
  // -1: it blocks nothing. Cuts are equal if they block the same pairs on the same channels:
  // positions that block nothing are dropped.
  int collect(int request, size_t first, const EdgeCut& cut) {
    if (cut.targets.empty() || cut.sources.empty() || !channels_exist(cut.channels)) return -1;
    EffectiveCut effective{request, {}, {}, 0, {}, 0};
    for (const int target : cut.targets)
      if (target >= cut.sources.front()) effective.targets.push_back(target);
    for (const int source : cut.sources)
      if (source <= cut.targets.back()) effective.sources.push_back(source);
    if (effective.targets.empty()) return -1;
    effective.channels = channel_index(cut.channels);
    const auto known = std::find_if(cuts_.begin() + static_cast<std::ptrdiff_t>(first), cuts_.end(),
                                    [&](const EffectiveCut& other) {
                                      return other.channels == effective.channels &&
                                             other.targets == effective.targets &&
                                             other.sources == effective.sources;
                                    });
    const size_t index = static_cast<size_t>(known - cuts_.begin());
    if (known == cuts_.end()) cuts_.push_back(std::move(effective));
    std::vector<Window>& windows = cuts_[index].windows;
    windows.reserve(windows.size() + cut.windows.size());
    for (const Window& window : cut.windows)
      if (window.begin != window.end)
        windows.push_back(window);  // an empty window is the clean run
    if (!std::is_sorted(windows.begin(), windows.end(), before))
      std::sort(windows.begin(), windows.end(), before);
    windows.erase(std::unique(windows.begin(), windows.end()), windows.end());
    return static_cast<int>(index);
  }

  void add_row(const kernels::Row& row, int request) {
    plan_.request_of.push_back(request);
    for (std::int32_t i = 0; i < row.count; ++i) {
      const std::int32_t token = row.first_token + i;
      kernels::TokensBefore before{{-1, -1, -1}};
      if (token > 0) {
        const std::int32_t last = i > 0 ? row.column + i - 1 : row.clean_column + token - 1;
        const kernels::TokensBefore& earlier = plan_.before[static_cast<size_t>(last)];
        before = {{last, earlier.column[0], earlier.column[1]}};
      }
      plan_.before.push_back(before);
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

  // Token flags of each cut, and the states that its rows start from: of each prompt first the full
  // ones, then the kept ones.
  void add_slots() {
    flags_of_.resize(cuts_.size());
    full_of_.assign(cuts_.size(), -1);
    kept_of_.assign(cuts_.size(), -1);
    plan_.slot_begin.push_back(0);
    size_t next = 0;
    for (size_t r = 0; r < requests_.size(); ++r) {
      const size_t first = next;
      for (; next < cuts_.size() && cuts_[next].request == static_cast<int>(r); ++next)
        add_flags(next, requests_[r].ids.size());
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

  // Prompts have few cuts, so a list is searched faster than a map is made.
  void add_full_slots(size_t begin, size_t end) {
    for (size_t c = begin; c < end; ++c) {
      const int tokens = cuts_[c].first_token();
      if (tokens == 0) continue;
      size_t same = begin;
      while (same < c && cuts_[same].first_token() != tokens) ++same;
      full_of_[c] = kept_of_[c] = same < c ? full_of_[same] : add_slot(tokens, -1);
    }
  }

  // The sources before the first target: those that a kept state leaves out.
  std::span<const int> sources_before(size_t c) const {
    const std::vector<int>& sources = cuts_[c].sources;
    return {sources.begin(),
            std::lower_bound(sources.begin(), sources.end(), cuts_[c].first_token())};
  }

  void add_kept_slots(size_t begin, size_t end) {
    for (size_t c = begin; c < end; ++c) {
      const std::span<const int> left_out = sources_before(c);
      if (left_out.empty()) continue;
      size_t same = begin;
      while (same < c && (cuts_[same].first_token() != cuts_[c].first_token() ||
                          !std::ranges::equal(sources_before(same), left_out)))
        ++same;
      kept_of_[c] = same < c ? kept_of_[same] : add_slot(cuts_[c].first_token(), flags_of_[c]);
    }
  }

  // In order of layer, then of cut, then of window.
  std::vector<Birth> births() const {
    std::vector<Birth> all;
    all.reserve(row_of_window_.size());
    for (size_t c = 0; c < cuts_.size(); ++c) {
      const std::vector<Window>& windows = cuts_[c].windows;
      for (size_t begin = 0, end = 0; begin < windows.size(); begin = end) {
        while (end < windows.size() && windows[end].begin == windows[begin].begin) ++end;
        for (size_t w = begin; w < end; ++w)
          all.push_back({w + 1 == end ? windows[w].begin : windows[w].end, c, w, end - 1});
      }
    }
    std::stable_sort(all.begin(), all.end(),
                     [](const Birth& a, const Birth& b) { return a.layer < b.layer; });
    return all;
  }

  void add_replayed_rows() {
    std::vector<size_t> born_of_cut(cuts_.size());
    const std::vector<Birth> all = births();
    size_t next = 0;
    for (int layer = 0; layer < layers_; ++layer) {
      for (; next < all.size() && all[next].layer == layer; ++next) {
        const size_t c = all[next].cut;
        rows_of_cuts_[cuts_[c].first_window + born_of_cut[c]++] = add_replayed_row(all[next]);
      }
      plan_.rows_alive.push_back(static_cast<std::int32_t>(plan_.rows.size()));
      plan_.columns_alive.push_back(plan_.columns());
    }
  }

  std::int32_t add_replayed_row(const Birth& birth) {
    const EffectiveCut& cut = cuts_[birth.cut];
    const kernels::Row clean = plan_.rows[static_cast<size_t>(cut.request)];
    const std::int32_t first = cut.first_token(),
                       index = static_cast<std::int32_t>(plan_.rows.size());
    kernels::Row row{plan_.columns(),
                     first,
                     clean.count - first,
                     clean.column,
                     -1,
                     0,
                     0,
                     cut.channels,
                     full_of_[birth.cut],
                     kept_of_[birth.cut]};
    plan_.suffixes = plan_.suffixes || row.count > 1;
    std::int32_t parent = clean.column + first;
    if (birth.window == birth.trajectory) {
      const Window& window = cut.windows[birth.window];
      row.flags = flags_of_[birth.cut];
      row.window_begin = window.begin;
      row.window_end = window.end;
      plan_.blocked_edges += static_cast<std::uint64_t>(count_edges(cut.targets, cut.sources)) *
                             static_cast<std::uint64_t>(window.end - window.begin);
    } else {
      parent = plan_.rows[static_cast<size_t>(row_of_window_[cut.first_window + birth.trajectory])]
                   .column;
    }
    row_of_window_[cut.first_window + birth.window] = index;
    for (std::int32_t i = 0; i < row.count; ++i) plan_.parent.push_back(parent + i);
    add_row(row, cut.request);
    return index;
  }

  // In order of birth.
  std::span<const std::int32_t> rows_of_cut(size_t c) const {
    return std::span(rows_of_cuts_).subspan(cuts_[c].first_window, cuts_[c].windows.size());
  }

  // Of state-space models: rows of several tokens by cut if there are states; of one token by
  // prompt and kept state (kernels::PromptPart).
  void add_groups() {
    if (channel_count_ == 0) return;
    size_t next = 0;
    for (size_t r = 0; r < requests_.size(); ++r) {
      const size_t first = next;
      while (next < cuts_.size() && cuts_[next].request == static_cast<int>(r)) ++next;
      for (size_t c = first; c < next; ++c) {
        const std::span<const std::int32_t> rows = rows_of_cut(c);
        if (!keep_states_ || is_replay_of_one_token(c) || rows.empty()) continue;
        plan_.groups.push_back({static_cast<std::int32_t>(plan_.group_rows.size()),
                                static_cast<std::int32_t>(rows.size())});
        plan_.group_rows.insert(plan_.group_rows.end(), rows.begin(), rows.end());
      }
      add_parts(static_cast<std::int32_t>(r), first, next);
    }
    // The longest first, so that a device is not left with one of them at the end.
    const auto steps = [&](const kernels::PromptPart& part) {
      return plan_.rows[static_cast<size_t>(part.clean_row)].count + part.count;
    };
    std::stable_sort(plan_.parts.begin(), plan_.parts.end(),
                     [&](const auto& a, const auto& b) { return steps(a) > steps(b); });
    for (kernels::PromptPart& part : plan_.parts) {
      part.clean_begin = plan_.part_tokens;
      plan_.part_tokens += plan_.rows[static_cast<size_t>(part.clean_row)].count;
    }
  }

  bool is_replay_of_one_token(size_t c) const {
    return cuts_[c].first_token() + 1 ==
           static_cast<int>(requests_[static_cast<size_t>(cuts_[c].request)].ids.size());
  }

  // The cuts [begin, end) are those of clean row r.
  void add_parts(std::int32_t r, size_t begin, size_t end) {
    const std::int32_t slot_end = plan_.slot_begin[static_cast<size_t>(r) + 1];
    std::int32_t kept = plan_.slot_begin[static_cast<size_t>(r)];
    while (kept < slot_end && plan_.slots[static_cast<size_t>(kept)].flags < 0) ++kept;
    bool leads = true;
    do {
      const std::int32_t kept_count = std::min(kernels::kKeptPerPart, slot_end - kept);
      const auto first = static_cast<std::int32_t>(plan_.replays.size());
      for (size_t c = begin; c < end; ++c) {
        if (!is_replay_of_one_token(c)) continue;
        if (kept_of_[c] >= kept && kept_of_[c] < kept + kept_count)
          add_last_tokens(c, kept_of_[c] - kept);
        if (leads && kept_of_[c] == full_of_[c]) add_last_tokens(c, kernels::kKeptPerPart);
      }
      const std::int32_t count = static_cast<std::int32_t>(plan_.replays.size()) - first;
      std::sort(plan_.replays.begin() + first, plan_.replays.end(),
                [](const auto& a, const auto& b) { return a.column < b.column; });
      for (std::int32_t done = 0; done == 0 || done < count; done += kernels::kRowsPerPart) {
        plan_.parts.push_back({r, kept, kept_count, first + done,
                               std::min(kernels::kRowsPerPart, count - done), leads ? 1 : 0, 0});
        leads = false;
      }
      kept += kept_count;
    } while (kept < slot_end);
  }

  void add_last_tokens(size_t c, std::int32_t kept) {
    const EffectiveCut& cut = cuts_[c];
    const bool self = std::binary_search(cut.sources.begin(), cut.sources.end(), cut.first_token());
    for (const std::int32_t index : rows_of_cut(c)) {
      const kernels::Row& row = plan_.rows[static_cast<size_t>(index)];
      plan_.replays.push_back({row.column, row.window_begin, row.window_end, kept, row.channels,
                               self ? 1 : 0, static_cast<std::int32_t>(cut.sources.size()),
                               row.flags});
    }
  }

  void find_answers() {
    plan_.answer_row.reserve(requests_.size());
    for (size_t r = 0; r < requests_.size(); ++r) {
      auto& answers = plan_.answer_row.emplace_back();
      answers.reserve(requests_[r].cuts.size());
      for (size_t i = 0; i < requests_[r].cuts.size(); ++i) {
        const std::vector<Window>& windows = requests_[r].cuts[i].windows;
        const int cut = cut_of_[r][i];
        auto& rows = answers.emplace_back();
        rows.reserve(windows.size());
        for (const Window& window : windows)
          rows.push_back(cut < 0                      ? ReplayPlan::kNoEdge
                         : window.begin == window.end ? static_cast<std::int32_t>(r)
                                                      : row_of(static_cast<size_t>(cut), window));
      }
    }
  }

  std::int32_t row_of(size_t c, const Window& window) const {
    const std::vector<Window>& windows = cuts_[c].windows;
    const auto found = std::lower_bound(windows.begin(), windows.end(), window, before);
    return row_of_window_[cuts_[c].first_window + static_cast<size_t>(found - windows.begin())];
  }

  std::span<const ReplayRequest> requests_;
  int layers_, channel_count_;
  bool keep_states_;
  ReplayPlan plan_;
  std::vector<EffectiveCut> cuts_;        // grouped by request
  std::vector<std::vector<int>> cut_of_;  // [request][cut] index in cuts_, -1: blocks nothing
  std::vector<std::int32_t> flags_of_, full_of_, kept_of_;  // per effective cut
  std::vector<std::int32_t> row_of_window_;                 // row of every cut's every window
  // The rows of every cut in order of birth, at its first_window.
  std::vector<std::int32_t> rows_of_cuts_;
};

}  // namespace

ReplayPlan plan_replay(std::span<const ReplayRequest> requests, int layers, int channel_count,
                       bool keep_states) {
  return Planner(requests, layers, channel_count, keep_states).run();
}

std::int64_t column_layers(const ReplayPlan& plan) {
  return std::accumulate(plan.columns_alive.begin(), plan.columns_alive.end(), std::int64_t{0});
}

}  // namespace factflow
