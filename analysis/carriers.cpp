#include "analysis/carriers.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "analysis/load_runs.hpp"
#include "analysis/number_text.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr std::array kStatements = {Carrier::kAttention, Carrier::kState, Carrier::kEither,
                                    Carrier::kNeeded};

// The quantities that are averaged: relative changes and log changes of the three cuts.
enum Cut : std::size_t { kAttentionCut, kRecurrentCut, kBothCut, kCuts };
constexpr std::size_t kColumns = 2 * kCuts;  // changes, then log changes
using Means = std::array<double, kColumns>;

// Sums over the prompts of each fact, from which every resample is made.
class HalvedFacts {
 public:
  // `rows`: the three cuts among the window's edges.
  HalvedFacts(const WindowData& window, const std::array<std::size_t, kCuts>& rows,
              const std::vector<std::size_t>& prompts, std::vector<std::size_t> starts)
      : starts_(std::move(starts)) {
    std::map<std::size_t, std::size_t> numbers;
    for (const std::size_t prompt : prompts)
      numbers.emplace(window.model->fact[prompt], numbers.size());
    prompts_.assign(numbers.size(), 0);
    sums_.assign(starts_.size() * kColumns, std::vector<double>(numbers.size(), 0));
    for (const std::size_t prompt : prompts) {
      const std::size_t fact = numbers.at(window.model->fact[prompt]);
      prompts_[fact] += 1;
      for (std::size_t i = 0; i < starts_.size(); ++i)
        for (std::size_t cut = 0; cut < kCuts; ++cut) {
          sums(i, cut)[fact] += window.change(rows[cut], prompt, starts_[i]);
          sums(i, kCuts + cut)[fact] += window.log_change(rows[cut], prompt, starts_[i]);
        }
    }
  }

  std::size_t facts() const { return prompts_.size(); }

  // The place in `starts` that is measured on each half, chosen on the other one: where cutting
  // both lowers the mean most. Nothing where a half has no prompts. A lone fact chooses for itself.
  std::optional<std::array<std::size_t, 2>> choose(const std::uint16_t* counts) const {
    std::array<std::size_t, 2> chosen{};
    for (std::size_t half = 0; half < 2; ++half) {
      const std::size_t other = facts() < 2 ? 0 : 1 - half;
      if (total(prompts_, counts, other) == 0) return std::nullopt;
      std::vector<double> curve;
      for (std::size_t i = 0; i < starts_.size(); ++i)
        curve.push_back(total(sums(i, kBothCut), counts, other));
      chosen[half] = index_of_minimum(curve);
    }
    return chosen;
  }

  // `counts`: how often each fact is drawn; nullptr: each once.
  Means means(const std::uint16_t* counts) const {
    Means means;
    means.fill(kNan);
    const auto chosen = choose(counts);
    if (!chosen) return means;
    const double drawn = total(prompts_, counts, 0) + total(prompts_, counts, 1);
    for (std::size_t column = 0; column < kColumns; ++column)
      means[column] = (total(sums((*chosen)[0], column), counts, 0) +
                       total(sums((*chosen)[1], column), counts, 1)) /
                      drawn;
    return means;
  }

 private:
  std::vector<double>& sums(std::size_t start, std::size_t column) {
    return sums_[start * kColumns + column];
  }
  const std::vector<double>& sums(std::size_t start, std::size_t column) const {
    return sums_[start * kColumns + column];
  }
  // Over the even (half 0) or the odd facts.
  static double total(const std::vector<double>& of_facts, const std::uint16_t* counts,
                      std::size_t half) {
    double sum = 0;
    for (std::size_t fact = half; fact < of_facts.size(); fact += 2)
      sum += (counts == nullptr ? 1.0 : static_cast<double>(counts[fact])) * of_facts[fact];
    return sum;
  }

  std::vector<std::size_t> starts_;
  std::vector<double> prompts_;            // [fact]
  std::vector<std::vector<double>> sums_;  // [start, column][fact]
};

// Of the data, then of each resample.
std::vector<Means> sample(const HalvedFacts& facts, const BootstrapOptions& options) {
  std::vector<Means> samples = {facts.means(nullptr)};
  if (facts.facts() < kFewestClusters) return samples;
  const std::vector<std::uint16_t> counts =
      bootstrap_counts(facts.facts(), options.resamples, options.seed);
  for (std::size_t i = 0; i < options.resamples; ++i)
    samples.push_back(facts.means(counts.data() + i * facts.facts()));
  return samples;
}

template <class Statistic>
Resampled measure(const std::vector<Means>& samples, double level, Statistic statistic) {
  std::vector<double> replicates;
  for (std::size_t i = 1; i < samples.size(); ++i) replicates.push_back(statistic(samples[i]));
  return {statistic(samples[0]), percentile_interval(replicates, level)};
}

