#include "analysis/carrier_report.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "analysis/carriers.hpp"
#include "analysis/curve_figures.hpp"
#include "analysis/html.hpp"
#include "analysis/line_svg.hpp"
#include "analysis/number_text.hpp"
#include "analysis/palette.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

using html::escape;

constexpr std::size_t kMostOpenModels = 4;  // pictures of more are folded

struct PathLook {
  const char* path;
  const char* label;
  double shift;  // of its bar's middle within a layer
};
// Side by side in a layer, `both` as a dot between them.
constexpr std::array<PathLook, 3> kPaths = {{{"attention", "attention cut", 0.3},
                                             {"recurrent", "state cut", 0.7},
                                             {"both", "both cut", 0.5}}};
constexpr double kBarWidth = 0.36;  // of a layer

bool shown(const CarriedEdge& edge, const std::string& model) {
  return edge.main_set && edge.model == model;
}

std::vector<const CarriedEdge*> edges_of(const Study& study, const std::string& model,
                                         std::int64_t window) {
  std::vector<const CarriedEdge*> edges;
  for (const CarriedEdge& edge : study.carriers)
    if (shown(edge, model) && edge.window == window) edges.push_back(&edge);
  return edges;
}

const Curve* curve_of(const Study& study, const CarriedEdge& edge, const char* path) {
  for (const Curve& curve : study.curves)
    if (curve.main_set && curve.model == edge.model && curve.window == edge.window &&
        curve.edge.all_channels() && curve.edge.path == path &&
        curve.edge.ends() == edge.edge.label)
      return &curve;
  return nullptr;
}

std::vector<LayerStrip> strips_of(const CarriedEdge& edge) {
  std::vector<LayerStrip> strips;
  for (const auto& [path, kind] : {std::pair{"attention", 'A'}, std::pair{"recurrent", 'R'}}) {
    LayerStrip& strip = strips.emplace_back(LayerStrip{path_style(path).color});
    for (const char letter : edge.mixers) strip.layers.push_back(letter == kind || letter == 'B');
  }
  return strips;
}

// A panel per edge with a line per path, as `change` has them.
template <class Change>
LinePlot plot_of(const Study& study, const std::vector<const CarriedEdge*>& edges,
                 const ValueAxis& axis, Change change) {
  LinePlot plot;
  for (const CarriedEdge* edge : edges) {
    Panel panel{{edge->edge.display()}, axis, {}, strips_of(*edge)};
    for (const PathLook& look : kPaths)
      if (const Curve* curve = curve_of(study, *edge, look.path)) {
        panel.lines.push_back(make_line(look.label, path_style(look.path), *curve));
        change(look, panel.lines.back());
      }
    if (!panel.lines.empty()) plot.panels.push_back(std::move(panel));
  }
  plot.columns = 2;
  plot.x_label = "Relative depth (layer / layers)";
  return plot;
}

// ---- the report's table

std::string with_interval(const Resampled& of, int digits, bool signs) {
  std::string text = signed_number(of.value, digits), ends = interval_text(of.interval, "", digits);
  if (!ends.empty()) text += " " + ends;
  if (!signs) std::erase(text, '+');
  return html::prose(text);
}

std::string verdict_html(const CarriedEdge& edge) {
  if (edge.is_control())
    return fmt::format("<span class=\"weak\">control: {} only</span>",
                       edge.mixing == Mixing::kState ? "recurrent" : "attention");
  const Carrier carrier = carrier_of(edge);
  const std::string why = judge_carrier(edge, Carrier::kAttention).reason;
  return fmt::format("<span class=\"verdict {}\" title=\"{}\">{}</span>",
                     carrier == Carrier::kOpen ? "open" : "holds", escape(why), to_string(carrier));
}

std::string name_of(const CarriedEdge& edge) {
  return edge.main_set ? edge.model : fmt::format("{} (prompts {})", edge.model, edge.prompts);
}

