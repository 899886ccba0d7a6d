#include "analysis/whole_answers.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "analysis/cell_prompts.hpp"
#include "analysis/load_runs.hpp"
#include "analysis/number_text.hpp"
#include "base/text.hpp"
#include "experiments/answers/answers_arrays.hpp"

namespace factflow {
namespace {

// The items of an edge.
struct Pair {
  std::size_t first = 0, whole = 0;
};

class AnswersStudy {
 public:
  AnswersStudy(const RunData& run, const ModelData& model, const CleanLimits& limits,
               const BootstrapOptions& options)
      : model_(model),
        options_(options),
        axes_(load_answers_axes(model)),
        answers_(read_answers_of_prompts(*model.reader, model.stored_name, axes_)),
        prompts_(cell_prompts(run, model, axes_.prompts, limits)) {
    for (std::size_t item = 0; item < axes_.items.size(); ++item)
      if (const auto parsed = parse_answers_item(axes_.items[item])) {
        if (!pairs_.contains(parsed->edge)) order_.push_back(parsed->edge);
        (parsed->whole ? pairs_[parsed->edge].whole : pairs_[parsed->edge].first) = item;
      }
  }

  void add(std::int64_t window, bool main, std::vector<WholeAnswer>& all) const {
    const CellWindow cells =
        cell_window(answers_names(), *model_.reader, model_.stored_name, window, kAllPrompts);
    for (const std::string& edge : order_) all.push_back(answer_of(cells, edge, main));
  }

 private:
  double log_change(const CellWindow& cells, std::size_t item, std::size_t prompt,
                    std::size_t start) const {
    return static_cast<double>(
        cells.log_change[(item * prompts_.size() + prompt) * cells.starts.size() + start]);
  }

  WholeAnswer answer_of(const CellWindow& cells, const std::string& edge, bool main) const {
    const Pair& pair = pairs_.at(edge);
    WholeAnswer all;
    all.model = model_.info.name;
    all.family = model_.info.family;
    all.edge = edge;
    all.layers = model_.info.layers;
    all.window = cells.window;
    all.starts = cells.starts;
    all.main = main;
    std::vector<std::size_t> rows, facts;
    for (std::size_t prompt = 0; prompt < prompts_.size(); ++prompt) {
      bool there = prompts_[prompt].used;
      for (std::size_t start = 0; there && start < cells.starts.size(); ++start)
        there = !std::isnan(log_change(cells, pair.first, prompt, start)) &&
                !std::isnan(log_change(cells, pair.whole, prompt, start));
      if (!there) continue;
      if (answers_.tokens[prompt] < 2) {
        ++all.single;
        continue;
      }
      rows.push_back(prompt);
      facts.push_back(prompts_[prompt].fact);
      all.tokens += answers_.tokens[prompt];
    }
    all.n = rows.size();
    all.facts = count_clusters(facts);
    if (rows.empty()) return all;
    all.tokens /= static_cast<double>(rows.size());
    const auto of_prompts = [&](const std::vector<double>& values) {
      std::vector<double> chosen;
      for (const std::size_t row : rows) chosen.push_back(values[row]);
      return measured_mean(chosen, facts, options_);
    };
    all.clean_first = of_prompts(answers_.clean_first);
    all.clean_whole = of_prompts(answers_.clean_whole);
    std::vector<double> means;
    std::vector<std::vector<double>> first, whole, later;
    for (std::size_t start = 0; start < cells.starts.size(); ++start) {
      first.emplace_back();
      whole.emplace_back();
      later.emplace_back();
      for (const std::size_t row : rows) {
        first.back().push_back(log_change(cells, pair.first, row, start));
        whole.back().push_back(log_change(cells, pair.whole, row, start));
        later.back().push_back(whole.back().back() - first.back().back());
      }
      all.first.push_back(measured_mean(first.back(), facts, options_));
      all.whole.push_back(measured_mean(whole.back(), facts, options_));
      all.later.push_back(measured_mean(later.back(), facts, options_));
      means.push_back(all.first.back().value);
    }
    all.start = index_of_minimum(means);
    all.later_share = measured_ratio(later[all.start], whole[all.start], facts, options_);
    return all;
  }

