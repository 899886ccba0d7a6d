#include "experiments/parts/parts.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/text.hpp"
#include "experiments/cell_collector.hpp"
#include "experiments/parts/parts_arrays.hpp"
#include "experiments/parts/parts_plan.hpp"
#include "experiments/parts/parts_planner.hpp"
#include "experiments/parts/ranking.hpp"
#include "experiments/planning.hpp"

namespace factflow {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

StoredCells stored_by(const PartsPlan& plan) {
  return {.log_changes = true, .rerouted = plan.routes};
}

// What is found about one prompt.
struct PromptParts {
  // [asked item]; of one that cumulates [size, order, step].
  std::vector<CellValues> items;
  std::vector<std::vector<PartOrder>> orders;  // [asked item][size], of those that cumulate
  // What ranked the channels, of the first prompt of a unit where something is ranked by it; else
  // without numbers.
  DecayInPrompts decay;
};
template <class Archive>
void serialize(Archive& archive, PromptParts& p) {
  archive(p.items, p.orders, p.decay.tokens, p.decay.mean);
}

std::map<std::uint32_t, std::string> names_of(const std::vector<PartItem>& items) {
  std::map<std::uint32_t, std::string> names;
  for (std::uint32_t i = 0; i < items.size(); ++i)
    if (!items[i].cumulates()) names.emplace(i, items[i].name);
  return names;
}

// ---- results

class PartsArrays final : public ArrayMaker {
 public:
  PartsArrays(const PartsPlan& plan, const Subjects& subjects)
      : plan_(plan), cells_(names_of(plan.items), plan.series, subjects, stored_by(plan)) {}

  void add(std::uint32_t prompt, const Asked& asked, const std::string& values) override {
    const auto found = from_bytes<PromptParts>(values, "what parts of edges carry");
    if (decay_.tokens == 0) decay_ = found.decay;
    for (std::size_t i = 0; i < asked.size(); ++i)
      if (plan_.items.at(asked[i].item).cumulates())
        add_cumulated(prompt, asked[i], i, found);
      else
        cells_.add(prompt, asked[i], found.items.at(i));
  }
  void add_failed(std::uint32_t prompt, const Asked& asked) override {
    cells_.add_failed(prompt, asked);
  }

  std::vector<ArrayGroup> groups() override {
    if (cells_.empty()) return {};
    std::vector<ArrayGroup> groups = {arrays_of(part_names(), cells_.axes())};
    cells_.add_windows(part_names(), groups);
    if (decay_.tokens > 0)
      groups.push_back(arrays_of_ranking(decay_.mean, decay_.tokens,
                                         static_cast<std::int64_t>(plan_.ranking.size())));
    std::size_t index = 0;
    for (const auto& [key, cumulated] : cumulated_) groups.push_back(arrays_of(cumulated, index++));
    return groups;
  }

 private:
  // All prompts of a model have the same orders.
  CumulatedParts begun(const PartItem& item, const WindowSeries& series,
                       const PartOrder& order) const {
    CumulatedParts parts{plan_.items.at(item.whole).name,
                         item.division,
                         series.size,
                         series.starts.at(order.start),
                         order.prompts,
                         {kGreedyOrder, kRandomOrder},
                         {},
                         cells_.axes().prompts,
                         {},
                         {}};
    for (std::size_t step = 0; step < item.parts.size(); ++step)
      parts.steps.push_back(static_cast<std::int32_t>(step) + 1);
    for (const auto* of : {&order.greedy, &order.random})
      for (const std::uint32_t part : *of) parts.part.push_back(plan_.items.at(part).name);
    parts.log_change.assign(parts.orders.size() * parts.steps.size() * parts.prompts.size(), kNaN);
    return parts;
  }

  void add_cumulated(std::uint32_t prompt, const AskedItem& asked, std::size_t i,
                     const PromptParts& found) {
    const PartItem& item = plan_.items.at(asked.item);
    std::size_t next = 0;
    for (std::size_t s = 0; s < asked.series.size(); ++s) {
      const WindowSeries& series = plan_.series.at(asked.series[s]);
      const auto key = std::pair(asked.item, asked.series[s]);
      if (!cumulated_.contains(key))
        cumulated_.emplace(key, begun(item, series, found.orders.at(i).at(s)));
      CumulatedParts& parts = cumulated_.at(key);
      for (std::size_t order = 0; order < parts.orders.size(); ++order)
        for (std::size_t step = 0; step < parts.steps.size(); ++step)
          parts.log_change[parts.cell(order, step, cells_.row_of(prompt))] =
              found.items.at(i).log_change.at(next++);
    }
  }

