#include "analysis/linear_relation_report.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "analysis/html.hpp"
#include "analysis/model_styles.hpp"
#include "analysis/number_text.hpp"
#include "analysis/palette.hpp"
#include "analysis/plot_text.hpp"
#include "analysis/statistics.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

using html::escape;

constexpr std::size_t kMostBars = 40;      // relations with bars
constexpr std::size_t kMostPanels = 24;    // of layer sweeps
constexpr std::size_t kMostOpenRows = 45;  // a longer table is folded
constexpr const char* kBaseline = "#8B1A1A";

std::string number(double value) {
  return std::isnan(value) ? "-" : fmt::format("{:.2f}", value);
}

// "0.41 +- 0.03"
std::string with_error(const TrialMean& mean) {
  return std::isnan(mean.error) ? number(mean.value)
                                : fmt::format("{:.2f} \u00b1 {:.2f}", mean.value, mean.error);
}

std::string color_of(const Study& study, const ModelRelations& model) {
  std::vector<std::string> families;
  for (const ModelRelations& other : study.relations) families.push_back(other.family);
  return model_styles(families)[static_cast<std::size_t>(&model - study.relations.data())].color;
}

// ---- bars

// One relation in one wording, of every model that has it.
struct BarRow {
  std::string relation, words;
  std::vector<std::pair<const ModelRelations*, const RelationScore*>> bars;
};

// Relations with the highest faithfulness of any model first.
std::vector<BarRow> bar_rows(const Study& study) {
  std::vector<BarRow> rows;
  std::map<std::pair<std::string, std::string>, std::size_t> places;
  for (const ModelRelations& model : study.relations)
    for (const RelationScore& score : model.relations) {
      if (!score.left_out.empty()) continue;
      const auto [place, is_new] =
          places.emplace(std::pair(score.relation, score.words), rows.size());
      if (is_new) rows.push_back({score.relation, score.words, {}});
      rows[place->second].bars.emplace_back(&model, &score);
    }
  const auto highest = [](const BarRow& row) {
    double most = 0;
    for (const auto& [model, score] : row.bars)
      most = std::max(most, score->best_layer().faithfulness());
    return most;
  };
  std::stable_sort(rows.begin(), rows.end(),
                   [&](const BarRow& a, const BarRow& b) { return highest(a) > highest(b); });
  return rows;
}

constexpr double kNames = 250, kArea = 420, kBar = 11, kGap = 12, kRight = 24;  // of the picture

double across(double share) {
  return kNames + kArea * share;
}

std::string bar_svg(const std::string& color, const ModelRelations& model,
                    const RelationScore& score, double top) {
  const RelationLayer& best = score.best_layer();
  const double middle = top + kBar / 2;
  std::string text = fmt::format(
      "<rect x=\"{}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{}\" "
      "fill=\"{}\"><title>{}</title></rect>",
      kNames, top, kArea * best.faithfulness(), kBar - 1, color,
      escape(fmt::format("{}, {}: {} of {:.0f} known facts a trial, layer {}, beta {:.2f}",
                         model.model, score.relation, with_error(best.recall[0]), score.known,
                         best.layer, best.beta)));
  if (!std::isnan(best.recall[0].error))
    text += fmt::format(
        "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"#222222\"/>",
        across(std::max(0.0, best.faithfulness() - best.recall[0].error)), middle,
        across(std::min(1.0, best.faithfulness() + best.recall[0].error)), middle);
  return text;
}

