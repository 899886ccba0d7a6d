// Heat maps: for each prompt all models at one window size, and for each model its prompts at every
// window size. Of interventions, for each row and prompt all models at every window size.
#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "analysis/figures.hpp"
#include "analysis/heatmap_plot.hpp"
#include "analysis/load_runs.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

constexpr std::size_t kMostTokens = 120;  // of a heat map's prompt
constexpr std::size_t kMostPanels = 18;
constexpr std::size_t kPromptsOfModel = 4;  // rows of the figure over window sizes
constexpr std::size_t kWindowsOfModel = 4;  // and its columns
constexpr std::size_t kMostRows = 12;       // of interventions

class HeatmapFigures {
 public:
  HeatmapFigures(const Study& study, const FigureOptions& options, Stems& stems, FigureSet& set)
      : study_(study), options_(options), stems_(stems), set_(set) {
    for (std::size_t row = 0; row < study.run.prompts.id.size(); ++row)
      prompt_row_.emplace(study.run.prompts.id[row], row);
  }

  void add_all() {
    add_prompts();
    std::size_t drawn = 0;
    for (const ModelData& model : study_.run.models)
      if (heatmap_windows(model).size() > 1 && drawn++ < options_.models) add_windows(model);
    add_interventions();
  }

 private:
  // A model with one of its window sizes.
  using Drawn = std::pair<const ModelData*, std::int64_t>;

  // The letters and digits of a row's name, for file names.
  static std::string stem_of(const std::string& row) {
    std::string stem;
    for (const char c : row) {
      const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.';
      if (plain || (!stem.empty() && stem.back() != '_')) stem += plain ? c : '_';
    }
    if (stem.ends_with('_')) stem.pop_back();
    return stem;
  }

  // Where a map of interventions is.
  struct StoredMap {
    const ModelData* model = nullptr;
    std::string group;
    std::int64_t window = 0;
  };
  struct RowMaps {
    std::string row;
    std::vector<std::int64_t> prompts;                    // as they are found
    std::map<std::int64_t, std::vector<StoredMap>> maps;  // of each prompt
  };

  // Rows of one name are one row, whatever their places in their runs.
  std::vector<RowMaps> maps_by_row() const {
    std::vector<RowMaps> rows;
    for (const ModelData& model : study_.run.models)
      for (const InterventionMap& map : intervention_maps(model)) {
        auto row = std::find_if(rows.begin(), rows.end(),
                                [&](const RowMaps& known) { return known.row == map.row; });
        if (row == rows.end()) row = rows.insert(row, {map.row, {}, {}});
        for (const std::int64_t window : heatmap_windows(model, map.group))
          for (const std::int64_t prompt : heatmap_prompts(model, window, map.group)) {
            if (!wants_prompt(options_, prompt)) continue;
            if (!row->maps.contains(prompt)) row->prompts.push_back(prompt);
            row->maps[prompt].push_back({&model, map.group, window});
          }
      }
    return rows;
  }

  // A figure for each row and prompt, a panel for each model and window size.
  void add_interventions() {
    std::vector<RowMaps> rows = maps_by_row();
    leave_first(rows, kMostRows, "Maps of interventions", "row");
    for (RowMaps& row : rows) {
      const std::string name = name_of_row(row.row).display();
      leave_first(row.prompts, options_.heatmap_prompts, fmt::format("Maps of {}", name), "prompt");
      for (const std::int64_t prompt : row.prompts) {
        HeatmapPlot figure;
        for (const StoredMap& map : row.maps.at(prompt))
          if (auto panel = make_panel(*map.model, map.window, prompt, true, map.group))
            figure.panels.push_back(std::move(*panel));
        figure.columns = 3;
        figure.header = fmt::format("{}; {}", name, prompt_text(prompt));
        add(fmt::format("intervene_map_{}_{}", prompt, stem_of(row.row)),
            fmt::format("{}, one token after the other: {}", name, prompt_text(prompt)),
            std::move(figure));
      }
    }
  }

  // The size at which a model's heat maps stand beside other models': the findings', or its
  // largest. 0 = it has none.
  std::int64_t main_window(const ModelData& model) const {
    const std::vector<std::int64_t> windows = heatmap_windows(model);
    if (windows.empty()) return 0;
    const bool has = std::find(windows.begin(), windows.end(), study_.window) != windows.end();
    return has ? study_.window : windows.back();
  }