std::vector<std::string> table_row(const CarriedEdge& edge) {
  std::vector<std::string> row = {escape(name_of(edge)), escape(edge.edge.display()),
                                  verdict_html(edge)};
  const auto number = [&](const Resampled& of, int digits, bool signs) {
    return std::isnan(of.value) ? "" : with_interval(of, digits, signs);
  };
  row.insert(row.end(), {number(edge.both, 1, true), number(edge.attention_share, 0, false),
                         number(edge.recurrent_share, 0, false),
                         number(edge.together_share, 0, false), number(edge.interaction, 1, true),
                         number(edge.log_interaction, 2, true), std::to_string(edge.window),
                         edge.missing.empty() ? chosen_in_words(edge) : escape(edge.missing),
                         std::to_string(edge.n), std::to_string(edge.facts)});
  return row;
}

// Hybrids first, then their controls; at the widest windows.
std::string table_html(const Study& study) {
  std::vector<std::vector<std::string>> rows;
  for (const bool control : {false, true})
    for (const CarriedEdge& edge : study.carriers)
      if (edge.widest && edge.is_control() == control) rows.push_back(table_row(edge));
  return html::table(
      {"Model", "Edge", "Who carries it", "Both cut (%)", "Attention (%)", "State (%)",
       "Only together (%)", "Interaction", "in logs", "Window", "Measured at", "Prompts", "Facts"},
      rows, 3);
}

std::string model_html(const Study& study, const std::string& model, bool open) {
  const std::int64_t widest = carrier_windows(study, model).back();
  LinePlot depth = carrier_depth_plot(study, model, widest),
           layers = carrier_layers_plot(study, model);
  std::string text =
      fmt::format("<details{}><summary>{}, by depth and layer: {}</summary>\n", open ? " open" : "",
                  escape(model), escape(mixers_in_words(*edges_of(study, model, widest).front())));
  for (const auto& [plot, caption] : {std::pair(&layers, carrier_layers_caption(study, model)),
                                      std::pair(&depth, carrier_depth_caption(model, widest))}) {
    if (plot->panels.empty()) continue;
    plot->x_label = "layer";
    text += fmt::format(
                "<p class=\"weak\">{}; 95 % t intervals, prompts of one fact as one "
                "cluster.</p>\n",
                html::prose(caption)) +
            panels_html(*plot);
  }
  return text + "</details>\n";
}

constexpr const char* kDefinitions =
    "<p>A hybrid has attention and another mixer of tokens with a state. Each edge was cut on "
    "attention alone, on the state alone (every mixer but attention), and on both, in the same "
    "windows of layers. Of what cutting both does to the answer\u2019s probability, at the widest "
    "window:</p>\n<ul>"
    "<li><strong>Attention carries it</strong>: cutting attention alone gives more than half, "
    "cutting the state alone less than half.</li>"
    "<li><strong>The state carries it</strong>: the other way round.</li>"
    "<li><strong>Either suffices</strong>: each alone gives less than half, and more than half is "
    "lost only where both are cut together.</li>"
    "<li><strong>Both are needed</strong>: each alone gives more than half.</li>"
    "<li><strong>Each carries a part</strong>: each alone gives less than half, and only together "
    "less than half as well: they add up, more or less.</li>"
    "<li><strong>Cannot tell</strong>: an interval reaches over one half, or cutting both does not "
    "surely lower the probability by 10 %.</li></ul>\n"
    "<p>Attention, state and only together are shares of what cutting both does, ratios of mean "
    "relative changes of p; only together = 100 % less both shares; "
    "interaction = both \u2212 (attention + state), in percentage points and of mean log changes: "
    "below 0 each makes up for the other, above 0 both take away the same. Intervals: 95 % "
    "bootstraps over facts. The window is chosen on half of the facts, among those with mixers of "
    "both kinds, and measured on the other half, and the other way round (two starts where they "
    "differ), so that it was not picked for the numbers it gives. Controls have one kind of "
    "mixers. "
    "Every window: <a href=\"tables/carriers.csv\">carriers.csv</a>; every layer: "
    "<a href=\"tables/curves.csv\">curves.csv</a>, columns path, attention_layers, "
    "recurrent_layers.</p>\n";

}  // namespace

