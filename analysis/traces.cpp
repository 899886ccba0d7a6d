#include "analysis/traces.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "analysis/load_runs.hpp"
#include "base/text.hpp"
#include "experiments/stored_arrays.hpp"

namespace factflow {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr TraceGrouping kGroupings[] = {TraceGrouping::kSharma, TraceGrouping::kRome};

// What one prompt (or one of its tokens) adds to a group's mean.
struct Sample {
  std::size_t prompt = 0, fact = 0;
  std::vector<double> effect, published;  // [centre]
};
using Samples = std::array<std::array<std::vector<Sample>, kTokenGroups>, 2>;  // [grouping][group]

// Mean over the tokens of the range that have a value.
Sample sample_of(const TracedFact& fact, TokenRange range, const HeatmapResult& map,
                 TraceDirection direction) {
  Sample sample{fact.prompt_row, fact.fact, {}, {}};
  for (std::size_t centre = 0; centre < map.starts.size(); ++centre) {
    std::vector<double> effects, published;
    for (int token = range.begin; token < range.end; ++token) {
      const auto p = static_cast<double>(
          map.probability[static_cast<std::size_t>(token) * map.starts.size() + centre]);
      if (std::isnan(p)) continue;
      effects.push_back(indirect_effect(direction, p, fact.low, fact.high));
      published.push_back(direction == TraceDirection::kRestore ? p / (fact.high - fact.low)
                                                                : kNan);
    }
    sample.effect.push_back(mean(effects));
    sample.published.push_back(mean(published));
  }
  return sample;
}

void add_samples(const TracedFact& fact, const HeatmapResult& map, TraceDirection direction,
                 Samples& samples) {
  for (const TraceGrouping grouping : kGroupings) {
    const auto ranges = token_groups(grouping, fact.subject_begin, fact.subject_end, fact.tokens);
    for (std::size_t group = 0; group < kTokenGroups; ++group) {
      std::vector<Sample>& list = samples[static_cast<std::size_t>(grouping)][group];
      const TokenRange range = ranges[group];
      if (range.begin >= range.end) continue;
      if (grouping == TraceGrouping::kSharma)
        list.push_back(sample_of(fact, range, map, direction));
      else
        for (int token = range.begin; token < range.end; ++token)
          list.push_back(sample_of(fact, {token, token + 1}, map, direction));
    }
  }
}

TracePoint point_of(const std::vector<Sample>& samples, std::size_t centre, double level) {
  std::vector<double> effects, published;
  std::vector<std::size_t> prompts, facts;
  for (const Sample& sample : samples) {
    if (std::isnan(sample.effect[centre])) continue;
    effects.push_back(sample.effect[centre]);
    published.push_back(sample.published[centre]);
    prompts.push_back(sample.prompt);
    facts.push_back(sample.fact);
  }
  return {effects.size(), count_clusters(prompts),           count_clusters(facts),
          mean(effects),  t_interval(effects, facts, level), mean(published)};
}

LastTokens last_tokens_of(const TracedFact& fact, const HeatmapResult& map,
                          TraceDirection direction) {
  const auto effects = [&](int token) {
    return sample_of(fact, {token, token + 1}, map, direction).effect;
  };
  return {fact.prompt_row, fact.fact, fact.subject_end < fact.tokens, effects(fact.subject_end - 1),
          effects(fact.tokens - 1)};
}

// The maps of a model, one site, direction and window size after the other.
class Averager {
 public:
  Averager(const ModelData& model, const std::vector<TracedFact>& facts, double level)
      : model_(model), facts_(facts), level_(level) {
    for (std::size_t i = 0; i < facts.size(); ++i) place_.emplace(facts[i].prompt, i);
  }

