#include "analysis/figures.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "analysis/heatmap_plot.hpp"
#include "analysis/line_plot.hpp"
#include "analysis/load_runs.hpp"

namespace factflow {
namespace {

constexpr std::size_t kMostPanels = 9;
constexpr std::size_t kMostTokens = 120;  // of a heat map's prompt
constexpr std::size_t kMostBands = 5;     // more bands than this hide each other

const char* kChangeLabel = "Change of the answer's probability (%)";
const char* kAccuracyLabel = "Accuracy (%)";

std::string x_label(const std::string& placement) {
  return placement == "centred" ? "Relative depth of the window's centre (%)"
                                : "Relative depth of the window's first layer (%)";
}

std::vector<LinePoint> change_points(const Curve& curve) {
  std::vector<LinePoint> points;
  for (const CurvePoint& p : curve.points)
    points.push_back({100 * p.depth, p.change, p.change_interval.low, p.change_interval.high});
  return points;
}

std::vector<LinePoint> accuracy_points(const Curve& curve) {
  std::vector<LinePoint> points;
  for (const CurvePoint& p : curve.points)
    points.push_back({100 * p.depth, p.accuracy, p.accuracy_interval.low, p.accuracy_interval.high});
  return points;
}

Line make_line(std::string label, LineStyle style, bool band, std::vector<LinePoint> points) {
  Line line;
  line.label = std::move(label);
  line.style = std::move(style);
  line.band = band;
  line.points = std::move(points);
  return line;
}

// Everything that picks figures out of the study.
class FigureMaker {
 public:
  FigureMaker(const Study& study, const FigureOptions& options) : study_(study), options_(options) {
    for (const ModelData& model : study.run.models) stems_[model.info.name] = unique_stem(model.info.name);
  }

  FigureSet make() {
    add_models();
    std::size_t drawn = 0;
    for (const ModelData& model : study_.run.models) {
      if (model.windows.empty()) continue;
      if (drawn++ == options_.models) {
        set_.omitted.push_back(
            fmt::format("Figures of single models are drawn for the first {} models.", options_.models));
        break;
      }
      add_edges(model);
      add_channels(model);
      add_windows(model);
    }
    add_heatmaps();
    return std::move(set_);
  }