std::vector<std::string> models_with_carriers(const Study& study) {
  std::vector<std::string> models;
  for (const CarriedEdge& edge : study.carriers)
    if (edge.main_set && !edge.is_control() &&
        std::find(models.begin(), models.end(), edge.model) == models.end())
      models.push_back(edge.model);
  return models;
}

std::vector<std::int64_t> carrier_windows(const Study& study, const std::string& model) {
  std::vector<std::int64_t> windows;
  for (const CarriedEdge& edge : study.carriers)
    if (shown(edge, model) && (windows.empty() || windows.back() != edge.window))
      windows.push_back(edge.window);
  return windows;
}

LinePlot carrier_depth_plot(const Study& study, const std::string& model, std::int64_t window) {
  LinePlot plot = plot_of(study, edges_of(study, model, window), change_axis(-60, 20),
                          [](const PathLook&, Line&) {});
  plot.stem = fmt::format("carriers_depth_{}_w{}", model, window);
  plot.header = fmt::format("{}, one path cut in a window of {}", model, layers_in_words(window));
  return plot;
}

std::string carrier_depth_caption(const std::string& model, std::int64_t window) {
  return fmt::format(
      "{}: mean relative change of the answer's probability with an edge cut on attention alone, "
      "on the state alone and on both, in windows of {}, by where they begin. Strips under the "
      "axis: layers with attention (orange, above) and with a recurrent mixer (blue, below)",
      model, layers_in_words(window));
}

LinePlot carrier_layers_plot(const Study& study, const std::string& model) {
  const std::vector<std::int64_t> windows = carrier_windows(study, model);
  LinePlot plot = plot_of(study, edges_of(study, model, windows.front()), change_axis(-20, 5),
                          [](const PathLook& look, Line& line) {
                            line.shape =
                                std::string(look.path) == "both" ? Shape::kDots : Shape::kBars;
                            line.shift = look.shift;
                            line.width = kBarWidth;
                          });
  plot.stem = "carriers_layers_" + model;
  plot.header = fmt::format("{}, what each path carries, window of {}", model,
                            layers_in_words(windows.front()));
  return plot;
}

std::string carrier_layers_caption(const Study& study, const std::string& model) {
  return fmt::format(
      "{}: what each path carries in every layer: mean relative change of the answer's probability "
      "with the edge cut there on attention alone (orange), on the state alone (blue) and on both "
      "(dots), in windows of {} from that layer on. Strips under the axis: layers with attention "
      "(orange, above) and with a recurrent mixer (blue, below)",
      model, layers_in_words(carrier_windows(study, model).front()));
}

SharePlot carrier_shares_plot(const Study& study) {
  SharePlot plot;
  plot.stem = "carriers";
  plot.header = "Shares of what cutting both paths does, at the widest window";
  for (const CarriedEdge& edge : study.carriers) {
    if (!edge.main_set || !edge.widest || edge.is_control() || !edge.missing.empty()) continue;
    // Shares of an effect that is small or uncertain say nothing.
    if (edge.both.interval.high >= -kSmallEffect) continue;
    const std::string title = edge.edge.display();
    auto panel = std::find_if(plot.panels.begin(), plot.panels.end(),
                              [&](const SharePanel& one) { return one.title == title; });
    if (panel == plot.panels.end())
      panel = plot.panels.insert(plot.panels.end(), SharePanel{title, {}});
    panel->points.push_back({edge.model, edge.attention_share, edge.recurrent_share});
  }
  return plot;
}

std::string carrier_shares_caption() {
  return "Who carries it: what cutting attention alone and the state alone give, in percent of "
         "what "
         "cutting both gives at the widest window, a point per hybrid, with 95 % bootstrap "
         "intervals over facts; regions are those of the verdicts, what lies beyond the frame "
         "stands at its edge. "
         "Left out: where cutting both does not surely lower the probability by 10 %.";
}

std::string carriers_html(const Study& study) {
  if (study.carriers.empty()) return "";
  std::string text = "<section id=\"carriers\"><h2>Who carries the facts</h2>\n" +
                     table_html(study) + kDefinitions;
  if (const SharePlot shares = carrier_shares_plot(study); !shares.panels.empty())
    text += panels_html(shares) +
            fmt::format("<p class=\"weak\">{}</p>\n", html::prose(carrier_shares_caption()));
  const std::vector<std::string> models = models_with_carriers(study);
  for (const std::string& model : models)
    text += model_html(study, model, models.size() <= kMostOpenModels);
  return text + "</section>\n";
}

