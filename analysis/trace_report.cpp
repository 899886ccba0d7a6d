#include "analysis/trace_report.hpp"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "analysis/html.hpp"
#include "analysis/number_text.hpp"
#include "analysis/palette.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

using html::escape;

constexpr std::size_t kMostCharts = 12;    // drawn in the page: each has thousands of cells
constexpr std::size_t kMostOpenRows = 45;  // a longer table is folded

std::vector<TraceDirection> directions_of(const ModelTraces& traces) {
  std::vector<TraceDirection> directions;
  for (const TraceDirection direction : {TraceDirection::kRestore, TraceDirection::kBreak})
    if (std::any_of(traces.averages.begin(), traces.averages.end(),
                    [&](const TraceAverage& a) { return a.direction == direction; }))
      directions.push_back(direction);
  return directions;
}

// Window sizes of the charts of a direction, each with the size of h that stands in it (0 = none).
std::vector<std::pair<std::int64_t, std::int64_t>> chart_windows(const ModelTraces& traces,
                                                                 TraceDirection direction) {
  std::set<std::int64_t> streams, others;
  for (const TraceAverage& average : traces.averages)
    if (average.direction == direction)
      (average.site == "h" ? streams : others).insert(average.window);
  std::set<std::int64_t> alone = streams;
  std::vector<std::pair<std::int64_t, std::int64_t>> windows;
  for (const std::int64_t window : others) {
    const std::int64_t stream = streams.contains(window) ? window
                                : streams.empty()        ? 0
                                                         : *streams.begin();
    alone.erase(stream);
    windows.emplace_back(window, stream);
  }
  for (const std::int64_t stream : alone) windows.emplace_back(stream, stream);
  std::sort(windows.begin(), windows.end());
  return windows;
}

std::string what_is_done(const ModelTraces& traces, TraceDirection direction) {
  if (traces.corruption == Corruption::kNoise)
    return fmt::format(
        "clean values restored in runs with noise on the subject's embeddings (standard deviation "
        "{:.3g}, {})",
        traces.noise_deviation,
        counted(static_cast<std::uint64_t>(traces.noise_copies), "copy", "copies"));
  return direction == TraceDirection::kRestore
             ? "clean values restored in the run of another subject"
             : "values of another subject written into the clean run";
}

// Effects that round to 0 are none.
constexpr double kVisible = 0.005;

void add_scale(TraceChart& chart) {
  double largest = 0;
  for (const TraceAverage* average : chart.maps)
    for (std::size_t group = 0; group < kTokenGroups; ++group)
      for (const TracePoint& point : average->of(TraceGrouping::kSharma, group)) {
        largest = std::fmax(largest, point.effect);
        chart.any_negative = chart.any_negative || point.effect < -kVisible;
      }
  chart.largest = largest > kVisible ? largest : 1;
}

// "prefix 12, subject [:-2] 40, all others 57"
std::string row_counts(const TraceAverage& average) {
  std::vector<std::string> fewer;
  for (std::size_t group = 0; group < kTokenGroups; ++group) {
    std::size_t n = 0;
    for (const TracePoint& point : average.of(TraceGrouping::kSharma, group))
      n = std::max(n, point.n);
    if (n < average.prompts)
      fewer.push_back(fmt::format("{} {}", name_of_group(TraceGrouping::kSharma, group), n));
  }
  return fewer.empty() ? ""
                       : fmt::format(
                             " Rows of fewer prompts, which have no such token otherwise: "
                             "{}.",
                             join(fewer));
}

void describe(const ModelTraces& traces, TraceDirection direction, TraceChart& chart) {
  const TraceAverage* most = *std::max_element(
      chart.maps.begin(), chart.maps.end(),
      [](const TraceAverage* a, const TraceAverage* b) { return a->prompts < b->prompts; });
  const std::size_t left_out = traces.facts.size() - traces.count(FactUse::kUsed);
  chart.same_n = std::all_of(chart.maps.begin(), chart.maps.end(), [&](const TraceAverage* map) {
    return map->prompts == most->prompts;
  });
  chart.title =
      fmt::format("{}{}{}", what_is_done(traces, direction),
                  chart.same_n ? fmt::format("; n = {}", most->prompts) : "",
                  left_out > 0 ? fmt::format("; {} left out", counted(left_out, "prompt")) : "");
  chart.caption = fmt::format(
      "{}: causal traces, {}. Mean indirect effect by group of tokens and centre of the window; "
      "colours from 0 to the largest mean, {:.3f}. {}.{}",
      traces.model, what_is_done(traces, direction), chart.largest, facts_in_words(traces),
      row_counts(*most));
}

// ---- the report

constexpr double kNames = 84, kArea = 250, kCell = 17, kAxis = 20, kBeside = 14;  // of a picture

std::string cell_text(const TraceAverage& average, std::size_t group, std::size_t centre) {
  const TracePoint& point = average.of(TraceGrouping::kSharma, group)[centre];
  return fmt::format("{}, layer {}: {}{}", name_of_group(TraceGrouping::kSharma, group),
                     published_layer(average.site, average.centres[centre]),
                     point.n == 0 ? "no such token" : fmt::format("{:.3f}", point.effect),
                     point.n == 0 ? "" : fmt::format(", n = {}", point.n));
}

