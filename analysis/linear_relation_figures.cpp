// Linear relations by layer: a figure for each model, with a panel of faithfulness and one of
// causality.
#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "analysis/figures.hpp"
#include "analysis/line_plot.hpp"
#include "analysis/plot_text.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

constexpr std::size_t kMostLines = 5;  // as many styles differ for all eyes
constexpr std::size_t kLetters = 40;   // of a legend's entry

// Those with numbers, the most faithful first.
std::vector<const RelationScore*> relations_to_draw(const ModelRelations& model) {
  std::vector<const RelationScore*> scores;
  for (const RelationScore& score : model.relations)
    if (score.left_out.empty()) scores.push_back(&score);
  std::stable_sort(scores.begin(), scores.end(),
                   [](const RelationScore* a, const RelationScore* b) {
                     return a->best_layer().faithfulness() > b->best_layer().faithfulness();
                   });
  return scores;
}

Panel panel_of(const ModelRelations& model, const std::vector<const RelationScore*>& scores,
               const std::string& name, TrialMean (*of)(const RelationLayer&)) {
  Panel panel;
  panel.title = {name};
  panel.axis = {name, 0, 1, 0, 0, 1};
  for (std::size_t i = 0; i < scores.size(); ++i) {
    Line line{shorten(fmt::format("{}: {}", scores[i]->relation, scores[i]->words), kLetters),
              plain_style(i),
              model.layers,
              /*band=*/false,
              {}};
    for (const RelationLayer& layer : scores[i]->layers) {
      const double value = of(layer).value;
      if (std::isnan(value)) continue;
      line.points.push_back({static_cast<double>(layer.layer) /
                                 static_cast<double>(std::max<std::int64_t>(1, model.layers)),
                             value, value, value, scores[i]->prompts});
    }
    if (!line.points.empty()) panel.lines.push_back(std::move(line));
  }
  return panel;
}

}  // namespace

void add_linear_relation_figures(const Study& study, const FigureOptions& options, Stems& stems,
                                 FigureSet& set) {
  for (std::size_t m = 0; m < std::min(study.relations.size(), options.models); ++m) {
    const ModelRelations& model = study.relations[m];
    std::vector<const RelationScore*> scores = relations_to_draw(model);
    if (scores.empty()) continue;
    LinePlot figure;
    figure.stem = fmt::format("linear_relations_{}", model.model);
    if (scores.size() > kMostLines) {
      set.omitted.push_back(fmt::format("{}: the {} most faithful of {} are drawn.", figure.stem,
                                        kMostLines, counted(scores.size(), "relation")));
      scores.resize(kMostLines);
    }
    figure.stem = stems.unique(figure.stem);
    figure.header = fmt::format("{}, linear relations", model.model);
    figure.x_label = "Relative depth (layer whose input is s / layers)";
    for (Panel panel : {panel_of(model, scores, "Faithfulness",
                                 [](const RelationLayer& layer) { return layer.recall[0]; }),
                        panel_of(model, scores, "Causality",
                                 [](const RelationLayer& layer) { return layer.causality; })})
      if (!panel.lines.empty()) figure.panels.push_back(std::move(panel));
    set.figures.push_back(
        {fmt::format(
             "{}: linear relations by layer, means over trials at the best \u03b2 or rank of "
             "each layer.",
             model.model),
         render(figure)});
  }
  if (study.relations.size() > options.models)
    set.omitted.push_back(
        fmt::format("Figures of linear relations are drawn for the first {} of {}.", options.models,
                    counted(study.relations.size(), "model")));
}

}  // namespace factflow
