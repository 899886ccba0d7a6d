#include "analysis/positions.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include <fmt/format.h>

#include "analysis/cell_prompts.hpp"
#include "analysis/load_runs.hpp"
#include "analysis/number_text.hpp"
#include "base/text.hpp"
#include "experiments/position/position_arrays.hpp"

namespace factflow {
namespace {

// The items of an edge and place, by length.
using Lengths = std::map<std::int64_t, std::size_t>;

class PositionStudy {
 public:
  PositionStudy(const RunData& run, const ModelData& model, const CleanLimits& limits,
                const BootstrapOptions& options)
      : model_(model),
        options_(options),
        axes_(load_position_axes(model)),
        places_(read_position_places(*model.reader, model.stored_name, axes_)),
        prompts_(cell_prompts(run, model, axes_.prompts, limits)) {
    for (std::size_t item = 0; item < axes_.items.size(); ++item)
      if (const auto parsed = parse_position_item(axes_.items[item])) {
        const std::pair key(parsed->edge, parsed->place);
        if (!items_.contains(key)) order_.push_back(key);
        items_[key][parsed->length] = item;
      }
  }

  void add(std::int64_t window, bool main, std::vector<PositionCurve>& curves) const {
    const CellWindow cells =
        cell_window(position_names(), *model_.reader, model_.stored_name, window, kAllPrompts);
    for (const auto& key : order_) curves.push_back(curve_of(cells, key, main));
  }

 private:
  double log_change(const CellWindow& cells, std::size_t item, std::size_t prompt,
                    std::size_t start) const {
    return static_cast<double>(
        cells.log_change[(item * prompts_.size() + prompt) * cells.starts.size() + start]);
  }

  // Those that have a number for every length and start.
  std::vector<std::size_t> complete(const CellWindow& cells, const Lengths& lengths) const {
    std::vector<std::size_t> rows;
    for (std::size_t prompt = 0; prompt < prompts_.size(); ++prompt) {
      bool all = prompts_[prompt].used;
      for (const auto& [length, item] : lengths)
        for (std::size_t start = 0; all && start < cells.starts.size(); ++start)
          all = !std::isnan(log_change(cells, item, prompt, start));
      if (all) rows.push_back(prompt);
    }
    return rows;
  }

  PositionCurve curve_of(const CellWindow& cells, const std::pair<std::string, std::string>& key,
                         bool main) const {
    PositionCurve curve{model_.info.name,
                        model_.info.family,
                        key.first,
                        key.second,
                        model_.info.layers,
                        cells.window,
                        cells.starts,
                        0,
                        {},
                        0,
                        main};
    const Lengths& lengths = items_.at(key);
    const std::vector<std::size_t> rows = complete(cells, lengths);
    const auto used = static_cast<std::size_t>(std::count_if(
        prompts_.begin(), prompts_.end(), [](const CellPrompt& prompt) { return prompt.used; }));
    curve.too_long = used - rows.size();
    if (rows.empty() || !lengths.contains(0)) return curve;
    std::vector<std::size_t> facts;
    for (const std::size_t row : rows) facts.push_back(prompts_[row].fact);
    const auto column = [&](std::size_t item, std::size_t start) {
      std::vector<double> values;
      for (const std::size_t row : rows) values.push_back(log_change(cells, item, row, start));
      return values;
    };
    std::vector<double> means;
    for (std::size_t start = 0; start < cells.starts.size(); ++start)
      means.push_back(mean(column(lengths.at(0), start)));
    curve.start = index_of_minimum(means);
    const std::vector<double> without = column(lengths.at(0), curve.start);
    for (const auto& [length, item] : lengths) {
      PositionPoint& point = curve.points.emplace_back();
      point.length = length;
      point.n = rows.size();
      point.facts = count_clusters(facts);
      std::vector<double> clean;
      for (const std::size_t row : rows) {
        const std::size_t cell = item * prompts_.size() + row;
        clean.push_back(places_.clean_log_probability[cell]);
        point.right += places_.clean_rank[cell] == 1 ? 1 : 0;
        point.distance += places_.distance[cell];
        point.subject_at += places_.subject_at[cell];
      }
      const auto n = static_cast<double>(rows.size());
      point.right /= n;
      point.distance /= n;
      point.subject_at /= n;
      point.clean = measured_mean(clean, facts, options_);
      point.effect = measured_mean(column(item, curve.start), facts, options_);
      point.against_none = measured_ratio(column(item, curve.start), without, facts, options_);
      for (std::size_t start = 0; start < cells.starts.size(); ++start)
        point.by_start.push_back(measured_mean(column(item, start), facts, options_));
    }
    return curve;
  }

