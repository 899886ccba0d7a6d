#include "experiments/heatmap/heatmap.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "experiments/bytes.hpp"
#include "experiments/cell_values.hpp"
#include "experiments/heatmap/heatmap_arrays.hpp"

namespace factflow {
namespace {

constexpr UnitLimits kPromptsPerUnit = {8, 8};
constexpr std::size_t kTokenText = 6;  // bytes, for estimates
constexpr std::int64_t kLargest = std::numeric_limits<std::int64_t>::max();

struct HeatmapPlan {
  std::vector<WindowSeries> series;
  bool routes = false;  // whether the model has experts
};
template <class Archive>
void serialize(Archive& archive, HeatmapPlan& p) {
  archive(p.series, p.routes);
}

StoredCells stored_by(const HeatmapPlan& plan) {
  return {.rerouted = plan.routes};
}

// What is found about one prompt.
struct PromptHeatmap {
  std::vector<std::string> tokens;      // texts
  std::vector<std::int32_t> token_ids;  // in the vocabulary
  std::vector<CellValues> maps;         // [asked window size], each [token * starts + start]
};
template <class Archive>
void serialize(Archive& archive, PromptHeatmap& p) {
  archive(p.tokens, p.token_ids, p.maps);
}

// All maps are one item; the window sizes are what is asked.
std::vector<std::uint32_t> series_in(const Asked& asked) {
  return asked.empty() ? std::vector<std::uint32_t>{} : asked[0].series;
}

// ---- results

class HeatmapArrays final : public ArrayMaker {
 public:
  HeatmapArrays(const std::vector<WindowSeries>& series, const Subjects& subjects)
      : series_(series), subjects_(subjects) {}

  void add(std::uint32_t prompt, const Asked& asked, const std::string& values) override {
    const auto found = from_bytes<PromptHeatmap>(values, "a heat map");
    const std::vector<std::uint32_t> drawn = series_in(asked);
    for (std::size_t w = 0; w < drawn.size(); ++w) {
      const WindowSeries& series = series_.at(drawn[w]);
      const CellValues& cells = found.maps.at(w);
      maps_.push_back({.window = series.size,
                       .placement = to_string(series.placement),
                       .prompt = subjects_.prompts.at(prompt).id,
                       .tokens = found.tokens,
                       .starts = series.starts,
                       .probability = cells.probability,
                       .token_ids = found.token_ids,
                       .blocked_edges = cells.blocked_edges,
                       .rerouted = cells.rerouted});
    }
  }

  std::vector<ArrayGroup> groups() override { return arrays_of(maps_); }

 private:
  const std::vector<WindowSeries>& series_;
  const Subjects& subjects_;
  std::vector<HeatmapResult> maps_;
};

// ---- work

class HeatmapWork final : public Work {
 public:
  explicit HeatmapWork(HeatmapPlan plan) : plan_(std::move(plan)) {}
  std::string bytes() const override { return to_bytes(plan_); }

  std::string describe(const Asked& asked) const override {
    std::vector<int> sizes;
    for (const std::uint32_t series : series_in(asked))
      sizes.push_back(plan_.series.at(series).size);
    std::sort(sizes.begin(), sizes.end());
    return fmt::format("heat maps, windows {}", fmt::join(sizes, " "));
  }

  std::vector<Replays> replays(const Asked& asked, double tokens) const override {
    return {{tokens, windows_of(plan_.series, series_in(asked))}};
  }
  UnitLimits limits(const Asked&) const override { return kPromptsPerUnit; }
  PromptBytes bytes_of_prompt(const Asked& asked, double tokens) const override {
    PromptHeatmap sample;
    const auto count = static_cast<std::size_t>(std::llround(tokens));
    sample.tokens.assign(count, std::string(kTokenText, 'x'));
    sample.token_ids.resize(count);
    double rows = 0;
    for (const std::uint32_t series : series_in(asked)) {
      const std::size_t starts = plan_.series.at(series).starts.size();
      sample.maps.push_back(no_answers(count * starts, stored_by(plan_)));
      rows += tokens * static_cast<double>(starts);
    }
    return {rows * stored_by(plan_).bytes(), static_cast<double>(to_bytes(sample).size())};
  }

  ReplayRequest request(const Asked& asked, const TokenizedPrompt& prompt,
                        std::span<const TokenizedPrompt>) const override {
    ReplayRequest request{prompt.ids, prompt.answer, {}};
    const std::vector<Window> windows = windows_of(plan_.series, series_in(asked));
    const std::vector<int> last = positions_of(TokenRole::kLast, prompt);
    for (int token = 0; token < static_cast<int>(prompt.ids.size()); ++token)
      request.series.push_back({last, {token}, {}, windows});
    return request;
  }

