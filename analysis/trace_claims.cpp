#include "analysis/trace_claims.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "analysis/number_text.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

constexpr const char* kSource = "Sharma et al. (arXiv 2404.03646), section 3, figures 2 and 3";
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
// Of the whole effect: what differs by less is not what the paper means. Ours.
constexpr double kLeastShare = 0.1;
// Depths of published figures: "early and middle" ends at the middle, "late" for h begins behind
// the move of every published model (47 of 64 layers), and for windows of other sites at the
// middle.
constexpr double kMiddle = 0.5, kLate = 0.75;
constexpr double kPublishedWindow = 10.0 / 64;  // of other sites than h, in layers of the model

// Published curves, digitised from the figures: where h's effect at the prompt's last token begins
// to rise and has passed, in layers of Mamba-2.8b (64) and of Pythia-2.8b (32).
struct DepthRange {
  double first = 0, last = 0, layers = 0;
};
constexpr DepthRange kMambaMove = {43, 47, 64}, kPythiaMove = {16, 18, 32};

// Mean and t interval, clustered by fact, of one number for each prompt.
struct PromptMean {
  double value = kNan;
  Interval interval = {kNan, kNan};
  std::size_t n = 0, facts = 0;

  std::string text() const {
    return fmt::format("{} {}", signed_number(value, 2), interval_text(interval, "", 2));
  }
};

struct PromptValues {
  std::vector<double> values;
  std::vector<std::size_t> facts;

  void add(double value, std::size_t fact) {
    if (std::isnan(value)) return;
    values.push_back(value);
    facts.push_back(fact);
  }
  PromptMean mean_of(double level) const {
    if (values.empty()) return {};
    return {mean(values), t_interval(values, facts, level), values.size(), count_clusters(facts)};
  }
};

// The map of a site, restored, whose window is nearest to `window`, the smaller of two; nullptr if
// it was not traced.
const TraceAverage* map_of(const ModelTraces& traces, const std::string& site,
                           std::int64_t window) {
  const TraceAverage* nearest = nullptr;
  const auto distance = [&](const TraceAverage& map) { return std::abs(map.window - window); };
  for (const TraceAverage& map : traces.averages)
    if (map.site == site && map.direction == TraceDirection::kRestore &&
        (nearest == nullptr ||
         std::pair(distance(map), map.window) < std::pair(distance(*nearest), nearest->window)))
      nearest = &map;
  return nearest;
}

std::int64_t published_window(const ModelTraces& traces) {
  return std::max<std::int64_t>(
      1, std::llround(kPublishedWindow * static_cast<double>(traces.layers)));
}

// Mean over the centres whose depth lies in [low, high). Behind the last layer the effect of h is 0
// or 1 by definition, so that place is none of them. NaN if there are none, or one has no value.
double mean_between(const TraceAverage& map, const std::vector<double>& effects, double low,
                    double high) {
  std::vector<double> values;
  for (std::size_t i = 0; i < effects.size(); ++i) {
    const double depth = static_cast<double>(published_layer(map.site, map.centres[i])) /
                         static_cast<double>(map.layers);
    const bool by_definition = map.site == "h" && map.centres[i] == map.layers;
    if (depth >= low && depth < high && !by_definition) values.push_back(effects[i]);
  }
  return mean(values);
}

constexpr double kBegin = -1, kEnd = 2;  // before and behind every depth

// ---- h moves

struct StreamShares {
  PromptMean early_subject, early_prompt, early_difference, late_subject, late_prompt,
      late_difference;
};

StreamShares stream_shares(const TraceAverage& map, double level) {
  PromptValues early[3], late[3];
  for (const LastTokens& tokens : map.last_tokens) {
    if (!tokens.apart) continue;
    const auto add = [&](PromptValues(&to)[3], double low, double high, double sign) {
      const double subject = mean_between(map, tokens.of_subject, low, high),
                   prompt = mean_between(map, tokens.of_prompt, low, high);
      to[0].add(subject, tokens.fact);
      to[1].add(prompt, tokens.fact);
      to[2].add(sign * (subject - prompt), tokens.fact);
    };
    add(early, kBegin, kMiddle, 1);
    add(late, kLate, kEnd, -1);
  }
  return {early[0].mean_of(level), early[1].mean_of(level), early[2].mean_of(level),
          late[0].mean_of(level),  late[1].mean_of(level),  late[2].mean_of(level)};
}

