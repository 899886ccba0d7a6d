#include "model/locate_engine.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include <fmt/format.h>

namespace factflow {
namespace {

using Cases = LocateCases;
using Together = std::vector<Intervention>;

// Runs that are asked for one by one and computed together.
class Batch {
 public:
  struct Run {
    size_t request = 0, series = 0;
  };
  // `together` empty: the clean run.
  Run ask(const std::vector<int>& ids, int answer, Together together) {
    const auto [at, added] = request_of_.try_emplace({ids, answer}, requests_.size());
    if (added) requests_.push_back({ids, answer});
    std::vector<Series>& series = requests_[at->second].series;
    series.push_back({std::move(together), std::nullopt});
    return {at->second, series.size() - 1};
  }
  // A value in a run that was asked for; how it is called among the values of its request.
  size_t read(Run run, SiteAt at, int token) {
    std::vector<ReadAt>& reads = requests_[run.request].reads;
    reads.push_back({at, token, ReadAt::Run{run.series, 0}});
    return reads.size() - 1;
  }

  void compute(ReplayEngine& engine) { results_ = engine.run(requests_); }

  double log_probability(Run run) const {
    const ReplayResult& result = results_[run.request];
    const Answer& answer = result.knockouts[run.series][0];
    return (answer.rank == 0 ? result.clean : answer).log_probability;  // no effect: as clean
  }
  std::vector<double> value(Run run, size_t read) const {
    const at::Tensor value = results_[run.request].reads[read].value().to(at::kDouble).contiguous();
    const auto* data = value.data_ptr<double>();
    return {data, data + value.numel()};
  }

 private:
  std::map<std::pair<std::vector<int>, int>, size_t> request_of_;
  std::vector<ReplayRequest> requests_;
  std::vector<ReplayResult> results_;
};

Write written(Site site, std::vector<int> layers, std::vector<int> tokens, Value value) {
  Write write;
  write.site = site;
  write.layers = std::move(layers);
  write.tokens = std::move(tokens);
  write.value = std::move(value);
  return write;
}

// The values that a clean run of `source` has there.
Write patch(Site site, const std::vector<int>& layers, const std::vector<int>& tokens,
            const std::vector<int>& source) {
  return written(site, layers, tokens, OtherRun{source, tokens});
}

int layers_of(const Cases& cases, Site site) {
  return cases.layers + (site == Site::kH ? 1 : 0);
}

// What an answer is about, and what it is; several runs: their mean probability.
struct Asked {
  std::string name;
  std::vector<Batch::Run> runs;
  double p = 0;
};

class Question {
 public:
  Question(const char* part, double limit) : check_(part, limit) {}

  Batch& batch() { return batch_; }
  void expect(std::string name, std::vector<Batch::Run> runs, double p) {
    asked_.push_back({std::move(name), std::move(runs), p});
  }
  LocateCheck answered(ReplayEngine& engine) {
    batch_.compute(engine);
    for (const Asked& one : asked_) check_.log_probability(one.name, log_mean(one.runs), one.p);
    return std::move(check_);
  }

 private:
  double log_mean(const std::vector<Batch::Run>& runs) const {
    if (runs.size() == 1) return batch_.log_probability(runs[0]);
    double sum = 0;
    for (const Batch::Run run : runs) sum += std::exp(batch_.log_probability(run));
    return std::log(sum / static_cast<double>(runs.size()));
  }

