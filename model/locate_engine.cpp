#include "model/locate_engine.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "model/locate_interventions.hpp"

namespace factflow {
namespace {

using Cases = LocateCases;
using Together = std::vector<Intervention>;

Replayer replayer(ReplayEngine& engine) {
  return [&engine](const std::vector<ReplayRequest>& requests) { return engine.run(requests); };
}

int layers_of(const Cases& cases, Site site) {
  return cases.layers + (site == Site::kH ? 1 : 0);
}

// What an answer is about, and what it is; several runs: their mean probability.
struct Asked {
  std::string name;
  std::vector<ReplayBatch::Run> runs;
  double p = 0;
};

class Question {
 public:
  Question(const char* part, double limit) : check_(part, limit) {}

  ReplayBatch& batch() { return batch_; }
  void expect(std::string name, std::vector<ReplayBatch::Run> runs, double p) {
    asked_.push_back({std::move(name), std::move(runs), p});
  }
  LocateCheck answered(ReplayEngine& engine) {
    batch_.compute(replayer(engine));
    for (const Asked& one : asked_) check_.log_probability(one.name, log_mean(one.runs), one.p);
    return std::move(check_);
  }

 private:
  double log_mean(const std::vector<ReplayBatch::Run>& runs) const {
    if (runs.size() == 1) return batch_.answer(runs[0]).log_probability;
    double sum = 0;
    for (const ReplayBatch::Run run : runs) sum += std::exp(batch_.answer(run).log_probability);
    return std::log(sum / static_cast<double>(runs.size()));
  }