std::string bars_svg(const Study& study, const std::vector<BarRow>& rows) {
  std::string text;
  double top = 6;
  for (const BarRow& row : rows) {
    const double height = std::max(2.0, static_cast<double>(row.bars.size())) * kBar;
    text += fmt::format(
        "<text x=\"{0}\" y=\"{1:.1f}\" text-anchor=\"end\" font-weight=\"600\">{2}</text><text "
        "x=\"{0}\" y=\"{3:.1f}\" text-anchor=\"end\" fill=\"#555555\" "
        "font-size=\"10\">{4}</text>\n",
        kNames - 6, top + 9, escape(shorten(row.relation, 36)), top + 20,
        escape(shorten_middle(row.words, 44)));
    double at = top;
    for (const auto& [model, score] : row.bars) {
      text += bar_svg(color_of(study, *model), *model, *score, at) + "\n";
      at += kBar;
    }
    const RelationScore& any = *row.bars[0].second;
    text += fmt::format(
        "<line x1=\"{0:.1f}\" y1=\"{1:.1f}\" x2=\"{0:.1f}\" y2=\"{2:.1f}\" stroke=\"{3}\" "
        "stroke-width=\"2\"><title>{4}</title></line>\n",
        across(any.squared_shares), top - 2, top + height + 1, kBaseline,
        escape(fmt::format("answers drawn by their shares: {:.2f}; always the commonest: {:.2f}",
                           any.squared_shares, any.largest_share)));
    top += height + kGap;
  }
  std::string grid;
  for (const double share : {0.0, 0.25, 0.5, 0.75, 1.0})
    grid += fmt::format(
        "<line x1=\"{0:.1f}\" y1=\"0\" x2=\"{0:.1f}\" y2=\"{1:.1f}\" stroke=\"#DDDDDD\"/><text "
        "x=\"{0:.1f}\" y=\"{2:.1f}\" text-anchor=\"middle\">{3}</text>",
        across(share), top, top + 12, share);
  return fmt::format(
      "<svg class=\"relations\" viewBox=\"0 0 {} {:.0f}\" width=\"100%\" style=\"max-width:46rem\" "
      "font-size=\"11\" role=\"img\" aria-label=\"faithfulness of linear "
      "relations\">\n{}\n{}</svg>\n",
      kNames + kArea + kRight, top + 16, grid, text);
}

std::string bars_html(const Study& study) {
  std::vector<BarRow> rows = bar_rows(study);
  if (rows.empty()) return "";
  std::string text = "<h3>Faithfulness by relation</h3>\n<p class=\"lines\">";
  for (const ModelRelations& model : study.relations)
    text += fmt::format("<span><span class=\"swatch\" style=\"background:{}\"></span>{}</span>",
                        color_of(study, model), escape(model.model));
  text += fmt::format(
      "<span><span class=\"swatch\" style=\"background:{};width:3px\"></span>answers drawn by "
      "their "
      "shares</span></p>\n",
      kBaseline);
  const std::size_t all = rows.size();
  if (all > kMostBars) rows.resize(kMostBars);
  text += bars_svg(study, rows);
  if (all > kMostBars)
    text += fmt::format("<p class=\"notice\">The {} of {} with the highest are shown here.</p>\n",
                        kMostBars, counted(all, "relation"));
  return text;
}

// ---- layer sweeps

constexpr double kLeft = 30, kWide = 270, kHigh = 130, kBelow = 20;

struct SweepLine {
  std::string label;
  std::vector<std::pair<double, double>> points;  // layer, share
};

using ShareOf = double (*)(const RelationLayer&);

// Each relation's line, and at the end their mean.
std::vector<SweepLine> sweep_lines(const ModelRelations& model, ShareOf share) {
  std::vector<SweepLine> lines;
  std::map<std::int32_t, std::vector<double>> of_layer;
  for (const RelationScore& score : model.relations) {
    if (!score.left_out.empty()) continue;
    SweepLine line{fmt::format("{}: {}", score.relation, score.words), {}};
    for (const RelationLayer& layer : score.layers)
      if (const double value = share(layer); !std::isnan(value)) {
        line.points.emplace_back(layer.layer, value);
        of_layer[layer.layer].push_back(value);
      }
    if (!line.points.empty()) lines.push_back(std::move(line));
  }
  if (lines.empty()) return lines;
  SweepLine mean_line{"mean", {}};
  for (const auto& [layer, values] : of_layer) mean_line.points.emplace_back(layer, mean(values));
  lines.push_back(std::move(mean_line));
  return lines;
}