std::string row_svg(const TraceChart& chart, const TraceAverage& average, std::size_t group) {
  const double top = kCell * static_cast<double>(group);
  const double width = kArea / static_cast<double>(average.centres.size());
  std::string text =
      fmt::format("<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>", kNames - 5,
                  top + 12.5, escape(name_of_group(TraceGrouping::kSharma, group)));
  for (std::size_t centre = 0; centre < average.centres.size(); ++centre) {
    const TracePoint& point = average.of(TraceGrouping::kSharma, group)[centre];
    if (point.n == 0) continue;
    // A little wider than its column, or seams would show.
    text += fmt::format(
        "<rect x=\"{:.2f}\" y=\"{:.1f}\" width=\"{:.2f}\" height=\"{}\" "
        "fill=\"{}\"><title>{}</title></rect>",
        kNames + width * static_cast<double>(centre), top, width + 0.15, kCell,
        sequential_color(point.effect / chart.largest), escape(cell_text(average, group, centre)));
  }
  return text + "\n";
}

// First, middle and last layer.
std::string axis_svg(const TraceAverage& average) {
  const double width = kArea / static_cast<double>(average.centres.size());
  std::string text;
  for (const std::size_t centre :
       std::set<std::size_t>{0, (average.centres.size() - 1) / 2, average.centres.size() - 1})
    text += fmt::format(
        "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>",
        kNames + width * (static_cast<double>(centre) + 0.5), kCell * kTokenGroups + 14,
        html::prose(std::to_string(published_layer(average.site, average.centres[centre]))));
  return text;
}

std::string panel_svg(const TraceChart& chart, const TraceAverage& average) {
  const double height = kCell * kTokenGroups;
  std::string text = fmt::format(
      "<div class=\"panel\"><h4>{}</h4><svg viewBox=\"0 0 {} {}\" width=\"100%\" font-size=\"11\" "
      "role=\"img\" aria-label=\"{}\">\n<rect x=\"{}\" y=\"0\" width=\"{}\" height=\"{}\" "
      "fill=\"#DDDDDD\"><title>no prompt has such a token</title></rect>\n",
      escape(title_of(average)), kNames + kArea + kBeside, height + kAxis,
      escape(fmt::format("{}, {}", average.model, title_of(average))), kNames, kArea, height);
  for (std::size_t group = 0; group < kTokenGroups; ++group) text += row_svg(chart, average, group);
  return text + fmt::format(
                    "<rect x=\"{}\" y=\"0\" width=\"{}\" height=\"{}\" fill=\"none\" "
                    "stroke=\"#444444\"/>{}</svg></div>\n",
                    kNames, kArea, height, axis_svg(average));
}

std::string scale_html(const TraceChart& chart) {
  return fmt::format(
      "<p class=\"scale\"><span>{}</span><span class=\"ramp\" style=\"background:linear-gradient("
      "to right,{},{},{},{},{})\"></span><span>{:.3f} (largest mean)</span></p>\n",
      chart.any_negative ? "\u2264 0" : "0", sequential_color(0), sequential_color(0.25),
      sequential_color(0.5), sequential_color(0.75), sequential_color(1), chart.largest);
}

std::string chart_html(const ModelTraces& traces, const TraceChart& chart) {
  std::string text = fmt::format("<h3>{}: {}</h3>\n", escape(traces.model), escape(chart.title));
  text += scale_html(chart) + "<div class=\"panels\">\n";
  for (const TraceAverage* average : chart.maps)
    if (average->prompts > 0) text += panel_svg(chart, *average);
  return text + "</div>\n<p class=\"weak\">" + escape(chart.caption) + "</p>\n";
}

std::string charts_html(const Study& study) {
  std::string text;
  std::size_t drawn = 0, all = 0;
  for (const ModelTraces& traces : study.traces)
    for (const TraceChart& chart : trace_charts(traces)) {
      const bool any = std::any_of(chart.maps.begin(), chart.maps.end(),
                                   [](const TraceAverage* map) { return map->prompts > 0; });
      if (!any) continue;
      if (all++ < kMostCharts) {
        text += chart_html(traces, chart);
        ++drawn;
      }
    }
  if (drawn < all)
    text += fmt::format("<p class=\"notice\">The first {} of {} are shown here.</p>\n", drawn,
                        counted(all, "chart"));
  return text;
}