std::vector<std::vector<std::string>> carrier_rows(const Study& study) {
  std::vector<std::vector<std::string>> rows;
  const auto ends = [](const Resampled& of) {
    std::string text = interval_text(of.interval, "-", 0);
    if (text.size() > 1) std::erase(text, '+');
    return text;
  };
  for (const bool control : {false, true})
    for (const CarriedEdge& edge : study.carriers) {
      if (!edge.widest || edge.is_control() != control) continue;
      rows.push_back({name_of(edge), edge.edge.label, std::to_string(edge.window)});
      if (!edge.missing.empty()) {
        rows.back().insert(rows.back().end(), {"", "", "", "", "", "", "", edge.missing, "0"});
        continue;
      }
      const bool mixed = !control;
      rows.back().insert(
          rows.back().end(),
          {signed_number(edge.both.value, 1), mixed ? fixed(edge.attention_share.value, 0) : "",
           mixed ? ends(edge.attention_share) : "",
           mixed ? fixed(edge.recurrent_share.value, 0) : "",
           mixed ? ends(edge.recurrent_share) : "",
           mixed ? fixed(edge.together_share.value, 0) : "", mixed ? ends(edge.together_share) : "",
           mixed ? to_string(carrier_of(edge))
                 : fmt::format("control: {} only",
                               edge.mixing == Mixing::kState ? "recurrent" : "attention"),
           std::to_string(edge.n)});
    }
  if (!rows.empty())
    rows.insert(rows.begin(),
                {"model", "edge", "window", "both %", "attention", "95% interval", "state",
                 "95% interval", "together", "95% interval", "who carries it", "n"});
  return rows;
}

CsvTable carriers_table(const Study& study) {
  std::vector<std::string> columns = {"model",      "family",    "mixers", "layers", "prompts",
                                      "edge",       "window",    "widest", "starts", "choices",
                                      "start_even", "start_odd", "n",      "facts"};
  const std::array<std::pair<const char*, Resampled CarriedEdge::*>, 8> numbers = {
      {{"both", &CarriedEdge::both},
       {"attention", &CarriedEdge::attention},
       {"recurrent", &CarriedEdge::recurrent},
       {"attention_share", &CarriedEdge::attention_share},
       {"recurrent_share", &CarriedEdge::recurrent_share},
       {"together_share", &CarriedEdge::together_share},
       {"interaction", &CarriedEdge::interaction},
       {"log_interaction", &CarriedEdge::log_interaction}}};
  for (const auto& [name, member] : numbers)
    for (const char* ending : {"", "_low", "_high"}) columns.push_back(std::string(name) + ending);
  columns.insert(columns.end(), {"verdict", "reason"});
  CsvTable table(columns);
  for (const CarriedEdge& edge : study.carriers) {
    table.cell(edge.model).cell(edge.family).cell(edge.mixers).cell(edge.layers);
    table.cell(edge.prompts).cell(edge.edge.label).cell(edge.window);
    table.cell(std::int64_t{edge.widest ? 1 : 0}).cell(edge.starts).cell(edge.choices);
    for (std::size_t half = 0; half < 2; ++half)
      table.cell(edge.chosen.empty() ? std::string{} : std::to_string(edge.chosen[half]));
    table.cell(edge.n).cell(edge.facts);
    for (const auto& [name, member] : numbers) {
      const Resampled& of = edge.*member;
      table.cell(of.value).cell(of.interval.low).cell(of.interval.high);
    }
    table.cell(edge.is_control()
                   ? fmt::format("control: {} only",
                                 edge.mixing == Mixing::kState ? "recurrent" : "attention")
                   : to_string(carrier_of(edge)));
    table.cell(edge.is_control() ? edge.missing : judge_carrier(edge, Carrier::kAttention).reason)
        .end_row();
  }
  return table;
}

}  // namespace factflow