  ReplayBatch batch_;
  std::vector<Asked> asked_;
  LocateCheck check_;
};

// The answer is the likeliest token of the clean run.
LocateCheck check_facts(ReplayEngine& engine, const Cases& cases, double limit) {
  std::vector<ReplayRequest> requests;
  for (const Cases::Fact& fact : cases.facts) {
    requests.push_back({fact.clean, fact.answer});
    requests.push_back({fact.corrupted, fact.answer});
  }
  const std::vector<ReplayResult> results = engine.run(requests);
  LocateCheck check("facts", limit);
  for (size_t i = 0; i < cases.facts.size(); ++i) {
    const Answer &high = results[2 * i].clean, &low = results[2 * i + 1].clean;
    check.same(fmt::format("facts[{}].answer", i), high.rank == 1);
    check.log_probability(fmt::format("facts[{}].high", i), high.log_probability,
                          cases.facts[i].high);
    check.log_probability(fmt::format("facts[{}].low", i), low.log_probability, cases.facts[i].low);
  }
  return check;
}

// Means over the tokens of a run, then over the runs, in every layer.
LocateCheck check_means(ReplayEngine& engine, const Cases& cases, double limit) {
  LocateCheck check("means", limit);
  for (const auto& [site, expected] : cases.means) {
    std::vector<ReplayRequest> requests;
    for (int i = 0; i < cases.mean_runs; ++i) {
      ReplayRequest& request = requests.emplace_back();
      request.ids = cases.runs[static_cast<size_t>(i)];
      for (int layer = 0; layer < cases.layers; ++layer)
        for (size_t token = 0; token < request.ids.size(); ++token)
          request.reads.push_back({{site, layer}, static_cast<int>(token), std::nullopt});
    }
    const std::vector<ReplayResult> results = engine.run(requests);
    for (size_t layer = 0; layer < expected.size(); ++layer) {
      std::vector<at::Tensor> means;  // per run
      for (size_t i = 0; i < results.size(); ++i) {
        std::vector<at::Tensor> values;  // per token
        const size_t tokens = requests[i].ids.size();
        for (size_t token = 0; token < tokens; ++token)
          values.push_back(results[i].reads[layer * tokens + token].value().to(at::kDouble));
        means.push_back(at::stack(values).mean(0));
      }
      check.values(fmt::format("means.{}[{}]", to_string(site), layer), at::stack(means).mean(0),
                   expected[layer]);
    }
  }
  return check;
}

// The cells of a map: runs of `ids`, each under one of `bases` and the patch from `source`.
struct MapRuns {
  const std::vector<int>&ids, &source;
  int answer = 0;
  std::vector<Together> bases = {{}};
};

void ask_map(Question& question, const Cases& cases, const Cases::TraceMap& map,
             const MapRuns& runs, const std::string& name) {
  const int count = layers_of(cases, map.site);
  for (size_t token = 0; token < map.p.size(); ++token)
    for (size_t l = 0; l < map.layers.size(); ++l) {
      std::vector<ReplayBatch::Run> asked;
      for (Together together : runs.bases) {
        together.push_back(patched(map.site, centred_window(map.layers[l], map.window, count),
                                   {static_cast<int>(token)}, runs.source));
        asked.push_back(question.batch().ask(runs.ids, runs.answer, std::move(together)));
      }
      question.expect(fmt::format("{}.p[{}][{}]", name, token, l), asked, map.p[token][l]);
    }
}

LocateCheck check_traces(ReplayEngine& engine, const Cases& cases, double limit) {
  Question question("traces", limit);
  for (size_t i = 0; i < cases.traces.size(); ++i) {
    const Cases::Trace& trace = cases.traces[i];
    const Cases::Fact& fact = cases.facts[trace.fact];
    const bool restore = trace.direction == Cases::Direction::kRestore;
    ask_map(
        question, cases, trace.map,
        {restore ? fact.corrupted : fact.clean, restore ? fact.clean : fact.corrupted, fact.answer},
        fmt::format("traces[{}]", i));
  }
  return question.answered(engine);
}

LocateCheck check_noise(ReplayEngine& engine, const Cases& cases, double limit) {
  Question question("traces from noise", limit);
  for (size_t i = 0; i < cases.noise.size(); ++i) {
    const Cases::NoiseTrace& noise = cases.noise[i];
    const Cases::Fact& fact = cases.facts[noise.fact];
    const std::string name = fmt::format("noise[{}]", i);
    MapRuns runs{fact.clean, fact.clean, fact.answer, {}};
    std::vector<ReplayBatch::Run> low;
    for (const auto& copy : noise.noise) {
      runs.bases.push_back(noised(copy, fact.subject_begin));
      low.push_back(question.batch().ask(fact.clean, fact.answer, runs.bases.back()));
    }
    question.expect(name + ".high", {question.batch().ask(fact.clean, fact.answer, {})},
                    noise.high);
    question.expect(name + ".low", low, noise.low);
    for (size_t m = 0; m < noise.maps.size(); ++m)
      ask_map(question, cases, noise.maps[m], runs, fmt::format("{}.maps[{}]", name, m));
  }
  return question.answered(engine);
}

LocateCheck check_paths(ReplayEngine& engine, const Cases& cases, double limit) {
  Question question("severed paths", limit);
  for (size_t i = 0; i < cases.paths.size(); ++i) {
    const Cases::Path& path = cases.paths[i];
    const Cases::Fact& fact = cases.facts[path.fact];
    for (size_t l = 0; l < path.layers.size(); ++l) {
      SeveredPath severed{{}, path.token, path.layers[l]};
      if (path.severed) severed.severed = {*path.severed};
      question.expect(fmt::format("paths[{}].p[{}]", i, l),
                      {question.batch().ask(
                          fact.corrupted, fact.answer,
                          interventions_of(severed, cases.layers, fact.clean, fact.corrupted))},
                      path.p[l]);
    }
  }
  return question.answered(engine);
}

LocateCheck check_knockouts(ReplayEngine& engine, const Cases& cases, double limit) {
  using Mode = Cases::Knockout::Mode;
  Question question("knockouts", limit);
  const auto ask = [&](size_t index, int centre, Together together) {
    const Cases::Knockout& knockout = cases.knockouts[index];
    const Cases::Fact& fact = cases.facts[knockout.fact];
    question.expect(fmt::format("knockouts[{}].p[{}]", index, centre),
                    {question.batch().ask(fact.clean, fact.answer, std::move(together))},
                    knockout.p[static_cast<size_t>(centre)]);
  };
  std::map<Site, SiteMeans> means;
  for (const auto& [site, of_layer] : cases.means) means[site] = {site, of_layer};
  struct Window {
    size_t knockout;
    int centre;
  };
  std::vector<Window> asked;
  std::vector<TwoStreamKnockout> windows;
  for (size_t i = 0; i < cases.knockouts.size(); ++i)
    for (int centre = 0; centre < cases.layers; ++centre) {
      const Cases::Knockout& knockout = cases.knockouts[i];
      const Cases::Fact& fact = cases.facts[knockout.fact];
      const TokenKnockout tokens{fact.clean, knockout.positions};
      const std::vector<int> layers = centred_window(centre, knockout.window, cases.layers);
      if (knockout.mode == Mode::kEdges) {
        ask(i, centre, cut_edges(tokens, layers));
      } else if (knockout.mode == Mode::kMean) {
        ask(i, centre, mean_knockout(tokens, means.at(knockout.site), layers));
      } else {
        asked.push_back({i, centre});
        windows.push_back({tokens, &means.at(knockout.site), fact.answer, layers});
      }
    }
  take_second_streams(replayer(engine), windows);
  for (size_t i = 0; i < windows.size(); ++i)
    ask(asked[i].knockout, asked[i].centre, std::move(windows[i].together));
  return question.answered(engine);
}

}  // namespace

std::vector<LocateCheck> check_traced_cases(ReplayEngine& engine, const LocateCases& cases,
                                            const OracleTolerance& limit) {
  std::vector<LocateCheck> checks = {check_facts(engine, cases, limit.value)};
  if (!cases.means.empty()) checks.push_back(check_means(engine, cases, limit.reads));
  checks.push_back(check_traces(engine, cases, limit.value));
  checks.push_back(check_noise(engine, cases, limit.value));
  checks.push_back(check_paths(engine, cases, limit.value));
  checks.push_back(check_knockouts(engine, cases, limit.value));
  return checks;
}

}  // namespace factflow
