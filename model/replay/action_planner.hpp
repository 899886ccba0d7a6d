// What a pass does beside mixing tokens: values written and read at sites, and edges that the
// mixing kernels cannot leave out. A part of plan_replay().
#pragma once

#include <algorithm>
#include <map>
#include <span>
#include <vector>

#include "model/replay/replay_plan.hpp"

namespace factflow {

// A series as far as it changes anything, with the runs of all series that are equal to it in
// effect.
struct EffectiveSeries {
  int request = 0;
  int first_token = 0;  // the first one that anything is done to
  // The edges that its rows cut while they mix (kernels::Row): at most one block's. Empty: none.
  std::vector<int> targets, sources;
  std::vector<std::uint64_t> edges_below;  // [layers + 1] these edges in all layers below each one
  int selection = 0;        // of the edges' channels, index in ReplayPlan::selections
  Path path = Path::kBoth;  // of the edges, and whether their sources do not erase either
  bool erase = false;
  std::vector<Intervention> beside;  // everything else
  bool as_written = false;           // each acts in its own layers, not in the run's window
  Window cut_window;                 // as written: the layers of the edges above
  std::vector<Window> windows;       // of the runs; ascending, unique, none empty
  size_t first_window = 0;           // of all series' windows

  // Likewise what blocks in `beside` cut, of a series as written in their own layers; empty: none.
  std::vector<std::uint64_t> beside_below;

  // How many edges rows with this cut in a window lose.
  std::uint64_t edges_in(const Window& window) const { return between(edges_below, window); }
  // How many edges the series' run in a window loses, by its rows' own cut and beside it.
  std::uint64_t all_edges_in(const Window& window) const {
    return between(edges_below, as_written ? cut_window : window) + between(beside_below, window);
  }

 private:
  // A window may reach beyond the last layer, to what is written into the stream behind it.
  static std::uint64_t between(const std::vector<std::uint64_t>& below, const Window& window) {
    if (below.empty()) return 0;
    const auto at = [&](int layer) {
      return below[std::min(static_cast<size_t>(layer), below.size() - 1)];
    };
    return at(window.end) - at(window.begin);
  }
};

class ActionPlanner {
 public:
  // Keeps references to both. The plan has its clean rows, of which `clean_row_of` says which is
  // whose.
  ActionPlanner(ReplayPlan& plan, const MixerTraits& mixer,
                const std::map<std::vector<int>, std::int32_t>& clean_row_of)
      : plan_(plan), mixer_(mixer), clean_row_of_(clean_row_of) {}

  // What a series' rows need, once for all of them.
  void begin(const EffectiveSeries& series);
  // One row of the series begun last, in order of birth.
  void add_row(const EffectiveSeries& series, const kernels::Row& row, const Window& window);
  // `column` is what the read is of.
  void add_read(const ReadAt& read, std::int32_t column, std::int32_t request, std::int32_t index);
  // After the last one.
  void finish();

 private:
  struct Prepared {  // an intervention, ready to be repeated for every row
    std::int32_t sources = 0, state_mask = -1, tap_mask = -1;  // of a block; -1: not through it
    kernels::SiteWrite write{};                                // of a write
    std::vector<std::int32_t> columns;                         // per token written, of another run
  };
  Prepared prepare(const Block& block, size_t tokens);
  Prepared prepare(const Write& write);
  std::int32_t add_sources(const Block& block, size_t tokens);
  std::int32_t add_mean(Site site, const MeanOfRuns& mean);
  void add_block(const Block& block, const Prepared& prepared, const Window& layers);
  void add_write(const Write& write, const Prepared& prepared, const Window& layers);
  void count_edges_of(const Block& block, const Prepared& prepared, const Window& layers);
  void find_columns_before_gate();

  SitePlan& site(Site site) { return plan_.sites[static_cast<size_t>(site)]; }

  ReplayPlan& plan_;
  const MixerTraits& mixer_;
  const std::map<std::vector<int>, std::int32_t>& clean_row_of_;
  std::map<const EffectiveSeries*, std::vector<Prepared>> prepared_;
  std::map<std::pair<Site, std::vector<std::vector<int>>>, std::int32_t> means_;

  // Of the row that is being added, by token; stable, so that one site's writes keep their order.
  template <class Action>
  using ByToken = std::vector<std::pair<std::int32_t, Action>>;
  std::array<ByToken<kernels::SiteWrite>, kSites> writes_;
  std::array<ByToken<kernels::CutTerm>, 2> state_terms_;  // by path
  ByToken<kernels::CutTerm> tap_terms_;
};

// The layers of an intervention as windows, ascending.
std::vector<Window> windows_of_layers(std::vector<int> layers);

}  // namespace factflow