  Batch batch_;
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
      std::vector<Batch::Run> asked;
      for (Together together : runs.bases) {
        together.push_back(patch(map.site, centred_window(map.layers[l], map.window, count),
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

// What adds the noise of a copy to the subject's embeddings.
Together noised(const std::vector<std::vector<double>>& copy, int subject_begin) {
  Together together;
  for (size_t j = 0; j < copy.size(); ++j) {
    Write write = written(Site::kH, {0}, {subject_begin + static_cast<int>(j)}, Vector{copy[j]});
    write.add = true;
    together.push_back(std::move(write));
  }
  return together;
}

LocateCheck check_noise(ReplayEngine& engine, const Cases& cases, double limit) {
  Question question("traces from noise", limit);
  for (size_t i = 0; i < cases.noise.size(); ++i) {
    const Cases::NoiseTrace& noise = cases.noise[i];
    const Cases::Fact& fact = cases.facts[noise.fact];
    const std::string name = fmt::format("noise[{}]", i);
    MapRuns runs{fact.clean, fact.clean, fact.answer, {}};
    std::vector<Batch::Run> low;
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
      Together together;
      if (path.severed)
        together.push_back(patch(*path.severed, centred_window(0, 2 * cases.layers, cases.layers),
                                 {path.token}, fact.corrupted));
      together.push_back(patch(Site::kH, {path.layers[l]}, {path.token}, fact.clean));
      question.expect(fmt::format("paths[{}].p[{}]", i, l),
                      {question.batch().ask(fact.corrupted, fact.answer, std::move(together))},
                      path.p[l]);
    }
  }
  return question.answered(engine);
}

// The knockout's site is the mean at its positions, in one layer; each layer has its own.
Write mean_at_positions(const Cases& cases, const Cases::Knockout& knockout, int layer) {
  return written(knockout.site, {layer}, knockout.positions,
                 Vector{cases.means.at(knockout.site)[static_cast<size_t>(layer)]});
}

// Sharma et al. 2024: the mean at the positions, and at every other token before the last what the
// clean run has, so that only the last token sees the difference.
Together mean_knockout(const Cases& cases, const Cases::Knockout& knockout,
                       const std::vector<int>& layers) {
  const std::vector<int>& ids = cases.facts[knockout.fact].clean;
  Together together;
  for (const int layer : layers)
    if (!knockout.positions.empty()) together.push_back(mean_at_positions(cases, knockout, layer));
  std::vector<int> others;
  for (int token = 0; token + 1 < static_cast<int>(ids.size()); ++token)
    if (std::find(knockout.positions.begin(), knockout.positions.end(), token) ==
        knockout.positions.end())
      others.push_back(token);
  if (!others.empty()) together.push_back(patch(knockout.site, layers, others, ids));
  return together;
}

Together cut_edges(const Cases& cases, const Cases::Knockout& knockout,
                   const std::vector<int>& layers) {
  Block block;
  block.layers = layers;
  block.sources = knockout.positions;
  block.targets = {static_cast<int>(cases.facts[knockout.fact].clean.size()) - 1};
  return {block};
}

// A window of a two-stream knockout on its way up: what the last token's s is in its layers so far.
struct TwoStream {
  size_t knockout = 0;
  int centre = 0;
  std::vector<int> layers;
  Together together = {};
};

// Layer by layer, for all windows at once: the last token's s as a second scan has it, with the
// mean at the positions, on the stream that the layers below leave.
void take_second_streams(ReplayEngine& engine, const Cases& cases,
                         std::vector<TwoStream>& windows) {
  struct Reading {
    TwoStream* window;
    Batch::Run run;
    size_t read;
  };
  bool more = true;
  for (size_t round = 0; more; ++round) {
    Batch batch;
    std::vector<Reading> readings;
    for (TwoStream& window : windows) {
      if (round >= window.layers.size()) continue;
      const Cases::Knockout& knockout = cases.knockouts[window.knockout];
      const Cases::Fact& fact = cases.facts[knockout.fact];
      Together second = window.together;
      if (!knockout.positions.empty())
        second.push_back(mean_at_positions(cases, knockout, window.layers[round]));
      const Batch::Run run = batch.ask(fact.clean, fact.answer, std::move(second));
      readings.push_back({&window, run,
                          batch.read(run, {Site::kS, window.layers[round]},
                                     static_cast<int>(fact.clean.size()) - 1)});
    }
    more = !readings.empty();
    if (!more) return;
    batch.compute(engine);
    for (const Reading& reading : readings) {
      const Cases::Fact& fact = cases.facts[cases.knockouts[reading.window->knockout].fact];
      reading.window->together.push_back(written(Site::kS, {reading.window->layers[round]},
                                                 {static_cast<int>(fact.clean.size()) - 1},
                                                 Vector{batch.value(reading.run, reading.read)}));
    }
  }
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
  std::vector<TwoStream> windows;
  for (size_t i = 0; i < cases.knockouts.size(); ++i)
    for (int centre = 0; centre < cases.layers; ++centre) {
      const Cases::Knockout& knockout = cases.knockouts[i];
      const std::vector<int> layers = centred_window(centre, knockout.window, cases.layers);
      if (knockout.mode == Mode::kTwoStream)
        windows.push_back({i, centre, layers});
      else
        ask(i, centre,
            knockout.mode == Mode::kMean ? mean_knockout(cases, knockout, layers)
                                         : cut_edges(cases, knockout, layers));
    }
  take_second_streams(engine, cases, windows);
  for (TwoStream& window : windows) ask(window.knockout, window.centre, std::move(window.together));
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