ModelVerdict judge_stream(const ModelTraces& traces, const TraceAverage& map, double level) {
  const StreamShares shares = stream_shares(map, level);
  const PromptMean &early = shares.early_difference, &late = shares.late_difference;
  std::string evidence = fmt::format(
      "early and middle layers: {} at the subject's last token, {} at the prompt's, difference {}; "
      "late layers: {} at the subject's, {} at the prompt's, difference {}; window of {}, {}",
      signed_number(shares.early_subject.value, 2), signed_number(shares.early_prompt.value, 2),
      early.text(), signed_number(shares.late_subject.value, 2),
      signed_number(shares.late_prompt.value, 2), late.text(),
      counted(static_cast<std::uint64_t>(map.window), "layer"), count_text(early.n, early.facts));
  const auto few = too_few(early.n, early.facts);
  const Judged judged = few ? *few
                        : late.n == 0
                            ? cannot_tell("the model has too few layers to have late ones")
                            : judge_parts({{"early", judge_above(early.interval, kLeastShare)},
                                           {"late", judge_above(late.interval, kLeastShare)}});
  return {traces.model, judged.verdict, judged.reason, std::move(evidence)};
}

Claim stream_moves(const std::vector<ModelTraces>& traces, double level) {
  std::vector<ModelVerdict> models;
  for (const ModelTraces& model : traces)
    if (const TraceAverage* map = map_of(model, "h", 1); map != nullptr && !model.repeated)
      models.push_back(judge_stream(model, *map, level));
  return decide(
      "The residual stream carries the fact at the subject's last token in early and middle "
      "layers, and at the prompt's last token in late ones",
      fmt::format(
          "Mean indirect effect of restoring h (published: Mamba-2.8b 0.34 against 0.00 early, "
          "0.00 "
          "against 0.8 or more late): over the first half of the layers it is larger at the "
          "subject's last token by more than {0} of the whole effect, and over the last quarter at "
          "the prompt's last token (95 % t intervals of the paired differences; behind the last "
          "layer it is so by definition, which does not count).",
          kLeastShare),
      std::move(models));
}

// ---- the mixing of tokens, at the prompt's last token

// Effects at the prompt's last token over the later half of the centres, and over the earlier half.
struct LateEffects {
  std::map<std::size_t, double> late, early;  // by row in PromptTable
  std::map<std::size_t, std::size_t> fact;
};

LateEffects late_effects(const TraceAverage& map) {
  LateEffects effects;
  for (const LastTokens& tokens : map.last_tokens) {
    if (!tokens.apart) continue;
    effects.late[tokens.prompt_row] = mean_between(map, tokens.of_prompt, kMiddle, kEnd);
    effects.early[tokens.prompt_row] = mean_between(map, tokens.of_prompt, kBegin, kMiddle);
    effects.fact[tokens.prompt_row] = tokens.fact;
  }
  return effects;
}

// a - share b, prompt by prompt.
PromptMean compare_effects(const LateEffects& of, const std::map<std::size_t, double>& a,
                           double share, const std::map<std::size_t, double>& b, double level) {
  PromptValues values;
  for (const auto& [row, effect] : a)
    if (const auto other = b.find(row); other != b.end())
      values.add(effect - share * other->second, of.fact.at(row));
  return values.mean_of(level);
}

PromptMean mean_effect(const LateEffects& of, const std::map<std::size_t, double>& effects,
                       double level) {
  return compare_effects(of, effects, 0, effects, level);
}

// The site that mixes tokens, the one that does not, and their sum where it is another site.
struct SiteRoles {
  std::string mixing, other, sum;
};