void measure_all(const std::vector<Means>& samples, double level, CarriedEdge& edge) {
  const auto measured = [&](auto statistic) { return measure(samples, level, statistic); };
  edge.both = measured([](const Means& m) { return m[kBothCut]; });
  if (edge.is_control()) return;
  edge.attention = measured([](const Means& m) { return m[kAttentionCut]; });
  edge.recurrent = measured([](const Means& m) { return m[kRecurrentCut]; });
  edge.attention_share =
      measured([](const Means& m) { return 100 * m[kAttentionCut] / m[kBothCut]; });
  edge.recurrent_share =
      measured([](const Means& m) { return 100 * m[kRecurrentCut] / m[kBothCut]; });
  edge.together_share = measured([](const Means& m) {
    return 100 * (m[kBothCut] - m[kAttentionCut] - m[kRecurrentCut]) / m[kBothCut];
  });
  edge.interaction =
      measured([](const Means& m) { return m[kBothCut] - (m[kAttentionCut] + m[kRecurrentCut]); });
  edge.log_interaction = measured([](const Means& m) {
    return m[kCuts + kBothCut] - (m[kCuts + kAttentionCut] + m[kCuts + kRecurrentCut]);
  });
}

// The window's edge between these ends on a path, on all channels.
std::optional<std::size_t> row_of(const WindowData& window, const std::string& ends,
                                  const char* path) {
  for (const std::size_t edge : window.edges) {
    const EdgeName& name = window.model->edges[edge];
    if (name.all_channels() && name.path == path && name.ends() == ends) return edge;
  }
  return std::nullopt;
}

// The three cuts; of a model with one kind of mixers the same one thrice. Else what is missing.
std::optional<std::array<std::size_t, kCuts>> rows_of(const WindowData& window, CarriedEdge& edge) {
  const std::string& ends = edge.edge.label;
  const auto both = row_of(window, ends, "both");
  if (edge.is_control()) {
    const auto one =
        both ? both
             : row_of(window, ends, edge.mixing == Mixing::kState ? "recurrent" : "attention");
    if (one) return std::array{*one, *one, *one};
    edge.missing = "not swept";
    return std::nullopt;
  }
  const auto attention = row_of(window, ends, "attention"),
             recurrent = row_of(window, ends, "recurrent");
  if (attention && recurrent && both) return std::array{*attention, *recurrent, *both};
  std::vector<std::string> absent;
  if (!attention) absent.emplace_back("attention");
  if (!recurrent) absent.emplace_back("recurrent");
  if (!both) absent.emplace_back("both");
  edge.missing = fmt::format("not swept with path: {}", join(absent));
  return std::nullopt;
}

std::vector<std::size_t> prompts_of(const WindowData& window,
                                    const std::array<std::size_t, kCuts>& rows) {
  std::vector<std::size_t> prompts = window.complete_prompts(rows[0]);
  for (std::size_t cut = 1; cut < kCuts; ++cut) {
    const std::vector<std::size_t> more = window.complete_prompts(rows[cut]);
    std::erase_if(prompts, [&](std::size_t prompt) {
      return !std::binary_search(more.begin(), more.end(), prompt);
    });
  }
  return prompts;
}

// Places of the starts at which the two paths can be held against each other.
std::vector<std::size_t> places_of(const WindowData& window, bool control) {
  const std::vector<LayerMixers> mixers = mixers_of(window.model->info);
  std::vector<std::size_t> places;
  for (std::size_t start = 0; start < window.starts(); ++start) {
    const MixerCount count = count_mixers(mixers, window.cells.placement, window.cells.window,
                                          window.cells.starts[start]);
    if (control || (count.attention > 0 && count.recurrent > 0)) places.push_back(start);
  }
  return places;
}

CarriedEdge carried(const WindowData& window, const std::string& ends,
                    const BootstrapOptions& bootstrap) {
  const ModelData& model = *window.model;
  CarriedEdge edge;
  edge.model = model.info.name;
  edge.family = model.info.family;
  edge.mixing = mixing_of(model.info);
  edge.mixers = mixers_in_letters(model.info);
  edge.prompts = model.prompt_set;
  edge.main_set = model.main_set;
  edge.repeated = !model.repeats.empty();
  edge.layers = model.info.layers;
  edge.window = window.cells.window;
  edge.widest = edge.window == model.windows.back();
  edge.edge = parse_edge(ends);
  const auto rows = rows_of(window, edge);
  if (!rows) return edge;
  const std::vector<std::size_t> prompts = prompts_of(window, *rows),
                                 places = places_of(window, edge.is_control());
  edge.starts = window.starts();
  edge.choices = places.size();
  edge.n = prompts.size();
  if (places.empty())
    edge.missing = fmt::format("no window of {} has mixers of both kinds",
                               counted(static_cast<std::uint64_t>(edge.window), "layer"));
  else if (prompts.empty())
    edge.missing = "no prompt has a value at every start";
  if (!edge.missing.empty()) return edge;
  const HalvedFacts facts(window, *rows, prompts, places);
  edge.facts = facts.facts();
  if (const auto chosen = facts.choose(nullptr))
    for (const std::size_t place : *chosen)
      edge.chosen.push_back(window.cells.starts[places[place]]);
  measure_all(sample(facts, bootstrap), bootstrap.level, edge);
  return edge;
}

