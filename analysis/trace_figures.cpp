// Causal traces: for each model and direction the mean effects of every site, by group of tokens;
// and for the first few facts the effects of single tokens, a panel for each model.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "analysis/figures.hpp"
#include "analysis/heatmap_plot.hpp"
#include "analysis/load_runs.hpp"
#include "analysis/palette.hpp"
#include "analysis/trace_report.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

constexpr std::size_t kMostFacts = 4;     // with maps of their own
constexpr std::size_t kMostTokens = 120;  // of such a map
constexpr std::size_t kMostPanels = 18;

constexpr const char* kCentre = "Centre layer of the window";
constexpr const char* kBehind = "the layer behind which it is patched, \u22121 = embeddings";

// Below the maps of these sites.
std::string layer_label(bool any_stream, bool any_other) {
  if (!any_stream) return kCentre;
  return any_other ? fmt::format("{} (h: {})", kCentre, kBehind) : fmt::format("Of h: {}", kBehind);
}

class TraceFigures {
 public:
  TraceFigures(const Study& study, const FigureOptions& options, Stems& stems, FigureSet& set)
      : study_(study), options_(options), stems_(stems), set_(set) {}

  void add_all() {
    std::size_t drawn = 0;
    for (const ModelTraces& traces : study_.traces) {
      if (drawn++ == options_.models) break;
      for (const TraceChart& chart : trace_charts(traces)) add_chart(traces, chart);
    }
    if (study_.traces.size() > options_.models)
      set_.omitted.push_back(fmt::format("Figures of traces are drawn for the first {} of {}.",
                                         options_.models, counted(study_.traces.size(), "model")));
    add_facts();
  }

 private:
  void add_chart(const ModelTraces& traces, const TraceChart& chart) {
    HeatmapPlot figure;
    for (const TraceAverage* average : chart.maps)
      if (average->prompts > 0) {
        figure.panels.push_back(average_panel(*average));
        if (!chart.same_n)
          figure.panels.back().title.push_back(fmt::format("n = {}", average->prompts));
      }
    if (figure.panels.empty()) {
      set_.omitted.push_back(
          fmt::format("{} is not drawn: it is of {}.", chart.stem, facts_in_words(traces)));
      return;
    }
    figure.columns = 3;
    figure.shared_rows = true;
    const auto is_stream = [](const TraceAverage* average) { return average->site == "h"; };
    figure.layer_label = layer_label(std::any_of(chart.maps.begin(), chart.maps.end(), is_stream),
                                     !std::all_of(chart.maps.begin(), chart.maps.end(), is_stream));
    figure.scale = ColorScale{0,
                              chart.largest,
                              chart.any_negative ? "\u2264 0" : "0",
                              fmt::format("{:.2f}", chart.largest),
                              "mean indirect effect",
                              sequential_palette()};
    figure.header = fmt::format("{}, {}", traces.model, chart.title);
    figure.stem = stems_.unique(chart.stem);
    set_.figures.push_back({chart.caption, render(figure, options_)});
  }

  static HeatmapPanel average_panel(const TraceAverage& average) {
    HeatmapPanel panel;
    panel.title = {title_of(average)};
    panel.data.window = average.window;
    panel.data.placement = average.placement;
    panel.data.starts = average.centres;
    panel.layers = average.layers;
    panel.token_rows = false;
    panel.layer_shift = published_layer(average.site, 0);
    for (std::size_t group = 0; group < kTokenGroups; ++group) {
      panel.data.tokens.emplace_back(name_of_group(TraceGrouping::kSharma, group));
      for (const TracePoint& point : average.of(TraceGrouping::kSharma, group))
        panel.data.probability.push_back(static_cast<float>(point.effect));
    }
    return panel;
  }

  // A fact's maps of one site.
  struct FactMap {
    const ModelData* model = nullptr;
    const TracedFact* fact = nullptr;
    TraceMaps maps;
    std::int64_t window = 0;
  };

  // The first facts that have a part in means, in the order of the dataset, with what is stored of
  // them by site. The rest is said.
  void add_facts() {
    std::set<std::size_t> rows;
    for (const ModelTraces& traces : study_.traces)
      for (const TracedFact& fact : traces.facts)
        if (fact.use == FactUse::kUsed && wants_prompt(options_, fact.prompt))
          rows.insert(fact.prompt_row);
    const std::size_t most =
        options_.prompts.empty() ? std::min(kMostFacts, options_.heatmap_prompts) : rows.size();
    if (rows.size() > most)
      set_.omitted.push_back(fmt::format("Traces of single prompts are drawn for {} of {}.", most,
                                         counted(rows.size(), "prompt")));
    std::size_t drawn = 0;
    for (const std::size_t row : rows) {
      if (drawn++ == most) break;
      for (const auto& [site, maps] : maps_of(row)) add_fact(row, site, maps);
    }
  }

