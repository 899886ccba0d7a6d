#include "experiments/sweep/sweep.hpp"

#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "experiments/bytes.hpp"
#include "experiments/cell_collector.hpp"
#include "experiments/planning.hpp"
#include "experiments/sweep/knockout_arrays.hpp"
#include "experiments/sweep/sweep_edges.hpp"

namespace factflow {

template <class Archive>
void serialize(Archive& archive, EdgeSpec& e) {
  archive(e.from, e.to, e.channels, e.path, e.part, e.what, e.indices);
}
template <class Archive>
void serialize(Archive& archive, SweepPlan& p) {
  archive(p.edges, p.series, p.routes);
}

std::string label_of(const EdgeSpec& edge) {
  std::string label = to_string(edge.from) + "->" + to_string(edge.to);
  if (!edge.part.empty()) label += "/" + edge.part;
  if (edge.channels.kind != ChannelSet::Kind::kAll) label += "/" + to_string(edge.channels);
  if (edge.path != Path::kBoth) label += fmt::format(" ({})", to_string(edge.path));
  return label;
}

SweepPlan decode_sweep_plan(const std::string& bytes) {
  return from_bytes<SweepPlan>(bytes, "the plan of a sweep");
}

namespace {

// What is found about one prompt: [asked edge].
using PromptSweep = std::vector<CellValues>;

StoredCells stored_by(const SweepPlan& plan) {
  return {.rerouted = plan.routes};
}

// ---- results

std::map<std::uint32_t, std::string> labels_of(const std::vector<EdgeSpec>& edges) {
  std::map<std::uint32_t, std::string> labels;
  for (const EdgeSpec& edge : edges)
    labels.emplace(static_cast<std::uint32_t>(labels.size()), label_of(edge));
  return labels;
}

class SweepArrays final : public ArrayMaker {
 public:
  SweepArrays(const SweepPlan& plan, const Subjects& subjects)
      : cells_(labels_of(plan.edges), plan.series, subjects, stored_by(plan)) {}

  void add(std::uint32_t prompt, const Asked& asked, const std::string& values) override {
    const auto found = from_bytes<PromptSweep>(values, "a sweep result");
    for (std::size_t e = 0; e < asked.size(); ++e) cells_.add(prompt, asked[e], found.at(e));
  }
  void add_failed(std::uint32_t prompt, const Asked& asked) override {
    cells_.add_failed(prompt, asked);
  }

  std::vector<ArrayGroup> groups() override {
    if (cells_.empty()) return {};
    std::vector<ArrayGroup> groups = {arrays_of(cells_.axes())};
    cells_.add_windows(knockout_names(), groups);
    return groups;
  }

 private:
  CellCollector cells_;
};

// ---- work

class SweepWork final : public Work {
 public:
  explicit SweepWork(SweepPlan plan) : plan_(std::move(plan)) {}
  std::string bytes() const override { return to_bytes(plan_); }

  std::string describe(const Asked& asked) const override {
    return fmt::format("sweep, {}, windows {}", counted(asked.size(), "edge"),
                       fmt::join(asked_sizes(plan_.series, asked), " "));
  }
  std::string summary() const override {
    return plan_.edges.empty() ? "" : counted(plan_.edges.size(), "edge");
  }

  std::vector<Replays> replays(const Asked& asked, double) const override {
    std::vector<Replays> replays;
    for (const AskedItem& edge : asked)
      replays.push_back({1, windows_of(plan_.series, edge.series)});
    return replays;
  }
  PromptBytes bytes_of_prompt(const Asked& asked, double) const override {
    PromptSweep sample;
    double rows = 0;
    for (const AskedItem& edge : asked) {
      const std::size_t windows = windows_of(plan_.series, edge.series).size();
      sample.push_back(no_answers(windows, stored_by(plan_)));
      rows += static_cast<double>(windows);
    }
    return {rows * stored_by(plan_).bytes(), static_cast<double>(to_bytes(sample).size())};
  }

  ReplayRequest request(const Asked& asked, const TokenizedPrompt& prompt,
                        std::span<const TokenizedPrompt>) const override {
    ReplayRequest request{prompt.ids, prompt.answer, {}};
    for (const AskedItem& one : asked) {
      const EdgeSpec& edge = plan_.edges.at(one.item);
      request.series.push_back({positions_of(edge.to, prompt), positions_of(edge.from, prompt),
                                edge.channels, windows_of(plan_.series, one.series)});
      auto& block = std::get<Block>(request.series.back().interventions.front());
      block.path = edge.path;
      if (!edge.indices.empty()) block.selection = list_of_indices(edge.indices, edge.what);
    }
    return request;
  }