 private:
  // Model names become parts of file names; the results file admits only harmless letters, a stranger's may
  // not.
  std::string unique_stem(const std::string& name) {
    std::string stem;
    for (const char c : name.substr(0, 80)) {
      const bool plain =
          (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-';
      stem += plain ? c : '_';
    }
    std::string unique = stem;
    for (int i = 2; !used_stems_.insert(unique).second; ++i) unique = fmt::format("{}_{}", stem, i);
    return unique;
  }

  std::vector<const Curve*> curves_of(const std::string& model, std::int64_t window) const {
    std::vector<const Curve*> found;
    for (const Curve& curve : study_.curves)
      if (curve.model == model && curve.window == window) found.push_back(&curve);
    return found;
  }

  void limit_panels(LinePlot& figure, const std::string& what) {
    if (figure.panels.size() <= kMostPanels) return;
    set_.omitted.push_back(
        fmt::format("{}: {} of {} panels are drawn.", what, kMostPanels, figure.panels.size()));
    figure.panels.resize(kMostPanels);
  }

  void add(Figure::Kind kind, const std::string& model, std::string caption, LinePlot figure) {
    if (figure.panels.empty()) return;
    figure.columns = figure.panels.size() == 4 ? 2 : std::min<std::size_t>(3, figure.panels.size());
    set_.figures.push_back({kind, model, "", std::move(caption), render(figure)});
  }

  // One panel per edge, one line per model.
  void add_models() {
    LinePlot figure;
    figure.stem = "models";
    std::map<std::string, std::size_t> family_size, family_index;
    for (const ModelData& model : study_.run.models) ++family_size[model.info.family];
    std::vector<std::string> labels;
    std::set<std::string> drawn;
    for (const ModelData& model : study_.run.models) {
      const LineStyle style =
          family_style(model.info.family, family_index[model.info.family]++, family_size[model.info.family]);
      for (const Curve* curve : curves_of(model.info.name, study_.window)) {
        if (!curve->edge.whole()) continue;
        auto label = std::find(labels.begin(), labels.end(), curve->edge.label);
        if (label == labels.end()) {
          label = labels.insert(labels.end(), curve->edge.label);
          figure.panels.push_back({curve->edge.display(), kChangeLabel, false, {}});
        }
        Panel& panel = figure.panels[static_cast<std::size_t>(label - labels.begin())];
        panel.lines.push_back(make_line(model.info.name, style, true, change_points(*curve)));
        figure.x_label = x_label(curve->placement);
        drawn.insert(model.info.name);
      }
    }
    if (drawn.size() > kMostBands)
      for (Panel& panel : figure.panels)
        for (Line& line : panel.lines) line.band = false;
    limit_panels(figure, "Comparison of models");
    add(Figure::Kind::kModels, "",
        fmt::format("Relative change of the answer's probability by depth, one line per model; window of {} "
                    "layers{}.",
                    study_.window,
                    drawn.size() > kMostBands ? "" : "; bands are 95 % t intervals over prompts"),
        std::move(figure));
  }

  // Accuracy and change, one line per edge.
  void add_edges(const ModelData& model) {
    const std::int64_t window = window_of(model, study_.window);
    LinePlot figure;
    figure.stem = "edges_" + stems_[model.info.name];
    Panel accuracy{"Accuracy", kAccuracyLabel, true, {}};
    Panel change{"Relative change", kChangeLabel, false, {}};
    std::vector<std::string> targets;
    for (const Curve* curve : curves_of(model.info.name, window)) {
      if (!curve->edge.whole()) continue;
      // Colour tells the source, dashes tell the target; "-> last" is solid.
      const auto known = std::find(targets.begin(), targets.end(), curve->edge.target);
      if (known == targets.end() && curve->edge.target != "last") targets.push_back(curve->edge.target);
      const LineStyle style = role_style(curve->edge.source);
      accuracy.lines.push_back(make_line(curve->edge.display(), style, true, accuracy_points(*curve)));
      change.lines.push_back(make_line(curve->edge.display(), style, true, change_points(*curve)));
      figure.x_label = x_label(curve->placement);
    }
    if (change.lines.empty()) return;
    figure.panels = {accuracy, change};
    figure.panel_height = 2.2;
    add(Figure::Kind::kEdges, model.info.name,
        fmt::format("{}: accuracy and relative change with one edge blocked in a window of {} layers; bands "
                    "are 95 % t "
                    "intervals over prompts.",
                    model.info.name, window),
        std::move(figure));
  }

  // One panel per flow, one line per channel set.
  void add_channels(const ModelData& model) {
    const std::int64_t window = window_of(model, study_.window);
    std::set<std::string> split;
    for (const EdgeName& edge : model.edges)
      if (!edge.whole()) split.insert(edge.flow());
    LinePlot figure;
    figure.stem = "channels_" + stems_[model.info.name];
    std::vector<std::string> flows;
    for (const Curve* curve : curves_of(model.info.name, window)) {
      if (!split.contains(curve->edge.flow())) continue;
      auto flow = std::find(flows.begin(), flows.end(), curve->edge.flow());
      if (flow == flows.end()) {
        flow = flows.insert(flows.end(), curve->edge.flow());
        figure.panels.push_back({parse_edge(curve->edge.flow()).display(), kChangeLabel, false, {}});
      }
      Panel& panel = figure.panels[static_cast<std::size_t>(flow - flows.begin())];
      panel.lines.push_back(make_line(fmt::format("{} channels", curve->edge.channels),
                                      channel_style(curve->edge.channels), true, change_points(*curve)));
      figure.x_label = x_label(curve->placement);
    }
    limit_panels(figure, fmt::format("Channel sets of {}", model.info.name));
    add(Figure::Kind::kChannels, model.info.name,
        fmt::format("{}: the same edge blocked for sets of channels only (slow = slowest decay); window of "
                    "{} layers.",
                    model.info.name, window),
        std::move(figure));
  }

  // One panel per edge, one line per window size.
  void add_windows(const ModelData& model) {
    if (model.windows.size() < 2) return;
    LinePlot figure;
    figure.stem = "windows_" + stems_[model.info.name];
    for (const EdgeName& edge : model.edges) {
      if (!edge.whole()) continue;
      Panel panel{edge.display(), kChangeLabel, false, {}};
      for (std::size_t i = 0; i < model.windows.size(); ++i)
        for (const Curve* curve : curves_of(model.info.name, model.windows[i]))
          if (curve->edge.label == edge.label) {
            panel.lines.push_back(
                {fmt::format("{} layer{}", model.windows[i], model.windows[i] == 1 ? "" : "s"),
                 LineStyle{ordered_color(i, model.windows.size()), 1}, false, change_points(*curve)});
            figure.x_label = x_label(curve->placement);
          }
      figure.panels.push_back(std::move(panel));
    }
    limit_panels(figure, fmt::format("Window sizes of {}", model.info.name));
    add(Figure::Kind::kWindows, model.info.name,
        fmt::format("{}: relative change for every window size.", model.info.name), std::move(figure));
  }

  // Prompt by prompt, so that the models of one prompt stand together.
  void add_heatmaps() {
    std::vector<std::int64_t> prompts;
    std::size_t wanted = 0, drawn = 0;
    std::map<std::int64_t, std::vector<std::pair<const ModelData*, std::int64_t>>> maps;
    for (const ModelData& model : study_.run.models) {
      const std::vector<std::int64_t> windows = heatmap_windows(model);
      if (windows.empty()) continue;
      const bool common = std::find(windows.begin(), windows.end(), study_.window) != windows.end();
      const std::int64_t window = common ? study_.window : windows.back();
      for (const std::int64_t prompt : heatmap_prompts(model, window)) {
        if (!maps.contains(prompt)) prompts.push_back(prompt);
        maps[prompt].emplace_back(&model, window);
        ++wanted;
      }
    }
    for (const std::int64_t prompt : prompts)
      for (const auto& [model, window] : maps[prompt])
        if (drawn < options_.heatmaps && ++drawn > 0) add_heatmap(*model, window, prompt);
    if (drawn < wanted) set_.omitted.push_back(fmt::format("{} of {} heat maps are drawn.", drawn, wanted));
  }

  void add_heatmap(const ModelData& model, std::int64_t window, std::int64_t prompt) {
    const HeatmapResult data = load_heatmap(model, window, prompt);
    if (data.tokens.size() > kMostTokens) {
      set_.omitted.push_back(fmt::format("The heat map of prompt {} in {} is not drawn: {} tokens.", prompt,
                                         model.info.name, data.tokens.size()));
      return;
    }
    const auto& ids = model.evaluation.prompt;
    const auto row = static_cast<std::size_t>(std::find(ids.begin(), ids.end(), prompt) - ids.begin());
    const bool known = row < ids.size();
    HeatmapPlot figure;
    figure.stem = fmt::format("heatmap_{}_{}", prompt, stems_[model.info.name]);
    figure.data = &data;
    figure.layers = model.info.layers;
    figure.clean = known ? static_cast<double>(model.evaluation.probability[row])
                         : std::numeric_limits<double>::quiet_NaN();
    if (known) {
      const int tokens = static_cast<int>(std::min<std::size_t>(data.tokens.size(), 1'000'000));
      figure.subject_begin = std::clamp(model.evaluation.subject_begin[row], 0, tokens);
      figure.subject_end = std::clamp(model.evaluation.subject_end[row], 0, tokens);
    }
    const auto& table = study_.run.prompts;
    const auto at =
        static_cast<std::size_t>(std::find(table.id.begin(), table.id.end(), prompt) - table.id.begin());
    const bool listed = at < table.id.size();
    const std::string heading = fmt::format("Prompt {}: {} \u2026{}", prompt, listed ? table.text[at] : "",
                                            listed ? table.answer[at] : "");
    set_.figures.push_back(
        {Figure::Kind::kHeatmap, model.info.name, heading,
         fmt::format("{}, window of {} layers, p(clean) = {:.2f}.", model.info.name, window, figure.clean),
         render(figure, options_)});
  }

  const Study& study_;
  const FigureOptions& options_;
  std::map<std::string, std::string> stems_;
  std::set<std::string> used_stems_;
  FigureSet set_;
};

}  // namespace

FigureSet make_figures(const Study& study, const FigureOptions& options) {
  return FigureMaker(study, options).make();
}

}  // namespace factflow