  Finding record(const LoadedModel& model, const Asked& asked, const TokenizedPrompt& prompt,
                 std::span<const TokenizedPrompt>, const ReplayResult& result) const override {
    PromptHeatmap heatmap;
    for (const int id : prompt.ids) {
      heatmap.tokens.push_back(model.tokenizer().token_text(id));
      heatmap.token_ids.push_back(id);
    }
    std::size_t first = 0;
    for (const std::uint32_t series : series_in(asked)) {
      const std::size_t starts = plan_.series.at(series).windows.size();
      CellValues& map = heatmap.maps.emplace_back();
      for (std::size_t token = 0; token < prompt.ids.size(); ++token)
        for (std::size_t i = 0; i < starts; ++i)
          map.add(result.knockouts[token][first + i], result.clean.log_probability,
                  stored_by(plan_));
      first += starts;
    }
    return {"", to_bytes(heatmap)};
  }

  std::unique_ptr<ArrayMaker> arrays(const Subjects& subjects) const override {
    return std::make_unique<HeatmapArrays>(plan_.series, subjects);
  }

 private:
  HeatmapPlan plan_;
};

// ---- the kind

Fields<HeatmapsConfig> heatmaps_fields() {
  using H = HeatmapsConfig;
  Fields<H> fields = {
      field("windows", &H::windows, window_sizes(),
            "layers per window; `window` is another name of this key",
            {.required = true, .alias = "window"}),
      field<H, std::int64_t>(
          "prompts", &H::prompts,
          word_or("none", std::int64_t{0}, whole_number<std::int64_t>(1, kLargest)),
          "the first N prompts of the set get heatmaps: each single token -> last"),
      field<H, std::vector<std::int64_t>>(
          "ids", &H::ids, word_or("none", std::vector<std::int64_t>{}, list_of(prompt_id())),
          "the prompts with these ids get heatmaps, right or wrong"),
  };
  for (Field<H>& more : whom_fields<H>()) fields.push_back(std::move(more));
  return fields;
}

Form<HeatmapsConfig> heatmaps_form() {
  return checked(section(heatmaps_fields()),
                 [](const HeatmapsConfig& heatmaps, const YamlNode& node, const Place& place) {
                   if ((heatmaps.prompts > 0) == !heatmaps.ids.empty())
                     reject(place, node.line, "expects either 'prompts' or 'ids'",
                            "say how many prompts of the set get heatmaps, or which");
                   if (!heatmaps.ids.empty() && !heatmaps.select.empty())
                     reject(place.child("select"), node.line, "is given beside 'ids'",
                            "ids are drawn whatever the set");
                 });
}

class HeatmapKind final : public ExperimentKind {
 public:
  std::string name() const override { return "heatmap"; }
  std::uint32_t number() const override { return 3; }

  std::string section() const override { return "heatmaps"; }
  Form<Entries> form() const override { return section_form(one_or_several(heatmaps_form())); }

  PlannedWork plan(const Entries& entries, const ModelToPlan& model) const override {
    HeatmapPlan plan;
    plan.routes = model.architecture.routes();
    PlannedWork planned;
    for (std::size_t i = 0; i < entries.size(); ++i) {
      Asked& asked = planned.asked.emplace_back();
      const auto& heatmaps = static_cast<const HeatmapsConfig&>(*entries[i]);
      if (!is_for(heatmaps, model.name)) continue;
      check_sizes(model, key_in_entry(section(), i, entries.size(), "window"), heatmaps.windows);
      asked = {{0, add_series(plan.series, heatmaps.windows, model.placement,
                              model.architecture.layers)}};
    }
    planned.work = std::make_shared<HeatmapWork>(std::move(plan));
    return planned;
  }
  std::shared_ptr<const Work> work_from(const std::string& bytes) const override {
    return std::make_shared<HeatmapWork>(from_bytes<HeatmapPlan>(bytes, "the plan of heat maps"));
  }

  std::string progress(const PromptCount& count, std::uint32_t asked) const override {
    return asked == 0 ? "" : "heat maps of " + in_words(count, asked, "prompt", "drawn");
  }
};

}  // namespace

const ExperimentKind& heatmap_kind() {
  static const HeatmapKind kind;
  return kind;
}

}  // namespace factflow
