#include "analysis/baselines.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "analysis/load_runs.hpp"
#include "analysis/number_text.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

constexpr std::array kNames = {"zero", "mean", "resample"};

// "s(subject)", "zero" of a row's label.
std::optional<std::pair<std::string, std::string>> split(const std::string& label) {
  if (label.find(" & ") != std::string::npos) return std::nullopt;
  const std::size_t place = label.rfind(" = ");
  if (place == std::string::npos) return std::nullopt;
  const std::string name = label.substr(place + 3);
  if (std::find(kNames.begin(), kNames.end(), name) == kNames.end()) return std::nullopt;
  return std::pair(label.substr(0, place), name);
}

// The rows of each site and tokens that have several baselines, zero among them.
struct Group {
  std::string what;
  std::vector<std::pair<std::string, std::size_t>> rows;  // baseline, row; as kNames
};

std::vector<Group> groups_of(const WindowData& window) {
  std::map<std::string, std::map<std::string, std::size_t>> found;
  std::vector<std::string> order;
  for (const std::size_t row : window.edges)
    if (const auto parts = split(window.model->axes.items[row])) {
      if (!found.contains(parts->first)) order.push_back(parts->first);
      found[parts->first][parts->second] = row;
    }
  std::vector<Group> groups;
  for (const std::string& what : order) {
    const auto& rows = found.at(what);
    if (rows.size() < 2 || !rows.contains("zero")) continue;
    Group& group = groups.emplace_back(Group{what, {}});
    for (const char* name : kNames)
      if (rows.contains(name)) group.rows.emplace_back(name, rows.at(name));
  }
  return groups;
}

std::vector<std::size_t> prompts_with_all(const WindowData& window, const Group& group) {
  std::vector<std::size_t> prompts = window.complete_prompts(group.rows[0].second);
  std::erase_if(prompts, [&](std::size_t prompt) {
    for (const auto& [name, row] : group.rows)
      for (std::size_t start = 0; start < window.starts(); ++start)
        if (!window.valid(row, prompt, start)) return true;
    return false;
  });
  return prompts;
}

Baselines baselines_of(const WindowData& window, const Group& group, bool main,
                       const BootstrapOptions& options) {
  const ModelData& model = *window.model;
  const std::vector<std::size_t> prompts = prompts_with_all(window, group);
  std::vector<std::size_t> facts;
  for (const std::size_t prompt : prompts) facts.push_back(model.fact[prompt]);
  const auto column = [&](std::size_t row, std::size_t start) {
    std::vector<double> values;
    for (const std::size_t prompt : prompts)
      values.push_back(window.log_change(row, prompt, start));
    return values;
  };
  Baselines all{model.info.name,
                model.info.family,
                model.prompt_set,
                model.info.layers,
                window.cells.window,
                group.what,
                window.cells.starts,
                prompts.size(),
                count_clusters(facts),
                {},
                {},
                0,
                main};
  for (const auto& [name, row] : group.rows) {
    BaselineCurve& curve = all.curves.emplace_back(BaselineCurve{name, {}, {}, 0});
    if (prompts.empty()) continue;
    std::vector<double> means;
    for (std::size_t start = 0; start < window.starts(); ++start) {
      curve.log.push_back(measured_mean(column(row, start), facts, options));
      curve.reading.push_back(reading_of(curve.log.back()));
      means.push_back(curve.log.back().value);
    }
    curve.lowest = index_of_minimum(means);
  }
  if (prompts.empty()) return all;
  for (std::size_t start = 0; start < window.starts(); ++start) {
    all.all_decided += std::none_of(all.curves.begin(), all.curves.end(), [&](const auto& curve) {
      return curve.reading[start] == Reading::kOpen;
    });
    for (std::size_t a = 0; a < all.curves.size(); ++a)
      for (std::size_t b = a + 1; b < all.curves.size(); ++b) {
        const Reading one = all.curves[a].reading[start], other = all.curves[b].reading[start];
        if (one == other || one == Reading::kOpen || other == Reading::kOpen) continue;
        std::vector<double> differences = column(group.rows[b].second, start);
        const std::vector<double> first = column(group.rows[a].second, start);
        for (std::size_t i = 0; i < first.size(); ++i) differences[i] -= first[i];
        const Measured difference = measured_mean(differences, facts, options);
        if (difference.interval.low > 0 || difference.interval.high < 0)
          all.disagreements.push_back({a, b, start, difference});
      }
  }
  return all;
}

