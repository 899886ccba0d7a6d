// Edits: for each model and set of prompts the success rates and the score, over layers with a line
// for each matrix; of a single layer as bars.
#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "analysis/bar_plot.hpp"
#include "analysis/figures.hpp"
#include "analysis/line_plot.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

constexpr const char* kUnedited = "unedited";
const LineStyle kUneditedStyle = {"#777777", 3};
constexpr const char* kUneditedBar = "#BBBBBB";
constexpr std::size_t kMostBars = 8;

struct PanelOf {
  EditMeasure measure;
  const char* name;
  const char* title;
};
constexpr PanelOf kPanels[] = {{EditMeasure::kEfficacy, "ES", "ES: rewrite prompts"},
                               {EditMeasure::kParaphrase, "PS", "PS: paraphrases"},
                               {EditMeasure::kNeighbourhood, "NS", "NS: neighbours"},
                               {EditMeasure::kScore, "S", "S: harmonic mean"}};

class EditFigures {
 public:
  EditFigures(const Study& study, const FigureOptions& options, Stems& stems, FigureSet& set)
      : study_(study), options_(options), stems_(stems), set_(set) {}

  void add_all() {
    std::size_t drawn = 0;
    for (const ModelEdits& edits : study_.edits) {
      if (drawn++ == options_.models) break;
      for (const std::string& prompts : edits.results.sets) add_set(edits, prompts);
    }
    if (study_.edits.size() > options_.models)
      set_.omitted.push_back(fmt::format("Figures of edits are drawn for the first {} of {}.",
                                         options_.models, counted(study_.edits.size(), "model")));
  }

 private:
  void add_set(const ModelEdits& edits, const std::string& prompts) {
    std::vector<const EditScore*> scores;
    std::set<std::int64_t> layers;
    for (const EditScore& score : edits.scores)
      if (score.prompts == prompts && score.of(EditMeasure::kEfficacy).n > 0) {
        scores.push_back(&score);
        layers.insert(score.layer);
      }
    const bool main = prompts == edits.results.sets.front();
    const std::string name = edits.model + (main ? "" : "_" + prompts);
    if (scores.empty()) {
      set_.omitted.push_back(fmt::format("edit_{} is not drawn: no edit has a value.", name));
      return;
    }
    std::stable_sort(scores.begin(), scores.end(),
                     [](const EditScore* a, const EditScore* b) { return a->layer < b->layer; });
    const std::string header = fmt::format("{}, edits of single facts, {}{}", edits.model,
                                           count_text(scores), main ? "" : "; prompts: " + prompts);
    if (layers.size() > 1)
      add_lines(edits, scores, "edit_" + name, header);
    else
      add_bars(edits, scores, "edit_" + name, header);
  }

  static std::string count_text(const std::vector<const EditScore*>& scores) {
    const auto [least, most] = std::minmax_element(
        scores.begin(), scores.end(), [](const EditScore* a, const EditScore* b) {
          return a->of(EditMeasure::kEfficacy).n < b->of(EditMeasure::kEfficacy).n;
        });
    const std::size_t low = (*least)->of(EditMeasure::kEfficacy).n,
                      high = (*most)->of(EditMeasure::kEfficacy).n;
    return low == high ? fmt::format("n = {}", low) : fmt::format("n = {} to {}", low, high);
  }

  static Line line_of(const ModelEdits& edits, const std::vector<const EditScore*>& scores,
                      const std::string& matrix, std::size_t index, EditMeasure measure) {
    Line line{matrix, plain_style(index), edits.layers, true, {}};
    for (const EditScore* score : scores) {
      const EditEstimate& of = score->of(measure);
      if (score->matrix == matrix)
        line.points.push_back(
            {static_cast<double>(score->layer) / static_cast<double>(edits.layers), of.value,
             of.interval.low, of.interval.high, of.n});
    }
    return line;
  }