ModelVerdict judge_mixing(const ModelTraces& traces, const SiteRoles& roles, double level) {
  const std::int64_t window = published_window(traces);
  const TraceAverage& mixing = *map_of(traces, roles.mixing, window);
  const LateEffects main = late_effects(mixing);
  const PromptMean late = mean_effect(main, main.late, level),
                   rise = compare_effects(main, main.late, 1, main.early, level);
  std::vector<ClaimPart> parts = {{"late against early", judge_above(rise.interval, kLeastShare)}};
  std::string evidence =
      fmt::format("{} {} in the later half of the layers, {} more than in the earlier",
                  roles.mixing, late.text(), rise.text());
  if (const TraceAverage* other = map_of(traces, roles.other, window)) {
    const LateEffects effects = late_effects(*other);
    const PromptMean more = compare_effects(main, main.late, 1, effects.late, level);
    parts.push_back(
        {fmt::format("against {}", roles.other), judge_above(more.interval, kLeastShare)});
    evidence += fmt::format(", {} more than {}", more.text(), roles.other);
  } else {
    parts.push_back({fmt::format("against {}", roles.other),
                     cannot_tell(fmt::format("{} was not traced", roles.other))});
  }
  if (const TraceAverage* sum = map_of(traces, roles.sum, window)) {
    const LateEffects effects = late_effects(*sum);
    const PromptMean half = compare_effects(main, main.late, 0.5, effects.late, level);
    parts.push_back({fmt::format("against half of {}", roles.sum), judge_above(half.interval, 0)});
    evidence += fmt::format(", {} more than half of {}", half.text(), roles.sum);
  }
  evidence +=
      fmt::format("; window of {}, {}", counted(static_cast<std::uint64_t>(mixing.window), "layer"),
                  count_text(late.n, late.facts));
  const auto few = too_few(late.n, late.facts);
  const Judged judged = few ? *few : judge_parts(parts);
  return {traces.model, judged.verdict, judged.reason, std::move(evidence)};
}

Claim mixing_carries(const std::vector<ModelTraces>& traces, double level) {
  std::vector<ModelVerdict> models;
  for (const ModelTraces& model : traces) {
    if (model.repeated || model.mixing == Mixing::kBoth) continue;
    const SiteRoles roles =
        model.mixing == Mixing::kState ? SiteRoles{"s", "g", "o"} : SiteRoles{"o", "mlp", ""};
    if (map_of(model, roles.mixing, 1) != nullptr)
      models.push_back(judge_mixing(model, roles, level));
  }
  return decide(
      "At the prompt's last token, late, what mixes tokens carries the effect: the state space "
      "output s in Mamba models, attention in Transformers",
      fmt::format(
          "Mean indirect effect at the prompt's last token over the later half of the window "
          "centres (published: s of Mamba-2.8b 0.19, g 0.02, o 0.24 or more; attention of "
          "Pythia-2.8b 0.47, MLP 0.12). That of s (o in Transformers, which is attention there) is "
          "larger than over the earlier half and than that of g (mlp) by more than {} of the whole "
          "effect, and that of s larger than half of what o restores (95 % t intervals of the "
          "paired "
          "differences).",
          kLeastShare),
      std::move(models));
}

// ---- where h moves

Judged within(const TransferDepth& depth, const DepthRange& published, double layers) {
  if (auto few = too_few(depth.prompts, depth.facts)) return *few;
  if (std::isnan(depth.layer)) return cannot_tell("the curves do not cross");
  if (std::isnan(depth.interval.low)) return cannot_tell("there is no interval");
  const double low = published.first / published.layers - 0.5 / layers,
               high = published.last / published.layers + 0.5 / layers;
  const double first = depth.interval.low / layers, last = depth.interval.high / layers;
  const std::string where =
                        fmt::format("the interval, {:.2f} to {:.2f} of the depth, ", first, last),
                    limits = fmt::format("{:.2f} to {:.2f}", low, high);
  if (first >= low && last <= high) return {Verdict::kHolds, where + "lies within " + limits};
  if (last < low || first > high) return {Verdict::kDoesNotHold, where + "lies outside " + limits};
  return cannot_tell(where + "reaches over " + limits);
}

