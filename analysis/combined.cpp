#include "analysis/combined.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include <fmt/format.h>

#include "analysis/load_runs.hpp"
#include "analysis/number_text.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

constexpr const char* kAnd = " & ";

// The rows of a combination among those of a window.
struct Places {
  std::vector<std::size_t> parts;
  std::size_t together = 0;
};

std::optional<Places> places_of(const WindowData& window, std::size_t row) {
  std::map<std::string, std::size_t> rows;
  for (const std::size_t edge : window.edges) rows.emplace(window.model->axes.items[edge], edge);
  Places places{{}, row};
  const std::vector<std::string> parts = parts_of_row(window.model->axes.items[row]);
  if (parts.size() < 2) return std::nullopt;
  for (const std::string& part : parts) {
    const auto place = rows.find(part);
    if (place == rows.end()) return std::nullopt;
    places.parts.push_back(place->second);
  }
  return places;
}

class Combination {
 public:
  Combination(const WindowData& window, Places places, const BootstrapOptions& options)
      : window_(window), places_(std::move(places)), options_(options) {
    prompts_ = window.complete_prompts(places_.together);
    std::erase_if(prompts_, [&](std::size_t prompt) {
      return std::any_of(places_.parts.begin(), places_.parts.end(), [&](std::size_t part) {
        for (std::size_t start = 0; start < window_.starts(); ++start)
          if (!window_.valid(part, prompt, start)) return true;
        return false;
      });
    });
    for (const std::size_t prompt : prompts_) facts_.push_back(window.model->fact[prompt]);
  }

  std::size_t n() const { return prompts_.size(); }
  std::size_t facts() const { return count_clusters(facts_); }

  CombinedPoint at(std::size_t start) const {
    CombinedPoint point;
    for (const std::size_t part : places_.parts)
      point.alone.push_back(
          mean_of([&](std::size_t prompt) { return window_.log_change(part, prompt, start); }));
    point.together = mean_of([&](std::size_t prompt) { return together(prompt, start); });
    point.sum = mean_of([&](std::size_t prompt) { return sum(prompt, start); });
    point.interaction = mean_of([&](std::size_t prompt) { return interaction(prompt, start); });
    for (const std::size_t prompt : prompts_) {
      point.change_together += window_.change(places_.together, prompt, start);
      for (const std::size_t part : places_.parts)
        point.change_sum += window_.change(part, prompt, start);
    }
    point.change_together /= static_cast<double>(n());
    point.change_sum /= static_cast<double>(n());
    return point;
  }

  Measured share_at(std::size_t start) const {
    std::vector<double> interactions, sums;
    for (const std::size_t prompt : prompts_) {
      interactions.push_back(interaction(prompt, start));
      sums.push_back(-sum(prompt, start));
    }
    return measured_ratio(interactions, sums, facts_, options_);
  }

  // Of each prompt's mean over [first, end).
  Measured mean_over(std::size_t first, std::size_t end) const {
    return mean_of([&](std::size_t prompt) {
      double total = 0;
      for (std::size_t start = first; start < end; ++start) total += interaction(prompt, start);
      return total / static_cast<double>(end - first);
    });
  }

 private:
  double together(std::size_t prompt, std::size_t start) const {
    return window_.log_change(places_.together, prompt, start);
  }
  double sum(std::size_t prompt, std::size_t start) const {
    double sum = 0;
    for (const std::size_t part : places_.parts) sum += window_.log_change(part, prompt, start);
    return sum;
  }
  double interaction(std::size_t prompt, std::size_t start) const {
    return together(prompt, start) - sum(prompt, start);
  }
  template <class Of>
  Measured mean_of(Of of) const {
    std::vector<double> values;
    for (const std::size_t prompt : prompts_) values.push_back(of(prompt));
    return measured_mean(values, facts_, options_);
  }

  const WindowData& window_;
  Places places_;
  const BootstrapOptions& options_;
  std::vector<std::size_t> prompts_, facts_;
};

Combined combined_of(const WindowData& window, const Places& places, bool main,
                     const BootstrapOptions& options) {
  const ModelData& model = *window.model;
  const Combination combination(window, places, options);
  Combined all{model.info.name,
               model.info.family,
               model.prompt_set,
               model.info.layers,
               window.cells.window,
               model.axes.items[places.together],
               parts_of_row(model.axes.items[places.together]),
               window.cells.starts,
               combination.n(),
               combination.facts(),
               {},
               0,
               {},
               {},
               main};
  if (all.n == 0) return all;
  std::vector<double> sums;
  for (std::size_t start = 0; start < window.starts(); ++start) {
    all.points.push_back(combination.at(start));
    sums.push_back(all.points.back().sum.value);
  }
  all.strongest = index_of_minimum(sums);
  all.share = combination.share_at(all.strongest);
  const std::size_t starts = window.starts();
  for (std::size_t third = 0; third < 3; ++third)
    if (const std::size_t first = third * starts / 3, end = (third + 1) * starts / 3; first < end)
      all.thirds.push_back(combination.mean_over(first, end));
  return all;
}