  Finding record(const LoadedModel&, const Asked& asked, const TokenizedPrompt& prompt,
                 std::span<const TokenizedPrompt>, const ReplayResult& result) const override {
    PromptSweep sweep;
    for (std::size_t e = 0; e < asked.size(); ++e) {
      const EdgeSpec& edge = plan_.edges.at(asked[e].item);
      sweep.push_back(
          cells_of_edge(result.knockouts[e], result.clean.log_probability,
                        count_edges(positions_of(edge.to, prompt), positions_of(edge.from, prompt)),
                        stored_by(plan_)));
    }
    return {"", to_bytes(sweep)};
  }

  std::unique_ptr<ArrayMaker> arrays(const Subjects& subjects) const override {
    return std::make_unique<SweepArrays>(plan_, subjects);
  }

 private:
  SweepPlan plan_;
};

// ---- the kind

// The index of the edge in `edges`, at whose end it is put if it is new.
std::uint32_t place_in(std::vector<EdgeSpec>& edges, const EdgeSpec& edge) {
  const auto found = std::find_if(edges.begin(), edges.end(), [&](const EdgeSpec& one) {
    return label_of(one) == label_of(edge);
  });
  const auto index = static_cast<std::uint32_t>(found - edges.begin());
  if (found == edges.end()) edges.push_back(edge);
  return index;
}

class SweepKind final : public ExperimentKind {
 public:
  std::string name() const override { return "sweep"; }
  std::uint32_t number() const override { return 2; }

  std::string section() const override { return "sweep"; }
  Form<Entries> form() const override { return section_form(sweep_form()); }
  std::optional<Placement> placement(const Entry& entry) const override {
    return static_cast<const SweepConfig&>(entry).windows.placement;
  }

  PlannedWork plan(const Entries& entries, const ModelToPlan& model) const override {
    SweepPlan plan;
    plan.routes = model.architecture.routes();
    PlannedWork planned;
    for (std::size_t i = 0; i < entries.size(); ++i) {
      Asked& asked = planned.asked.emplace_back();
      const auto& sweep = static_cast<const SweepConfig&>(*entries[i]);
      if (!is_for(sweep, model.name)) continue;
      check_sizes(model, key_in_entry(section(), i, entries.size(), "windows.sizes"),
                  sweep.windows.sizes);
      asked = asked_by(sweep, model, key_in_entry(section(), i, entries.size(), "knockouts.parts"),
                       plan, planned.skipped);
    }
    planned.work = std::make_shared<SweepWork>(std::move(plan));
    planned.lacking = "state-space channels, or mixers on the path";
    return planned;
  }
  void check(const Entries& entries, std::span<const ModelOfRun> models) const override {
    refuse_what_blocks_nothing(entries, models);
  }
  std::shared_ptr<const Work> work_from(const std::string& bytes) const override {
    return std::make_shared<SweepWork>(decode_sweep_plan(bytes));
  }

  std::string progress(const PromptCount& count, std::uint32_t asked) const override {
    return asked == 0 ? "no prompt to sweep" : in_words(count, asked, "selected prompt", "swept");
  }

 private:
  static Asked asked_by(const SweepConfig& sweep, const ModelToPlan& model, const std::string& key,
                        SweepPlan& plan, std::vector<std::string>& skipped) {
    const std::vector<std::uint32_t> series = add_series(
        plan.series, sweep.windows.sizes, sweep.windows.placement, model.architecture.layers);
    Asked asked;
    for (const KnockoutConfig& knockout : sweep.knockouts)
      for (const EdgeSpec& edge : edges_of(knockout, model, key)) {
        if (can_have(edge, model.architecture))
          asked.push_back({place_in(plan.edges, edge), series});
        else if (const std::string label = label_of(edge);
                 std::find(skipped.begin(), skipped.end(), label) == skipped.end())
          skipped.push_back(label);
      }
    std::sort(asked.begin(), asked.end());
    return asked;
  }
};

}  // namespace

const ExperimentKind& sweep_kind() {
  static const SweepKind kind;
  return kind;
}

}  // namespace factflow
