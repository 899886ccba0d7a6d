#include "analysis/claims.hpp"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <optional>

#include <fmt/format.h>

#include "analysis/number_text.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

constexpr const char* kSource = "Endy et al. (arXiv 2505.24244), section 5";
constexpr const char* kNoInterval = "no interval";

std::string describe(const EdgeEffect& e) {
  return fmt::format(
      "lowest mean {} % {}, median {} %, log change {}, middle at {:.0f} % of the layers, {}",
      signed_number(e.lowest.value, 1), interval_text(e.lowest.by_fact, kNoInterval),
      signed_number(e.at_lowest.median, 1), signed_number(e.at_lowest.log, 2), 100 * e.depth_middle,
      count_text(e.n, e.facts));
}

// Why no drop is seen; nothing if there is one.
std::optional<Judged> no_drop(const EdgeEffect& e) {
  if (e.n == 0) return cannot_tell(e.missing);
  if (auto few = too_few(e.n, e.facts)) return few;
  if (is_drop(e)) return std::nullopt;
  if (!(e.lowest.value < 0)) return cannot_tell("no start has a mean below zero");
  return cannot_tell(
      fmt::format("the drop is not significant: p = {:.2g} after correction for {} "
                  "tests",
                  e.p_holm, e.tests));
}

// Whether the middle of the strongest window lies in [low, high], and the drop is real.
Judged depth_between(const EdgeEffect& e, double low, double high) {
  if (e.n > 0 && e.lowest.by_fact.low > 0)
    return {Verdict::kDoesNotHold, "at every start the probability rises"};
  if (auto none = no_drop(e)) return *none;
  // The interval of the start, moved to the middle of the window.
  const double shift = e.depth_middle - e.depth.value;
  const double first = e.depth.by_fact.low + shift, last = e.depth.by_fact.high + shift;
  const std::string from = fmt::format("{:.0f}", 100 * first),
                    to = fmt::format("{:.0f}", 100 * last);
  const std::string where =
      fmt::format("the interval of the strongest window's middle, {} % of the layers, ",
                  from == to ? from : from + " to " + to);
  if (first >= low && last <= high) return {Verdict::kHolds, where + "lies within the limits"};
  if (last < low || first > high) return {Verdict::kDoesNotHold, where + "lies outside the limits"};
  return cannot_tell(where + "reaches over the limits");
}

Claim subject_late(const std::vector<EdgeEffect>& effects) {
  std::vector<ModelVerdict> models;
  for (const EdgeEffect& e : effects) {
    if (e.edge.label != "subject->last") continue;
    Judged judged = depth_between(e, 0.5, 0.9);
    models.push_back({e.model, judged.verdict, judged.reason, describe(e)});
  }
  return decide(
      "Blocking subject \u2192 last lowers the answer's probability most at late-intermediate "
      "depth, in every model",
      "The middle of the strongest window lies between 50 % and 90 % of the layers (95 % bootstrap "
      "interval) and the drop differs from zero (Holm-corrected t test).",
      std::move(models));
}

Judged last_raises(const EdgeEffect& e) {
  if (e.n == 0) return cannot_tell(e.missing);
  if (auto few = too_few(e.n, e.facts)) return *few;
  const Interval mean = e.late.by_fact, log = e.late_change.log_interval;
  if (mean.high < 0) return {Verdict::kDoesNotHold, "the interval of the mean lies below zero"};
  if (!(mean.low > 0)) return cannot_tell("the interval of the mean holds zero");
  if (!(log.low > 0))
    return cannot_tell("the mean is above zero, the log change is not: few prompts may make it");
  return {Verdict::kHolds, "the intervals of mean and log change lie above zero"};
}

Claim last_raises(const std::vector<EdgeEffect>& effects) {
  std::vector<ModelVerdict> models;
  bool mamba = false, falcon = false;
  for (const EdgeEffect& e : effects) {
    if (e.edge.label != "last->last" || (e.family != "mamba" && e.family != "falcon_mamba"))
      continue;
    (e.family == "mamba" ? mamba : falcon) = true;
    Judged judged = last_raises(e);
    models.push_back(
        {e.model, judged.verdict, judged.reason,
         fmt::format("mean {} % {}, median {} %, log change {} {}, {}",
                     signed_number(e.late.value, 1), interval_text(e.late.by_fact, kNoInterval),
                     signed_number(e.late_change.median, 1), signed_number(e.late_change.log, 2),
                     interval_text(e.late_change.log_interval, kNoInterval, 2),
                     count_text(e.n, e.facts))});
  }
  return decide(
      "Blocking last \u2192 last in the last layers raises the answer's probability in Mamba-1 and "
      "Falcon-Mamba",
      "Over the last tenth of the window starts the mean change (95 % bootstrap interval) and the "
      "mean log change (95 % t interval) are above zero.",
      std::move(models),
      !mamba    ? "Mamba-1"
      : !falcon ? "Falcon-Mamba"
                : "");
}