  TraceAverage average(const TraceMaps& maps, std::int64_t window) const {
    TraceAverage average;
    average.model = model_.info.name;
    average.family = model_.info.family;
    average.layers = model_.info.layers;
    average.direction = maps.direction;
    average.site = maps.site;
    average.window = window;
    Samples samples;
    for (const std::int64_t prompt : heatmap_prompts(model_, window, maps.group)) {
      const HeatmapResult map = load_heatmap(model_, window, prompt, maps.group);
      const TracedFact& fact = fact_of(map, maps, window);
      average.placement = map.placement;
      average.centres = map.starts;
      if (fact.use != FactUse::kUsed) continue;
      ++average.prompts;
      add_samples(fact, map, maps.direction, samples);
      average.last_tokens.push_back(last_tokens_of(fact, map, maps.direction));
    }
    for (std::size_t grouping = 0; grouping < samples.size(); ++grouping)
      for (std::size_t group = 0; group < kTokenGroups; ++group)
        for (std::size_t centre = 0; centre < average.centres.size(); ++centre)
          average.points[grouping][group].push_back(
              point_of(samples[grouping][group], centre, level_));
    return average;
  }

 private:
  // A map without its fact is damage: its numbers would have no scale.
  const TracedFact& fact_of(const HeatmapResult& map, const TraceMaps& maps,
                            std::int64_t window) const {
    const auto found = place_.find(map.prompt);
    const bool known = found != place_.end() && facts_[found->second].use != FactUse::kNoValue;
    if (known && static_cast<std::size_t>(facts_[found->second].tokens) == map.tokens.size())
      return facts_[found->second];
    inconsistent(model_.reader->arrays_of(model_.stored_name).open_group(maps.group),
                 fmt::format("window_{}/{}", window, stored_id(map.prompt)),
                 known ? fmt::format("has {} tokens, the fact in group trace {}", map.tokens.size(),
                                     facts_[found->second].tokens)
                       : std::string("has no fact with both probabilities in group trace"));
  }

  std::int64_t stored_id(std::int64_t prompt) const {
    const auto changed = model_.stored_ids.find(prompt);
    return changed == model_.stored_ids.end() ? prompt : changed->second;
  }

  const ModelData& model_;
  const std::vector<TracedFact>& facts_;
  double level_;
  std::map<std::int64_t, std::size_t> place_;
};

FactUse use_of(const TracedFact& fact, const CleanLimits& limits) {
  if (std::isnan(fact.high) || std::isnan(fact.low)) return FactUse::kNoValue;
  if (!limits.admit(fact.high)) return FactUse::kOutsideLimits;
  return fact.high - fact.low < kLeastDifference ? FactUse::kSmallDifference : FactUse::kUsed;
}

}  // namespace

std::vector<TracedFact> facts_of(const TracedFacts& stored, const PromptTable& prompts,
                                 const CleanLimits& limits) {
  std::map<std::int64_t, std::size_t> rows;
  for (std::size_t row = 0; row < prompts.id.size(); ++row) rows.emplace(prompts.id[row], row);
  std::map<std::pair<std::string, std::string>, std::size_t> numbers;
  std::vector<TracedFact> facts;
  for (std::size_t i = 0; i < stored.prompts.size(); ++i) {
    const std::size_t row = rows.at(stored.prompts[i]);
    const std::pair key(prompts.subject[row], prompts.relation[row]);
    TracedFact& fact = facts.emplace_back();
    fact = {stored.prompts[i],
            row,
            numbers.emplace(key, numbers.size()).first->second,
            stored.counterfactual[i],
            static_cast<double>(stored.high[i]),
            static_cast<double>(stored.low[i]),
            stored.subject_begin[i],
            stored.subject_end[i],
            stored.token_count[i]};
    fact.use = use_of(fact, limits);
  }
  return facts;
}

double indirect_effect(TraceDirection direction, double p, double low, double high) {
  return (direction == TraceDirection::kRestore ? p - low : high - p) / (high - low);
}

std::string to_string(FactUse use) {
  switch (use) {
    case FactUse::kUsed:
      return "";
    case FactUse::kNoValue:
      return "without a value";
    case FactUse::kSmallDifference:
      return fmt::format("with high - low < {}", kLeastDifference);
    case FactUse::kOutsideLimits:
      return "with a clean probability outside the limits";
  }
  return "";
}

