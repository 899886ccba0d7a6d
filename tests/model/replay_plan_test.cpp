// Which columns a pass needs, where they are born and what they cost: plain data, no model.
#include "model/replay/replay_plan.hpp"

#include <algorithm>
#include <map>
#include <stdexcept>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace factflow {
namespace {

using testing::ElementsAre;

constexpr int kLayers = 6;

ReplayRequest prompt(int tokens, std::vector<Series> cuts) {
  ReplayRequest request;
  for (int i = 0; i < tokens; ++i) request.ids.push_back(100 + i);
  request.series = std::move(cuts);
  return request;
}

ReplayPlan plan_of(const std::vector<ReplayRequest>& requests, int channels = 12,
                   bool keep_states = true) {
  return plan_replay(requests, {kLayers, channels, keep_states});
}

std::vector<Window> all_starts(std::vector<int> sizes) {
  std::vector<Window> windows;
  for (const int size : sizes)
    for (int start = 0; start + size <= kLayers; ++start) windows.push_back({start, start + size});
  return windows;
}

// The columns of the tokens `distance` + 1 before each column's own.
std::vector<std::int32_t> before(const ReplayPlan& plan, size_t distance) {
  std::vector<std::int32_t> columns;
  for (const kernels::TokensBefore& tokens : plan.before)
    columns.push_back(tokens.column[distance]);
  return columns;
}

TEST(ReplayPlan, ACleanRunHasEveryTokenInEveryLayer) {
  const ReplayPlan plan = plan_of({prompt(4, {}), prompt(2, {})});
  EXPECT_EQ(plan.rows.size(), 2u);
  EXPECT_THAT(plan.tokens, ElementsAre(100, 101, 102, 103, 100, 101));
  EXPECT_THAT(before(plan, 0), ElementsAre(-1, 0, 1, 2, -1, 4));
  EXPECT_THAT(before(plan, 1), ElementsAre(-1, -1, 0, 1, -1, -1));
  EXPECT_THAT(before(plan, 2), ElementsAre(-1, -1, -1, 0, -1, -1));
  EXPECT_THAT(plan.position, ElementsAre(0, 1, 2, 3, 0, 1));
  EXPECT_THAT(plan.row_of, ElementsAre(0, 0, 0, 0, 1, 1));
  EXPECT_EQ(plan.longest, 4);
  EXPECT_EQ(column_layers(plan), 6 * kLayers);
  EXPECT_EQ(plan.blocked_edges, 0u);
}

TEST(ReplayPlan, AReplayedRowHoldsTheTokensFromTheFirstTargetOn) {
  const ReplayPlan plan = plan_of({prompt(5, {{{3, 4}, {1}, {}, {{2, 4}}}})});
  ASSERT_EQ(plan.rows.size(), 2u);
  const kernels::Row& row = plan.rows[1];
  EXPECT_EQ(row.first_token, 3);
  EXPECT_EQ(row.count, 2);
  EXPECT_EQ(row.column, 5);
  EXPECT_EQ(row.window_begin, 2);
  EXPECT_EQ(row.window_end, 4);
  EXPECT_THAT(plan.parent, ElementsAre(3, 4));  // copies of the clean columns
  // Its first token sees the clean columns.
  EXPECT_THAT(plan.before[5].column, ElementsAre(2, 1, 0));
  EXPECT_THAT(plan.before[6].column, ElementsAre(5, 2, 1));
  EXPECT_THAT(plan.columns_alive, ElementsAre(5, 5, 7, 7, 7, 7));
  EXPECT_EQ(plan.blocked_edges, 2u * 2u);  // two targets, one source, two layers
  EXPECT_THAT(plan.edges_of, ElementsAre(0, 4));
}

// What blocks of a part count on that share its replays by number.
TEST(ReplayPlan, AliveReplaysOfAPartComeFirst) {
  std::vector<Series> cuts;
  for (int source = 0; source < 8; ++source)
    cuts.push_back({{8}, {source}, {}, all_starts({1, 2, 3})});
  for (const bool keep_states : {false, true}) {
    const ReplayPlan plan = plan_of({prompt(9, cuts), prompt(9, cuts)}, 12, keep_states);
    ASSERT_GT(plan.parts.front().count, 32);
    for (const kernels::PromptPart& part : plan.parts)
      EXPECT_TRUE(std::is_sorted(plan.replays.begin() + part.begin,
                                 plan.replays.begin() + part.begin + part.count,
                                 [](const auto& a, const auto& b) { return a.column < b.column; }));
  }
}

TEST(ReplayPlan, WindowsOfOneStartShareTheirTrajectory) {
  const ReplayPlan plan = plan_of({prompt(3, {{{2}, {0}, {}, {{1, 2}, {1, 5}, {1, 3}}}})});
  ASSERT_EQ(plan.rows.size(), 4u);
  EXPECT_EQ(plan.rows[1].window_end, 5);
  EXPECT_GE(plan.rows[1].flags, 0);
  for (const size_t branch : {2u, 3u}) {
    EXPECT_EQ(plan.rows[branch].flags, -1);  // never blocked again
    EXPECT_EQ(plan.parent[branch - 1], plan.rows[1].column);
  }
  EXPECT_THAT(plan.rows_alive, ElementsAre(1, 2, 3, 4, 4, 4));
  EXPECT_THAT(plan.answer_row[0][0], ElementsAre(2, 1, 3));
  EXPECT_EQ(plan.blocked_edges, 4u);                    // the trajectory's four layers, once
  EXPECT_THAT(plan.edges_of, ElementsAre(0, 4, 1, 2));  // of each window
}

// Each run's edges are its blocks' in its own layers, whichever of them its rows cut themselves. A
// window may end behind the last layer, where the stream can be written.
TEST(ReplayPlan, RunsKnowWhatAllTheirBlocksCut) {
  Block first, second;
  first.targets = second.targets = {4};
  first.sources = {0, 1};
  second.sources = {2};
  Write behind;
  behind.site = Site::kH;
  behind.tokens = {4};
  const ReplayPlan windows =
      plan_of({prompt(5, {{{first, second}, {{{1, 3}, {2, kLayers}}}},
                          {{first, behind}, {{{4, kLayers + 1}, {kLayers, kLayers + 1}}}}})});
  const auto edges = [](const ReplayPlan& plan, size_t series, size_t run) {
    return plan.edges_of[static_cast<size_t>(plan.answer_row[0][series][run])];
  };
  EXPECT_EQ(edges(windows, 0, 0), 3 * 2);
  EXPECT_EQ(edges(windows, 0, 1), 3 * 4);
  EXPECT_EQ(edges(windows, 1, 0), 2 * 2);
  EXPECT_EQ(edges(windows, 1, 1), 0);
  first.layers = {0, 1, 2};
  second.layers = {5};
  const ReplayPlan written =
      plan_of({prompt(5, {{{first}, std::nullopt}, {{first, second}, std::nullopt}})});
  EXPECT_EQ(edges(written, 0, 0), 2 * 3);
  EXPECT_EQ(edges(written, 1, 0), 2 * 3 + 1);
}

TEST(ReplayPlan, CostsWhatTheFormulaSays) {
  constexpr int kTokens = 7, kFirstTarget = 5;
  const std::vector<int> sizes = {1, 3, 4};
  const ReplayPlan plan =
      plan_of({prompt(kTokens, {{{kFirstTarget}, {1, 2}, {}, all_starts(sizes)}})});
  std::int64_t suffix_layers = 0;
  for (int start = 0; start < kLayers; ++start) {
    std::vector<int> ends;
    for (const int size : sizes)
      if (start + size <= kLayers) ends.push_back(start + size);
    suffix_layers += kLayers - start;
    for (size_t i = 0; i + 1 < ends.size(); ++i) suffix_layers += kLayers - ends[i];
  }
  EXPECT_EQ(column_layers(plan), kTokens * kLayers + (kTokens - kFirstTarget) * suffix_layers);
}

TEST(ReplayPlan, EqualCutsAreComputedOnce) {
  const std::vector<Window> windows = all_starts({2});
  const Series cut{{3}, {1}, {}, windows};
  // A source behind every target and a target before every source block nothing: the same cut
  // again.
  const Series same{{0, 3}, {1, 4}, {}, windows};
  Series other = cut;
  std::get<Block>(other.interventions[0]).selection = ChannelSet{ChannelSet::Kind::kSlow};
  const ReplayPlan once = plan_of({prompt(5, {cut})});
  const ReplayPlan thrice = plan_of({prompt(5, {cut, same, cut})});
  EXPECT_EQ(column_layers(thrice), column_layers(once));
  EXPECT_EQ(thrice.blocked_edges, once.blocked_edges);
  EXPECT_EQ(thrice.answer_row[0][0], thrice.answer_row[0][1]);
  EXPECT_EQ(thrice.answer_row[0][0], thrice.answer_row[0][2]);
  EXPECT_EQ(plan_of({prompt(5, {cut, other})}).rows.size(), 2 * once.rows.size() - 1);
  // Another prompt is another computation.
  EXPECT_EQ(column_layers(plan_of({prompt(5, {cut}), prompt(5, {cut})})), 2 * column_layers(once));
}

TEST(ReplayPlan, WhatBlocksNothingHasNoRow) {
  const std::vector<Window> windows = {{0, 2}};
  const ReplayPlan plan =
      plan_of({prompt(4, {{{1}, {2, 3}, {}, windows},  // sources after the target
                          {{}, {0}, {}, windows},
                          {{3}, {}, {}, windows},
                          {{3}, {0}, {}, {{2, 2}}}})});  // an empty window
  EXPECT_EQ(plan.rows.size(), 1u);
  for (const size_t cut : {0u, 1u, 2u})
    EXPECT_THAT(plan.answer_row[0][cut], ElementsAre(ReplayPlan::kNoEdge));
  EXPECT_THAT(plan.answer_row[0][3], ElementsAre(0));  // the clean row
  EXPECT_EQ(plan.blocked_edges, 0u);
}

TEST(ReplayPlan, ChannelSetsWithoutChannelsBlockNothing) {
  const Series slow{{1}, {0}, {ChannelSet::Kind::kSlow}, {{0, 1}}};
  EXPECT_EQ(plan_of({prompt(2, {slow})}, 2).rows.size(), 1u);  // a third of two channels is none
  EXPECT_EQ(plan_of({prompt(2, {slow})}, 3).rows.size(), 2u);
  EXPECT_EQ(plan_of({prompt(2, {slow})}, 0).rows.size(), 1u);  // transformers have no channels
  EXPECT_EQ(plan_of({prompt(2, {{{1}, {0}, {}, {{0, 1}}}})}, 0).rows.size(), 2u);
}

TEST(ReplayPlan, StatesAreSharedByWhatPrecedesTheFirstTarget) {
  const std::vector<Window> windows = {{0, 1}};
  const std::vector<Series> cuts = {
      {{4}, {1, 2}, {}, windows},
      {{4}, {1, 2, 4}, {}, windows},                      // the same sources before token 4
      {{4}, {1, 2}, {ChannelSet::Kind::kSlow}, windows},  // the same state, other channels
      {{4}, {4}, {}, windows},                            // none before token 4: the full state
      {{3}, {1, 2}, {}, windows},                         // another length
      {{0, 4}, {0}, {}, windows}};                        // starts at token 0: no state
  const ReplayPlan plan = plan_of({prompt(5, cuts)});
  EXPECT_EQ(plan.slots.size(), 4u);
  EXPECT_THAT(plan.slot_begin, ElementsAre(0, 4));
  const auto row = [&](size_t cut) {
    return plan.rows[static_cast<size_t>(plan.answer_row[0][cut][0])];
  };
  EXPECT_EQ(row(0).kept_state, row(1).kept_state);
  EXPECT_EQ(row(0).kept_state, row(2).kept_state);
  EXPECT_EQ(row(3).kept_state, row(3).full_state);
  EXPECT_NE(row(4).kept_state, row(0).kept_state);
  EXPECT_EQ(row(5).full_state, -1);
  EXPECT_TRUE(plan_of({prompt(5, cuts)}, 12, false).slots.empty());
}

class Parts : public testing::TestWithParam<bool> {};  // whether there are states
INSTANTIATE_TEST_SUITE_P(ReplayPlan, Parts, testing::Bool(),
                         [](const auto& of) { return of.param ? "WithStates" : "WithoutStates"; });

// What each block of CUDA's scan or dual form works on: every replay of a last token once, beside
// the state that it reads.
TEST_P(Parts, HaveEveryReplayOfALastTokenOnceBesideItsState) {
  const std::vector<Window> windows = all_starts({2, 3});
  std::vector<Series> cuts;
  for (const std::vector<int>& sources :
       {std::vector<int>{0}, {1}, {2}, {0, 1}, {1, 2}, {6}, {2, 6}})
    cuts.push_back({{6}, sources, {}, windows});
  cuts.push_back({{5, 6}, {1}, {}, windows});  // two tokens: not in a part
  const ReplayPlan plan = plan_of(
      {prompt(7, cuts), prompt(1, {{{0}, {0}, {}, windows}}), prompt(3, {})}, 12, GetParam());
  std::map<std::int32_t, const kernels::LastToken*> of_column;
  std::map<std::int32_t, int> leading;
  for (const kernels::PromptPart& part : plan.parts) {
    leading[part.clean_row] += part.leads;
    EXPECT_LE(part.kept_count, kernels::kKeptPerPart);
    EXPECT_LE(part.count, kernels::kRowsPerPart);
    for (std::int32_t i = part.begin; i < part.begin + part.count; ++i) {
      const kernels::LastToken& token = plan.replays[static_cast<size_t>(i)];
      EXPECT_TRUE(of_column.emplace(token.column, &token).second);
      const kernels::Row& row =
          plan.rows[static_cast<size_t>(plan.row_of[static_cast<size_t>(token.column)])];
      EXPECT_EQ(row.clean_column, plan.rows[static_cast<size_t>(part.clean_row)].column);
      EXPECT_EQ(token.window_begin, row.window_begin);
      EXPECT_EQ(token.window_end, row.window_end);
      EXPECT_EQ(token.flags, row.flags);
      EXPECT_EQ(token.kept == kernels::kKeptPerPart ? row.full_state : part.kept_begin + token.kept,
                row.kept_state);
    }
  }
  EXPECT_EQ(leading, (std::map<std::int32_t, int>{{0, 1}, {1, 1}, {2, 1}}));
  EXPECT_EQ(plan.replays.size(), of_column.size());
  size_t one_token = 0;
  std::uint64_t edges = 0;
  for (size_t r = 3; r < plan.rows.size(); ++r) {
    const kernels::Row& row = plan.rows[r];
    if (row.count > 1) continue;
    ++one_token;
    ASSERT_EQ(of_column.count(row.column), 1u);
    const kernels::LastToken& token = *of_column[row.column];
    edges += static_cast<std::uint64_t>(token.edges) *
             static_cast<std::uint64_t>(token.window_end - token.window_begin);
    const bool in_flags =
        row.flags >= 0 &&
        (plan.flags[static_cast<size_t>(row.flags + row.first_token)] & kernels::kSource) != 0;
    if (row.flags >= 0) {
      EXPECT_EQ(token.self != 0, in_flags);
    }
  }
  EXPECT_EQ(one_token, plan.replays.size());
  // The cut of two tokens blocks two edges in each layer of its trajectories, which end with the
  // longer window.
  std::uint64_t of_suffixes = 0;
  for (const kernels::Row& row : plan.rows)
    if (row.count == 2 && row.first_token == 5)
      of_suffixes += 2 * static_cast<std::uint64_t>(row.window_end - row.window_begin);
  EXPECT_EQ(edges + of_suffixes, plan.blocked_edges);
}

TEST_P(Parts, AreSeveralForManyReplaysOfAPrompt) {
  std::vector<Series> cuts;
  for (int source = 0; source < 40; ++source)
    cuts.push_back({{40}, {source}, {}, all_starts({1, 2, 3})});
  const ReplayPlan plan = plan_of({prompt(41, cuts)}, 12, GetParam());
  size_t rows = 0;
  int leading = 0;
  for (const kernels::PromptPart& part : plan.parts) {
    rows += static_cast<size_t>(part.count);
    leading += part.leads;
  }
  EXPECT_EQ(rows, plan.rows.size() - 1);
  EXPECT_EQ(leading, 1);
  // Forty kept states, three a part; or nothing but replays.
  EXPECT_EQ(plan.parts.size(), GetParam() ? 14u : (rows + 255) / 256);
}

TEST(ReplayPlan, TransformersHaveNoParts) {
  EXPECT_TRUE(plan_of({prompt(3, {{{2}, {0}, {}, {{0, 1}}}})}, 0, false).parts.empty());
}

TEST(ReplayPlan, ImpossibleRequestsAreRefused) {
  const std::vector<Window> windows = {{0, 1}};
  const auto refused = [](const Series& cut) {
    EXPECT_THROW(plan_of({prompt(3, {cut})}), std::invalid_argument);
  };
  EXPECT_THROW(plan_of({prompt(0, {})}), std::invalid_argument);
  refused({{3}, {0}, {}, windows});
  refused({{2}, {-1}, {}, windows});
  refused({{2, 1}, {0}, {}, windows});
  refused({{2}, {0, 0}, {}, windows});
  refused({{2}, {0}, {}, {{-1, 1}}});
  refused({{2}, {0}, {}, {{0, kLayers + 1}}});
  refused({{2}, {0}, {}, {{2, 1}}});
}

}  // namespace
}  // namespace factflow
