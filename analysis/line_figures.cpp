// The figures of curves, each from the study's curves alone.
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "analysis/curve_figures.hpp"
#include "analysis/model_styles.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

constexpr std::size_t kModelsBesideEachOther = 4;

// Limits of the published figures; each kind has its own.
const ValueAxis kChangeAxis = change_axis(-70, 40), kSizesAxis = change_axis(-90, 40),
                kChannelsAxis = change_axis(-40, 10), kWindowsAxis = change_axis(-100, 20);

class LineFigures {
 public:
  LineFigures(const Study& study, const FigureOptions& options, Stems& stems, FigureSet& set)
      : study_(study), options_(options), stems_(stems), set_(set) {
    for (const Curve& curve : study.curves) {
      const std::string prompts = curve.main_set ? "" : curve.prompts;
      by_window_[{prompts, curve.model, curve.window}].push_back(&curve);
      if (std::find(sets_.begin(), sets_.end(), prompts) == sets_.end()) sets_.push_back(prompts);
    }
    for (const ModelData& model : study.run.models)
      if (!model.windows.empty()) swept_.push_back(&model);
  }

  void add_all() {
    for (const std::string& set : sets_) {
      add_models(set);
      add_channels(set);
    }
    add_sizes();
    add_prompt_sets();
    for (const ModelData* model : swept_)
      if (window_of(*model, study_.window) != study_.window)
        set_.omitted.push_back(
            fmt::format("{} has no window of {}: figures of several models over "
                        "one window size leave it out.",
                        model->info.name, layers_in_words(study_.window)));
    for (std::size_t i = 0; i < std::min(swept_.size(), options_.models); ++i) {
      add_edges(*swept_[i]);
      add_windows(*swept_[i]);
    }
    if (swept_.size() > options_.models)
      set_.omitted.push_back(fmt::format(
          "Figures of single models are drawn for the first {} models.", options_.models));
  }

 private:
  using Models = std::vector<const ModelData*>;

  // Of a set of prompts: "" is the main one.
  const std::vector<const Curve*>& curves_of(const std::string& set, const ModelData& model,
                                             std::int64_t window) const {
    static const std::vector<const Curve*> kNone;
    const auto found = by_window_.find({set, model.info.name, window});
    return found == by_window_.end() ? kNone : found->second;
  }
  const std::vector<const Curve*>& curves_of(const std::string& set, const ModelData& model) const {
    return curves_of(set, model,
                     model.windows.empty() ? study_.window : window_of(model, study_.window));
  }
  // A model whose curves are of another window size than the figure's is called so.
  std::string titled(const ModelData& model) const {
    const std::int64_t window = window_of(model, study_.window);
    return window == study_.window
               ? model.info.name
               : fmt::format("{}, window of {}", model.info.name, layers_in_words(window));
  }
  // For file names and captions.
  static std::string ending(const std::string& set) { return set.empty() ? "" : "_" + set; }
  static std::string among(const std::string& set) {
    return set.empty() ? "" : "; prompts: " + set;
  }

  void add(const std::string& stem, const std::string& caption, LinePlot figure) {
    add_curves(stem, caption, std::move(figure), study_.curves[0].placement, stems_, set_);
  }

  // One panel per edge, one line per model. Colours run from light to dark over all models of a
  // family in the run.
  LinePlot model_lines(const std::string& set, const Models& models, const ValueAxis& axis) const {
    LinePlot figure;
    const Models every = all();
    std::vector<std::string> families;
    for (const ModelData* model : every) families.push_back(model->info.family);
    const std::vector<LineStyle> looks = model_styles(families);
    std::map<const ModelData*, LineStyle> styles;
    for (std::size_t i = 0; i < looks.size(); ++i) styles[every[i]] = looks[i];
    for (const ModelData* model : models)
      for (const Curve* curve : curves_of(set, *model, study_.window))
        if (curve->edge.whole())
          panel_named(figure, curve->edge.display(), axis)
              .lines.push_back(make_line(model->info.name, styles[model], *curve));
    figure.columns = figure.panels.size() == 4 ? 2 : 3;
    return figure;
  }