std::string sweep_svg(const ModelRelations& model, const std::vector<SweepLine>& lines,
                      const std::string& color) {
  const auto layers = static_cast<double>(std::max<std::int64_t>(1, model.layers));
  const auto x = [&](double layer) { return kLeft + kWide * layer / layers; };
  const auto y = [&](double share) { return 6 + kHigh * (1 - share); };
  std::string text;
  for (const double share : {0.0, 0.5, 1.0})
    text += fmt::format(
        "<line x1=\"{0}\" y1=\"{1:.1f}\" x2=\"{2}\" y2=\"{1:.1f}\" stroke=\"#DDDDDD\"/><text "
        "x=\"{3}\" "
        "y=\"{4:.1f}\" text-anchor=\"end\">{5}</text>",
        kLeft, y(share), kLeft + kWide, kLeft - 4, y(share) + 4, share);
  for (const double layer : {0.0, std::floor(layers / 2), layers})
    text += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>",
                        x(layer), 6 + kHigh + 14, layer);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const bool is_mean = i + 1 == lines.size();
    std::string points;
    for (const auto& [layer, share] : lines[i].points)
      points += fmt::format("{:.1f},{:.1f} ", x(layer), y(share));
    text += fmt::format(
        "\n<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\" "
        "stroke-opacity=\"{}\"><title>{}</title></polyline>",
        points, is_mean ? color : "#777777", is_mean ? 2.6 : 1.0, is_mean ? 1.0 : 0.55,
        escape(lines[i].label));
    if (lines[i].points.size() == 1 || is_mean)
      for (const auto& [layer, share] : lines[i].points)
        text += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.4\" fill=\"{}\"/>", x(layer),
                            y(share), is_mean ? color : "#777777");
  }
  return fmt::format(
      "<svg viewBox=\"0 0 {} {}\" width=\"100%\" font-size=\"11\" role=\"img\" "
      "aria-label=\"{}, by layer\">{}</svg>",
      kLeft + kWide + 12, 6 + kHigh + kBelow, escape(model.model), text);
}

std::string sweeps_html(const Study& study) {
  constexpr std::pair<const char*, ShareOf> kShares[] = {
      {"faithfulness", [](const RelationLayer& layer) { return layer.faithfulness(); }},
      {"causality", [](const RelationLayer& layer) { return layer.causality.value; }}};
  std::string text;
  std::size_t drawn = 0, all = 0;
  for (const ModelRelations& model : study.relations)
    for (const auto& [name, share] : kShares) {
      const std::vector<SweepLine> lines = sweep_lines(model, share);
      if (lines.empty() || all++ >= kMostPanels) continue;
      ++drawn;
      text +=
          fmt::format("<div class=\"panel\"><h4>{}: {} by layer</h4>{}</div>\n",
                      escape(model.model), name, sweep_svg(model, lines, color_of(study, model)));
    }
  if (drawn == 0) return "";
  text =
      "<h3>By layer</h3>\n<p>The mean over relations, and each relation in grey. Layer: the one "
      "whose input the subject's state is.</p>\n<div class=\"panels\">\n" +
      text + "</div>\n";
  if (drawn < all)
    text += fmt::format("<p class=\"notice\">The first {} of {} are shown here.</p>\n", drawn,
                        counted(all, "chart"));
  return text;
}

// ---- table and words