std::string evidence_of(const Combined& c) {
  if (c.n == 0) return "";
  const CombinedPoint& point = c.points[c.strongest];
  return fmt::format(
      "{}: together {}, sum {}, interaction {} = {} of the sum, at start {} of {} layers, window "
      "{}, {}",
      name_of_row(c.label).display(), measured_text(point.together), measured_text(point.sum),
      measured_text(point.interaction), measured_text(c.share), c.starts[c.strongest], c.layers,
      c.window, count_text(c.n, c.facts));
}

}  // namespace

std::vector<std::string> parts_of_row(const std::string& label) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  for (std::size_t end = label.find(kAnd); end != std::string::npos;
       end = label.find(kAnd, begin)) {
    parts.push_back(label.substr(begin, end - begin));
    begin = end + std::string(kAnd).size();
  }
  parts.push_back(label.substr(begin));
  return parts;
}

std::vector<Combined> study_combined(const RunData& run, std::int64_t common,
                                     const BootstrapOptions& options) {
  std::vector<Combined> all;
  for (const ModelData& model : run.interventions) {
    const bool any = std::any_of(model.axes.items.begin(), model.axes.items.end(),
                                 [](const auto& item) { return parts_of_row(item).size() > 1; });
    if (!any) continue;
    for (const std::int64_t size : model.windows) {
      const WindowData window = load_window(model, size);
      for (const std::size_t row : window.edges)
        if (const auto places = places_of(window, row))
          all.push_back(combined_of(window, *places,
                                    model.main_set && size == window_of(model, common), options));
    }
  }
  return all;
}

Judged judge_combination(const Combined& c) {
  if (c.n == 0) return cannot_tell("no prompt has all of its edges");
  if (auto few = too_few(c.n, c.facts)) return *few;
  const Measured& sum = c.points[c.strongest].sum;
  if (!(sum.interval.high < 0)) return cannot_tell("the sum does not lower the probability");
  const Interval& share = c.share.interval;
  if (share.low > -kSmallShare && share.high < kSmallShare)
    return {Verdict::kHolds,
            fmt::format("the interaction is within {:.0f} % of the sum", 100 * kSmallShare)};
  if (share.low > kSmallShare)
    return {Verdict::kDoesNotHold, "together they do less than the sum: they overlap"};
  if (share.high < -kSmallShare)
    return {Verdict::kDoesNotHold,
            "together they do more than the sum: each stands in for the "
            "other"};
  return cannot_tell(
      fmt::format("the interval of the share reaches over {:.0f} %", 100 * kSmallShare));
}

std::string combined_in_words(const std::vector<Combined>& combined, const std::string& model) {
  std::vector<std::string> add_up, overlap, stand_in, open;
  for (const Combined& c : combined) {
    if (!c.main || c.model != model) continue;
    const Verdict verdict = judge_combination(c).verdict;
    const std::string name = name_of_row(c.label).display();
    if (verdict == Verdict::kHolds)
      add_up.push_back(name);
    else if (verdict == Verdict::kDoesNotHold)
      (c.share.value > 0 ? overlap : stand_in)
          .push_back(fmt::format("{} ({} of the sum)", name, measured_text(c.share)));
    else
      open.push_back(name);
  }
  std::vector<std::string> sentences;
  const auto add = [&](const char* what, const std::vector<std::string>& names) {
    if (!names.empty()) sentences.push_back(fmt::format("{}: {}", what, join(names)));
  };
  add("They add up", add_up);
  add("they do less than the sum, they overlap", overlap);
  add("they do more than the sum, each stands in for the other", stand_in);
  add("it cannot be told of", open);
  return join(sentences, "; ") + ".";
}

Claim judge_combined(const std::vector<Combined>& combined) {
  std::map<std::string, std::vector<ClaimPart>> parts;
  std::map<std::string, std::vector<std::string>> evidence;
  std::vector<std::string> models;
  for (const Combined& c : combined) {
    if (!c.main) continue;
    if (!parts.contains(c.model)) models.push_back(c.model);
    parts[c.model].push_back({name_of_row(c.label).display(), judge_combination(c)});
    if (std::string text = evidence_of(c); !text.empty()) evidence[c.model].push_back(text);
  }
  std::vector<ModelVerdict> verdicts;
  for (const std::string& model : models) {
    const Judged judged = judge_parts(parts[model]);
    verdicts.push_back({model, judged.verdict, judged.reason, join(evidence[model], "; ")});
  }
  Claim claim = decide(
      "Knockouts add up: together they change the answer's log-probability as the sum of each "
      "alone",
      fmt::format(
          "At the start where the sum of the mean log changes is lowest, the interaction "
          "(together less the sum) lies within {:.0f} % of the sum (95 % bootstrap interval "
          "over facts); every combination of the run, window of the findings.",
          100 * kSmallShare),
      std::move(verdicts));
  claim.source = "beyond the paper (docs/beyond.md)";
  return claim;
}

}  // namespace factflow