std::array<TokenRange, kTokenGroups> token_groups(TraceGrouping grouping, int subject_begin,
                                                  int subject_end, int tokens) {
  const int a = subject_begin, b = subject_end, last = tokens - 1;
  if (grouping == TraceGrouping::kRome)
    return {{{a, a + 1},
             {a + 1, b - 1},
             {b - 1, b},
             {b, std::min(b + 1, tokens)},
             {b + 1, last},
             {last, tokens}}};
  return {{{0, a},
           {a, b - 2},
           {std::max(a, b - 2), b - 1},  // none of a subject of one token
           {b - 1, b},
           {b, last},
           {last, tokens}}};
}

const char* to_string(TraceGrouping grouping) {
  return grouping == TraceGrouping::kSharma ? "sharma" : "rome";
}

const char* name_of_group(TraceGrouping grouping, std::size_t group) {
  static constexpr std::array<std::array<const char*, kTokenGroups>, 2> kNames = {
      {{"prefix", "subject [:-2]", "subject [-2]", "subject [-1]", "further", "last"},
       {"first subject", "middle subject", "last subject", "first after", "further", "last"}}};
  return kNames[static_cast<std::size_t>(grouping)].at(group);
}

std::int32_t published_layer(const std::string& site, std::int32_t centre) {
  return site == "h" ? centre - 1 : centre;
}

TracePeak peak_of(const TraceAverage& average, TraceGrouping grouping, std::size_t group) {
  const std::vector<TracePoint>& points = average.of(grouping, group);
  TracePeak peak;
  for (std::size_t i = 0; i < points.size(); ++i)
    if (points[i].n > 0 && (peak.centre < 0 || points[i].effect > peak.point.effect))
      peak = {average.centres[i], points[i]};
  return peak;
}

std::size_t count_of(const std::vector<TracedFact>& facts, FactUse use) {
  return static_cast<std::size_t>(std::count_if(
      facts.begin(), facts.end(), [&](const TracedFact& fact) { return fact.use == use; }));
}

std::string facts_in_words(const std::vector<TracedFact>& facts, const std::string& one,
                           const std::string& ones) {
  std::vector<std::string> left_out;
  for (const FactUse use : {FactUse::kNoValue, FactUse::kSmallDifference, FactUse::kOutsideLimits})
    if (const std::size_t count = count_of(facts, use); count > 0)
      left_out.push_back(fmt::format("{} {}", count, to_string(use)));
  return fmt::format("{} of {}{}", count_of(facts, FactUse::kUsed),
                     counted(facts.size(), one, ones),
                     left_out.empty() ? "" : "; left out: " + join(left_out));
}

std::size_t ModelTraces::count(FactUse use) const {
  return count_of(facts, use);
}

std::string in_words(const ModelTraces& traces, TraceDirection direction) {
  return to_string(direction) + (traces.corruption == Corruption::kNoise ? " from noise" : "");
}

std::string facts_in_words(const ModelTraces& traces) {
  return facts_in_words(traces.facts, "traced prompt", "traced prompts");
}

std::vector<ModelTraces> study_traces(const RunData& run, const CleanLimits& limits, double level) {
  std::vector<ModelTraces> all;
  for (const ModelData& model : run.models) {
    if (model.reader == nullptr) continue;
    const std::vector<TraceMaps> maps = trace_maps(*model.reader, model.stored_name);
    if (maps.empty() && !has_traces(*model.reader, model.stored_name)) continue;
    ModelTraces& traces = all.emplace_back();
    traces.model = model.info.name;
    traces.layers = model.info.layers;
    traces.mixing = mixing_of(model.info);
    traces.repeated = !model.repeats.empty();
    const TracedFacts stored = load_traced_facts(model);
    traces.corruption = stored.corruption;
    traces.noise_copies = stored.noise_copies;
    traces.noise_deviation = stored.noise_deviation;
    traces.facts = facts_of(stored, run.prompts, limits);
    const Averager averager(model, traces.facts, level);
    for (const TraceMaps& map : maps)
      for (const std::int64_t window : heatmap_windows(model, map.group))
        traces.averages.push_back(averager.average(map, window));
  }
  return all;
}

}  // namespace factflow