  // The prompts of the maps, each with its models: at their main window size, or at the largest at
  // which this prompt was drawn, since sizes may have different prompts. Prompts of main window
  // sizes come first.
  std::vector<std::pair<std::int64_t, std::vector<Drawn>>> models_by_prompt() const {
    std::vector<std::pair<std::int64_t, std::vector<Drawn>>> prompts;
    std::map<std::int64_t, std::size_t> place;
    const auto add = [&](const ModelData& model, std::int64_t window) {
      for (const std::int64_t prompt : heatmap_prompts(model, window)) {
        if (!wants_prompt(options_, prompt)) continue;
        if (place.emplace(prompt, prompts.size()).second) prompts.push_back({prompt, {}});
        std::vector<Drawn>& drawn = prompts[place.at(prompt)].second;
        if (std::none_of(drawn.begin(), drawn.end(),
                         [&](const Drawn& one) { return one.first == &model; }))
          drawn.emplace_back(&model, window);
      }
    };
    for (const ModelData& model : study_.run.models)
      if (const std::int64_t window = main_window(model); window > 0) add(model, window);
    for (const ModelData& model : study_.run.models) {
      const std::vector<std::int64_t> windows = heatmap_windows(model);
      for (auto window = windows.rbegin(); window != windows.rend(); ++window) add(model, *window);
    }
    return prompts;
  }

  // A figure for each prompt, a panel for each model.
  void add_prompts() {
    auto prompts = models_by_prompt();
    if (prompts.size() > options_.heatmap_prompts) {
      set_.omitted.push_back(fmt::format("Heat maps are drawn for {} of {}.",
                                         options_.heatmap_prompts,
                                         counted(prompts.size(), "prompt")));
      prompts.resize(options_.heatmap_prompts);
    }
    for (auto& [prompt, drawn] : prompts) {
      // In the order of the models, whichever was found first.
      std::sort(drawn.begin(), drawn.end());
      HeatmapPlot figure;
      for (const auto& [model, window] : drawn)
        if (auto panel = make_panel(*model, window, prompt, true))
          figure.panels.push_back(std::move(*panel));
      figure.columns = 3;
      figure.header = "P" + prompt_text(prompt).substr(1);
      add(fmt::format("heatmap_{}", prompt), fmt::format("Heat maps of {}", prompt_text(prompt)),
          std::move(figure));
    }
  }

  // The prompts that were drawn at several window sizes, those of most sizes first.
  std::vector<std::int64_t> prompts_of_sizes(const ModelData& model) const {
    std::vector<std::int64_t> prompts;
    std::map<std::int64_t, std::size_t> sizes;
    for (const std::int64_t window : heatmap_windows(model))
      for (const std::int64_t prompt : heatmap_prompts(model, window))
        if (wants_prompt(options_, prompt) && sizes[prompt]++ == 0) prompts.push_back(prompt);
    std::erase_if(prompts, [&](std::int64_t prompt) { return sizes.at(prompt) < 2; });
    std::stable_sort(prompts.begin(), prompts.end(),
                     [&](std::int64_t a, std::int64_t b) { return sizes.at(a) > sizes.at(b); });
    return prompts;
  }

  // A row for each prompt, a column for each window size; a gap where a prompt lacks a size.
  void add_windows(const ModelData& model) {
    std::vector<std::int64_t> prompts = prompts_of_sizes(model), windows;
    if (prompts.empty()) return;
    const std::string stem = "heatmap_windows_" + model.info.name;
    leave_first(prompts, kPromptsOfModel, stem, "prompt");
    std::map<std::int64_t, std::set<std::int64_t>> drawn;  // window -> prompts
    for (const std::int64_t window : heatmap_windows(model)) {
      const std::vector<std::int64_t> ids = heatmap_prompts(model, window);
      drawn[window] = {ids.begin(), ids.end()};
      if (std::any_of(prompts.begin(), prompts.end(),
                      [&](std::int64_t prompt) { return drawn[window].contains(prompt); }))
        windows.push_back(window);
    }
    leave_first(windows, kWindowsOfModel, stem, "window size");
    HeatmapPlot figure;
    figure.columns = windows.size();
    figure.grid = true;
    std::string captions;
    for (const std::int64_t prompt : prompts) {
      for (const std::int64_t window : windows) {
        std::optional<HeatmapPanel> panel;
        if (drawn[window].contains(prompt)) panel = make_panel(model, window, prompt, false);
        figure.panels.push_back(panel ? std::move(*panel) : HeatmapPanel{});
      }
      captions += (captions.empty() ? "" : "; ") + prompt_text(prompt);
    }
    figure.header = fmt::format("{}, every window size", model.info.name);
    add(stem, fmt::format("{}, heat maps at every window size: {}", model.info.name, captions),
        std::move(figure));
  }

