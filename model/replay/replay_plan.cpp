#include "model/replay/replay_plan.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>
#include <optional>
#include <string>
#include <utility>

#include "model/network.hpp"
#include "model/replay/action_planner.hpp"
#include "model/replay/request_check.hpp"
#include "model/replay/source_flags.hpp"

namespace factflow {
namespace {

bool before(const Window& a, const Window& b) {
  return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
}

// A row before rows are ordered by birth.
struct Birth {
  int layer = 0;
  size_t series = 0;
  size_t window = 0;  // of the series; the row answers for it
  // The longest window of the same start: itself, or that of the trajectory which the row leaves at
  // `layer`.
  size_t trajectory = 0;
};

// Where all but the last of equal items are dropped: the indices of those that stay.
std::vector<size_t> last_of_equals(const std::vector<int>& items) {
  std::vector<size_t> kept;
  for (size_t i = 0; i < items.size(); ++i)
    if (std::find(items.begin() + static_cast<std::ptrdiff_t>(i) + 1, items.end(), items[i]) ==
        items.end())
      kept.push_back(i);
  return kept;
}

template <class Item>
void keep(const std::vector<size_t>& indices, std::vector<Item>& items) {
  std::vector<Item> kept;
  for (const size_t i : indices) kept.push_back(items[i]);
  items = std::move(kept);
}

// With a list of mixers.
MixerTraits completed(MixerTraits traits) {
  if (!traits.mixers.empty()) return traits;
  const Path path = traits.channels > 0 ? Path::kRecurrent : Path::kAttention;
  traits.recurrent_channels = traits.channels;
  traits.mixers.assign(static_cast<size_t>(traits.layers), {{path, 0, traits.taps}});
  return traits;
}

class Planner {
 public:
  Planner(std::span<const ReplayRequest> requests, const MixerTraits& mixer)
      : requests_(requests), mixer_(completed(mixer)), actions_(plan_, mixer_, clean_row_of_) {
    plan_.layers = mixer.layers;
  }

  ReplayPlan run() {
    for (const ReplayRequest& request : requests_) check_request(request, mixer_.layers);
    collect_series();
    add_clean_rows();
    add_slots();
    for (const EffectiveSeries& series : series_)
      if (!series.beside.empty()) actions_.begin(series);
    add_replayed_rows();
    add_groups();
    find_answers();
    add_reads();
    actions_.finish();
    return std::move(plan_);
  }

 private:
  bool selects_something(const Selection& selection, Path path) const {
    if (!mixer_.has(path)) return false;
    if (const auto* set = std::get_if<ChannelSet>(&selection)) {
      const int channels = mixer_.channels_for(path);
      if (channels == 0) return set->kind == ChannelSet::Kind::kAll;
      return !is_empty(*set, channels);
    }
    const auto* heads = std::get_if<Heads>(&selection);
    return !(heads != nullptr ? heads->indices : std::get<Channels>(selection).indices).empty();
  }

  void collect_series() {
    series_of_.resize(requests_.size());
    for (size_t r = 0; r < requests_.size(); ++r) {
      const size_t first = series_.size();
      series_of_[r].reserve(requests_[r].series.size());
      for (const Series& series : requests_[r].series)
        series_of_[r].push_back(collect(static_cast<int>(r), first, series));
    }
    size_t windows = 0;
    for (EffectiveSeries& series : series_) {
      series.first_window = windows;
      windows += series.windows.size();
    }
    row_of_window_.resize(windows);
    rows_of_series_.resize(windows);
  }

  // What of a block has an effect: positions that block nothing are dropped.
  std::optional<Block> effective(const Block& block, bool as_written) const {
    if (block.targets.empty() || block.sources.empty() ||
        !selects_something(block.selection, block.path) || (as_written && block.layers.empty()))
      return std::nullopt;
    Block pruned;
    pruned.through = block.through;
    pruned.selection = block.selection;
    pruned.parts = block.parts;
    pruned.path = block.path;
    pruned.erase = block.erase;
    if (as_written) pruned.layers = block.layers;
    for (const int target : block.targets)
      if (target >= block.sources.front()) pruned.targets.push_back(target);
    for (const int source : block.sources)
      if (source <= block.targets.back()) pruned.sources.push_back(source);
    if (pruned.targets.empty()) return std::nullopt;
    const bool taps = count_taps(pruned.targets, pruned.sources, mixer_.taps) > 0;
    if (block.through == Block::Through::kConvolution && !taps) return std::nullopt;
    if (block.through == Block::Through::kMixer && !taps) pruned.through = Block::Through::kState;
    if (as_written && pruned.through == Block::Through::kState) {
      std::erase_if(pruned.layers, [&](int layer) {
        return edges_in(mixer_, pruned.targets, pruned.sources, {layer, layer + 1}, pruned.path) ==
               0;
      });
      if (pruned.layers.empty()) return std::nullopt;
    }
    return pruned;
  }

