#include "analysis/paths.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <utility>

#include "analysis/load_runs.hpp"

namespace factflow {
namespace {

constexpr const char* kThrough = " through ";
constexpr const char* kArrow = "->";
constexpr const char* kEquals = ") = ";

// Names of groups of tokens have no spaces; channels, heads, parts and several actions do.
bool is_group(const std::string& text) {
  return !text.empty() && text.find_first_of(" /&:=(") == std::string::npos;
}

std::optional<PathName> edges_of_row(const std::string& label, std::size_t arrow) {
  PathName name{label.substr(0, arrow), label.substr(arrow + 2), "state", ""};
  if (const std::size_t through = name.target.find(kThrough); through != std::string::npos) {
    name.path = name.target.substr(through + std::string(kThrough).size());
    name.target.resize(through);
  }
  const bool known = name.path == "state" || name.path == "convolution" || name.path == "mixer";
  if (!known || !is_group(name.tokens) || !is_group(name.target)) return std::nullopt;
  return name;
}

std::optional<PathName> site_of_row(const std::string& label) {
  const std::size_t open = label.find('('), equals = label.find(kEquals);
  if (open == std::string::npos || equals == std::string::npos || equals < open)
    return std::nullopt;
  PathName name{label.substr(open + 1, equals - open - 1), "", label.substr(0, open),
                label.substr(equals + std::string(kEquals).size())};
  const auto one_of = [](const std::string& word, std::initializer_list<const char*> words) {
    return std::find(words.begin(), words.end(), word) != words.end();
  };
  if (!one_of(name.path, {"g", "skip", "s", "o", "mlp"}) ||
      !one_of(name.value, {"zero", "mean", "resample"}) || !is_group(name.tokens))
    return std::nullopt;
  return name;
}

std::vector<double> changes_of(const WindowData& window, std::size_t row,
                               const std::vector<std::size_t>& prompts, std::size_t start) {
  std::vector<double> changes;
  for (const std::size_t prompt : prompts) changes.push_back(window.change(row, prompt, start));
  return changes;
}
double mean_log(const WindowData& window, std::size_t row, const std::vector<std::size_t>& prompts,
                std::size_t start) {
  std::vector<double> logs;
  for (const std::size_t prompt : prompts) logs.push_back(window.log_change(row, prompt, start));
  return mean(logs);
}

FactResamples resamples_of(const WindowData& window, const std::vector<std::size_t>& prompts,
                           const BootstrapOptions& bootstrap) {
  std::vector<std::size_t> facts;
  for (const std::size_t prompt : prompts) facts.push_back(window.model->fact[prompt]);
  return {facts, bootstrap};
}

std::size_t strongest_start(const WindowData& window, std::size_t row,
                            const std::vector<std::size_t>& prompts) {
  std::vector<double> curve;
  for (std::size_t start = 0; start < window.starts(); ++start)
    curve.push_back(mean(changes_of(window, row, prompts, start)));
  return index_of_minimum(curve);
}

PathEffect effect_of(const WindowData& window, std::size_t row, PathName name,
                     const BootstrapOptions& bootstrap) {
  PathEffect effect;
  effect.name = std::move(name);
  const std::vector<std::size_t> prompts = window.complete_prompts(row);
  effect.n = prompts.size();
  if (prompts.empty()) return effect;
  const FactResamples resamples = resamples_of(window, prompts, bootstrap);
  effect.facts = resamples.facts();
  std::vector<std::vector<double>> means;
  for (std::size_t start = 0; start < window.starts(); ++start)
    means.push_back(resamples.means(changes_of(window, row, prompts, start)));
  effect.lowest = resamples.measured(means, [](const std::vector<double>& curve) {
    return *std::min_element(curve.begin(), curve.end());
  });
  const std::size_t start = strongest_start(window, row, prompts);
  effect.start = window.cells.starts[start];
  effect.depth = window.depth(start);
  effect.log_change = mean_log(window, row, prompts, start);
  return effect;
}

std::vector<std::size_t> common(const std::vector<std::size_t>& a,
                                const std::vector<std::size_t>& b) {
  std::vector<std::size_t> both;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(both));
  return both;
}

// The rows of one edge; the convolution's may be missing.
struct EdgeRows {
  std::optional<std::size_t> state, convolution, mixer;
};

// Among those within the convolution's reach, whose own prompts it has a value of.
void add_convolution(const WindowData& window, const EdgeRows& rows,
                     const std::vector<std::size_t>& prompts, std::size_t start,
                     const BootstrapOptions& bootstrap, MissedPath& missed) {
  if (!rows.convolution) return;
  const std::vector<std::size_t> near = common(prompts, window.complete_prompts(*rows.convolution));
  missed.in_reach = near.size();
  if (near.empty()) return;
  const FactResamples resamples = resamples_of(window, near, bootstrap);
  const auto means = [&](std::size_t row) {
    return resamples.means(changes_of(window, row, near, start));
  };
  const std::vector<double> convolution = means(*rows.convolution);
  missed.convolution = resamples.measured(convolution);
  missed.interaction =
      resamples.measured({means(*rows.state), convolution, means(*rows.mixer)},
                         [](const std::vector<double>& of) { return of[0] + of[1] - of[2]; });
}

std::optional<MissedPath> missed_of(const WindowData& window, const PathName& name,
                                    const EdgeRows& rows, const BootstrapOptions& bootstrap) {
  if (!rows.state || !rows.mixer) return std::nullopt;
  const std::vector<std::size_t> prompts =
      common(window.complete_prompts(*rows.state), window.complete_prompts(*rows.mixer));
  if (prompts.empty()) return std::nullopt;
  MissedPath missed;
  missed.tokens = name.tokens;
  missed.target = name.target;
  missed.n = prompts.size();
  const FactResamples resamples = resamples_of(window, prompts, bootstrap);
  missed.facts = resamples.facts();
  const std::size_t start = strongest_start(window, *rows.mixer, prompts);
  missed.start = window.cells.starts[start];
  missed.depth = window.depth(start);
  const std::vector<double> state =
                                resamples.means(changes_of(window, *rows.state, prompts, start)),
                            mixer =
                                resamples.means(changes_of(window, *rows.mixer, prompts, start));
  missed.state = resamples.measured(state);
  missed.mixer = resamples.measured(mixer);
  missed.missed = resamples.measured(
      {state, mixer}, [](const std::vector<double>& of) { return 100 * (of[1] - of[0]) / of[1]; });
  const double state_log = mean_log(window, *rows.state, prompts, start),
               mixer_log = mean_log(window, *rows.mixer, prompts, start);
  missed.missed_by_log = 100 * (mixer_log - state_log) / mixer_log;
  add_convolution(window, rows, prompts, start, bootstrap, missed);
  return missed;
}

// Whether some group of tokens has several paths, which is what the question is about.
bool compares_paths(const std::vector<std::pair<std::size_t, PathName>>& rows) {
  std::map<std::string, std::size_t> count;
  for (const auto& [row, name] : rows) ++count[name.tokens];
  return std::any_of(count.begin(), count.end(), [](const auto& one) { return one.second > 1; });
}

std::optional<ModelPaths> paths_in(const WindowData& window, const BootstrapOptions& bootstrap) {
  const ModelData& model = *window.model;
  std::vector<std::pair<std::size_t, PathName>> rows;
  for (const std::size_t row : window.edges)
    if (auto name = path_of_row(model.edges[row].label)) rows.emplace_back(row, std::move(*name));
  if (!compares_paths(rows)) return std::nullopt;
  ModelPaths paths{model.info.name,
                   model.info.family,
                   mixing_of(model.info),
                   model.prompt_set,
                   model.main_set,
                   !model.repeats.empty(),
                   model.info.layers,
                   window.cells.window,
                   {},
                   {}};
  std::vector<std::pair<PathName, EdgeRows>> edges;
  for (const auto& [row, name] : rows) {
    paths.paths.push_back(effect_of(window, row, name, bootstrap));
    if (!name.edges()) continue;
    auto found = std::find_if(edges.begin(), edges.end(), [&, &one = name](const auto& edge) {
      return edge.first.tokens == one.tokens && edge.first.target == one.target;
    });
    if (found == edges.end()) found = edges.insert(edges.end(), {name, {}});
    (name.path == "state"         ? found->second.state
     : name.path == "convolution" ? found->second.convolution
                                  : found->second.mixer) = row;
  }
  for (const auto& [name, of] : edges)
    if (auto missed = missed_of(window, name, of, bootstrap))
      paths.missed.push_back(std::move(*missed));
  return paths;
}

}  // namespace

std::optional<PathName> path_of_row(const std::string& label) {
  if (const std::size_t arrow = label.find(kArrow); arrow != std::string::npos)
    return edges_of_row(label, arrow);
  return site_of_row(label);
}

std::vector<ModelPaths> study_paths(const RunData& run, const BootstrapOptions& bootstrap) {
  std::vector<ModelPaths> all;
  for (const ModelData& model : run.interventions)
    for (const std::int64_t size : model.windows)
      if (auto paths = paths_in(load_window(model, size), bootstrap))
        all.push_back(std::move(*paths));
  return all;
}

}  // namespace factflow