  static Panel& panel_named(LinePlot& figure, const std::string& title, const ValueAxis& axis) {
    const auto found = std::find_if(figure.panels.begin(), figure.panels.end(),
                                    [&](const Panel& p) { return p.title[0] == title; });
    if (found != figure.panels.end()) return *found;
    figure.panels.push_back({{title}, axis, {}});
    return figure.panels.back();
  }

  // Figure 1 of the paper.
  void add_models(const std::string& set) {
    LinePlot figure = model_lines(set, all(), kChangeAxis);
    std::set<std::string> names;
    for (const Panel& panel : figure.panels)
      for (const Line& line : panel.lines) names.insert(line.label);
    figure.header =
        fmt::format("{}, window of {}{}",
                    names.size() == 1 ? *names.begin() : fmt::format("{} models", names.size()),
                    layers_in_words(study_.window), among(set));
    add("models" + ending(set),
        fmt::format("Models against each other, one panel per edge; window of {}{}",
                    layers_in_words(study_.window), among(set)),
        std::move(figure));
  }

  // Figures 3 to 5: the sizes of a family.
  void add_sizes() {
    std::map<std::string, Models> families;
    for (const ModelData* model : swept_) families[model->info.family].push_back(model);
    for (const auto& [family, models] : families)
      if (models.size() > 1 && families.size() > 1) {
        LinePlot figure = model_lines("", models, kSizesAxis);
        figure.header = fmt::format("{}, window of {}", family, layers_in_words(study_.window));
        add("sizes_" + family,
            fmt::format("The {} models against each other; window of {}", family,
                        layers_in_words(study_.window)),
            std::move(figure));
      }
  }

  // Figure 6: one panel per model, one line per set of channels; a figure for each flow.
  void add_channels(const std::string& set) {
    std::vector<std::string> flows;
    for (const ModelData* model : all())
      for (const Curve* curve : curves_of(set, *model))
        if (!curve->edge.all_channels() &&
            std::find(flows.begin(), flows.end(), curve->edge.flow()) == flows.end())
          flows.push_back(curve->edge.flow());
    for (const std::string& flow : flows) {
      LinePlot figure;
      for (const ModelData* model : all()) {
        const std::vector<const Curve*>& curves = curves_of(set, *model);
        if (std::none_of(curves.begin(), curves.end(), [&](const Curve* c) {
              return c->edge.flow() == flow && !c->edge.all_channels();
            }))
          continue;
        figure.panels.push_back({{titled(*model)}, kChannelsAxis, {}});
        for (const Curve* curve : curves)
          if (curve->edge.flow() == flow)
            figure.panels.back().lines.push_back(
                make_line(fmt::format("{} channels", curve->edge.channels),
                          channel_style(curve->edge.channels), *curve));
      }
      figure.columns = figure.panels.size() == 4 ? 2 : 3;
      figure.header = fmt::format("{}, window of {}{}", parse_edge(flow).display(),
                                  layers_in_words(study_.window), among(set));
      const EdgeName name = parse_edge(flow);
      add("channels_" + name.source + "-" + name.target +
              (name.path == "both" ? "" : "_" + name.path) + ending(set),
          fmt::format("{} blocked for sets of channels only (slow = context-dependent, fast = "
                      "context-independent), one panel per model; window of {}{}",
                      parse_edge(flow).display(), layers_in_words(study_.window), among(set)),
          std::move(figure));
    }
  }

  Models all() const {
    Models models;
    for (const ModelData& model : study_.run.models) models.push_back(&model);
    return models;
  }

  // The data-set ablation: a row for each set of prompts, a column for each model. Models of the
  // same sets stand together.
  void add_prompt_sets() {
    std::map<std::vector<std::string>, Models> groups;
    for (const ModelData* model : all()) {
      std::vector<std::string> sets;
      for (const std::string& set : sets_)
        if (!curves_of(set, *model).empty()) sets.push_back(set);
      if (sets.size() > 1) groups[sets].push_back(model);
    }
    for (const auto& [sets, models] : groups)
      for (std::size_t first = 0; first < models.size(); first += kModelsBesideEachOther)
        add_ablation(sets, {models.begin() + static_cast<std::ptrdiff_t>(first),
                            models.begin() + static_cast<std::ptrdiff_t>(std::min(
                                                 models.size(), first + kModelsBesideEachOther))});
  }