Judged judge(const Baselines& b) {
  if (b.n == 0) return cannot_tell("no prompt has a value with every baseline");
  if (auto few = too_few(b.n, b.facts)) return *few;
  if (!b.disagreements.empty()) {
    const Disagreement& d = b.disagreements.front();
    return {Verdict::kDoesNotHold,
            fmt::format("at {} of {} the reading changes, first at start {}: {} {}, {} {}",
                        b.disagreements.size(),
                        counted(b.starts.size() * b.curves.size() * (b.curves.size() - 1) / 2,
                                "comparison"),
                        b.starts[d.start], b.curves[d.first].baseline,
                        to_string(b.curves[d.first].reading[d.start]), b.curves[d.second].baseline,
                        to_string(b.curves[d.second].reading[d.start]))};
  }
  if (b.all_decided == b.starts.size())
    return {Verdict::kHolds, "all baselines have the same reading at every start"};
  return cannot_tell(
      fmt::format("no two readings differ, but only at {} of {} starts are all "
                  "decided",
                  b.all_decided, b.starts.size()));
}

std::string evidence_of(const Baselines& b) {
  std::vector<std::string> words;
  if (b.n > 0)
    for (const BaselineCurve& curve : b.curves)
      words.push_back(fmt::format("{} {} at start {}", curve.baseline,
                                  measured_text(curve.log[curve.lowest]), b.starts[curve.lowest]));
  return fmt::format("{}: lowest mean log change {}, window {}, {}", b.what, join(words), b.window,
                     count_text(b.n, b.facts));
}

}  // namespace

std::string to_string(Reading reading) {
  switch (reading) {
    case Reading::kLowers:
      return "lowers";
    case Reading::kLittle:
      return "little";
    case Reading::kRaises:
      return "raises";
    case Reading::kOpen:
      break;
  }
  return "open";
}

Reading reading_of(const Measured& log_change) {
  const Interval& interval = log_change.interval;
  if (interval.high < -kLittleLogChange) return Reading::kLowers;
  if (interval.low > kLittleLogChange) return Reading::kRaises;
  if (interval.low > -kLittleLogChange && interval.high < kLittleLogChange) return Reading::kLittle;
  return Reading::kOpen;
}

std::vector<Baselines> study_baselines(const RunData& run, std::int64_t common,
                                       const BootstrapOptions& options) {
  std::vector<Baselines> all;
  for (const ModelData& model : run.interventions) {
    if (std::none_of(model.axes.items.begin(), model.axes.items.end(),
                     [](const auto& item) { return split(item).has_value(); }))
      continue;
    for (const std::int64_t size : model.windows) {
      const WindowData window = load_window(model, size);
      for (const Group& group : groups_of(window))
        all.push_back(baselines_of(window, group,
                                   model.main_set && size == window_of(model, common), options));
    }
  }
  return all;
}

Claim judge_baselines(const std::vector<Baselines>& baselines) {
  std::map<std::string, std::vector<ClaimPart>> parts;
  std::map<std::string, std::vector<std::string>> evidence;
  std::vector<std::string> models;
  for (const Baselines& b : baselines) {
    if (!b.main) continue;
    if (!parts.contains(b.model)) models.push_back(b.model);
    parts[b.model].push_back({b.what, judge(b)});
    evidence[b.model].push_back(evidence_of(b));
  }
  std::vector<ModelVerdict> verdicts;
  for (const std::string& model : models) {
    const Judged judged = judge_parts(parts[model]);
    verdicts.push_back({model, judged.verdict, judged.reason, join(evidence[model], "; ")});
  }
  Claim claim = decide(
      "What an ablation says does not depend on its baseline: zero, the mean over other prompts, "
      "or "
      "another prompt's value",
      fmt::format(
          "At every start of the window of the findings the baselines have one reading: the "
          "mean log change lies below -{0}, within +-{0}, or above {0} (95 % bootstrap "
          "interval over facts). Against it is a start at which two decided readings differ "
          "and the interval of the paired difference leaves out zero.",
          kLittleLogChange),
      std::move(verdicts));
  claim.source = "beyond the paper (docs/beyond.md)";
  return claim;
}

}  // namespace factflow
