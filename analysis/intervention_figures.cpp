// Curves of rows of interventions: for each model its rows at one window size, and each row at
// every size.
#include <algorithm>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "analysis/curve_figures.hpp"
#include "analysis/plot_text.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

constexpr std::size_t kTitleLetters = 19;  // of a line above a panel of the narrower figure

class InterventionFigures {
 public:
  InterventionFigures(const Study& study, const FigureOptions& options, Stems& stems,
                      FigureSet& set)
      : study_(study), options_(options), stems_(stems), set_(set) {}

  void add_all() {
    std::set<std::string> models;
    bool all = true;
    for (const ModelData& model : study_.run.interventions) {
      if (!models.contains(model.info.name) && models.size() == options_.models) {
        all = false;
        continue;
      }
      models.insert(model.info.name);
      add_rows(model);
      add_sizes(model);
    }
    if (!all)
      set_.omitted.push_back(
          fmt::format("Figures of interventions are drawn for the first {}.",
                      options_.models == 1 ? "model" : counted(options_.models, "model")));
  }

 private:
  // In the order of the rows; a row that was not asked for at this size has none.
  std::vector<const Curve*> curves_of(const ModelData& model, std::int64_t window) const {
    std::vector<const Curve*> curves;
    for (const Curve& curve : study_.intervention_curves)
      if (curve.model == model.info.name && curve.prompts == model.prompt_set &&
          curve.window == window)
        curves.push_back(&curve);
    return curves;
  }

  static bool has_values(const Curve& curve) {
    return std::any_of(curve.points.begin(), curve.points.end(),
                       [](const CurvePoint& point) { return point.n > 0; });
  }

  // For file names and headers.
  static std::string ending(const ModelData& model) {
    return model.main_set ? "" : "_" + model.prompt_set;
  }
  static std::string among(const ModelData& model) {
    return model.main_set ? "" : "; prompts: " + model.prompt_set;
  }

  void add_rows(const ModelData& model) {
    const std::int64_t window = window_of(model, study_.window);
    std::vector<const Curve*> curves = curves_of(model, window);
    std::erase_if(curves, [](const Curve* curve) { return !has_values(*curve); });
    const std::string stem = "intervene_" + model.info.name + ending(model);
    say_missing(model, curves, stem);
    if (curves.empty()) return;
    LinePlot figure;
    figure.own_legends = true;
    for (std::size_t row = 0; row < model.edges.size(); ++row) {
      const RowPlace place = place_of_row(row, model.edges.size());
      if (place.panel == figure.panels.size())
        figure.panels.push_back({{}, change_axis(-70, 40), {}});
      for (const Curve* curve : curves)
        if (curve->edge.label == model.edges[row].label)
          figure.panels.back().lines.push_back(
              make_line(curve->edge.display(), plain_style(place.line), *curve));
    }
    figure.header =
        fmt::format("{}, window of {}{}", model.info.name, layers_in_words(window), among(model));
    add_curves(stem,
               fmt::format("{}: relative change under each row of interventions, applied in a "
                           "window of {}{}",
                           model.info.name, layers_in_words(window), among(model)),
               std::move(figure), curves[0]->placement, stems_, set_);
  }

  // Rows that the figure cannot show, since they have no value at its size of windows.
  void say_missing(const ModelData& model, const std::vector<const Curve*>& drawn,
                   const std::string& stem) {
    std::vector<std::string> rows;
    for (const EdgeName& row : model.edges)
      if (std::none_of(drawn.begin(), drawn.end(),
                       [&](const Curve* curve) { return curve->edge.label == row.label; }))
        rows.push_back(row.display());
    if (rows.empty()) return;
    set_.omitted.push_back(fmt::format("{} lacks {} without a value at windows of {}: {}.", stem,
                                       rows.size() == 1 ? "a row" : "rows",
                                       layers_in_words(window_of(model, study_.window)),
                                       join(rows)));
  }

  // One panel per row, one line per window size.
  void add_sizes(const ModelData& model) {
    if (model.windows.size() < 2) return;
    LinePlot figure;
    for (const EdgeName& row : model.edges) {
      figure.panels.push_back({wrap(row.display(), kTitleLetters), change_axis(-100, 20), {}});
      for (std::size_t i = 0; i < model.windows.size(); ++i)
        for (const Curve* curve : curves_of(model, model.windows[i]))
          if (curve->edge.label == row.label)
            figure.panels.back().lines.push_back(
                make_line(fmt::format("window of {}", layers_in_words(model.windows[i])),
                          ordered_style(i, model.windows.size()), *curve));
    }
    figure.columns = figure.panels.size() == 4 ? 2 : 3;
    figure.header = fmt::format("{}, windows of several sizes{}", model.info.name, among(model));
    add_curves("intervene_sizes_" + model.info.name + ending(model),
               fmt::format("{}: every window size, one panel per row of interventions{}",
                           model.info.name, among(model)),
               std::move(figure), study_.intervention_curves[0].placement, stems_, set_);
  }

  const Study& study_;
  const FigureOptions& options_;
  Stems& stems_;
  FigureSet& set_;
};

}  // namespace

void add_intervention_figures(const Study& study, const FigureOptions& options, Stems& stems,
                              FigureSet& set) {
  InterventionFigures(study, options, stems, set).add_all();
}

}  // namespace factflow