  void add_ablation(const std::vector<std::string>& sets, const Models& models) {
    LinePlot figure;
    figure.columns = models.size();
    std::vector<std::string> rows;
    for (const std::string& set : sets) {
      for (const ModelData* model : models) {
        const std::vector<const Curve*>& curves = curves_of(set, *model);
        figure.panels.push_back({{titled(*model), curves[0]->prompts}, kChangeAxis, {}});
        add_sources(curves, figure.panels.back(), Quantity::kChange, "last");
      }
      rows.push_back(curves_of(set, *models[0])[0]->prompts);
    }
    figure.header = fmt::format("Into last, window of {}", layers_in_words(study_.window));
    add("prompts",
        fmt::format("The same models on several sets of prompts, a row for each: {}", join(rows)),
        std::move(figure));
  }

  // A line for each source of the edges into `target`.
  static void add_sources(const std::vector<const Curve*>& curves, Panel& panel, Quantity quantity,
                          const std::string& target) {
    for (const Curve* curve : curves)
      if (curve->edge.whole() && curve->edge.target == target)
        panel.lines.push_back(
            make_line(curve->edge.source, role_style(curve->edge.source), *curve, quantity));
  }

  // Accuracy and change, one line per source; a row for each target.
  void add_edges(const ModelData& model) {
    const std::vector<const Curve*>& curves = curves_of("", model);
    std::vector<std::string> targets;
    for (const Curve* curve : curves)
      if (std::find(targets.begin(), targets.end(), curve->edge.target) == targets.end())
        targets.push_back(curve->edge.target);
    LinePlot figure;
    for (const std::string& target : targets) {
      figure.panels.push_back({{fmt::format("Accuracy, into {}", target)}, accuracy_axis(), {}});
      add_sources(curves, figure.panels.back(), Quantity::kAccuracy, target);
      figure.panels.push_back({{fmt::format("Relative change, into {}", target)}, kChangeAxis, {}});
      add_sources(curves, figure.panels.back(), Quantity::kChange, target);
    }
    const std::string window = layers_in_words(window_of(model, study_.window));
    figure.header = fmt::format("{}, window of {}", model.info.name, window);
    add("edges_" + model.info.name,
        fmt::format("{}: accuracy and relative change with one edge blocked in a window of {}",
                    model.info.name, window),
        std::move(figure));
  }

  // Figures 8 to 10: one panel per edge, one line per window size.
  void add_windows(const ModelData& model) {
    if (model.windows.size() < 2) return;
    LinePlot figure;
    for (std::size_t i = 0; i < model.windows.size(); ++i)
      for (const Curve* curve : curves_of("", model, model.windows[i]))
        if (curve->edge.whole()) {
          const LineStyle style = ordered_style(i, model.windows.size());
          panel_named(figure, curve->edge.display(), kWindowsAxis)
              .lines.push_back(make_line(
                  fmt::format("window of {}", layers_in_words(model.windows[i])), style, *curve));
        }
    figure.columns = figure.panels.size() == 4 ? 2 : 3;
    figure.header = fmt::format("{}, windows of several sizes", model.info.name);
    add("windows_" + model.info.name,
        fmt::format("{}: every window size, one panel per edge", model.info.name),
        std::move(figure));
  }

  const Study& study_;
  const FigureOptions& options_;
  Stems& stems_;
  FigureSet& set_;
  std::map<std::tuple<std::string, std::string, std::int64_t>, std::vector<const Curve*>>
      by_window_;                  // set, model
  std::vector<std::string> sets_;  // of prompts, the main one as ""
  Models swept_;                   // over the main set
};

}  // namespace

void add_line_figures(const Study& study, const FigureOptions& options, Stems& stems,
                      FigureSet& set) {
  LineFigures(study, options, stems, set).add_all();
}

}  // namespace factflow
