#include "analysis/claims.hpp"

#include <algorithm>
#include <cmath>
#include <optional>

#include <fmt/format.h>

namespace factflow {
namespace {

constexpr std::size_t kFewestPrompts = 10;
constexpr double kSignificance = 0.05;
constexpr double kSmallEffect = 10;  // percent: less than this is called no dependence

Claim decide(std::string text, std::string rule, std::vector<ModelVerdict> models) {
  const auto count = [&](Verdict wanted) {
    return std::count_if(models.begin(), models.end(),
                         [&](const ModelVerdict& m) { return m.verdict == wanted; });
  };
  Verdict verdict = Verdict::kCannotTell;
  if (count(Verdict::kDoesNotHold) > 0)
    verdict = Verdict::kDoesNotHold;
  else if (!models.empty() && count(Verdict::kHolds) == static_cast<std::ptrdiff_t>(models.size()))
    verdict = Verdict::kHolds;
  return {std::move(text), std::move(rule), verdict, std::move(models)};
}

std::string describe(const EdgeEffect& e) {
  return fmt::format("{:+.1f} % [{:+.1f}, {:+.1f}] at {:.0f} % depth", e.drop.value,
                     e.drop.by_prompt.low, e.drop.by_prompt.high, 100 * e.depth_middle);
}

// Whether the middle of the strongest window lies in [low, high], and the drop is real.
ModelVerdict depth_between(const EdgeEffect& e, double low, double high) {
  ModelVerdict result{e.model, Verdict::kCannotTell, describe(e)};
  if (e.n < kFewestPrompts) {
    result.evidence = fmt::format("only {} prompts", e.n);
    return result;
  }
  const bool real = e.drop.value < 0 && e.p_holm < kSignificance;
  if (!real) {
    result.verdict = Verdict::kDoesNotHold;
    result.evidence += ", not below zero";
    return result;
  }
  // The interval of the start, moved to the middle of the window.
  const double shift = e.depth_middle - e.depth.value;
  const double first = e.depth.by_prompt.low + shift, last = e.depth.by_prompt.high + shift;
  if (first >= low && last <= high) result.verdict = Verdict::kHolds;
  if (last < low || first > high) result.verdict = Verdict::kDoesNotHold;
  return result;
}

Claim subject_late(const std::vector<EdgeEffect>& effects) {
  std::vector<ModelVerdict> models;
  for (const EdgeEffect& e : effects)
    if (e.edge.label == "subject->last") models.push_back(depth_between(e, 0.5, 0.9));
  return decide(
      "Blocking subject \u2192 last lowers the answer's probability most at late-intermediate "
      "depth, in "
      "every model",
      "The middle of the strongest window lies between 50 % and 90 % of the layers (95 % bootstrap "
      "interval) "
      "and "
      "the drop differs from zero (Holm-corrected t test).",
      std::move(models));
}

Claim last_raises(const std::vector<EdgeEffect>& effects) {
  std::vector<ModelVerdict> models;
  for (const EdgeEffect& e : effects) {
    if (e.edge.label != "last->last" || (e.family != "mamba" && e.family != "falcon_mamba"))
      continue;
    ModelVerdict result{e.model, Verdict::kCannotTell,
                        fmt::format("{:+.1f} % [{:+.1f}, {:+.1f}]", e.late.value,
                                    e.late.by_prompt.low, e.late.by_prompt.high)};
    if (e.n >= kFewestPrompts && e.late.by_prompt.low > 0) result.verdict = Verdict::kHolds;
    if (e.n >= kFewestPrompts && e.late.by_prompt.high <= 0) result.verdict = Verdict::kDoesNotHold;
    models.push_back(result);
  }
  return decide(
      "Blocking last \u2192 last in the last layers raises the answer's probability in Mamba-1 and "
      "Falcon-Mamba",
      "The mean change over the last tenth of the window starts is above zero (95 % bootstrap "
      "interval).",
      std::move(models));
}

Claim first_matters(const std::vector<EdgeEffect>& effects) {
  std::vector<ModelVerdict> models;
  for (const EdgeEffect& e : effects) {
    if (e.edge.label != "first->last") continue;
    ModelVerdict result{e.model, Verdict::kCannotTell, describe(e)};
    const bool depends =
        e.drop.by_prompt.high<-kSmallEffect, spared = e.drop.by_prompt.low> - kSmallEffect;
    const bool wanted = is_state_space(e.family) ? spared : depends,
               refuted = is_state_space(e.family) ? depends : spared;
    if (e.n >= kFewestPrompts && wanted) result.verdict = Verdict::kHolds;
    if (e.n >= kFewestPrompts && refuted) result.verdict = Verdict::kDoesNotHold;
    models.push_back(result);
  }
  return decide("Transformers depend on the first position, Mamba models do not",
                fmt::format("first \u2192 last: in Transformers the largest drop exceeds {0:.0f} "
                            "%, in Mamba models it stays "
                            "below {0:.0f} % (95 % bootstrap interval).",
                            kSmallEffect),
                std::move(models));
}

const ChannelRatio* find(const std::vector<ChannelRatio>& channels, const std::string& model,
                         const std::string& set) {
  for (const ChannelRatio& ratio : channels)
    if (ratio.model == model && ratio.flow == "subject->last" && ratio.numerator == set &&
        ratio.denominator == "all")
      return &ratio;
  return nullptr;
}

Claim slow_mirrors(const std::vector<EdgeEffect>& effects,
                   const std::vector<ChannelRatio>& channels) {
  std::vector<ModelVerdict> models;
  for (const EdgeEffect& e : effects) {
    if (e.edge.label != "subject->last" || !is_state_space(e.family)) continue;
    const ChannelRatio* slow = find(channels, e.model, "slow");
    const ChannelRatio* fast = find(channels, e.model, "fast");
    if (slow == nullptr || fast == nullptr) {
      // What the paper's figures draw: the sets together with the middle third.
      slow = find(channels, e.model, "not-fast");
      fast = find(channels, e.model, "not-slow");
    }
    if (slow == nullptr || fast == nullptr) continue;
    const Interval a = slow->at_start.by_prompt, b = fast->at_start.by_prompt;
    ModelVerdict result{
        e.model, Verdict::kCannotTell,
        fmt::format("{}: {:.2f} [{:.2f}, {:.2f}] of the full effect, {}: {:.2f} [{:.2f}, {:.2f}]",
                    slow->numerator, slow->at_start.value, a.low, a.high, fast->numerator,
                    fast->at_start.value, b.low, b.high)};
    if (slow->n >= kFewestPrompts && a.low > 0.5 && b.high < 0.5) result.verdict = Verdict::kHolds;
    if (slow->n >= kFewestPrompts && (a.high < 0.5 || b.low > 0.5))
      result.verdict = Verdict::kDoesNotHold;
    models.push_back(result);
  }
  return decide(
      "Slow (context-dependent) channels carry the subject's flow, fast (context-independent) ones "
      "do not",
      "At the start where the full subject \u2192 last knockout is strongest, blocking the slow "
      "channels "
      "gives more than "
      "half of its effect and blocking the fast ones less than half (95 % bootstrap interval).",
      std::move(models));
}

Claim relation_early(const std::vector<EdgeEffect>& effects) {
  const auto has = [&](const char* label) {
    return std::any_of(effects.begin(), effects.end(),
                       [&](const EdgeEffect& e) { return e.edge.label == label; });
  };
  // `relation` holds the last token itself, so the other one says more where both were run.
  const std::string label =
      has("relation-minus-last->last") ? "relation-minus-last->last" : "relation->last";
  std::vector<ModelVerdict> models;
  for (const EdgeEffect& e : effects)
    if (e.edge.label == label && !is_state_space(e.family))
      models.push_back(depth_between(e, 0, 0.5));
  return decide("In Transformers, relation tokens matter early",
                fmt::format("{}: the middle of the strongest window lies in the lower half of the "
                            "layers (95 % bootstrap "
                            "interval) and the drop differs from zero (Holm-corrected t test).",
                            parse_edge(label).display()),
                std::move(models));
}

Claim small_oversensitive(const std::vector<SensitivityPair>& pairs) {
  std::vector<ModelVerdict> models;
  for (const SensitivityPair& pair : pairs) {
    ModelVerdict result{
        fmt::format("{} against {}", pair.smaller, pair.larger), Verdict::kCannotTell,
        fmt::format("{:.1f} % against {:.1f} %, difference {:+.1f} [{:+.1f}, {:+.1f}], n = {}",
                    pair.smaller_value, pair.larger_value, pair.difference, pair.interval.low,
                    pair.interval.high, pair.n)};
    if (pair.n >= kFewestPrompts && pair.interval.low > 0) result.verdict = Verdict::kHolds;
    if (pair.n >= kFewestPrompts && pair.interval.high < 0) result.verdict = Verdict::kDoesNotHold;
    models.push_back(result);
  }
  return decide(
      "Small models are oversensitive: knockouts move them more than large models of their family",
      "The mean size of the relative change over all starts and all edges into the last token (at "
      "most 100 % "
      "each) is larger in the family's smallest model than in its largest, on the same prompts (95 "
      "% t "
      "interval of the paired differences).",
      std::move(models));
}

}  // namespace

std::string to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::kHolds:
      return "holds";
    case Verdict::kDoesNotHold:
      return "does not hold";
    case Verdict::kCannotTell:
      break;
  }
  return "cannot tell";
}

std::vector<Claim> judge_claims(const std::vector<EdgeEffect>& effects,
                                const std::vector<ChannelRatio>& channels,
                                const std::vector<SensitivityPair>& sensitivity) {
  return {subject_late(effects),  slow_mirrors(effects, channels),
          first_matters(effects), relation_early(effects),
          last_raises(effects),   small_oversensitive(sensitivity)};
}

}  // namespace factflow