  std::map<std::string, std::vector<FactMap>> maps_of(std::size_t row) const {
    std::map<std::string, std::vector<FactMap>> sites;
    for (const ModelTraces& traces : study_.traces) {
      const auto fact = std::find_if(
          traces.facts.begin(), traces.facts.end(),
          [&](const TracedFact& f) { return f.prompt_row == row && f.use == FactUse::kUsed; });
      if (fact == traces.facts.end()) continue;
      const ModelData& model = *std::find_if(
          study_.run.models.begin(), study_.run.models.end(),
          [&](const ModelData& candidate) { return candidate.info.name == traces.model; });
      for (const TraceMaps& maps : trace_maps(*model.reader, model.stored_name))
        for (const std::int64_t window : heatmap_windows(model, maps.group)) {
          const auto prompts = heatmap_prompts(model, window, maps.group);
          if (std::find(prompts.begin(), prompts.end(), fact->prompt) != prompts.end())
            sites[maps.site].push_back({&model, &*fact, maps, window});
        }
    }
    return sites;
  }

  void add_fact(std::size_t row, const std::string& site, const std::vector<FactMap>& maps) {
    const PromptTable& prompts = study_.run.prompts;
    const std::string text = fmt::format("prompt {}: {} \u2026{}", prompts.id[row],
                                         prompts.text[row], prompts.answer[row]);
    const std::string stem = fmt::format("trace_{}_{}", prompts.id[row], site);
    HeatmapPlot figure;
    for (const FactMap& map : maps) {
      HeatmapPanel panel = fact_panel(map);
      if (panel.data.tokens.size() <= kMostTokens)
        figure.panels.push_back(std::move(panel));
      else
        set_.omitted.push_back(fmt::format("{} lacks {}: {} tokens.", stem, map.model->info.name,
                                           panel.data.tokens.size()));
    }
    if (figure.panels.empty()) return;
    if (figure.panels.size() > kMostPanels) {
      set_.omitted.push_back(fmt::format("{}: {} of {} are drawn.", stem, kMostPanels,
                                         counted(figure.panels.size(), "panel")));
      figure.panels.resize(kMostPanels);
    }
    bool below = false, above = false;
    for (const HeatmapPanel& panel : figure.panels)
      for (const float p : panel.data.probability) {
        const double effect = (static_cast<double>(p) - panel.clean) / panel.unit;
        below = below || effect < -0.005;
        above = above || effect > 1.005;
      }
    figure.scale = ColorScale{0,
                              1,
                              below ? "\u2264 0" : "0",
                              above ? "\u2265 1" : "1",
                              "indirect effect",
                              sequential_palette()};
    figure.columns = 3;
    figure.layer_label = layer_label(site == "h", site != "h");
    figure.header = fmt::format("{}, {}", site, text);
    figure.stem = stems_.unique(stem);
    set_.figures.push_back({fmt::format("Causal trace of {} at single tokens: {}", site, text),
                            render(figure, options_)});
  }

  HeatmapPanel fact_panel(const FactMap& map) {
    const TracedFact& fact = *map.fact;
    const bool restore = map.maps.direction == TraceDirection::kRestore;
    HeatmapPanel panel;
    panel.data = load_heatmap(*map.model, map.window, fact.prompt, map.maps.group);
    for (const std::string& token : panel.data.tokens)
      drawable(token, options_.fonts, set_.missing);
    const bool noise = fact.counterfactual.empty();
    drawable(fact.counterfactual, options_.fonts, set_.missing);
    panel.clean = restore ? fact.low : fact.high;
    panel.unit = restore ? fact.high - fact.low : fact.low - fact.high;
    panel.layers = map.model->info.layers;
    panel.subject_begin = fact.subject_begin;
    panel.subject_end = fact.subject_end;
    panel.layer_shift = published_layer(map.maps.site, 0);
    panel.title = {map.model->info.name,
                   fmt::format("{}, window {}", to_string(map.maps.direction), map.window),
                   fmt::format("p = {:.2f}; {}: {:.2f}", fact.high,
                               noise ? "noise" : fact.counterfactual, fact.low)};
    return panel;
  }

  const Study& study_;
  const FigureOptions& options_;
  Stems& stems_;
  FigureSet& set_;
};

}  // namespace

void add_trace_figures(const Study& study, const FigureOptions& options, Stems& stems,
                       FigureSet& set) {
  TraceFigures(study, options, stems, set).add_all();
}

}  // namespace factflow