  const PartsPlan& plan_;
  CellCollector cells_;
  std::map<std::pair<std::uint32_t, std::uint32_t>, CumulatedParts> cumulated_;  // item, series
  DecayInPrompts decay_;  // the same in all units
};

// ---- work

class PartsWork final : public Work {
 public:
  explicit PartsWork(PartsPlan plan) : plan_(std::move(plan)) {}
  std::string bytes() const override { return to_bytes(plan_); }

  std::string describe(const Asked& asked) const override {
    return fmt::format("parts, {}, windows {}", counted(asked.size(), "item"),
                       fmt::join(asked_sizes(plan_.series, asked), " "));
  }
  std::string summary() const override {
    return plan_.items.empty()
               ? ""
               : counted(names_of(plan_.items).size(), "edge or part of one", "edges and parts");
  }

  std::vector<Replays> replays(const Asked& asked, double) const override {
    std::vector<Replays> replays;
    for (const AskedItem& one : asked) {
      const PartItem& item = plan_.items.at(one.item);
      if (!item.cumulates()) {
        replays.push_back({1, windows_of(plan_.series, one.series)});
        continue;
      }
      // Two orders, in one window of each size: as if it were one in the middle.
      for (const std::uint32_t series : one.series) {
        const std::vector<Window>& windows = plan_.series.at(series).windows;
        replays.push_back(
            {2.0 * static_cast<double>(item.parts.size()), {windows.at(windows.size() / 2)}});
      }
    }
    return replays;
  }
  PromptBytes bytes_of_prompt(const Asked& asked, double) const override {
    PromptParts sample;
    double rows = 0;
    for (const AskedItem& one : asked) {
      const PartItem& item = plan_.items.at(one.item);
      const std::size_t windows = item.cumulates() ? 2 * item.parts.size() * one.series.size()
                                                   : windows_of(plan_.series, one.series).size();
      sample.items.push_back(no_answers(windows, stored_by(plan_)));
      sample.orders.emplace_back(item.cumulates() ? one.series.size() : 0,
                                 PartOrder{0, 0, item.parts, item.parts});
      rows += static_cast<double>(windows);
    }
    return {rows * stored_by(plan_).bytes(), static_cast<double>(to_bytes(sample).size())};
  }

  // Without the knockouts of several parts, whose order the model has to say, and of those by the
  // decay that happens in it.
  ReplayRequest request(const Asked& asked, const TokenizedPrompt& prompt,
                        std::span<const TokenizedPrompt>) const override {
    return request_of(asked, nullptr, prompt);
  }
  Finding record(const LoadedModel&, const Asked&, const TokenizedPrompt&,
                 std::span<const TokenizedPrompt>, const ReplayResult&) const override {
    throw std::logic_error("parts are recorded with their orders");
  }

  std::vector<Finding> compute(LoadedModel& model, const Asked& asked,
                               std::span<const TokenizedPrompt> prompts) const override {
    const Orders orders = orders_of(model, asked);
    const DecayInPrompts* decay =
        by_decay_that_happens(asked) ? &decay_of(model, plan_.ranking) : nullptr;
    std::vector<ReplayRequest> requests;
    for (const TokenizedPrompt& prompt : prompts) {
      requests.push_back(request_of(asked, decay, prompt));
      add_cumulated(asked, orders, decay, prompt, requests.back());
    }
    const std::vector<ReplayResult> results = model.replay(requests);
    std::vector<Finding> findings;
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      if (!is_finite(results[i])) {
        findings.push_back({kNotFinite, ""});
        continue;
      }
      PromptParts parts = found(asked, orders, prompts[i], results[i]);
      if (decay != nullptr) parts.decay = *std::exchange(decay, nullptr);
      findings.push_back({"", to_bytes(parts)});
    }
    return findings;
  }

  std::unique_ptr<ArrayMaker> arrays(const Subjects& subjects) const override {
    return std::make_unique<PartsArrays>(plan_, subjects);
  }

 private:
  bool by_decay_that_happens(const Asked& asked) const {
    return std::any_of(asked.begin(), asked.end(), [&](const AskedItem& one) {
      return plan_.items.at(one.item).part.happened;
    });
  }