std::string peaks_html(const Study& study) {
  std::vector<std::vector<std::string>> rows;
  for (const ModelTraces& traces : study.traces)
    for (const TraceAverage& average : traces.averages)
      for (std::size_t group = 0; group < kTokenGroups; ++group) {
        const TracePeak peak = peak_of(average, TraceGrouping::kSharma, group);
        if (peak.centre < 0) continue;
        rows.push_back({escape(traces.model), in_words(traces, average.direction),
                        escape(average.site), escape(name_of_group(TraceGrouping::kSharma, group)),
                        std::to_string(average.window),
                        html::prose(signed_number(peak.point.effect, 3)),
                        html::prose(interval_text(peak.point.interval, "", 3)),
                        html::prose(std::to_string(published_layer(average.site, peak.centre))),
                        std::to_string(peak.centre), std::to_string(peak.point.n),
                        std::to_string(peak.point.facts)});
      }
  if (rows.empty()) return "";
  return fmt::format(
      "<details{}><summary>largest mean effect of every site and group: {}</summary>{}</details>\n",
      rows.size() <= kMostOpenRows ? " open" : "", counted(rows.size(), "row"),
      html::table({"Model", "Direction", "Site", "Tokens", "Window", "Mean effect", "95 % interval",
                   "Layer", "Our layer", "Prompts", "Facts"},
                  rows, 4));
}

}  // namespace

std::string title_of(const TraceAverage& average) {
  return fmt::format("{}, window of {}", average.site,
                     counted(static_cast<std::uint64_t>(average.window), "layer"));
}

std::vector<TraceChart> trace_charts(const ModelTraces& traces) {
  std::vector<TraceChart> charts;
  for (const TraceDirection direction : directions_of(traces)) {
    const auto windows = chart_windows(traces, direction);
    for (const auto& [window, stream] : windows) {
      TraceChart chart;
      for (const TraceAverage& average : traces.averages)
        if (average.direction == direction &&
            average.window == (average.site == "h" ? stream : window))
          chart.maps.push_back(&average);
      chart.stem = fmt::format("trace_{}_{}", traces.model, to_string(direction));
      if (windows.size() > 1) chart.stem += fmt::format("_w{}", window);
      add_scale(chart);
      describe(traces, direction, chart);
      if (windows.size() > 1) chart.title += fmt::format("; window {}", window);
      charts.push_back(std::move(chart));
    }
  }
  return charts;
}

std::vector<std::string> trace_counts(const Study& study) {
  std::vector<std::string> sentences;
  for (const ModelTraces& traces : study.traces)
    sentences.push_back(fmt::format("{}: traces{} of {}.", traces.model,
                                    traces.corruption == Corruption::kNoise ? " from noise" : "",
                                    facts_in_words(traces)));
  return sentences;
}

std::string traces_html(const Study& study) {
  if (study.traces.empty()) return "";
  std::string text = fmt::format(
      "<section id=\"traces\"><h2>Causal traces</h2>\n<p>How much of the answer's probability one "
      "value carries: restored, a value of the clean run is written into the run of the same words "
      "about another subject, or, from noise, into runs with noise on the subject's embeddings "
      "(their mean probability); broken, the other way round. Indirect effect = (p \u2212 low) / "
      "(high "
      "\u2212 low), broken (high \u2212 p) / (high \u2212 low); high and low are the probabilities "
      "with the prompt's own and with the other subject, or the noise. A prompt with high \u2212 "
      "low below {} "
      "has "
      "no part in means: its effect would be noise divided by next to nothing. Rows are Sharma et "
      "al.'s groups of tokens, [-1] the last of the subject; the effect of several tokens is their "
      "mean in each prompt. Layer: of h, the layer behind which the stream is patched (\u22121 = "
      "embeddings), our layer less one; of other sites the centre of the window. t intervals, "
      "clustered by fact, of that centre alone: the largest of many means is a little too large. "
      "Every centre, and the groups of Meng et al.: <a href=\"tables/traces.csv\">traces.csv</a>; "
      "every prompt: <a href=\"tables/trace_facts.csv\">trace_facts.csv</a>.</p>\n<ul>\n",
      kLeastDifference);
  for (const std::string& sentence : trace_counts(study))
    text += fmt::format("<li>{}</li>\n", html::prose(sentence));
  return text + "</ul>\n" + peaks_html(study) + charts_html(study) + "</section>\n";
}

std::vector<std::vector<std::string>> peak_rows(const Study& study) {
  std::vector<std::vector<std::string>> rows;
  for (const ModelTraces& traces : study.traces)
    for (const TraceAverage& average : traces.averages)
      for (const std::size_t group : {kSubjectLastGroup, kLastGroup}) {
        const TracePeak peak = peak_of(average, TraceGrouping::kSharma, group);
        rows.push_back(
            {traces.model,
             fmt::format("{} {}{}, {}", to_string(average.direction), average.site,
                         traces.corruption == Corruption::kNoise ? " from noise" : "",
                         group == kLastGroup ? "last token" : "subject's last"),
             std::to_string(average.window),
             peak.centre < 0 ? "-" : signed_number(peak.point.effect, 3),
             interval_text(peak.point.interval, "-", 3),
             peak.centre < 0
                 ? "-"
                 : fmt::format("{}/{}", published_layer(average.site, peak.centre), average.layers),
             std::to_string(peak.point.n), std::to_string(peak.point.facts)});
      }
  if (!rows.empty())
    rows.insert(rows.begin(), {"model", "trace", "window", "largest mean", "95% interval", "layer",
                               "n", "facts"});
  return rows;
}

}  // namespace factflow
