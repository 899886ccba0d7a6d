// Small configurations on the demo kit, for runs that take seconds.
#pragma once

#include <string>
#include <vector>

#include <fmt/format.h>

#include "tests/source_dir.hpp"

namespace factflow::testing {

inline std::string demo_path(const std::string& name) {
  return source_dir() + "/demo/" + name;
}

// Of models without channels to choose: those that a Transformer alone is refused are left out.
inline const char* const kKnockoutsOfTransformers =
    "    - {from: [subject, last], to: last}\n"
    "    - {from: context, to: subject}\n";

struct Scenario {
  std::string name = "short";
  std::string dataset = demo_path("facts.jsonl");
  int limit = 12;
  std::vector<std::string> models = {"gpt2", "llama", "mamba", "mamba2",
                                     "falcon_mamba"};  // demo models, or paths
  std::string select = "all";
  std::string windows = "[1, 5]";
  std::string knockouts =
      "    - {from: [subject, last], to: last}\n"
      "    - {from: subject, to: last, channels: [slow, not-fast]}\n"
      "    - {from: context, to: subject}\n";
  int heatmaps = 1;  // prompts; 0 = none

  std::string yaml() const {
    std::string text = fmt::format("name: {}\ndataset: {{path: '{}', limit: {}}}\nmodels:\n", name,
                                   dataset, limit);
    for (const std::string& model : models) {
      const size_t slash = model.rfind('/');
      text += fmt::format("  - {{name: {}, path: '{}'}}\n",
                          slash == std::string::npos ? model : model.substr(slash + 1),
                          slash == std::string::npos ? demo_path("models/" + model) : model);
    }
    text += fmt::format(
        "select: {{correct_for: {}}}\nsweep:\n  windows: {{sizes: {}}}\n  knockouts:\n{}", select,
        windows, knockouts);
    if (heatmaps > 0) text += fmt::format("heatmaps: {{window: 5, prompts: {}}}\n", heatmaps);
    return text + "run: {device: cpu, threads_per_rank: 1}\n";
  }
};

// Three models, all windows: about 40 units, so that a run can be interrupted between them.
inline Scenario many_units() {
  Scenario scenario;
  scenario.name = "units";
  scenario.limit = 40;
  scenario.models = {"gpt2", "mamba", "mamba2"};
  scenario.windows = "[1, 2, 3, 4, 5, 6, 7, 8]";
  scenario.knockouts =
      "    - {from: [subject, relation, first, last, context], to: last}\n"
      "    - {from: [context, subject], to: subject}\n";
  scenario.heatmaps = 9;
  return scenario;
}

// One model, one edge, one window size.
inline Scenario tiny() {
  Scenario scenario;
  scenario.name = "tiny";
  scenario.limit = 4;
  scenario.models = {"gpt2"};
  scenario.windows = "[5]";
  scenario.knockouts = "    - {from: subject, to: last}\n";
  return scenario;
}

}  // namespace factflow::testing