std::string table_html(const Study& study) {
  std::vector<std::vector<std::string>> rows;
  for (const ModelRelations& model : study.relations)
    for (const RelationScore& score : model.relations) {
      if (!score.left_out.empty()) continue;
      const RelationLayer &best = score.best_layer(), &edited = score.most_causal();
      const bool any = edited.rank >= 0;
      rows.push_back(
          {escape(model.model), escape(score.relation), escape(score.words),
           with_error(best.recall[0]), number(best.recall[1].value), number(best.recall[2].value),
           std::to_string(best.layer), number(best.beta), number(score.squared_shares),
           number(score.largest_share), any ? with_error(edited.causality) : "-",
           any ? std::to_string(edited.layer) : "-", any ? std::to_string(edited.rank) : "-",
           fmt::format("{:.1f}", score.known), std::to_string(score.trials)});
    }
  if (rows.empty()) return "";
  return fmt::format(
      "<details{}><summary>every relation: {}</summary>{}</details>\n",
      rows.size() <= kMostOpenRows ? " open" : "", counted(rows.size(), "row"),
      html::table({"Model", "Relation", "Words", "Faithfulness", "Among 2", "Among 3", "Layer",
                   "Beta", "Drawn", "Commonest", "Causality", "Layer", "Rank", "Known", "Trials"},
                  rows, 3));
}

// What a model's relations come to.
std::string summary_of(const ModelRelations& model) {
  std::string text = fmt::format("{}: {}", model.model, relations_in_words(model));
  if (model.scored() > 0)
    text += fmt::format(
        ". Mean faithfulness {:.2f}; above 0.5: {}{}", model.mean_faithfulness(),
        model.above_half(),
        model.edited ? fmt::format("; mean causality {}", number(model.mean_causality())) : "");
  return text + ".";
}

}  // namespace

std::string linear_relations_html(const Study& study) {
  if (study.relations.empty()) return "";
  std::string text =
      "<section id=\"relations\"><h2>Linear relations</h2>\n<p>What a relation does to its "
      "subject's "
      "state s, as one affine map fitted on a few facts: z = \u03b2 W s + b, with W the mean of "
      "dz/ds, "
      "read out as the model reads its last stream. Faithfulness: the share of known facts whose "
      "answer is the map's likeliest token, mean \u00b1 standard error over trials (training "
      "sets); "
      "known: the model itself gives the answer behind the trial's examples. Causality: the share "
      "in which the pseudo-inverse of W, of some rank, turns the answer into another subject's. "
      "<b>Layer, \u03b2 and rank are the best ones on the facts that are tested</b>, as published: "
      "there is no validation set, so these numbers are a little too high, the more the fewer "
      "facts "
      "there are. Drawn and commonest: what answers drawn by their shares, and always the "
      "commonest, "
      "get right. Every relation: <a "
      "href=\"tables/linear_relations.csv\">linear_relations.csv</a>; "
      "every layer: <a "
      "href=\"tables/linear_relation_layers.csv\">linear_relation_layers.csv</a>.</p>\n<ul>\n";
  for (const ModelRelations& model : study.relations)
    text += fmt::format("<li>{}</li>\n", html::prose(summary_of(model)));
  return text + "</ul>\n" + table_html(study) + bars_html(study) + sweeps_html(study) +
         "</section>\n";
}

std::vector<std::vector<std::string>> linear_relation_rows(const Study& study) {
  std::vector<std::vector<std::string>> rows;
  for (const ModelRelations& model : study.relations)
    for (const RelationScore& score : model.relations) {
      if (!score.left_out.empty()) continue;
      const RelationLayer &best = score.best_layer(), &edited = score.most_causal();
      rows.push_back({model.model, score.relation, shorten_middle(score.words, 30),
                      with_error(best.recall[0]), std::to_string(best.layer), number(best.beta),
                      number(score.squared_shares), with_error(edited.causality),
                      edited.rank < 0 ? "-" : std::to_string(edited.layer),
                      edited.rank < 0 ? "-" : std::to_string(edited.rank)});
    }
  if (!rows.empty())
    rows.insert(rows.begin(), {"model", "relation", "words", "faithfulness", "layer", "beta",
                               "drawn", "causality", "layer", "rank"});
  return rows;
}

std::vector<std::string> linear_relation_gaps(const Study& study) {
  std::vector<std::string> sentences;
  for (const ModelRelations& model : study.relations)
    if (model.scored() < model.relations.size() || model.relations.empty())
      sentences.push_back(
          fmt::format("{}: linear relations: {}.", model.model, relations_in_words(model)));
  return sentences;
}

}  // namespace factflow