// Ends of the edges that some model was swept over on one path alone, in order.
std::vector<std::string> ends_of(const RunData& run) {
  std::vector<std::string> all;
  for (const auto* models : {&run.models, &run.other_sets})
    for (const ModelData& model : *models)
      for (const EdgeName& edge : model.edges)
        if (edge.all_channels() && edge.path != "both" && mixing_of(model.info) == Mixing::kBoth &&
            std::find(all.begin(), all.end(), edge.ends()) == all.end())
          all.push_back(edge.ends());
  return all;
}

// ---- verdicts

std::string share_text(const Resampled& share) {
  std::string text = fixed(share.value, 0) + " %";
  if (!std::isnan(share.interval.low))
    text += fmt::format(" [{}, {}]", fixed(share.interval.low, 0), fixed(share.interval.high, 0));
  return text;
}

// A condition of a statement: that a share lies above one half, or below it.
struct Condition {
  const Resampled& share;
  bool above;
};

Verdict decide_condition(const Condition& condition) {
  const Interval& interval = condition.share.interval;
  const bool above = interval.low > kHalfOfEffect, below = interval.high < kHalfOfEffect;
  if (!above && !below) return Verdict::kCannotTell;
  return above == condition.above ? Verdict::kHolds : Verdict::kDoesNotHold;
}

std::vector<Condition> conditions_of(const CarriedEdge& edge, Carrier carrier) {
  const Resampled &attention = edge.attention_share, &state = edge.recurrent_share;
  switch (carrier) {
    case Carrier::kAttention:
      return {{attention, true}, {state, false}};
    case Carrier::kState:
      return {{attention, false}, {state, true}};
    case Carrier::kEither:
      return {{attention, false}, {state, false}, {edge.together_share, true}};
    case Carrier::kNeeded:
      return {{attention, true}, {state, true}};
    default:
      return {};
  }
}

// Why no statement can be judged; nothing if the numbers can.
std::optional<Judged> no_verdict(const CarriedEdge& edge) {
  if (!edge.missing.empty()) return cannot_tell(edge.missing);
  if (auto few = too_few(edge.n, edge.facts)) return few;
  const Interval& both = edge.both.interval;
  if (both.high < -kSmallEffect) return std::nullopt;
  return cannot_tell(
      both.low > -kSmallEffect
          ? fmt::format("cutting both lowers the probability by less than {:g} %", kSmallEffect)
          : fmt::format("cutting both does not surely lower the probability by {:g} %",
                        kSmallEffect));
}

std::string statement(Carrier carrier, const std::string& edge) {
  switch (carrier) {
    case Carrier::kAttention:
      return fmt::format("Attention carries {}", edge);
    case Carrier::kState:
      return fmt::format("The state carries {}", edge);
    case Carrier::kEither:
      return fmt::format(
          "Either attention or the state suffices for {}: one makes up for the other", edge);
    default:
      return fmt::format("Both attention and the state are needed for {}", edge);
  }
}

std::string rule(Carrier carrier) {
  const char* conditions = "";
  switch (carrier) {
    case Carrier::kAttention:
      conditions = "attention alone gives more than half of it and the state alone less than half";
      break;
    case Carrier::kState:
      conditions = "the state alone gives more than half of it and attention alone less than half";
      break;
    case Carrier::kEither:
      conditions =
          "each alone gives less than half of it, and more than half is lost only where both are "
          "cut together";
      break;
    default:
      conditions = "each alone gives more than half of it";
  }
  return fmt::format(
      "Of what cutting both does at the widest window, {} (95 % bootstrap intervals over facts; "
      "the window is chosen on one half of the facts, among those with mixers of both kinds, and "
      "measured on the other). Cutting both lowers the probability by {:g} % at least.",
      conditions, kSmallEffect);
}

std::string evidence_of(const CarriedEdge& edge) {
  if (edge.chosen.empty()) return "";
  return fmt::format(
      "both {} % {}; {}; interaction {} {} points, of log changes {} {}; window of {}, {}, {}",
      signed_number(edge.both.value, 1), interval_text(edge.both.interval, "(no interval)"),
      shares_in_words(edge), signed_number(edge.interaction.value, 1),
      interval_text(edge.interaction.interval, "(no interval)"),
      signed_number(edge.log_interaction.value, 2),
      interval_text(edge.log_interaction.interval, "(no interval)", 2), edge.window,
      chosen_in_words(edge), count_text(edge.n, edge.facts));
}

}  // namespace