Judged first_matters(const EdgeEffect& e) {
  if (e.n == 0) return cannot_tell(e.missing);
  if (auto few = too_few(e.n, e.facts)) return *few;
  const bool wants_drop = e.mixing == Mixing::kAttention;
  // A minimum over many starts lies below zero by chance as well, hence the test beside the
  // interval.
  if (e.lowest.by_fact.high < -kSmallEffect) {
    if (auto none = no_drop(e)) return *none;
    return {wants_drop ? Verdict::kHolds : Verdict::kDoesNotHold,
            fmt::format("the drop is larger than {:.0f} %", kSmallEffect)};
  }
  if (e.lowest.by_fact.low > -kSmallEffect)
    return {wants_drop ? Verdict::kDoesNotHold : Verdict::kHolds,
            fmt::format("no start has a drop of {:.0f} %", kSmallEffect)};
  return cannot_tell(fmt::format("the interval of the lowest mean holds {:.0f} %", -kSmallEffect));
}

Claim first_matters(const std::vector<EdgeEffect>& effects) {
  std::vector<ModelVerdict> models;
  bool transformers = false, state_space = false;
  for (const EdgeEffect& e : effects) {
    if (e.edge.label != "first->last" || e.mixing == Mixing::kBoth) continue;
    (e.mixing == Mixing::kState ? state_space : transformers) = true;
    Judged judged = first_matters(e);
    models.push_back({e.model, judged.verdict, judged.reason, describe(e)});
  }
  return decide("Transformers depend on the first position, Mamba models do not",
                fmt::format("Blocking first \u2192 last: in Transformers the largest drop exceeds "
                            "{0:.0f} %, in Mamba models it stays below {0:.0f} % (95 % bootstrap "
                            "interval).",
                            kSmallEffect),
                std::move(models),
                !transformers  ? "Transformer"
                : !state_space ? "Mamba model"
                               : "");
}

const ChannelRatio* find(const std::vector<ChannelRatio>& channels, const std::string& model,
                         const std::string& set) {
  for (const ChannelRatio& ratio : channels)
    if (ratio.model == model && ratio.flow == "subject->last" && ratio.numerator == set &&
        ratio.denominator == "all")
      return &ratio;
  return nullptr;
}

std::string share_text(const ChannelRatio& share) {
  const Interval& interval = share.at_start.by_fact;
  return fmt::format("{}: {} {} of the full effect (by medians {}, by log changes {})",
                     share.numerator, fixed(share.at_start.value, 2),
                     std::isnan(interval.low)
                         ? kNoInterval
                         : fmt::format("[{}, {}]", fixed(interval.low, 2), fixed(interval.high, 2)),
                     fixed(share.median, 2), fixed(share.log, 2));
}

Judged slow_mirrors(const EdgeEffect& full, const ChannelRatio& slow, const ChannelRatio& fast) {
  if (auto none = no_drop(full)) return *none;
  if (auto few = too_few(slow.n, std::min(slow.facts, fast.facts))) return *few;
  const Interval a = slow.at_start.by_fact, b = fast.at_start.by_fact;
  if (a.high < 0.5)
    return {Verdict::kDoesNotHold, slow.numerator + " channels give less than half"};
  if (b.low > 0.5) return {Verdict::kDoesNotHold, fast.numerator + " channels give more than half"};
  if (a.low > 0.5 && b.high < 0.5)
    return {Verdict::kHolds, fmt::format("{} channels give more than half, {} ones less",
                                         slow.numerator, fast.numerator)};
  return cannot_tell("an interval of the shares holds one half");
}

