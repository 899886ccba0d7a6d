// Figures of the questions beyond the paper, of each model that has answers.
#include <utility>

#include <fmt/format.h>

#include "analysis/baselines_report.hpp"
#include "analysis/combined_report.hpp"
#include "analysis/figures.hpp"
#include "analysis/positions_report.hpp"
#include "analysis/surge_report.hpp"
#include "analysis/whole_answers_report.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

class QuestionFigures {
 public:
  QuestionFigures(const FigureOptions& options, Stems& stems, FigureSet& set)
      : options_(options), stems_(stems), set_(set) {}

  template <class PlotT>
  void add(PlotT plot, std::string caption) {
    plot.stem = stems_.unique(plot.stem);
    set_.figures.push_back({std::move(caption), render(plot)});
  }

  // `plot` and `caption` of one model.
  template <class Plots, class Captions>
  void add_models(const std::vector<std::string>& models, const char* what, Plots plot,
                  Captions caption) {
    for (std::size_t i = 0; i < models.size(); ++i) {
      if (i == options_.models) {
        set_.omitted.push_back(fmt::format("Figures of {} are drawn for the first {} of {}.", what,
                                           options_.models, counted(models.size(), "model")));
        return;
      }
      add(plot(models[i]), caption(models[i]));
    }
  }

 private:
  const FigureOptions& options_;
  Stems& stems_;
  FigureSet& set_;
};

}  // namespace

void add_question_figures(const Study& study, const FigureOptions& options, Stems& stems,
                          FigureSet& set) {
  QuestionFigures figures(options, stems, set);
  figures.add_models(
      models_with_combined(study), "combined knockouts",
      [&](const std::string& model) { return combined_plot(study, model); }, combined_caption);
  figures.add_models(
      models_with_baselines(study), "baselines",
      [&](const std::string& model) { return baselines_plot(study, model); }, baselines_caption);
  if (BarPlot parts = surge_parts_plot(study.surges); !parts.series.empty())
    figures.add(std::move(parts), surge_parts_caption());
  std::size_t drawn = 0;
  for (const Surge& surge : study.surges)
    if (surge.n > 0 && drawn++ < options.models)
      figures.add(surge_plot(surge), surge_caption(surge));
  if (drawn > options.models)
    set.omitted.push_back(
        fmt::format("Figures of surges are drawn for the first {} of {}.", options.models, drawn));
  const std::vector<std::string> positions = models_with_positions(study);
  figures.add_models(
      positions, "positions",
      [&](const std::string& model) { return positions_plot(study, model); }, positions_caption);
  figures.add_models(
      positions, "lengths",
      [&](const std::string& model) { return position_lengths_plot(study, model); },
      position_lengths_caption);
  figures.add_models(
      models_with_whole_answers(study), "whole answers",
      [&](const std::string& model) { return whole_answers_plot(study, model); },
      whole_answers_caption);
}

}  // namespace factflow