std::string to_string(Carrier carrier) {
  switch (carrier) {
    case Carrier::kAttention:
      return "attention carries it";
    case Carrier::kState:
      return "the state carries it";
    case Carrier::kEither:
      return "either suffices";
    case Carrier::kNeeded:
      return "both are needed";
    case Carrier::kParts:
      return "each carries a part";
    case Carrier::kOpen:
      break;
  }
  return "cannot tell";
}

std::vector<CarriedEdge> study_carriers(const RunData& run, const BootstrapOptions& bootstrap) {
  std::vector<CarriedEdge> all;
  const std::vector<std::string> ends = ends_of(run);
  if (ends.empty()) return all;
  for (const auto* models : {&run.models, &run.other_sets})
    for (const ModelData& model : *models)
      for (const std::int64_t size : model.windows) {
        const WindowData window = load_window(model, size);
        for (const std::string& edge : ends) {
          CarriedEdge of = carried(window, edge, bootstrap);
          if (of.missing != "not swept") all.push_back(std::move(of));
        }
      }
  return all;
}

std::string shares_in_words(const CarriedEdge& edge) {
  return fmt::format("attention alone {} of both, the state alone {}, only together {}",
                     share_text(edge.attention_share), share_text(edge.recurrent_share),
                     share_text(edge.together_share));
}

std::string chosen_in_words(const CarriedEdge& edge) {
  std::vector<std::string> starts;
  for (const std::int32_t start : edge.chosen)
    if (starts.empty() || starts.back() != std::to_string(start))
      starts.push_back(std::to_string(start));
  return fmt::format("{} {}", starts.size() > 1 ? "starts" : "start", join(starts, " and "));
}

std::string mixers_in_words(const CarriedEdge& edge) {
  const auto layers_with = [&](char one) {
    return std::count_if(edge.mixers.begin(), edge.mixers.end(),
                         [&](char letter) { return letter == one || letter == 'B'; });
  };
  const std::string layers = counted(static_cast<std::uint64_t>(edge.layers), "layer");
  if (edge.mixing == Mixing::kBoth)
    return fmt::format("attention in {}, recurrent in {} of {}", layers_with('A'), layers_with('R'),
                       layers);
  const bool state = edge.mixing == Mixing::kState;
  return fmt::format("{} in {} of {}", state ? "recurrent" : "attention",
                     layers_with(state ? 'R' : 'A'), layers);
}

Judged judge_carrier(const CarriedEdge& edge, Carrier carrier) {
  if (auto none = no_verdict(edge)) return *none;
  Verdict verdict = Verdict::kHolds;
  for (const Condition& condition : conditions_of(edge, carrier)) {
    const Verdict one = decide_condition(condition);
    if (one == Verdict::kDoesNotHold) verdict = one;
    if (one == Verdict::kCannotTell && verdict == Verdict::kHolds) verdict = one;
  }
  return {verdict, shares_in_words(edge)};
}

Carrier carrier_of(const CarriedEdge& edge) {
  if (edge.is_control()) return Carrier::kOpen;
  bool refuted = true;
  for (const Carrier carrier : kStatements) {
    const Verdict verdict = judge_carrier(edge, carrier).verdict;
    if (verdict == Verdict::kHolds) return carrier;
    refuted = refuted && verdict == Verdict::kDoesNotHold;
  }
  return refuted ? Carrier::kParts : Carrier::kOpen;
}

std::vector<Claim> judge_carriers(const std::vector<CarriedEdge>& carriers) {
  const auto concerned = [](const CarriedEdge& edge) {
    return edge.main_set && edge.widest && !edge.repeated && !edge.is_control();
  };
  std::vector<std::string> edges;
  for (const CarriedEdge& edge : carriers)
    if (concerned(edge) && std::find(edges.begin(), edges.end(), edge.edge.label) == edges.end())
      edges.push_back(edge.edge.label);
  std::vector<Claim> claims;
  for (const std::string& label : edges)
    for (const Carrier carrier : kStatements) {
      std::vector<ModelVerdict> models;
      for (const CarriedEdge& edge : carriers) {
        if (!concerned(edge) || edge.edge.label != label) continue;
        const Judged judged = judge_carrier(edge, carrier);
        models.push_back({edge.model, judged.verdict, judged.reason, evidence_of(edge)});
      }
      claims.push_back(decide(statement(carrier, parse_edge(label).display()), rule(carrier),
                              std::move(models)));
      claims.back().source = "hybrids (docs/hybrids.md)";
    }
  return claims;
}

}  // namespace factflow
