// What the section `parts` asks of one model.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/bytes.hpp"
#include "experiments/loaded_model.hpp"
#include "experiments/parts/division.hpp"
#include "experiments/windows.hpp"
#include "model/reference/decay_in_prompts.hpp"

namespace factflow {

// An item: an edge, a part of one, or all parts of one that are to be knocked out together, one
// more at a time.
struct PartItem {
  std::string name;  // "subject->last", "subject->last/head 3", "subject->last by each head"
  TokenRole from = TokenRole::kSubject, to = TokenRole::kLast;
  EdgePart part = {};         // without a name: all of it
  std::string division = {};  // of parts that are cumulated; else ""
  std::uint32_t whole = 0;    // the item of the whole edge, and those of the parts
  std::vector<std::uint32_t> parts = {};
  bool cumulates() const { return !division.empty(); }
};

struct PartsPlan {
  PartOf what = PartOf::kHeads;
  std::vector<PartItem> items;
  std::vector<WindowSeries> series;
  // Prompts by whose single effects parts are put in order; none where nothing is cumulated.
  std::vector<Prompt> ordering;
  std::uint64_t seed = 1;  // of the order that is the control
  // Prompts in whose tokens exp(A dt) is measured; none where no part is one by it.
  std::vector<Prompt> ranking = {};
  bool routes = false;  // whether the model has experts
};

// In which window parts are cumulated, and in which order.
struct PartOrder {
  std::uint32_t start = 0;                    // place among the windows of the series
  std::int64_t prompts = 0;                   // that it is of
  std::vector<std::uint32_t> greedy, random;  // items
};

// The window in which the whole edge lowers the mean log probability of the answer most, and its
// parts by what they lower there alone, the most first; equal ones in their own order. Means are
// over the ordering prompts that have the edge and whose answer the model gets right; over all that
// have it where that is none. The same on every rank: the same prompts in the same order.
PartOrder order_of(LoadedModel& model, const PartsPlan& plan, const PartItem& cumulation,
                   std::uint32_t series);

// Adds the knockout of an item that does not cumulate, in these windows; of a part of it where
// others are given. One series, or one for each window where parts are by the decay that happens,
// which is in `decay`: answers come in the order of the windows in either case.
void add_series(const PartsPlan& plan, const PartItem& edge,
                const std::vector<const EdgePart*>& parts, const DecayInPrompts* decay,
                const TokenizedPrompt& prompt, const std::vector<Window>& windows,
                ReplayRequest& request);

// Of all series, one behind the other.
std::vector<Answer> answers_in_order(const ReplayResult& result);

template <class Archive>
void serialize(Archive& archive, EdgePart& p) {
  archive(p.name, p.set, p.indices, p.happened);
}
template <class Archive>
void serialize(Archive& archive, PartItem& i) {
  archive(i.name, i.from, i.to, i.part, i.division, i.whole, i.parts);
}
template <class Archive>
void serialize(Archive& archive, PartsPlan& p) {
  archive(p.what, p.items, p.series, p.ordering, p.seed, p.ranking, p.routes);
}
template <class Archive>
void serialize(Archive& archive, PartOrder& o) {
  archive(o.start, o.prompts, o.greedy, o.random);
}

}  // namespace factflow