  // Says so where there are more.
  template <typename T>
  void leave_first(std::vector<T>& list, std::size_t most, const std::string& stem,
                   const char* noun) {
    if (list.size() <= most) return;
    set_.omitted.push_back(
        fmt::format("{}: {} of {} are drawn.", stem, most, counted(list.size(), noun)));
    list.resize(most);
  }

  void add(const std::string& stem, std::string caption, HeatmapPlot figure) {
    if (std::all_of(figure.panels.begin(), figure.panels.end(), is_gap)) return;
    if (figure.panels.size() > kMostPanels) {
      set_.omitted.push_back(fmt::format("{}: {} of {} are drawn.", stem, kMostPanels,
                                         counted(figure.panels.size(), "panel")));
      figure.panels.resize(kMostPanels);
    }
    figure.stem = stems_.unique(stem);
    set_.figures.push_back({std::move(caption), render(figure, options_)});
  }

  // Nothing for a prompt that is too long to be drawn, which is said.
  std::optional<HeatmapPanel> make_panel(const ModelData& model, std::int64_t window,
                                         std::int64_t prompt, bool name_model,
                                         const std::string& group = "heatmap") {
    HeatmapPanel panel;
    panel.data = load_heatmap(model, window, prompt, group);
    for (const std::string& token : panel.data.tokens)
      drawable(token, options_.fonts, set_.missing);
    if (panel.data.tokens.size() > kMostTokens) {
      set_.omitted.push_back(fmt::format("The heat map of prompt {} in {} is not drawn: {} tokens.",
                                         prompt, model.info.name, panel.data.tokens.size()));
      return std::nullopt;
    }
    const EvaluationResult& clean = model.evaluation;
    const auto row = static_cast<std::size_t>(
        std::find(clean.prompt.begin(), clean.prompt.end(), prompt) - clean.prompt.begin());
    const bool known = row < clean.prompt.size();
    panel.clean = known ? static_cast<double>(clean.probability[row])
                        : std::numeric_limits<double>::quiet_NaN();
    if (known) {
      const int tokens = static_cast<int>(panel.data.tokens.size());
      panel.subject_begin = std::clamp(clean.subject_begin[row], 0, tokens);
      panel.subject_end = std::clamp(clean.subject_end[row], 0, tokens);
    }
    panel.layers = model.info.layers;
    panel.title = {
        name_model ? model.info.name : fmt::format("prompt {}", prompt),
        fmt::format("window {}, p(clean) {}", window,
                    std::isnan(panel.clean) ? "unknown" : fmt::format("= {:.2f}", panel.clean))};
    if (known && clean.rank[row] > 1)
      panel.title.back() += fmt::format(", rank {}", clean.rank[row]);
    return panel;
  }

  std::string prompt_text(std::int64_t prompt) const {
    const auto found = prompt_row_.find(prompt);
    if (found == prompt_row_.end()) return fmt::format("prompt {}", prompt);
    const PromptTable& table = study_.run.prompts;
    return fmt::format("prompt {}: {} \u2026{}", prompt, table.text[found->second],
                       table.answer[found->second]);
  }

  const Study& study_;
  const FigureOptions& options_;
  Stems& stems_;
  FigureSet& set_;
  std::map<std::int64_t, std::size_t> prompt_row_;
};

}  // namespace

void add_heatmap_figures(const Study& study, const FigureOptions& options, Stems& stems,
                         FigureSet& set) {
  HeatmapFigures(study, options, stems, set).add_all();
}

}  // namespace factflow