  const ModelData& model_;
  const BootstrapOptions& options_;
  CellAxes axes_;
  PositionPlaces places_;
  std::vector<CellPrompt> prompts_;
  std::map<std::pair<std::string, std::string>, Lengths> items_;
  std::vector<std::pair<std::string, std::string>> order_;
};

Judged same_effect(const PositionCurve& curve) {
  if (curve.points.empty()) return cannot_tell("no prompt has a number at every length");
  const PositionPoint &none = curve.points.front(), &longest = curve.points.back();
  if (auto few = too_few(none.n, none.facts)) return *few;
  if (!(none.effect.interval.high < 0))
    return cannot_tell("without neutral text the edge does not lower the probability");
  const Interval& ratio = longest.against_none.interval;
  const std::string what = fmt::format("with {} neutral tokens the effect is {} times that without",
                                       longest.length, measured_text(longest.against_none));
  if (ratio.low > 1 - kSameEffect && ratio.high < 1 + kSameEffect) return {Verdict::kHolds, what};
  if (ratio.high < 1 - kSameEffect || ratio.low > 1 + kSameEffect)
    return {Verdict::kDoesNotHold, what};
  return cannot_tell(what + ", and the interval reaches over the limits");
}

std::string evidence_of(const PositionCurve& curve) {
  std::vector<std::string> points;
  for (const PositionPoint& point : curve.points)
    points.push_back(fmt::format("{} ({:.0f} tokens from subject to last): {}", point.length,
                                 point.distance, measured_text(point.effect)));
  const std::string n =
      curve.points.empty() ? "" : ", " + count_text(curve.points[0].n, curve.points[0].facts);
  return fmt::format("{}, {}: {}{}", name_of_row(curve.edge).display(), curve.place, join(points),
                     n);
}

}  // namespace

std::vector<PositionCurve> study_positions(const RunData& run, std::int64_t common,
                                           const CleanLimits& limits,
                                           const BootstrapOptions& options) {
  std::vector<PositionCurve> curves;
  for (const ModelData& model : run.models) {
    if (model.reader == nullptr || !has_positions(*model.reader, model.stored_name)) continue;
    const PositionStudy study(run, model, limits, options);
    const std::vector<std::int64_t> windows =
        cell_windows(position_names(), *model.reader, model.stored_name);
    const bool has = std::find(windows.begin(), windows.end(), common) != windows.end();
    for (const std::int64_t window : windows)
      study.add(window, window == (has ? common : windows.back()), curves);
  }
  return curves;
}

Claim judge_positions(const std::vector<PositionCurve>& curves) {
  std::map<std::string, std::vector<ClaimPart>> parts;
  std::map<std::string, std::vector<std::string>> evidence;
  std::vector<std::string> models;
  for (const PositionCurve& curve : curves) {
    if (!curve.main) continue;
    if (!parts.contains(curve.model)) models.push_back(curve.model);
    parts[curve.model].push_back(
        {fmt::format("{} {}", name_of_row(curve.edge).display(), curve.place), same_effect(curve)});
    evidence[curve.model].push_back(evidence_of(curve));
  }
  std::vector<ModelVerdict> verdicts;
  for (const std::string& model : models) {
    const Judged judged = judge_parts(parts[model]);
    verdicts.push_back({model, judged.verdict, judged.reason, join(evidence[model], "; ")});
  }
  Claim claim = decide(
      "What a knockout does depends neither on where the subject stands nor on how far the last "
      "token is",
      fmt::format(
          "At the start where the edge's mean log change is lowest without neutral text, "
          "the effect with the most neutral tokens is within {:.0f} % of that without (95 % "
          "bootstrap interval of the ratio of means, the same prompts).",
          100 * kSameEffect),
      std::move(verdicts));
  claim.source = "beyond the paper (docs/beyond.md)";
  return claim;
}

}  // namespace factflow