  // One point for each layer: that of its first edit.
  static Line unedited_line(const ModelEdits& edits, const std::vector<const EditScore*>& scores,
                            EditMeasure measure) {
    Line line{kUnedited, kUneditedStyle, edits.layers, false, {}};
    std::set<std::int64_t> layers;
    for (const EditScore* score : scores)
      if (layers.insert(score->layer).second)
        line.points.push_back(
            {static_cast<double>(score->layer) / static_cast<double>(edits.layers),
             score->of(measure).unedited, 0, 0, score->of(measure).n});
    return line;
  }

  void add_lines(const ModelEdits& edits, const std::vector<const EditScore*>& scores,
                 const std::string& stem, const std::string& header) {
    LinePlot figure;
    figure.header = header;
    figure.x_label = "Relative depth (edited layer / layers)";
    const std::vector<std::string> matrices = edits.matrices();
    for (const PanelOf& panel : kPanels) {
      figure.panels.push_back({{panel.title}, {"Success or score (%)", 0, 100, 0, 0, 100}, {}});
      for (std::size_t i = 0; i < matrices.size(); ++i)
        figure.panels.back().lines.push_back(line_of(edits, scores, matrices[i], i, panel.measure));
      figure.panels.back().lines.push_back(unedited_line(edits, scores, panel.measure));
    }
    for (Panel& panel : figure.panels)
      std::erase_if(panel.lines, [](const Line& line) {
        return std::none_of(line.points.begin(), line.points.end(),
                            [](const LinePoint& point) { return std::isfinite(point.y); });
      });
    std::erase_if(figure.panels, [](const Panel& panel) { return panel.lines.empty(); });
    figure.stem = stems_.unique(stem);
    set_.figures.push_back(
        {header + ": efficacy, paraphrase and neighbourhood success and their harmonic mean by "
                  "edited layer; bands are 95 % intervals over facts (Wilson's, of S bootstrap), "
                  "unedited are the same prompts before any edit.",
         render(figure)});
  }

  static BarSeries unedited_bars(const EditScore& score) {
    BarSeries series{kUnedited, kUneditedBar, {}};
    for (const PanelOf& panel : kPanels)
      series.bars.push_back({score.of(panel.measure).unedited, {NAN, NAN}});
    return series;
  }

  void add_bars(const ModelEdits& edits, const std::vector<const EditScore*>& scores,
                const std::string& stem, const std::string& header) {
    BarPlot figure;
    figure.header = header;
    figure.y_label = "Success or score (%)";
    for (const PanelOf& panel : kPanels) figure.groups.emplace_back(panel.name);
    figure.series.push_back(unedited_bars(*scores[0]));
    for (std::size_t i = 0; i < std::min(scores.size(), kMostBars); ++i) {
      BarSeries series{edits.results.edits[scores[i]->edit], plain_style(i).color, {}};
      for (const PanelOf& panel : kPanels) {
        const EditEstimate& of = scores[i]->of(panel.measure);
        series.bars.push_back({of.value, of.interval});
      }
      figure.series.push_back(std::move(series));
    }
    if (scores.size() > kMostBars)
      set_.omitted.push_back(
          fmt::format("{}: {} of {} are drawn.", stem, kMostBars, counted(scores.size(), "edit")));
    figure.stem = stems_.unique(stem);
    set_.figures.push_back(
        {header + ": efficacy, paraphrase and neighbourhood success and their harmonic mean; "
                  "whiskers are 95 % intervals over facts (Wilson's, of S bootstrap), unedited are "
                  "the same prompts before any edit.",
         render(figure)});
  }

  const Study& study_;
  const FigureOptions& options_;
  Stems& stems_;
  FigureSet& set_;
};

}  // namespace

void add_edit_figures(const Study& study, const FigureOptions& options, Stems& stems,
                      FigureSet& set) {
  EditFigures(study, options, stems, set).add_all();
}

}  // namespace factflow