  static std::optional<Write> effective(const Write& write, bool as_written) {
    Write pruned = write;
    const std::vector<size_t> tokens = last_of_equals(pruned.tokens);
    keep(tokens, pruned.tokens);
    if (auto* other = std::get_if<OtherRun>(&pruned.value)) keep(tokens, other->tokens);
    if (pruned.channels) {
      const std::vector<size_t> channels = last_of_equals(*pruned.channels);
      keep(channels, *pruned.channels);
      if (auto* vector = std::get_if<Vector>(&pruned.value)) keep(channels, vector->values);
    }
    if (!as_written) pruned.layers.clear();
    if (pruned.tokens.empty() || (as_written && pruned.layers.empty()) ||
        (pruned.channels && pruned.channels->empty()))
      return std::nullopt;
    return pruned;
  }

  // The index of the series among the effective ones, of which those of its request begin at
  // `first`; -1: it changes nothing.
  int collect(int request, size_t first, const Series& series) {
    EffectiveSeries effective_series;
    effective_series.request = request;
    effective_series.as_written = !series.windows.has_value();
    for (const Intervention& intervention : series.interventions)
      std::visit(
          [&](const auto& one) {
            if (auto pruned = effective(one, effective_series.as_written))
              effective_series.beside.emplace_back(std::move(*pruned));
          },
          intervention);
    if (effective_series.beside.empty()) return -1;
    find_extent(effective_series);
    take_row_cut(effective_series);
    count_edges_beside(effective_series);
    const auto known =
        std::find_if(series_.begin() + static_cast<std::ptrdiff_t>(first), series_.end(),
                     [&](const EffectiveSeries& other) { return equal(other, effective_series); });
    const size_t index = static_cast<size_t>(known - series_.begin());
    if (known == series_.end()) {
      remember_runs(effective_series);
      series_.push_back(std::move(effective_series));
    }
    if (series.windows) add_windows(*series.windows, series_[index]);
    return static_cast<int>(index);
  }

  // Whether runs of a series in a window are the clean run: it is empty, or all that is done is to
  // block edges, of which its layers have none (they are out of a sliding window).
  bool is_clean(const EffectiveSeries& series, const Window& window) const {
    return window.begin == window.end || (series.beside.empty() && series.edges_in(window) == 0);
  }

  static bool equal(const EffectiveSeries& a, const EffectiveSeries& b) {
    return a.selection == b.selection && a.targets == b.targets && a.sources == b.sources &&
           a.path == b.path && a.erase == b.erase && a.as_written == b.as_written &&
           a.beside == b.beside &&
           (!a.as_written || (a.cut_window == b.cut_window && a.windows == b.windows));
  }

  void add_windows(const std::vector<Window>& more, EffectiveSeries& series) const {
    std::vector<Window>& windows = series.windows;
    windows.reserve(windows.size() + more.size());
    for (const Window& window : more)
      if (!is_clean(series, window)) windows.push_back(window);
    if (!std::is_sorted(windows.begin(), windows.end(), before))
      std::sort(windows.begin(), windows.end(), before);
    windows.erase(std::unique(windows.begin(), windows.end()), windows.end());
  }

  // The first token of the series, and of one as written its layers.
  void find_extent(EffectiveSeries& series) const {
    series.first_token = std::numeric_limits<int>::max();
    Window layers{mixer_.layers, 0};
    for (const Intervention& intervention : series.beside) {
      const auto* block = std::get_if<Block>(&intervention);
      const auto* write = std::get_if<Write>(&intervention);
      for (const int token : block != nullptr ? block->targets : write->tokens)
        series.first_token = std::min(series.first_token, token);
      for (const int layer : block != nullptr ? block->layers : write->layers)
        layers = {std::min(layers.begin, layer), std::max(layers.end, layer + 1)};
    }
    if (series.as_written) series.windows = {layers};
  }