  const ModelData& model_;
  const BootstrapOptions& options_;
  CellAxes axes_;
  AnswersOfPrompts answers_;
  std::vector<CellPrompt> prompts_;
  std::map<std::string, Pair> pairs_;
  std::vector<std::string> order_;
};

Judged first_says_all(const WholeAnswer& a) {
  if (a.n == 0) return cannot_tell("no answer has several tokens");
  if (auto few = too_few(a.n, a.facts)) return *few;
  if (!(a.whole[a.start].interval.high < 0))
    return cannot_tell("the edge does not lower the whole answer's probability");
  const Interval& share = a.later_share.interval;
  if (share.low > -kSmallLater && share.high < kSmallLater)
    return {Verdict::kHolds,
            fmt::format("the later tokens' part is within {:.0f} %", 100 * kSmallLater)};
  if (share.low > kSmallLater) return {Verdict::kDoesNotHold, "the later tokens lose as well"};
  if (share.high < -kSmallLater)
    return {Verdict::kDoesNotHold, "the later tokens gain behind the first one"};
  return cannot_tell(fmt::format("the interval reaches over {:.0f} %", 100 * kSmallLater));
}

std::string evidence_of(const WholeAnswer& a) {
  if (a.n == 0)
    return fmt::format("{}: no answer of several tokens", name_of_row(a.edge).display());
  return fmt::format(
      "{}: log change of the first token {}, of the whole answer {}, later tokens {} of it, at "
      "start {} of {}, window {}, {:.1f} tokens an answer, {}",
      name_of_row(a.edge).display(), measured_text(a.first[a.start]),
      measured_text(a.whole[a.start]), measured_text(a.later_share), a.starts[a.start], a.layers,
      a.window, a.tokens, count_text(a.n, a.facts));
}

}  // namespace

std::vector<WholeAnswer> study_whole_answers(const RunData& run, std::int64_t common,
                                             const CleanLimits& limits,
                                             const BootstrapOptions& options) {
  std::vector<WholeAnswer> all;
  for (const ModelData& model : run.models) {
    if (model.reader == nullptr || !has_answers(*model.reader, model.stored_name)) continue;
    const AnswersStudy study(run, model, limits, options);
    const std::vector<std::int64_t> windows =
        cell_windows(answers_names(), *model.reader, model.stored_name);
    const bool has = std::find(windows.begin(), windows.end(), common) != windows.end();
    for (const std::int64_t window : windows)
      study.add(window, window == (has ? common : windows.back()), all);
  }
  return all;
}

Claim judge_whole_answers(const std::vector<WholeAnswer>& answers) {
  std::map<std::string, std::vector<ClaimPart>> parts;
  std::map<std::string, std::vector<std::string>> evidence;
  std::vector<std::string> models;
  for (const WholeAnswer& a : answers) {
    if (!a.main) continue;
    if (!parts.contains(a.model)) models.push_back(a.model);
    parts[a.model].push_back({name_of_row(a.edge).display(), first_says_all(a)});
    evidence[a.model].push_back(evidence_of(a));
  }
  std::vector<ModelVerdict> verdicts;
  for (const std::string& model : models) {
    const Judged judged = judge_parts(parts[model]);
    verdicts.push_back({model, judged.verdict, judged.reason, join(evidence[model], "; ")});
  }
  Claim claim =
      decide("An answer's first token says what a knockout does to the whole answer",
             fmt::format(
                 "At the start where the first token's mean log change is lowest, the later tokens "
                 "make up less than {:.0f} % of the whole answer's change (95 % bootstrap interval "
                 "of the ratio of means); answers of several tokens only.",
                 100 * kSmallLater),
             std::move(verdicts));
  claim.source = "beyond the paper (docs/beyond.md)";
  return claim;
}

}  // namespace factflow