  // Of single parts; without `decay` not of those by it.
  ReplayRequest request_of(const Asked& asked, const DecayInPrompts* decay,
                           const TokenizedPrompt& prompt) const {
    ReplayRequest request{prompt.ids, prompt.answer};
    for (const AskedItem& one : asked) {
      const PartItem& item = plan_.items.at(one.item);
      if (item.cumulates() || (item.part.happened && decay == nullptr)) continue;
      add_series(plan_, item, {}, decay, prompt, windows_of(plan_.series, one.series), request);
    }
    return request;
  }

  using Orders = std::vector<std::vector<PartOrder>>;  // [asked item][size]

  Orders orders_of(LoadedModel& model, const Asked& asked) const {
    Orders orders;
    for (const AskedItem& one : asked) {
      orders.emplace_back();
      if (const PartItem& item = plan_.items.at(one.item); item.cumulates())
        for (const std::uint32_t series : one.series)
          orders.back().push_back(order_of(model, plan_, item, series));
    }
    return orders;
  }

  // Behind the single parts: of each item that cumulates [size][order][step].
  void add_cumulated(const Asked& asked, const Orders& orders, const DecayInPrompts* decay,
                     const TokenizedPrompt& prompt, ReplayRequest& request) const {
    for (std::size_t i = 0; i < asked.size(); ++i)
      for (std::size_t s = 0; s < orders[i].size(); ++s) {
        const PartItem& edge = plan_.items.at(plan_.items.at(asked[i].item).whole);
        const PartOrder& order = orders[i][s];
        const Window window = plan_.series.at(asked[i].series[s]).windows.at(order.start);
        for (const auto* sequence : {&order.greedy, &order.random}) {
          std::vector<const EdgePart*> lost;
          for (const std::uint32_t part : *sequence) {
            lost.push_back(&plan_.items.at(part).part);
            add_series(plan_, edge, lost, decay, prompt, {window}, request);
          }
        }
      }
  }

  PromptParts found(const Asked& asked, const Orders& orders, const TokenizedPrompt& prompt,
                    const ReplayResult& result) const {
    PromptParts parts;
    parts.orders = orders;
    const std::vector<Answer> answers = answers_in_order(result);
    std::size_t single = 0, together = 0;  // places: single parts, then those that cumulate
    for (const AskedItem& one : asked)
      if (!plan_.items.at(one.item).cumulates())
        together += windows_of(plan_.series, one.series).size();
    for (std::size_t i = 0; i < asked.size(); ++i) {
      const PartItem& item = plan_.items.at(asked[i].item);
      const std::vector<int> targets = positions_of(item.to, prompt),
                             sources = positions_of(item.from, prompt);
      std::size_t& first = item.cumulates() ? together : single;
      const std::size_t count = item.cumulates() ? 2 * item.parts.size() * orders[i].size()
                                                 : windows_of(plan_.series, asked[i].series).size();
      parts.items.push_back(cells_of_edge(std::span(answers).subspan(first, count),
                                          result.clean.log_probability,
                                          count_edges(targets, sources), stored_by(plan_)));
      first += count;
    }
    return parts;
  }

  PartsPlan plan_;
};

// ---- the kind

class PartsKind final : public ExperimentKind {
 public:
  std::string name() const override { return "parts"; }
  std::uint32_t number() const override { return 11; }

  std::string section() const override { return "parts"; }
  Form<Entries> form() const override { return section_form(parts_form()); }
  std::optional<Placement> placement(const Entry& entry) const override {
    return static_cast<const PartsConfig&>(entry).windows.placement;
  }

  PlannedWork plan(const Entries& entries, const ModelToPlan& model) const override {
    PartsPlanner planner(model, entries.size());
    PlannedWork planned;
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const auto& entry = static_cast<const PartsConfig&>(*entries[i]);
      planned.asked.push_back(is_for(entry, model.name) ? planner.add(i, entry, planned.skipped)
                                                        : Asked{});
    }
    planned.work = std::make_shared<PartsWork>(planner.take());
    planned.lacking = "heads, or heads with a decay";
    return planned;
  }
  void check(const Entries& entries, std::span<const ModelOfRun> models) const override {
    refuse_impossible_divisions(entries, models);
  }
  std::shared_ptr<const Work> work_from(const std::string& bytes) const override {
    return std::make_shared<PartsWork>(from_bytes<PartsPlan>(bytes, "the plan of parts of edges"));
  }

  std::string progress(const PromptCount& count, std::uint32_t asked) const override {
    return asked == 0 ? "no prompt with parts to knock out"
                      : in_words(count, asked, "selected prompt", "with parts knocked out");
  }
};

}  // namespace

const ExperimentKind& parts_kind() {
  static const PartsKind kind;
  return kind;
}

}  // namespace factflow