  // The edges that a series' rows cut while they mix: those of its only block through the state, if
  // it is on in consecutive layers and the kernels know its selection. What is written before the
  // skip is added needs the sum without it, so such series cut nothing while they mix.
  void take_row_cut(EffectiveSeries& series) {
    Block* only = nullptr;
    for (Intervention& intervention : series.beside) {
      if (const auto* write = std::get_if<Write>(&intervention)) {
        if (write->site == Site::kSkip) return;
        continue;
      }
      Block& block = std::get<Block>(intervention);
      if (block.through == Block::Through::kConvolution) continue;
      if (only != nullptr) return;
      only = &block;
    }
    if (only == nullptr) return;
    const auto* set = std::get_if<ChannelSet>(&only->selection);
    const bool all = set != nullptr && set->kind == ChannelSet::Kind::kAll;
    if (mixer_.channels_for(only->path) == 0 && !all) return;
    if (series.as_written) {
      const std::vector<Window> layers = windows_of_layers(only->layers);
      if (layers.size() != 1) return;
      series.cut_window = layers.front();
    }
    series.selection = selection_index({only->selection, only->path});
    series.path = only->path;
    series.erase = only->erase;
    plan_.every_channel = plan_.every_channel && all;
    series.targets = only->targets;
    series.sources = only->sources;
    count_edges_of(series);
    if (only->through == Block::Through::kMixer)
      only->through = Block::Through::kConvolution;  // which is left to do
    else
      std::erase_if(series.beside,
                    [&](const Intervention& one) { return std::get_if<Block>(&one) == only; });
  }

  // Once for all rows of a series; layers that are alike have equally many.
  void count_edges_of(EffectiveSeries& series) const {
    series.edges_below = {0};
    std::uint64_t here = 0;
    for (int layer = 0; layer < mixer_.layers; ++layer) {
      if (layer == 0 || !alike_)
        here = edges_in(mixer_, series.targets, series.sources, {layer, layer + 1}, series.path);
      series.edges_below.push_back(series.edges_below.back() + here);
    }
  }

  // Of the blocks that are left to do beside the rows' own cut.
  void count_edges_beside(EffectiveSeries& series) const {
    const auto edges_of = [&](const Block& block, int layer) {
      if (series.as_written &&
          std::find(block.layers.begin(), block.layers.end(), layer) == block.layers.end())
        return std::uint64_t{0};
      const Window here{layer, layer + 1};
      std::uint64_t edges = 0;
      if (block.through != Block::Through::kConvolution)
        edges += edges_in(mixer_, block.targets, block.sources, here, block.path);
      if (block.through != Block::Through::kState)
        edges += taps_in(mixer_, block.targets, block.sources, here, block.path);
      return edges;
    };
    for (const Intervention& one : series.beside) {
      const auto* block = std::get_if<Block>(&one);
      if (block == nullptr) continue;
      series.beside_below.resize(static_cast<size_t>(mixer_.layers) + 1);
      std::uint64_t below = 0;
      for (int layer = 0; layer < mixer_.layers; ++layer) {
        below += edges_of(*block, layer);
        series.beside_below[static_cast<size_t>(layer) + 1] += below;
      }
    }
  }

  int selection_index(const StateSelection& selection) {
    const auto found = std::find(plan_.selections.begin(), plan_.selections.end(), selection);
    const auto index = static_cast<int>(found - plan_.selections.begin());
    if (found == plan_.selections.end()) plan_.selections.push_back(selection);
    return index;
  }

