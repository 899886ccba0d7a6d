#include "analysis/part_claims.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "analysis/number_text.hpp"

namespace factflow {
namespace {

constexpr const char* kEdge = "subject->last";
constexpr const char* kNoInterval = "no interval";

std::string measured_text(const Resampled& of, int digits) {
  return fmt::format("{} {}", signed_number(of.value, digits),
                     interval_text(of.interval, kNoInterval, digits));
}

// Of one edge and one kind of division: the one at `window`, else the largest.
template <typename T, typename Wanted>
const T* of_window(const std::vector<T>& all, std::int64_t window, const Wanted& wanted) {
  const T* best = nullptr;
  for (const T& one : all) {
    if (one.edge != kEdge || !wanted(one)) continue;
    if (one.window == window) return &one;
    if (best == nullptr || one.window > best->window) best = &one;
  }
  return best;
}

// Nothing where blocking all of the edge lowers the answer's probability enough to divide.
std::optional<Judged> no_effect(const Resampled& whole, std::size_t n, std::size_t facts) {
  if (auto few = too_few(n, facts)) return few;
  if (whole.interval.high < 0) return std::nullopt;
  return cannot_tell("blocking the whole edge does not surely lower the probability");
}

void add(std::vector<Claim>& claims, Claim claim) {
  if (claim.models.empty()) return;
  claim.source = kBeyondSource;
  claims.push_back(std::move(claim));
}

Claim slow_carry_more(const std::vector<ModelParts>& parts, std::int64_t window) {
  std::vector<ModelVerdict> models;
  for (const ModelParts& model : parts) {
    const auto* of =
        of_window(model.contrasts, window, [](const SlowAgainstRandom&) { return true; });
    if (model.repeated || of == nullptr) continue;
    const Judged judged = judge_slow(*of);
    models.push_back(
        {model.model, judged.verdict, judged.reason,
         fmt::format("a slice of the slowest third {} %, of the fastest {} %, a random one {} %; "
                     "random - slow {} percentage points; window of {} from layer {}, {}",
                     measured_text(of->slow, 1), measured_text(of->fast, 1),
                     measured_text(of->random, 1), measured_text(of->difference, 1), of->window,
                     of->start, count_text(of->n, of->facts))});
  }
  return decide(
      "Slow channels carry more of subject \u2192 last than random ones",
      "At the start where the whole knockout lowers the probability most, the mean drop of a slice "
      "of the slowest third of the decay ranking is larger than that of an equally large random "
      "slice (95 % bootstrap interval of the paired difference above zero).",
      std::move(models));
}

Claim falls_with_decay(const std::vector<ModelParts>& parts, std::int64_t window) {
  std::vector<ModelVerdict> models;
  for (const ModelParts& model : parts) {
    const auto* of = of_window(model.edges, window, [](const DividedEdge& edge) {
      return edge.by_decay() && edge.parts.size() > 2;
    });
    if (model.repeated || of == nullptr) continue;
    const PartsAtStart& at = of->at_strongest();
    const auto none = no_effect(at.whole, of->n, of->facts);
    const Judged judged = none ? *none : judge_above(at.trend.interval, 0);
    models.push_back(
        {model.model, judged.verdict, judged.reason,
         fmt::format("rank correlation {} over {} slices; {}", measured_text(at.trend, 2),
                     of->parts.size(), count_text(of->n, of->facts))});
  }
  return decide(
      "The faster the decay of a slice of channels, the less it carries of subject \u2192 last",
      "At the start where the whole knockout lowers the probability most, Spearman's correlation "
      "of a slice's place in the decay ranking (slowest first) and its mean change is above zero "
      "(95 % bootstrap interval). Above zero is a trend; 1 is monotonic.",
      std::move(models));
}

Claim bends_at_a_third(const std::vector<ModelParts>& parts, std::int64_t window) {
  std::vector<ModelVerdict> models;
  for (const ModelParts& model : parts) {
    const auto* of = of_window(model.edges, window, [](const DividedEdge& edge) {
      return edge.by_decay() && edge.parts.size() > 2;
    });
    if (model.repeated || of == nullptr) continue;
    const Interval& interval = of->bend.interval;
    const double half = 0.5 / static_cast<double>(of->parts.size());
    Judged judged;
    if (auto none = no_effect(of->at_strongest().whole, of->n, of->facts))
      judged = *none;
    else if (interval.low > 1.0 / 3 + half || interval.high < 1.0 / 3 - half)
      judged = {Verdict::kDoesNotHold, "the interval of the bend leaves out one third"};
    else if (interval.high - interval.low <= 1.0 / 3)
      judged = {Verdict::kHolds, "the interval of the bend holds one third and is no wider"};
    else
      judged = cannot_tell("the interval of the bend is wider than one third");
    models.push_back(
        {model.model, judged.verdict, judged.reason,
         fmt::format("bend after {} of the ranking; the slowest third carries {} of the slices' "
                     "sum; {}",
                     measured_text(of->bend, 2), measured_text(of->slow_share, 2),
                     count_text(of->n, of->facts))});
  }
  return decide(
      "What carries subject \u2192 last ends at the slowest third of the channels",
      "The split of the decay ranking into two plateaus of equal change that fits best (least "
      "squares): its 95 % bootstrap interval holds one third, within half a slice, and is no wider "
      "than a third.",
      std::move(models));
}

// The smallest share of parts that 90 % needs, in greedy order.
Claim few_parts(const std::vector<ModelParts>& parts, std::int64_t window) {
  std::vector<ModelVerdict> models;
  for (const ModelParts& model : parts)
    for (const CumulatedCurve& curve : model.cumulated) {
      const auto* of = of_window(model.cumulated, window, [&](const CumulatedCurve& one) {
        return one.division == curve.division;
      });
      if (model.repeated || of != &curve || curve.orders.size() < 2) continue;
      const auto& greedy = curve.orders[0];
      const auto& random = curve.orders[1];
      const auto half = 0.5 * static_cast<double>(greedy.parts.size());
      Judged judged;
      if (auto none = no_effect(curve.whole, curve.n, curve.facts))
        judged = *none;
      else if (greedy.needed.interval.high <= half)
        judged = {Verdict::kHolds, "at most half of them are needed"};
      else if (greedy.needed.interval.low > half)
        judged = {Verdict::kDoesNotHold, "more than half of them are needed"};
      else
        judged = cannot_tell("the interval holds one half");
      models.push_back(
          {fmt::format("{} ({})", model.model, curve.division), judged.verdict, judged.reason,
           fmt::format("{:.0f} {} of {}, in a random order {:.0f} {}; the whole edge {} %; {}",
                       greedy.needed.value, interval_text(greedy.needed.interval, kNoInterval, 0),
                       greedy.parts.size(), random.needed.value,
                       interval_text(random.needed.interval, kNoInterval, 0),
                       measured_text(curve.whole, 1), count_text(curve.n, curve.facts))});
    }
  return decide(
      "Half of the heads or channel groups or fewer carry 90 % of subject \u2192 last",
      "Parts are knocked out together, one more at a time, those with the largest effect alone "
      "first (as ordering prompts have it): the number that reaches 90 % of the whole knockout's "
      "mean change is at most half of them (95 % bootstrap interval).",
      std::move(models));
}

Claim state_is_enough(const std::vector<ModelPaths>& paths, std::int64_t window) {
  std::vector<ModelVerdict> models;
  for (const ModelPaths& of : paths) {
    const bool better = std::any_of(paths.begin(), paths.end(), [&](const ModelPaths& other) {
      return other.model == of.model && other.prompts == of.prompts &&
             (of.window == window ? false : other.window == window || other.window > of.window);
    });
    if (of.repeated || !of.main_set || better) continue;
    for (const MissedPath& missed : of.missed) {
      if (missed.tokens != "subject" || missed.target != "last") continue;
      const Judged judged = judge_missed(missed);
      models.push_back(
          {of.model, judged.verdict, judged.reason,
           fmt::format("state {} %, state and convolution {} %, missed {} % (by log changes {} %); "
                       "window of {} from layer {}, {}",
                       measured_text(missed.state, 1), measured_text(missed.mixer, 1),
                       measured_text(missed.missed, 1), signed_number(missed.missed_by_log, 1),
                       of.window, missed.start, count_text(missed.n, missed.facts))});
    }
  }
  return decide(
      "The state carries subject \u2192 last: a knockout of the scan alone misses less than a "
      "tenth "
      "of what state and convolution together do",
      "At the start where blocking both lowers the probability most, the difference to blocking "
      "the state alone is less than 10 % of the whole (95 % bootstrap interval of the paired "
      "ratio).",
      std::move(models));
}

}  // namespace

Judged judge_slow(const SlowAgainstRandom& of) {
  if (auto few = too_few(of.n, of.facts)) return *few;
  return judge_above(of.difference.interval, 0);
}

Judged judge_missed(const MissedPath& of) {
  if (auto none = no_effect(of.mixer, of.n, of.facts)) return *none;
  const Interval& interval = of.missed.interval;
  if (interval.low > 10) return {Verdict::kDoesNotHold, "more than a tenth is missed"};
  if (interval.high < 10 && interval.low > -10)
    return {Verdict::kHolds, "less than a tenth is missed"};
  if (interval.high < -10)
    return {Verdict::kDoesNotHold, "the state alone does more than both together by over a tenth"};
  return cannot_tell("the interval holds a tenth");
}

std::vector<Claim> judge_part_claims(const std::vector<ModelParts>& parts, std::int64_t window) {
  std::vector<Claim> claims;
  add(claims, slow_carry_more(parts, window));
  add(claims, falls_with_decay(parts, window));
  add(claims, bends_at_a_third(parts, window));
  add(claims, few_parts(parts, window));
  return claims;
}

std::vector<Claim> judge_path_claims(const std::vector<ModelPaths>& paths, std::int64_t window) {
  std::vector<Claim> claims;
  add(claims, state_is_enough(paths, window));
  return claims;
}

}  // namespace factflow