Claim moves_late(const std::vector<ModelTraces>& traces, const BootstrapOptions& bootstrap) {
  std::vector<ModelVerdict> models;
  for (const ModelTraces& model : traces) {
    const TraceAverage* map = map_of(model, "h", 1);
    if (map == nullptr || model.repeated || model.mixing == Mixing::kBoth) continue;
    const TransferDepth depth = transfer_depth(*map, bootstrap);
    const auto layers = static_cast<double>(model.layers);
    const Judged judged =
        within(depth, model.mixing == Mixing::kState ? kMambaMove : kPythiaMove, layers);
    models.push_back(
        {model.model, judged.verdict, judged.reason,
         std::isnan(depth.layer)
             ? count_text(depth.prompts, depth.facts)
             : fmt::format("layer {:.1f} {} of {}, depth {:.2f}, {}", depth.layer,
                           interval_text(depth.interval, ""), model.layers, depth.layer / layers,
                           count_text(depth.prompts, depth.facts))});
  }
  return decide(
      "h moves from the subject's last token to the prompt's at two thirds to three quarters of "
      "the "
      "depth in Mamba models, and at the middle in Transformers",
      "The two mean effects of h cross, for the last time, between layers 43 and 47 of 64 "
      "(published "
      "for Mamba-2.8b: 44.4, depth 0.69) or between 16 and 18 of 32 (Pythia-2.8b: 16.7, depth "
      "0.52): "
      "the 95 % bootstrap interval lies within these depths, widened by half a layer of the model.",
      std::move(models));
}

// ---- crossing

// The last place where `difference` rises from below zero to zero or more, in layers as the papers
// count; NaN if there is none.
double last_crossing(const TraceAverage& map, const std::vector<double>& difference) {
  for (std::size_t i = difference.size(); i-- > 1;)
    if (difference[i - 1] < 0 && difference[i] >= 0) {
      const double left = published_layer(map.site, map.centres[i - 1]),
                   right = published_layer(map.site, map.centres[i]);
      const double share = -difference[i - 1] / (difference[i] - difference[i - 1]);
      return left + share * (right - left);
    }
  return kNan;
}

// Sums over the prompts of each fact of (prompt's last - subject's last): [fact][centre]. Only
// their signs matter, so sums do for means.
struct DifferenceSums {
  std::vector<std::vector<double>> facts;
  std::size_t prompts = 0;
};

DifferenceSums difference_sums(const TraceAverage& map) {
  DifferenceSums sums;
  std::map<std::size_t, std::size_t> places;
  for (const LastTokens& tokens : map.last_tokens) {
    std::vector<double> difference;
    for (std::size_t i = 0; i < map.centres.size(); ++i)
      difference.push_back(tokens.of_prompt[i] - tokens.of_subject[i]);
    const bool whole = std::none_of(difference.begin(), difference.end(),
                                    [](double value) { return std::isnan(value); });
    if (!tokens.apart || !whole) continue;
    const auto place = places.emplace(tokens.fact, places.size()).first->second;
    if (place == sums.facts.size()) sums.facts.emplace_back(map.centres.size(), 0.0);
    ++sums.prompts;
    for (std::size_t i = 0; i < difference.size(); ++i) sums.facts[place][i] += difference[i];
  }
  return sums;
}

}  // namespace

TransferDepth transfer_depth(const TraceAverage& average, const BootstrapOptions& bootstrap) {
  const DifferenceSums sums = difference_sums(average);
  const std::size_t facts = sums.facts.size();
  // `times`: how often each fact counts; nullptr = once.
  const auto crossing = [&](const std::uint16_t* times) {
    std::vector<double> total(average.centres.size(), 0.0);
    for (std::size_t fact = 0; fact < facts; ++fact)
      for (std::size_t i = 0; i < total.size(); ++i)
        total[i] += (times == nullptr ? 1.0 : times[fact]) * sums.facts[fact][i];
    return last_crossing(average, total);
  };
  TransferDepth depth{crossing(nullptr), {kNan, kNan}, sums.prompts, facts};
  if (facts < kFewestClusters) return depth;
  const auto counts = bootstrap_counts(facts, bootstrap.resamples, bootstrap.seed);
  std::vector<double> replicates;
  for (std::size_t i = 0; i < bootstrap.resamples; ++i)
    replicates.push_back(crossing(counts.data() + i * facts));
  depth.interval = percentile_interval(replicates, bootstrap.level);
  return depth;
}

std::vector<Claim> judge_trace_claims(const std::vector<ModelTraces>& traces,
                                      const BootstrapOptions& bootstrap) {
  if (traces.empty()) return {};
  std::vector<Claim> claims = {stream_moves(traces, bootstrap.level),
                               mixing_carries(traces, bootstrap.level),
                               moves_late(traces, bootstrap)};
  for (Claim& claim : claims) claim.source = kSource;
  return claims;
}

}  // namespace factflow
