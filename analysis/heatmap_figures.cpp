// Heat maps: for each prompt all models at one window size, and for each model its prompts at every
// window size.
#include <algorithm>
#include <limits>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "analysis/figures.hpp"
#include "analysis/heatmap_plot.hpp"
#include "analysis/load_runs.hpp"

namespace factflow {
namespace {

constexpr std::size_t kMostTokens = 120;  // of a heat map's prompt
constexpr std::size_t kMostPanels = 18;
constexpr std::size_t kPromptsOfModel = 4;  // rows of the figure over window sizes
constexpr std::size_t kWindowsOfModel = 4;  // and its columns

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
  }

 private:
  std::int64_t main_window(const ModelData& model) const {
    const std::vector<std::int64_t> windows = heatmap_windows(model);
    const bool has = std::find(windows.begin(), windows.end(), study_.window) != windows.end();
    return has || windows.empty() ? study_.window : windows.back();
  }

  // A figure for each prompt, a panel for each model.
  void add_prompts() {
    std::vector<std::int64_t> order;
    std::map<std::int64_t, std::vector<const ModelData*>> models;
    for (const ModelData& model : study_.run.models) {
      if (heatmap_windows(model).empty()) continue;
      for (const std::int64_t prompt : heatmap_prompts(model, main_window(model))) {
        if (!models.contains(prompt)) order.push_back(prompt);
        models[prompt].push_back(&model);
      }
    }
    if (order.size() > options_.heatmap_prompts) {
      set_.omitted.push_back(fmt::format("Heat maps are drawn for {} of {} prompts.",
                                         options_.heatmap_prompts, order.size()));
      order.resize(options_.heatmap_prompts);
    }
    for (const std::int64_t prompt : order) {
      HeatmapPlot figure;
      for (const ModelData* model : models[prompt])
        add_panel(figure, *model, main_window(*model), prompt, true);
      figure.columns = 3;
      figure.header = "P" + prompt_text(prompt).substr(1);
      add(fmt::format("heatmap_{}", prompt), fmt::format("Heat maps of {}", prompt_text(prompt)),
          std::move(figure));
    }
  }

  // A row for each prompt, a column for each window size.
  void add_windows(const ModelData& model) {
    std::vector<std::int64_t> windows = heatmap_windows(model);
    windows.resize(std::min(windows.size(), kWindowsOfModel));
    std::vector<std::int64_t> prompts = heatmap_prompts(model, windows[0]);
    prompts.resize(std::min(prompts.size(), kPromptsOfModel));
    HeatmapPlot figure;
    figure.columns = windows.size();
    std::string captions;
    for (const std::int64_t prompt : prompts) {
      for (const std::int64_t window : windows) add_panel(figure, model, window, prompt, false);
      captions += (captions.empty() ? "" : "; ") + prompt_text(prompt);
    }
    figure.header = fmt::format("{}, every window size", model.info.name);
    add("heatmap_windows_" + model.info.name,
        fmt::format("{}, heat maps at every window size: {}", model.info.name, captions),
        std::move(figure));
  }

  void add(const std::string& stem, std::string caption, HeatmapPlot figure) {
    if (figure.panels.empty()) return;
    if (figure.panels.size() > kMostPanels) {
      set_.omitted.push_back(
          fmt::format("{}: {} of {} panels are drawn.", stem, kMostPanels, figure.panels.size()));
      figure.panels.resize(kMostPanels);
    }
    figure.stem = stems_.unique(stem);
    set_.figures.push_back({std::move(caption), render(figure, options_)});
  }

  void add_panel(HeatmapPlot& figure, const ModelData& model, std::int64_t window,
                 std::int64_t prompt, bool name_model) {
    HeatmapPanel panel;
    panel.data = load_heatmap(model, window, prompt);
    if (panel.data.tokens.size() > kMostTokens) {
      set_.omitted.push_back(fmt::format("The heat map of prompt {} in {} is not drawn: {} tokens.",
                                         prompt, model.info.name, panel.data.tokens.size()));
      return;
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
    panel.title = {name_model ? model.info.name : fmt::format("prompt {}", prompt),
                   fmt::format("window {}, p(clean) = {:.2f}", window, panel.clean)};
    if (known && clean.rank[row] > 1)
      panel.title.back() += fmt::format(", rank {}", clean.rank[row]);
    figure.panels.push_back(std::move(panel));
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