Claim slow_mirrors(const std::vector<EdgeEffect>& effects,
                   const std::vector<ChannelRatio>& channels) {
  std::vector<ModelVerdict> models;
  for (const EdgeEffect& e : effects) {
    if (e.edge.label != "subject->last" || e.mixing != Mixing::kState) continue;
    const ChannelRatio* slow = find(channels, e.model, "slow");
    const ChannelRatio* fast = find(channels, e.model, "fast");
    if (slow == nullptr || fast == nullptr) {
      // What the paper's figures draw: the sets together with the middle third.
      slow = find(channels, e.model, "not-fast");
      fast = find(channels, e.model, "not-slow");
    }
    if (slow == nullptr || fast == nullptr) continue;
    Judged judged = slow_mirrors(e, *slow, *fast);
    models.push_back({e.model, judged.verdict, judged.reason,
                      fmt::format("{}, {}, {}", share_text(*slow), share_text(*fast),
                                  count_text(slow->n, slow->facts))});
  }
  return decide(
      "Slow (context-dependent) channels carry the subject's flow, fast (context-independent) ones "
      "do not",
      "At the start where the full subject \u2192 last knockout lowers the probability most, "
      "blocking the slow channels gives more than half of its effect and blocking the fast ones "
      "less than half (95 % bootstrap intervals); not-fast and not-slow channels where these were "
      "not swept.",
      std::move(models));
}

Claim relation_early(const std::vector<EdgeEffect>& effects) {
  const auto has = [&](const char* label) {
    return std::any_of(effects.begin(), effects.end(), [&](const EdgeEffect& e) {
      return e.edge.label == label && e.mixing == Mixing::kAttention;
    });
  };
  // `relation` holds the last token itself, so the other one says more where both were run.
  const std::string label =
      has("relation-minus-last->last") ? "relation-minus-last->last" : "relation->last";
  std::vector<ModelVerdict> models;
  for (const EdgeEffect& e : effects) {
    if (e.edge.label != label || e.mixing != Mixing::kAttention) continue;
    Judged judged = depth_between(e, 0, 0.5);
    models.push_back({e.model, judged.verdict, judged.reason, describe(e)});
  }
  return decide(
      "In Transformers, relation tokens matter early",
      fmt::format("Blocking {}: the middle of the strongest window lies in the lower half "
                  "of the layers (95 % bootstrap interval) and the drop differs from zero "
                  "(Holm-corrected t test).",
                  parse_edge(label).display()),
      std::move(models));
}

Judged small_oversensitive(const SensitivityPair& pair) {
  if (pair.size_ratio < kRealSizeRatio)
    return cannot_tell(
        fmt::format("the larger has only {:.3g} times the parameters, asked are {:g}",
                    pair.size_ratio, kRealSizeRatio));
  if (auto few = too_few(pair.n, pair.facts)) return *few;
  if (pair.interval.low > 0) return {Verdict::kHolds, "the interval lies above zero"};
  if (pair.interval.high < 0) return {Verdict::kDoesNotHold, "the interval lies below zero"};
  return cannot_tell("the interval holds zero");
}

Claim small_oversensitive(const std::vector<SensitivityPair>& pairs) {
  std::vector<ModelVerdict> models;
  for (const SensitivityPair& pair : pairs) {
    Judged judged = small_oversensitive(pair);
    models.push_back(
        {fmt::format("{} against {}", pair.smaller, pair.larger), judged.verdict, judged.reason,
         fmt::format("{:.1f} % against {:.1f} %, difference {} {}, median {}, of log changes {}, "
                     "{:.3g} times the parameters, {}",
                     pair.smaller_value, pair.larger_value, signed_number(pair.difference, 1),
                     interval_text(pair.interval, kNoInterval), signed_number(pair.median, 1),
                     signed_number(pair.log, 2), pair.size_ratio, count_text(pair.n, pair.facts))});
  }
  return decide(
      "Small models are oversensitive: knockouts move them more than large models of their family",
      fmt::format(
          "The mean size of the relative change over all starts and all edges into the last "
          "token (at most 100 % each) is larger in the family's smallest model than in its "
          "largest, which has at least {:g} times the parameters, on the same prompts (95 % "
          "t interval of the paired differences).",
          kRealSizeRatio),
      std::move(models));
}

}  // namespace

std::vector<Claim> judge_claims(const std::vector<EdgeEffect>& effects,
                                const std::vector<ChannelRatio>& channels,
                                const std::vector<SensitivityPair>& sensitivity) {
  std::vector<Claim> claims = {subject_late(effects),  slow_mirrors(effects, channels),
                               first_matters(effects), relation_early(effects),
                               last_raises(effects),   small_oversensitive(sensitivity)};
  for (Claim& claim : claims) claim.source = kSource;
  return claims;
}

}  // namespace factflow
