#include "analysis/path_report.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "analysis/html.hpp"
#include "analysis/number_text.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

using html::escape;
using Rows = std::vector<std::vector<std::string>>;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

std::string with_interval(const Resampled& of) {
  const std::string interval = interval_text(of.interval, "", 1);
  return html::prose(signed_number(of.value, 1) + (interval.empty() ? "" : " " + interval));
}

std::string words_for(const PathName& name, Mixing mixing) {
  if (name.edges()) {
    if (name.path == "state") return mixing == Mixing::kAttention ? "scores" : "state";
    return name.path == "mixer" ? "state and convolution" : name.path;
  }
  const std::string site = name.path == "g"      ? "gate"
                           : name.path == "skip" ? "skip D x"
                           : name.path == "mlp"  ? "MLP"
                           : name.path == "s"    ? "mixing (s)"
                                                 : "mixer's output";
  return fmt::format("{} = {}", site, name.value);
}

std::string group_of(const PathName& name) {
  return name.tokens;
}

// In shades that differ for all eyes.
std::string color_of(const std::string& path) {
  if (path == "state") return "#D55E00";
  if (path == "convolution") return "#56B4E9";
  if (path == "mixer") return "#000000";
  if (path == "g") return "#009E73";
  if (path == "skip") return "#CC79A7";
  if (path == "mlp") return "#E69F00";
  return "#0072B2";
}

void add_once(const std::string& name, std::vector<std::string>& names) {
  if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
}

void widen(BarPlot& plot, const Resampled& of) {
  for (const double end : {of.value, of.interval.low, of.interval.high})
    if (std::isfinite(end)) {
      plot.low = std::min(plot.low, 1.05 * end);
      plot.high = std::max(plot.high, 1.05 * end);
    }
}

std::string set_of(const ModelPaths& paths) {
  return paths.main_set ? "" : fmt::format(" (prompts {})", paths.prompts);
}

std::string missed_table(const Study& study) {
  Rows rows;
  for (const ModelPaths& model : study.paths)
    for (const MissedPath& of : model.missed)
      rows.push_back({escape(model.model + set_of(model)),
                      escape(fmt::format("{} \u2192 {}", of.tokens, of.target)),
                      std::to_string(model.window), std::to_string(of.start),
                      with_interval(of.state), with_interval(of.mixer), with_interval(of.missed),
                      html::prose(signed_number(of.missed_by_log, 1)), std::to_string(of.n),
                      std::to_string(of.facts), std::to_string(of.in_reach),
                      with_interval(of.convolution), with_interval(of.interaction)});
  if (rows.empty()) return "";
  return "<h3>What a knockout of the scan alone misses</h3>\n<p>At the start where blocking state "
         "and convolution together lowers the mean most: (both \u2212 state) / both. Of the "
         "prompts with a source within the convolution's reach also the convolution alone, and "
         "state + convolution \u2212 both.</p>\n" +
         html::table(
             {"Model", "Edge", "Window", "Start", "State, %", "Both, %", "Missed, %",
              "By log changes", "Prompts", "Facts", "In reach", "Convolution, %", "Interaction"},
             rows, 2);
}

std::string all_table(const Study& study) {
  Rows rows;
  for (const ModelPaths& model : study.paths)
    for (const PathEffect& of : model.paths)
      rows.push_back({escape(model.model + set_of(model)), escape(of.name.tokens),
                      escape(words_for(of.name, model.mixing)), std::to_string(model.window),
                      of.n > 0 ? std::to_string(of.start) : "", with_interval(of.lowest),
                      html::prose(signed_number(of.log_change, 2)), std::to_string(of.n),
                      std::to_string(of.facts)});
  return fmt::format("<details open><summary>every path: {}</summary>{}</details>\n",
                     counted(rows.size(), "row"),
                     html::table({"Model", "Tokens", "Path", "Window", "Start", "Lowest mean, %",
                                  "Log change", "Prompts", "Facts"},
                                 rows, 3));
}

}  // namespace

BarPlot paths_plot(const ModelPaths& paths) {
  BarPlot plot;
  plot.stem = fmt::format("paths_{}_w{}", paths.model, paths.window);
  plot.header = fmt::format("{}, paths, window of {}", paths.model,
                            counted(static_cast<std::uint64_t>(paths.window), "layer"));
  plot.y_label = "Change of p (%)";
  plot.low = -1;
  plot.high = 1;
  std::vector<std::string> labels;
  for (const PathEffect& of : paths.paths) {
    add_once(group_of(of.name), plot.groups);
    add_once(words_for(of.name, paths.mixing), labels);
  }
  for (const std::string& label : labels) {
    BarSeries series{label, "", std::vector<Bar>(plot.groups.size(), Bar{kNan, {kNan, kNan}})};
    for (const PathEffect& of : paths.paths) {
      if (words_for(of.name, paths.mixing) != label) continue;
      series.color = color_of(of.name.path);
      const auto group = std::find(plot.groups.begin(), plot.groups.end(), group_of(of.name));
      series.bars[static_cast<std::size_t>(group - plot.groups.begin())] = {of.lowest.value,
                                                                            of.lowest.interval};
      widen(plot, of.lowest);
    }
    plot.series.push_back(std::move(series));
  }
  return plot;
}

std::string paths_caption(const ModelPaths& paths) {
  return fmt::format(
      "{}{}: mean relative change of the answer's probability in the window of {} where it is "
      "lowest. Edges from the tokens named below to the last one are cut through the mixer's state "
      "or scores, its convolution, or both; gate, skip and MLP are written at these tokens. "
      "Whiskers: 95 % bootstrap over facts, the search for the window repeated; a lowest mean of "
      "many windows lies below zero by chance as well.",
      paths.model, set_of(paths), counted(static_cast<std::uint64_t>(paths.window), "layer"));
}

std::string paths_html(const Study& study) {
  if (study.paths.empty()) return "";
  return "<section id=\"paths\"><h2>Which path carries it</h2>\n<p>The mixer reads earlier tokens "
         "through its state (or its scores) and, in Mamba models, through the convolution before "
         "it; what it reads goes through the gate, and beside it goes the skip D x. The published "
         "knockouts cut the state alone. Tables: <a href=\"tables/paths.csv\">paths.csv</a>, <a "
         "href=\"tables/missed_paths.csv\">missed_paths.csv</a>.</p>\n" +
         missed_table(study) + all_table(study) + "</section>\n";
}

std::vector<std::vector<std::string>> missed_rows(const Study& study) {
  Rows rows;
  for (const ModelPaths& model : study.paths)
    for (const MissedPath& of : model.missed)
      rows.push_back({model.model + set_of(model), fmt::format("{}->{}", of.tokens, of.target),
                      std::to_string(model.window), fmt::format("{}/{}", of.start, model.layers),
                      signed_number(of.state.value, 1), signed_number(of.mixer.value, 1),
                      signed_number(of.missed.value, 1), interval_text(of.missed.interval, "-"),
                      std::to_string(of.n), std::to_string(of.facts)});
  if (!rows.empty())
    rows.insert(rows.begin(), {"model", "edge", "window", "start", "state %", "both %", "missed %",
                               "95% interval", "n", "facts"});
  return rows;
}

}  // namespace factflow