  // Clean runs of other prompts; each gets a row of its own.
  void remember_runs(const EffectiveSeries& series) {
    const auto add = [&](const std::vector<int>& ids) {
      if (std::find(other_runs_.begin(), other_runs_.end(), ids) == other_runs_.end())
        other_runs_.push_back(ids);
    };
    for (const Intervention& intervention : series.beside) {
      const auto* write = std::get_if<Write>(&intervention);
      if (write == nullptr) continue;
      if (const auto* other = std::get_if<OtherRun>(&write->value)) add(other->ids);
      if (const auto* mean = std::get_if<MeanOfRuns>(&write->value))
        for (const std::vector<int>& ids : mean->runs) add(ids);
    }
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

  void add_clean_row(const std::vector<int>& ids, int request) {
    const std::int32_t column = plan_.columns();
    const auto count = static_cast<std::int32_t>(ids.size());
    clean_row_of_.try_emplace(ids, static_cast<std::int32_t>(plan_.rows.size()));
    add_row({column, 0, count, column, -1, 0, 0, 0, -1, -1}, request);
    plan_.tokens.insert(plan_.tokens.end(), ids.begin(), ids.end());
    plan_.longest = std::max(plan_.longest, count);
  }

  void add_clean_rows() {
    for (size_t r = 0; r < requests_.size(); ++r)
      add_clean_row(requests_[r].ids, static_cast<int>(r));
    for (const std::vector<int>& ids : other_runs_)
      if (!clean_row_of_.contains(ids)) add_clean_row(ids, -1);
    plan_.clean_columns = plan_.columns();
    clean_rows_ = plan_.rows.size();
    plan_.edges_of.assign(clean_rows_, 0);
  }

  // Token flags of each series' cut, and the states that its rows start from: of each prompt first
  // the full ones, then the kept ones.
  void add_slots() {
    flags_of_.assign(series_.size(), -1);
    full_of_.assign(series_.size(), -1);
    kept_of_.assign(series_.size(), -1);
    plan_.slot_begin.push_back(0);
    size_t next = 0;
    for (size_t r = 0; r < clean_rows_; ++r) {
      const size_t first = next;
      for (; next < series_.size() && series_[next].request == static_cast<int>(r); ++next)
        add_flags(next, static_cast<size_t>(plan_.rows[r].count));
      if (mixer_.keeps_states) {
        add_full_slots(first, next);
        add_kept_slots(first, next);
      }
      plan_.slot_begin.push_back(static_cast<std::int32_t>(plan_.slots.size()));
    }
  }

  void add_flags(size_t c, size_t tokens) {
    if (series_[c].targets.empty()) return;
    flags_of_[c] = static_cast<std::int32_t>(plan_.flags.size());
    plan_.flags.resize(plan_.flags.size() + tokens, std::uint8_t{0});
    std::uint8_t* flags = plan_.flags.data() + flags_of_[c];
    for (const int target : series_[c].targets) flags[target] |= kernels::kTarget;
    const std::uint8_t of_source = source_flags(series_[c].erase);
    for (const int source : series_[c].sources) flags[source] |= of_source;
  }

  std::int32_t add_slot(int tokens, std::int32_t flags) {
    plan_.slots.push_back({tokens, flags});
    return static_cast<std::int32_t>(plan_.slots.size()) - 1;
  }

  // Prompts have few series, so a list is searched faster than a map is made.
  void add_full_slots(size_t begin, size_t end) {
    for (size_t c = begin; c < end; ++c) {
      const int tokens = series_[c].first_token;
      if (tokens == 0) continue;
      size_t same = begin;
      while (same < c && series_[same].first_token != tokens) ++same;
      full_of_[c] = kept_of_[c] = same < c ? full_of_[same] : add_slot(tokens, -1);
    }
  }

  // The sources before the first target: those that a kept state leaves out.
  std::span<const int> sources_before(size_t c) const {
    const std::vector<int>& sources = series_[c].sources;
    return {sources.begin(),
            std::lower_bound(sources.begin(), sources.end(), series_[c].first_token)};
  }

  void add_kept_slots(size_t begin, size_t end) {
    for (size_t c = begin; c < end; ++c) {
      const std::span<const int> left_out = sources_before(c);
      if (left_out.empty()) continue;
      size_t same = begin;
      while (same < c && (series_[same].first_token != series_[c].first_token ||
                          series_[same].erase != series_[c].erase ||
                          !std::ranges::equal(sources_before(same), left_out)))
        ++same;
      kept_of_[c] = same < c ? kept_of_[same] : add_slot(series_[c].first_token, flags_of_[c]);
    }
  }

  // In order of layer, then of series, then of window.
  std::vector<Birth> births() const {
    std::vector<Birth> all;
    all.reserve(row_of_window_.size());
    for (size_t c = 0; c < series_.size(); ++c) {
      const std::vector<Window>& windows = series_[c].windows;
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
    std::vector<size_t> born(series_.size());
    const std::vector<Birth> all = births();
    size_t next = 0;
    for (int layer = 0; layer <= mixer_.layers; ++layer) {
      for (; next < all.size() && all[next].layer == layer; ++next) {
        const size_t c = all[next].series;
        rows_of_series_[series_[c].first_window + born[c]++] = add_replayed_row(all[next]);
      }
      if (layer == mixer_.layers) break;  // born after the last one
      plan_.rows_alive.push_back(static_cast<std::int32_t>(plan_.rows.size()));
      plan_.columns_alive.push_back(plan_.columns());
    }
  }

  std::int32_t add_replayed_row(const Birth& birth) {
    const EffectiveSeries& series = series_[birth.series];
    const kernels::Row clean = plan_.rows[static_cast<size_t>(series.request)];
    const std::int32_t first = series.first_token,
                       index = static_cast<std::int32_t>(plan_.rows.size());
    kernels::Row row{plan_.columns(),
                     first,
                     clean.count - first,
                     clean.column,
                     -1,
                     0,
                     0,
                     series.selection,
                     full_of_[birth.series],
                     kept_of_[birth.series]};
    plan_.suffixes = plan_.suffixes || row.count > 1;
    std::int32_t parent = clean.column + first;
    const Window& window = series.windows[birth.window];
    if (birth.window == birth.trajectory) {
      if (!series.targets.empty()) {
        cut_edges(series, birth.series, window, row);
        remember_path(index, series.path);
      }
      if (!series.beside.empty()) actions_.add_row(series, row, window);
    } else {
      parent =
          plan_.rows[static_cast<size_t>(row_of_window_[series.first_window + birth.trajectory])]
              .column;
    }
    row_of_window_[series.first_window + birth.window] = index;
    plan_.edges_of.push_back(static_cast<std::int32_t>(series.all_edges_in(window)));
    for (std::int32_t i = 0; i < row.count; ++i) plan_.parent.push_back(parent + i);
    add_row(row, series.request);
    birth_of_.push_back({birth.layer, parent});
    return index;
  }

  // Of a row that is about to be added.
  void remember_path(std::int32_t row, Path path) {
    if (path == Path::kBoth) return;
    plan_.path_of.resize(static_cast<size_t>(row), Path::kBoth);
    plan_.path_of.push_back(path);
  }

  void cut_edges(const EffectiveSeries& series, size_t c, const Window& window, kernels::Row& row) {
    const Window& on = series.as_written ? series.cut_window : window;
    row.flags = flags_of_[c];
    row.window_begin = on.begin;
    row.window_end = on.end;
    plan_.blocked_edges += series.edges_in(on);
  }

  // In order of birth.
  std::span<const std::int32_t> rows_of_series(size_t c) const {
    return std::span(rows_of_series_).subspan(series_[c].first_window, series_[c].windows.size());
  }

  // Of state-space models: rows of several tokens by series if there are states; of one token by
  // prompt and kept state (kernels::PromptPart).
  void add_groups() {
    if (!mixer_.has(Path::kRecurrent)) return;
    size_t next = 0;
    for (size_t r = 0; r < clean_rows_; ++r) {
      const size_t first = next;
      while (next < series_.size() && series_[next].request == static_cast<int>(r)) ++next;
      for (size_t c = first; c < next; ++c) {
        const std::span<const std::int32_t> rows = rows_of_series(c);
        if (!mixer_.keeps_states || is_replay_of_one_token(c) || rows.empty()) continue;
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
    return series_[c].first_token + 1 == plan_.rows[static_cast<size_t>(series_[c].request)].count;
  }

  // The series [begin, end) are those of clean row r.
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
    const EffectiveSeries& series = series_[c];
    const bool self =
        std::binary_search(series.sources.begin(), series.sources.end(), series.first_token);
    for (const std::int32_t index : rows_of_series(c)) {
      const kernels::Row& row = plan_.rows[static_cast<size_t>(index)];
      plan_.replays.push_back({row.column, row.window_begin, row.window_end, kept, row.channels,
                               self ? 1 : 0, static_cast<std::int32_t>(series.sources.size()),
                               row.flags});
    }
  }

  void find_answers() {
    plan_.answer_row.reserve(requests_.size());
    for (size_t r = 0; r < requests_.size(); ++r) {
      auto& answers = plan_.answer_row.emplace_back();
      answers.reserve(requests_[r].series.size());
      for (size_t i = 0; i < requests_[r].series.size(); ++i) {
        const int known = series_of_[r][i];
        auto& rows = answers.emplace_back();
        if (known < 0) {
          rows.assign(requests_[r].series[i].runs(), ReplayPlan::kNoEdge);
          continue;
        }
        const EffectiveSeries& series = series_[static_cast<size_t>(known)];
        const std::optional<std::vector<Window>>& windows = requests_[r].series[i].windows;
        if (!windows) {
          rows.push_back(row_of_window_[series.first_window]);
          continue;
        }
        rows.reserve(windows->size());
        for (const Window& window : *windows)
          rows.push_back(is_clean(series, window) ? static_cast<std::int32_t>(r)
                                                  : row_of(series, window));
      }
    }
  }

  std::int32_t row_of(const EffectiveSeries& series, const Window& window) const {
    const auto found =
        std::lower_bound(series.windows.begin(), series.windows.end(), window, before);
    return row_of_window_[series.first_window +
                          static_cast<size_t>(found - series.windows.begin())];
  }

  void add_reads() {
    for (size_t r = 0; r < requests_.size(); ++r)
      for (size_t i = 0; i < requests_[r].reads.size(); ++i) {
        const ReadAt& read = requests_[r].reads[i];
        auto row = static_cast<std::int32_t>(r);
        if (read.under) row = plan_.answer_row[r][read.under->series][read.under->run];
        actions_.add_read(read, column_to_read(read, row, static_cast<std::int32_t>(r)),
                          static_cast<std::int32_t>(r), static_cast<std::int32_t>(i));
      }
  }

  // Tokens before a row's own, and layers before its birth, are those of the run that it left.
  std::int32_t column_to_read(const ReadAt& read, std::int32_t row, std::int32_t clean) const {
    const kernels::Row& of = plan_.rows[static_cast<size_t>(row < 0 ? clean : row)];
    if (read.token < of.first_token) return of.clean_column + read.token;
    std::int32_t column = of.column;
    while (const BirthPlace* born = birth_of(plan_.row_of[static_cast<size_t>(column)])) {
      if (read.at.layer >= born->layer) break;
      column = born->parent;
    }
    return column + read.token - of.first_token;
  }

  struct BirthPlace {
    int layer = 0;
    std::int32_t parent = 0;  // column
  };
  const BirthPlace* birth_of(std::int32_t row) const {  // null: a clean row
    const auto replayed = static_cast<size_t>(row) - clean_rows_;
    return static_cast<size_t>(row) < clean_rows_ ? nullptr : &birth_of_[replayed];
  }

  std::span<const ReplayRequest> requests_;
  MixerTraits mixer_;
  bool alike_ = mixer_.alike();
  ReplayPlan plan_;
  std::vector<EffectiveSeries> series_;      // grouped by request
  std::vector<std::vector<int>> series_of_;  // [request][series] index in series_, -1: no effect
  std::vector<std::vector<int>> other_runs_;
  std::map<std::vector<int>, std::int32_t> clean_row_of_;
  size_t clean_rows_ = 0;
  ActionPlanner actions_;
  std::vector<std::int32_t> flags_of_, full_of_, kept_of_;  // per effective series
  std::vector<std::int32_t> row_of_window_;                 // row of every series' every window
  // The rows of every series in order of birth, at its first_window.
  std::vector<std::int32_t> rows_of_series_;
  std::vector<BirthPlace> birth_of_;  // per replayed row
};

}  // namespace

ReplayPlan plan_replay(std::span<const ReplayRequest> requests, const MixerTraits& mixer) {
  return Planner(requests, mixer).run();
}

bool ReplayPlan::has_actions() const {
  const auto none = [](const CutPlan& cuts) { return cuts.targets.empty(); };
  return !std::all_of(state_cuts.begin(), state_cuts.end(), none) || !tap_cuts.targets.empty() ||
         !std::all_of(sites.begin(), sites.end(),
                      [](const SitePlan& site) { return site.empty(); });
}

std::int64_t column_layers(const ReplayPlan& plan) {
  return std::accumulate(plan.columns_alive.begin(), plan.columns_alive.end(), std::int64_t{0});
}

}  // namespace factflow
